"""Spline MAF of the posterior of a simulator, or of its likelihood.

python -m fdnf.main --config=configs/maf_sbi.py:slcp --workdir=runs/slcp

p(parameters | simulation), or the other way round, of one of six tasks of sbibm
(`data/sbi.py`), 10,000 simulations, a tenth of which validate. What their samples are
worth against the exact posterior, beside the published figures, says the study
`python -m fdnf.experiments.sbi.study`, with ensembles and students of its own.
"""

from ml_collections import ConfigDict

from configs import common, teaching

TASKS = common.Choice(
    (
        *("two_moons", "gaussian_mixture", "gaussian_linear"),
        *("gaussian_linear_uniform", "bernoulli_glm", "slcp"),
    )
)
OF = common.Choice(("posterior", "likelihood"))
WORDS = (
    TASKS,
    OF,
    common.Choice((*common.FLOWS.words, "iaf")),
    common.PRESET,
    teaching.GUIDED_IAF,
    common.SMOKE,
)
# The affine map moves a parameter with the simulation, the spline gives it its peaks.
SPLINE = {"name": "compose", "parts": ("affine", "spline")}
STEPS = {"teacher": 4, "student": 2}


def get_config(arg: str = "") -> ConfigDict:
    """A flow of a task, a smaller one, or one that the first teaches.

    Args:
      arg: a task (the default is two_moons); posterior (the default) or likelihood;
        teacher; student; lkd, ilkd, skd, with official; iaf, with a method of
        `teaching.GUIDED_IAF`; smoke.
    """
    words = common.parse_arg(arg, WORDS)
    task = next((word for word in TASKS.words if word in words), TASKS.words[0])
    of = "x" if "likelihood" in words else "theta"

    def make(role: str) -> ConfigDict:
        return _flow(task, of, role, "smoke" in words)

    if "iaf" in words:
        config = teaching.iaf(make("student"), make("teacher"), words)
        # Taught by a loss of samples, which says nothing of overfitting.
        config.train.early_stop = 0
        return config
    return teaching.flow(make, words)


def _flow(task: str, of: str, role: str, smoke: bool) -> ConfigDict:
    config = common.tabular()
    config.role = role
    config.model.name = "maf"
    config.model.args = ConfigDict(
        {"steps": STEPS[role], "hidden": (64, 64), "transformer": SPLINE}
    )
    config.data.name = "sbi"
    config.data.args = ConfigDict({"task": task, "of": of})
    config.optim.lr = 1e-3
    config.optim.ema = 0.998
    config.train.update(steps=4_000, batch_size=256, eval_every=200)
    # The best validation of so few rows comes early.
    config.train.early_stop = 5
    if smoke:
        return common.smoke(config)
    return config
