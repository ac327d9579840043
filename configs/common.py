"""Sections and defaults that all experiments share, and their variants.

A config file states what differs from here. Variants are words after the colon of
`--config=configs/maf_gas.py:student,smoke`, joined by commas.
"""

from collections.abc import Callable, Sequence

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

METHODS = ("lkd", "ilkd", "skd")


def parse_arg(arg: str, known: Sequence[str]) -> set[str]:
    """The words of a config's argument.

    Raises:
      ValueError: for a word that is not known, with those that are.
    """
    words = {word for word in arg.split(",") if word}
    unknown = sorted(words - set(known))
    if unknown:
        raise ValueError(f"unknown variant {unknown}; known: {sorted(known)}")
    return words


def tabular() -> ConfigDict:
    """A flow on vectors, trained by maximum likelihood."""
    config = ConfigDict()
    # Runs have the seeds seed, seed + 1, ... and train side by side.
    config.seed = 0
    config.runs = 1
    config.role = "teacher"  # student, pretrained: its name in tables
    config.label = ""  # another name there, such as "ilkd w=0.1"

    config.model = ConfigDict({"name": "", "args": {}})
    config.data = ConfigDict({"name": "", "args": {}})

    config.optim = optim = ConfigDict()
    optim.name = "adam"  # adam, adamw, adamax
    optim.lr = 3e-3
    # constant; cosine; halved, at the fractions optim.milestones of the steps;
    # exponential, by e in optim.e_fold steps.
    optim.schedule = "cosine"
    optim.warmup = 0.05  # fraction of the steps, or a number of steps
    optim.final = 0.01  # end of cosine and exponential, as a fraction of lr
    optim.weight_decay = 0.0
    optim.b1, optim.b2, optim.eps = 0.9, 0.999, 1e-8
    optim.clip = 30.0  # global norm of the gradient, 0 for none
    optim.ema = 0.0  # decay of the average that is evaluated, 0 for none

    config.train = train = ConfigDict()
    train.steps = 30_000
    train.batch_size = 2048
    train.steps_per_call = 100
    train.pack = "auto"  # how runs share a program: map (CPU), vmap (accelerators)
    train.log_every = 500
    train.eval_every = 1000
    train.keep = 3  # newest checkpoints kept
    train.init_rows = 4096  # rows for data-dependent initialisation
    train.max_bad_steps = 500  # steps in a row that are not finite, then stop
    train.accept_changes = False  # go on though data or teacher have changed

    config.eval = evaluation = ConfigDict()
    evaluation.batch_size = 8192
    evaluation.samples = 10_000  # drawn to judge sample quality
    evaluation.temperature = 1.0
    evaluation.time_batch = 1024  # rows of the batch whose time is taken

    config.loss = loss = ConfigDict()
    loss.method = "nll"  # nll, lkd, ilkd, skd

    config.study = study = ConfigDict()
    study.methods = ("student", *METHODS)
    study.runs = 3
    # Further methods by name, each a mapping of keys (loss/args/weights) to values.
    study.recipes = ConfigDict()
    return config


def images() -> ConfigDict:
    """A flow on images, trained by maximum likelihood."""
    config = tabular()
    data = config.data
    data.n_bits = 8  # bits kept of each grey level
    data.logit = 0.0  # margin of the logit transform, 0 for none
    data.flip = False  # mirror training images
    data.conditional = False  # labels as a condition

    config.optim.lr = 1e-3
    config.loss.units = "bits_per_dim"  # of the likelihood; or nats

    train = config.train
    train.batch_size = 64
    train.steps_per_call = 10
    train.log_every = 100
    train.eval_every = 500
    train.init_rows = 256
    train.max_bad_steps = 100
    train.accumulate = 1  # parts a batch is cut into, for batches beyond memory

    evaluation = config.eval
    evaluation.batch_size = 250
    evaluation.draws = 1  # of dequantisation noise per image
    evaluation.bound = "uniform"  # or importance: log of the mean over the draws
    evaluation.samples = 2000
    evaluation.time_batch = 64
    evaluation.temperatures = (1.0, 0.7)
    # What samples are judged by: classifier (trained on the same data), vgg16,
    # inception (of the reference weights, given by `inception`).
    evaluation.extractors = ("vgg16",)
    evaluation.inception = ""
    evaluation.interpolations = 1000  # images interpolated in latent space, 0 for none
    return config


def smoke(config: ConfigDict) -> ConfigDict:
    """The same experiment in seconds, on synthetic data."""
    config.data = ConfigDict(
        {"name": "synthetic", "args": {"dim": 6, "rows": 2000, "seed": 0}}
    )
    config.train.update(
        steps=20,
        batch_size=64,
        steps_per_call=5,
        log_every=5,
        eval_every=10,
        init_rows=256,
    )
    config.eval.update(batch_size=512, samples=500, time_batch=64)
    config.study.runs = 2
    return config


def smoke_images(config: ConfigDict, channels: int = 1) -> ConfigDict:
    """The same experiment on images in seconds, on synthetic data."""
    config.data.name = "synthetic_images"
    config.data.args = ConfigDict({"channels": channels, "rows": 400})
    teacher = config.role == "teacher"
    config.model.args.update(levels=2, steps=3 if teacher else 2, hidden=8)
    config.train.update(
        steps=20,
        batch_size=16,
        steps_per_call=5,
        log_every=5,
        eval_every=10,
        init_rows=64,
    )
    config.eval.update(
        batch_size=64,
        samples=64,
        time_batch=8,
        interpolations=32,
        extractors=("classifier",),
    )
    config.study.runs = 2
    return config


