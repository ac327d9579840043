"""The search for a recipe with which a distilled student beats the plain one.

python -m fdnf.main --mode=study --config=configs/recipes.py:maf,bsds300 \
    --workdir=runs/recipes

All students have the same size, number of steps and seeds; each recipe differs from
the plain student in what its overrides say. With `few`, students see 2,000 training
rows and their teacher all of them; with `rows=500` and `rows=10000` so many. What the
studies of several settings say together is drawn by `python -m fdnf.experiments.map`.
`teacher` is the teacher alone, as the sweep `map` trains it.

With `iaf` it is that for a sampler which cannot be told from its teacher: each recipe
differs from the guided student in what its overrides say.

python -m fdnf.main --mode=study --config=configs/recipes.py:iaf,bsds300 \
    --workdir=runs/ablation
"""

from configs import common, glow_digits, glow_fashion_mnist, teaching, vectors

VECTORS = ("bsds300", "miniboone_small", "power_subset")
# Training rows that the student sees, of all of which its teacher sees; `few` is 2,000.
ROWS = {"rows=500": 500, "few": 2000, "rows=10000": 10_000}
IMAGES = {"digits": glow_digits, "fashion_mnist": glow_fashion_mnist}
WORDS = (
    common.Choice(("maf", "glow", "iaf")),
    common.Choice((*VECTORS, *IMAGES)),
    common.Choice(tuple(ROWS), VECTORS),
    common.Choice(("teacher", "short"), VECTORS),
    common.Choice(("blocks=3",), ("iaf",)),
    common.SMOKE,
)

# Keys are paths in the config, with slashes: ConfigDict keys may not hold dots.
# As by itself, but in a program that knows the teacher.
PLAIN = {"loss/method": "lkd", "loss/args/weights": (1.0, 0.0, 0.0)}
# So many times the steps cost what a step costs that asks the teacher too: three passes
# of the student and one of a network twice its size, over the three alone. In time, on
# CPU cores: 1.4 to 1.6 times through heads, of a teacher asked once before training.
# And where it is asked about every fourth row.
LONGER = {"longer": 5 / 3, "longer_4": 4 / 3}
# No distillation term: likelihood on batches of which a part is the teachers' samples.
SAMPLES = PLAIN | {"teacher/samples": 200_000}
# Through maps that are learned beside the student, and fade out with the term.
HEADS = {
    "loss/method": "ilkd",
    "loss/args/weights": (1.0, 10.0, 0.0),
    "loss/heads": True,
    "loss/normalise": True,
    "loss/fade": (0.1, 0.5),
}
# No term either: the student starts as its teacher without some of its steps.
LAYERS = PLAIN | {"teacher/inherit_layers": True}
# Where teacher and student have networks of one width.
OF_LAYERS = {
    "layers": LAYERS,
    "layers_heads": LAYERS | HEADS,
    # Of every fourth row, whose teacher takes a quarter of the time.
    "layers_heads_4": LAYERS | HEADS | {"loss/args/every": 4},
    "layers_samples_half": LAYERS | SAMPLES | {"teacher/share": 0.5},
}
RECIPES = {
    # The released code's squared distance.
    "ilkd_l2": {"loss/method": "ilkd", "loss/preset": "official"},
    # Distance summed over dimensions, as the likelihood is, with a small weight that
    # fades out by half time: the teacher's path as a start, not as a target.
    "ilkd_sum_fade": {
        "loss/method": "ilkd",
        "loss/args/reduction": "sum",
        "loss/args/weights": (1.0, 0.1, 0.0),
        "loss/fade": (0.1, 0.5),
    },
    # Samples compared from early on, and weighing as much as the likelihood.
    "skd_sum": {
        "loss/method": "skd",
        "loss/args/reduction": "sum",
        "loss/args/weights": (1.0, 0.0, 1.0),
        "loss/skd/start": 0.5,
    },
    # The same start, of levels as learned maps tell them, in the teacher's units.
    "ilkd_heads": HEADS,
    "ilkd_heads_cosine": HEADS | {"loss/args/distance": "cosine"},
    "samples_quarter": SAMPLES | {"teacher/share": 0.25},
    "samples_half": SAMPLES | {"teacher/share": 0.5},
    "samples_all": SAMPLES | {"teacher/share": 1.0},
}
IMAGE_SAMPLES = {"teacher/samples": 20_000, "teacher/share": 0.5}
IMAGE_RECIPES = {
    # The student's fixed channel permutations are the teacher's, composed.
    "ilkd_inherit": {"loss/method": "ilkd", "teacher/inherit_permutations": True},
    # What each level splits off is compared too.
    "ilkd_both": {"loss/method": "ilkd", "loss/args/parts": "both"},
    "lkd_both": {"loss/method": "lkd", "loss/args/parts": "both"},
    "ilkd_l2": {"loss/method": "ilkd", "loss/preset": "official"},
    "ilkd_heads": HEADS,
    "samples_half": SAMPLES | IMAGE_SAMPLES,
    "layers": LAYERS,
    "layers_samples_half": LAYERS | SAMPLES | IMAGE_SAMPLES,
}
# Of an IAF of its teacher's blocks. In one stage where there is one loss, in two or
# three where others come on top.
ALONE = (1.0,), (1.0,)
THEN = (0.5, 1.0), (1.0, 0.25)
LAST = (0.75, 1.0), (1.0, 0.25)
SAMPLER_RECIPES = {
    # What there was before: end points, in x and by density.
    "end_points": {"loss/method": "x"},
    "kl": {"loss/method": "kl", "loss/transfer/warm": 0.25},
    # One term of the guided student by itself.
    "local": teaching.stages(*ALONE, local=(1.0,)),
    "path": teaching.stages(*ALONE, path_x=(1.0,), path_z=(1.0,)),
    "parameters": teaching.stages(*ALONE, parameters=(1.0,)),
    # All but one.
    "local_path": teaching.stages(
        *THEN, local=(1.0, 1.0), path_x=(0.0, 1.0), path_z=(0.0, 1.0)
    ),
    "local_kl": teaching.stages(*LAST, local=(1.0, 20.0), kl=(0.0, 1.0)),
    "parameters_kl": teaching.stages(*LAST, parameters=(1.0, 20.0), kl=(0.0, 1.0)),
    "local_then_kl": teaching.stages(*LAST, local=(1.0, 0.0), kl=(0.0, 1.0)),
    "reverse_kl_alone": {"loss/guided/forward_kl": (0.0, 0.0)},
    "forward_kl_alone": {"loss/guided/kl": (0.0, 0.0)},
    # In other units.
    "level": {"loss/guided/units": "level"},
    "plain": {"loss/guided/units": "plain"},
    # With smaller networks, and larger ones.
    **{
        f"hidden_{width}": {"model/args/hidden": (width, width)}
        for width in (32, 128, 256)
    },
}


