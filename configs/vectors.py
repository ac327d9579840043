"""MAF and Glow on vectors, at the sizes of Walton et al. (2023), and other flows there.

`maf_*.py`, `glow_*.py`, `iresnet_*.py` and `continuous_*.py` of tabular data name a
data set, and state what was measured there.
"""

from ml_collections import ConfigDict

from configs import common, teaching

MODELS = {
    # Table 3.
    "maf": {
        "teacher": {"steps": 6, "hidden": (32, 32)},
        "student": {"steps": 3, "hidden": (32, 32)},
    },
    "glow_tabular": {
        "teacher": {"steps": 5, "hidden": 64},
        "student": {"steps": 3, "hidden": 32},
    },
    # Between those two in weights.
    "iresnet": {
        "teacher": {"steps": 8, "hidden": (64, 64)},
        "student": {"steps": 4, "hidden": (32, 32)},
    },
    # As many levels as its student has couplings.
    "continuous": {"teacher": {"hidden": (128, 128, 128), "levels": 8, "steps": 2}},
}
# MAFs that are no paper's: heavy tails by a spline of each column for itself, after
# linear maps; on most data a spline in place of the affine map, which sees the columns
# before. As many weights as the affine teacher, or fewer, on BSDS300.
SPLINE = {"name": "spline", "bins": 8, "box": 4.0}
VARIANTS = {
    "lu": {"steps": 3, "hidden": (32, 32), "mixing": "lu"},
    "spline": {
        "steps": 3,
        "hidden": (32, 32),
        "transformer": {"name": "compose", "parts": ("affine", SPLINE)},
        "mixing": "lu",
    },
    ("spline", "bsds300"): {
        "steps": 3,
        "hidden": (40, 40),
        "marginal": {"name": "spline", "bins": 5, "box": 5.0},
        "mixing": "lu",
    },
}
TEACHERS = ("lu", "spline")
TOYS = ("two_moons", "rings", "checkerboard", "eight_gaussians")
# By model and data; the others train as long as `common.tabular` and `glow` say.
LENGTHS = {
    # Longer only overfits: the best validation comes early.
    ("maf", "miniboone"): {"steps": 5000, "eval_every": 200, "log_every": 200},
    ("glow_tabular", "miniboone"): {"steps": 5000, "eval_every": 200, "log_every": 200},
    # A minute on two cores.
    **{
        (model, toy): {"steps": steps, "batch_size": 512, "eval_every": 500}
        for model, steps in (("maf", 5000), ("realnvp", 5000), ("continuous", 10_000))
        for toy in TOYS
    },
    # Teacher and two students in three minutes on two cores.
    ("maf", "patches"): {"steps": 5000, "batch_size": 1024, "eval_every": 500},
    ("iresnet", "patches"): {"steps": 4000, "batch_size": 512, "eval_every": 500},
    ("glow_tabular", "patches"): {"steps": 4000, "batch_size": 512, "eval_every": 500},
}
# A student of a continuous flow: couplings, as fast in both directions.
COUPLINGS = {
    "steps": 8,
    "hidden": (64, 64),
    "transformer": SPLINE,
    "partition": "half",
    "mixing": "lu",
    "conditioner": "residual",
}
# Of a Glow by spline couplings, beside its steps and widths.
SPLINE_COUPLINGS = {
    "transformer": SPLINE,
    "conditioner": "residual",
    "depth": 2,
    "plu": True,
}
IRESNET_WORDS = (common.FLOWS, common.PRESET, common.SMOKE)
CONTINUOUS_WORDS = (
    common.Choice((*common.FLOWS.words, "pairs")),
    common.PRESET,
    common.Choice(teaching.PAIRS, ("pairs",)),
    common.SMOKE,
)
GLOW_WORDS = (*IRESNET_WORDS, common.Choice(("spline",)))
MAF_WORDS = (
    common.Choice((*common.FLOWS.words, "iaf")),
    common.Choice(tuple(TEACHERS)),
    common.PRESET,
    teaching.GUIDED_IAF,
    common.SMOKE,
)