IMAGE_WORDS = ("teacher", "student", "smoke", "n_bits=5", "logit", "bf16")


def image_glow(
    data: str, arg: str, teacher: dict, student: dict, channels: int = 3
) -> ConfigDict:
    """Multi-scale Glow on images.

    Args:
      data: name of the data set.
      arg: teacher or student; n_bits=5; logit (a margin of 0.05, or 1e-6 for grey
        images, as MintNet); bf16 for the arithmetic of the coupling networks; smoke.
      teacher: attributes of the teacher.
      student: attributes of the student.
      channels: of the images.
    """
    words = parse_arg(arg, IMAGE_WORDS)
    config = images()
    config.data.name = data
    config.model.name = "glow"
    config.role = "student" if "student" in words else "teacher"
    config.model.args = ConfigDict(student if "student" in words else teacher)
    config.model.args.dtype = "bfloat16" if "bf16" in words else "float32"
    if "n_bits=5" in words:
        config.data.n_bits = 5
    if "logit" in words:
        config.data.logit = 0.05 if channels == 3 else 1e-6
    return smoke_images(config, channels) if "smoke" in words else config


def maf(data: str, arg: str = "") -> ConfigDict:
    """MAF of Walton et al. (2023), table 3: teacher K=6, student K=3, hidden 32, 32."""
    words = parse_arg(arg, ("teacher", "student", "smoke"))
    config = tabular()
    config.data.name = data
    config.model.name = "maf"
    config.role = "student" if "student" in words else "teacher"
    steps = 3 if "student" in words else 6
    config.model.args = ConfigDict({"steps": steps, "hidden": (32, 32)})
    return smoke(config) if "smoke" in words else config


def glow(data: str, arg: str = "") -> ConfigDict:
    """Tabular Glow of Walton et al. (2023): teacher K=5 h=64, student K=3 h=32."""
    words = parse_arg(arg, ("teacher", "student", "smoke"))
    config = tabular()
    config.data.name = data
    config.optim.lr = 2e-3
    config.train.steps = 15_000
    config.train.batch_size = 1024
    config.model.name = "glow_tabular"
    student = "student" in words
    config.role = "student" if student else "teacher"
    config.model.args = ConfigDict(
        {"steps": 3 if student else 5, "hidden": 32 if student else 64}
    )
    return smoke(config) if "smoke" in words else config


def distill(get_config: Callable[[str], ConfigDict], arg: str = "") -> ConfigDict:
    """A student of `get_config`'s flow, taught by its teacher.

    Args:
      get_config: of the file that has both, as `get_config("student")` and
        `get_config("teacher")`.
      arg: the method (lkd, ilkd, skd; default ilkd), "official" for the released
        code's weights and distance instead of the paper's, and what `get_config`
        knows beside "teacher" and "student".
    """
    own = (*METHODS, "paper", "official")
    # Other words are those of the flows.
    rest = ",".join(word for word in arg.split(",") if word and word not in own)
    words = {word for word in arg.split(",") if word}
    chosen = [method for method in METHODS if method in words] or ["ilkd"]
    if len(chosen) > 1:
        raise ValueError(f"give one method of {METHODS}, not {chosen}")
    if {"teacher", "student"} & words:
        raise ValueError(f"a distilled student is both, give a method of {METHODS}")
    suffix = f",{rest}" if rest else ""
    config = get_config("student" + suffix)

    config.teacher = teacher = ConfigDict()
    # A trained teacher's workdir or, if that is empty, the config of one to train
    # first, into <workdir>/teacher.
    teacher.workdir = ""
    teacher.config = get_config("teacher" + suffix)
    teacher.samples = 0  # rows drawn from the teacher as further training data,
    teacher.share = 0.5  # and their share of each batch
    teacher.other_data = False  # whether it may learn other rows than the student

    units = config.loss.get("units")
    config.loss = loss = ConfigDict()
    loss.method = chosen[0]
    if units:
        loss.units = units
    loss.preset = "official" if "official" in words else "paper"
    # Arguments of fdnf.losses.distillation.combined, over those of the preset:
    # weights, latents, distance, sample_distance, reduction, pairs, over_levels, parts,
    # limit.
    # None leaves what the preset says.
    loss.args = ConfigDict(
        {
            "weights": placeholder(tuple),
            "latents": placeholder(str),
            "distance": placeholder(str),
            "reduction": placeholder(str),
            "pairs": placeholder(object),
            "over_levels": placeholder(str),
            "sample_distance": placeholder(str),
            "parts": placeholder(str),
            "limit": placeholder(float),
            "screen_student": placeholder(bool),
        }
    )
    # The distillation terms fade out linearly between these fractions of training.
    loss.fade = (1.0, 1.0)
    loss.skd = skd = ConfigDict()
    skd.start = 0.3  # fraction of training before which only latents are compared
    skd.batch = 256
    skd.temperature = 1.0
    skd.reach = 3.0  # samples beyond this multiple of the data's largest |x| are out
    if config.model.name == "glow":
        # The student's 1x1 convolutions take over the teacher's permutations.
        teacher.inherit_permutations = False
        skd.batch = 16
        skd.temperature = 0.7
    if "smoke" in words:
        skd.batch = 16
    return config