def get_config(arg: str = "maf,bsds300"):
    words = common.parse_arg(arg, WORDS)
    if "iaf" in words:
        return _of_samplers(words)
    taught = "ilkd,smoke" if "smoke" in words else "ilkd"
    images = [name for name in IMAGES if name in words]
    if images:
        if "maf" in words:
            raise ValueError(f"recipes of {images[0]} are those of glow, not of maf")
        return _with_recipes(IMAGES[images[0]].get_config(taught), IMAGE_RECIPES)
    data = next((name for name in VECTORS if name in words), "bsds300")
    family = vectors.glow if "glow" in words else vectors.maf
    config = family(data.split("_")[0], taught)
    few = next((name for name in ROWS if name in words), None)
    if "smoke" not in words:
        for part in (config, config.teacher.config):
            _of_data(part, data)
            # Scaled down so that the whole search takes minutes on two cores.
            part.train.steps = 5000 if data == "bsds300" else 3000
            part.train.batch_size = 1024 if data == "bsds300" else 512
            part.train.eval_every = 100 if few else 500
            part.train.log_every = part.train.eval_every
    if "teacher" in words:
        return config.teacher.config
    if few:
        config.data.args.rows = ROWS[few]
        config.teacher.other_data = True  # It sees all of them.
        config.train.batch_size = min(512, ROWS[few])
    if "short" in words:
        config.train.steps = 500
    recipes = RECIPES | (OF_LAYERS if "maf" in words else {})
    if data != "bsds300":  # Whose levels would take 2 GB.
        recipes = {name: _asking_once(recipe) for name, recipe in recipes.items()}
    for name in LONGER:
        steps = longer_than(config.train.steps, name, config)
        recipes[name] = PLAIN | {"train/steps": steps}
    return _with_recipes(config, recipes)


def _asking_once(recipe):
    asks = recipe.get("loss/method") == "ilkd"
    return {**recipe, "teacher/once": True} if asks else recipe


def longer_than(steps, name, config):
    """The plain student's steps that take as long as `steps` with the teacher."""
    call = config.train.steps_per_call
    return call * round(LONGER[name] * steps / call)


def _of_data(part, data):
    if data == "power_subset":
        part.data.args.subset = True
    else:
        part.data.name = data


def _of_samplers(words):
    for other in (*IMAGES, *ROWS, "power_subset"):
        if other in words:
            raise ValueError(f"{other} is for recipes of maf and glow, not of iaf")
    data = "miniboone_small" if "miniboone_small" in words else "bsds300"
    smoke = ",smoke" * ("smoke" in words)
    family = "miniboone" if data == "miniboone_small" else data
    config = vectors.maf(family, f"iaf,guided{smoke}")
    for part in (config, config.teacher.config):
        if "smoke" not in words:
            part.data.name = data
        if "blocks=3" in words:
            part.model.args.steps = 3
    if "smoke" not in words:
        # Smaller and shorter, so that the whole search takes minutes on two cores.
        config.model.args.hidden = (64, 64)
        config.train.update(steps=4000, eval_every=1000)
    if "short" in words:
        config.train.steps = 500
    found = _with_recipes(config, SAMPLER_RECIPES)
    found.study.methods = ("guided", *SAMPLER_RECIPES)
    return found


def _with_recipes(config, recipes):
    config.study.recipes = common.ConfigDict(
        {name: common.ConfigDict(recipe) for name, recipe in recipes.items()}
    )
    config.study.methods = ("student", *common.METHODS, *recipes)
    return config