def maf(data: str, arg: str = "") -> ConfigDict:
    """A MAF (K=6, hidden 32, 32), its MAF of half the size, or an IAF of that size.

    Args:
      data: name of the data set.
      arg: teacher; student; lkd, ilkd, skd, with official; iaf, with a method of
        `teaching.GUIDED_IAF`; lu or spline, another teacher, see `VARIANTS`, alone or
        of an iaf; smoke.
    """
    words = common.parse_arg(arg, MAF_WORDS)
    variant = next((word for word in TEACHERS if word in words), "")
    for other in common.FLOWS.words:
        if variant and other in words:
            raise ValueError(f"{other} and {variant} exclude each other; give one")

    def make(role: str) -> ConfigDict:
        config = _flow("maf", data, role, "smoke" in words)
        if variant and role == "teacher":
            found = VARIANTS.get((variant, data), VARIANTS[variant])
            config.model.args = ConfigDict(found)
            config.label = "" if "iaf" in words else variant
        return config

    if "iaf" in words:
        return teaching.iaf(make("student"), make("teacher"), words)
    return teaching.flow(make, words)


def glow(data: str, arg: str = "") -> ConfigDict:
    """A Glow (K=5, hidden 64), or a smaller one (K=3, hidden 32).

    Args:
      data: name of the data set.
      arg: teacher; student; lkd, ilkd, skd, with official; spline, both by spline
        couplings; smoke.
    """
    words = common.parse_arg(arg, GLOW_WORDS)

    def make(role: str) -> ConfigDict:
        config = _flow("glow_tabular", data, role, "smoke" in words)
        if "spline" in words:
            # Students are named by how they are taught.
            config.label = "spline" if role == "teacher" else ""
            config.model.args.update(ConfigDict(SPLINE_COUPLINGS))
            config.optim.lr = 1e-3
        return config

    return teaching.flow(make, words)


def iresnet(data: str, arg: str = "") -> ConfigDict:
    """An i-ResNet (K=8, hidden 64, 64), or a smaller one (K=4, hidden 32, 32).

    Args:
      data: name of the data set.
      arg: teacher; student; lkd, ilkd, skd, with official; smoke.
    """
    words = common.parse_arg(arg, IRESNET_WORDS)

    def make(role: str) -> ConfigDict:
        return _flow("iresnet", data, role, "smoke" in words)

    return teaching.flow(make, words)


def continuous(data: str, arg: str = "") -> ConfigDict:
    """A continuous flow by flow matching, or couplings, which it may teach.

    Args:
      data: name of the data set.
      arg: teacher; student, couplings by likelihood; lkd, ilkd, skd, with official, the
        same taught; pairs, taught by regression alone, of x (the default) or oracle;
        smoke.
    """
    words = common.parse_arg(arg, CONTINUOUS_WORDS)

    def make(role: str) -> ConfigDict:
        smoke = "smoke" in words
        if role == "student":
            config = _flow("realnvp", data, role, smoke)
            config.model.args = ConfigDict(COUPLINGS)
            if smoke:
                config.model.args.update(steps=2, hidden=(8, 8))
            config.optim.lr = 1e-3
            return config
        config = _flow("continuous", data, role, smoke)
        if smoke:
            config.model.args.update(hidden=(8, 8), steps=2, levels=2)
        config.loss.method = "flow_matching"
        config.optim.lr = 1e-3
        config.optim.ema = 0.999
        return config

    if "pairs" in words:
        return teaching.pairs(make("student"), make("teacher"), words)
    return teaching.flow(make, words)


def _flow(model: str, data: str, role: str, smoke: bool) -> ConfigDict:
    config = common.tabular()
    config.data.name = data
    config.role = role
    config.model.name = model
    config.model.args = ConfigDict(MODELS.get(model, {}).get(role, {}))
    if model == "glow_tabular":
        config.optim.lr = 2e-3
        config.train.update(steps=15_000, batch_size=1024)
    if smoke:
        return common.smoke(config)
    config.train.update(LENGTHS.get((model, data), {}))
    return config
