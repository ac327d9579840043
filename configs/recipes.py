"""The search for a recipe with which a distilled student beats the plain one.

python -m fdnf.main --mode=study --config=configs/recipes.py:maf,bsds300 \
    --workdir=runs/recipes

All students have the same size, number of steps and seeds; each recipe differs from
the plain student in what its overrides say. With `few`, students see 2,000 training
rows and their teacher all of them.
"""

from configs import (
    common,
    glow_bsds300_distill,
    glow_digits_distill,
    glow_fashion_mnist_distill,
    glow_miniboone_distill,
    maf_bsds300_distill,
    maf_miniboone_distill,
)

FILES = {
    ("maf", "bsds300"): maf_bsds300_distill,
    ("maf", "miniboone_small"): maf_miniboone_distill,
    ("glow", "bsds300"): glow_bsds300_distill,
    ("glow", "miniboone_small"): glow_miniboone_distill,
}
IMAGES = {
    "digits": glow_digits_distill,
    "fashion_mnist": glow_fashion_mnist_distill,
}

# Keys are paths in the config, with slashes: ConfigDict keys may not hold dots.
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
    # No distillation term: likelihood on batches of which a part is the teachers'
    # samples.
    "samples_quarter": {
        "loss/method": "lkd",
        "loss/args/weights": (1.0, 0.0, 0.0),
        "teacher/samples": 200_000,
        "teacher/share": 0.25,
    },
    "samples_half": {
        "loss/method": "lkd",
        "loss/args/weights": (1.0, 0.0, 0.0),
        "teacher/samples": 200_000,
        "teacher/share": 0.5,
    },
    "samples_all": {
        "loss/method": "lkd",
        "loss/args/weights": (1.0, 0.0, 0.0),
        "teacher/samples": 200_000,
        "teacher/share": 1.0,
    },
}


IMAGE_RECIPES = {
    # The student's fixed channel permutations are the teacher's, composed.
    "ilkd_inherit": {"loss/method": "ilkd", "teacher/inherit_permutations": True},
    # What each level splits off is compared too.
    "ilkd_both": {"loss/method": "ilkd", "loss/args/parts": "both"},
    "lkd_both": {"loss/method": "lkd", "loss/args/parts": "both"},
    "ilkd_l2": {"loss/method": "ilkd", "loss/preset": "official"},
    # Half of each batch is teacher samples.
    "samples_half": {
        "loss/method": "lkd",
        "loss/args/weights": (1.0, 0.0, 0.0),
        "teacher/samples": 20_000,
        "teacher/share": 0.5,
    },
}


def get_config(arg: str = "maf,bsds300"):
    words = common.parse_arg(
        arg,
        ("maf", "glow", "bsds300", "miniboone_small", *IMAGES, "few", "short", "smoke"),
    )
    images = [name for name in IMAGES if name in words]
    if images:
        config = IMAGES[images[0]].get_config("smoke" if "smoke" in words else "")
        return _with_recipes(config, IMAGE_RECIPES)
    arch = "glow" if "glow" in words else "maf"
    data = "miniboone_small" if "miniboone_small" in words else "bsds300"
    config = FILES[arch, data].get_config("smoke" if "smoke" in words else "")
    if "smoke" not in words:
        for part in (config, config.teacher.config):
            part.data.name = data
            # Scaled down so that the whole search takes minutes on two cores.
            part.train.steps = 5000 if data == "bsds300" else 3000
            part.train.batch_size = 1024 if data == "bsds300" else 512
            part.train.eval_every = 100 if "few" in words else 500
            part.train.log_every = part.train.eval_every
    if "few" in words:
        config.data.args.rows = 2000
        config.teacher.other_data = True  # It sees all of them.
        config.train.batch_size = 512
    if "short" in words:
        config.train.steps = 500
    return _with_recipes(config, RECIPES)


def _with_recipes(config, recipes):
    config.study.recipes = common.ConfigDict(
        {name: common.ConfigDict(recipe) for name, recipe in recipes.items()}
    )
    config.study.methods = ("student", *common.METHODS, *recipes)
    return config
