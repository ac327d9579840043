"""A flow of the user's own table, its columns read by name and scaled by themselves.

python -m fdnf.main --config=configs/table.py --config.data.path=rows.csv
    --workdir=runs/rows

CSV, Parquet, .npy or .npz. What can be said of the table beside `path`, all of it as
--config.data.KEY: `columns` (all by default), `conditions`, `weights`, by name with
commas between; `transforms`, "{'age': 'integer'}", where the one chosen is not meant;
`fractions` and `seed` of the splits, or `split`, a column that says train, val or test;
`missing=drop`. What was chosen for each column is said before training. Densities and
samples are in the table's own units.
"""

from ml_collections import ConfigDict

from configs import common, teaching

# Columns of a table have more than one peak, hence splines; outside of their box, and
# where a condition moves a column, the affine map before them does the work.
SPLINE = {"name": "compose", "parts": ("affine", "spline")}
MODELS = {
    "maf": {
        "teacher": {"steps": 4, "hidden": (32, 32), "transformer": SPLINE},
        "student": {"steps": 2, "hidden": (32, 32), "transformer": SPLINE},
    },
    "realnvp": {
        "teacher": {"steps": 4, "hidden": (64, 64), "transformer": "spline"},
        "student": {"steps": 2, "hidden": (64, 64), "transformer": "spline"},
    },
}
WORDS = (
    common.Choice(("maf", "coupling")),
    common.Choice((*common.FLOWS.words, "iaf")),
    common.PRESET,
    teaching.GUIDED_IAF,
    common.SMOKE,
)


def get_config(arg: str = "") -> ConfigDict:
    """A flow of the table, a smaller one, or one that the first teaches.

    Args:
      arg: maf, autoregressive (the default), or coupling, as fast in both directions;
        teacher; student; lkd, ilkd, skd, with official; iaf (of a maf), with a method
        of `teaching.GUIDED_IAF`; smoke, which takes seconds.
    """
    words = common.parse_arg(arg, WORDS)
    if {"coupling", "iaf"} <= words:
        raise ValueError("'iaf' goes with maf: a coupling flow samples in one pass")
    model = "realnvp" if "coupling" in words else "maf"

    def make(role: str) -> ConfigDict:
        return _flow(model, role, "smoke" in words)

    if "iaf" in words:
        config = teaching.iaf(make("student"), make("teacher"), words)
        # Taught by a loss of samples, which says nothing of overfitting.
        config.train.early_stop = 0
        return config
    return teaching.flow(make, words)


def _flow(model: str, role: str, smoke: bool) -> ConfigDict:
    config = common.tabular()
    config.role = role
    config.model.name = model
    config.model.args = ConfigDict(MODELS[model][role])
    config.data.name = "table"
    config.data.args = ConfigDict({"path": ""})
    config.optim.lr = 1e-3
    # The best validation of a small table comes early, at a rate at which quantiles
    # still move by 2 % from step to step; those of the average do not.
    config.optim.ema = 0.998
    config.train.update(steps=10_000, batch_size=512, eval_every=500)
    config.train.early_stop = 10
    if smoke:
        common.few_steps(config, batch_size=64, init_rows=256)
        config.eval.update(batch_size=512, samples=500, time_batch=64, time_batches=())
        config.study.runs = 2
    return config
