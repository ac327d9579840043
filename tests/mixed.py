"""A small table of unlike columns, with two conditions and weights."""

import functools

import numpy as np

from fdnf.data import tabular
from fdnf.data.tabular import Tabular
from fdnf.transforms import Columns, choose
from tests import tiny

NAMES = ("price", "count", "share")
GIVEN = ("age", "size")


def units(rows: int = 160, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Rows and conditions in the user's units.

    A lognormal of thousands, whole numbers, and shares of a whole; the first two follow
    the conditions.
    """
    rng = np.random.default_rng(seed)
    cond = rng.normal([40.0, 5000.0], [10.0, 800.0], (rows, 2))
    unit = (cond - [40.0, 5000.0]) / [10.0, 800.0]
    price = 1e4 * np.exp(unit[:, 0] + 0.5 * rng.normal(size=rows))
    count = np.round(10 + 4 * unit[:, 1] + 2 * rng.normal(size=rows))
    share = rng.beta(2.0, 3.0, rows)
    return np.stack([price, count, share], axis=1), cond


@functools.cache
def columns(rows: int = 160) -> tuple[Columns, Columns]:
    """Transforms of the rows and of the conditions."""
    x, cond = units(rows)
    kinds = (("log", {}), ("integer", {}), ("box", {"low": 0.0, "high": 1.0}))
    of_rows = [
        choose(name, x[:, i], kind=kind, **given)[0]
        for i, (name, (kind, given)) in enumerate(zip(NAMES, kinds, strict=True))
    ]
    of_conditions = [
        choose(name, cond[:, i], kind="standardise")[0] for i, name in enumerate(GIVEN)
    ]
    return Columns(tuple(of_rows)), Columns(tuple(of_conditions))


def table(rows: int = 160, weighed: bool = True, cond: bool = True) -> Tabular:
    """The table in three splits; for configs, "tests.mixed:table"."""
    x, given = units(rows)
    of_rows, of_conditions = columns(rows)
    first, second = rows // 2, 3 * rows // 4
    cuts = (slice(0, first), slice(first, second), slice(second, rows))
    weights = np.where(np.arange(rows) % 4 == 0, 0.0, np.arange(rows) % 4 / 1.5)
    weights = weights / weights[cuts[0]].mean()
    stored = [of_rows.store(x[cut]) for cut in cuts]
    beside = [of_conditions.store(given[cut]) for cut in cuts]
    counts = [weights[cut].astype(np.float32) for cut in cuts]
    return tabular.validate(
        Tabular(
            "mixed",
            *stored,
            source="drawn here",
            conditions=tuple(beside) if cond else None,
            weights=tuple(counts) if weighed else None,
            columns=of_rows,
            condition_columns=of_conditions if cond else None,
        )
    )


def config(method: str = "nll", **train):
    """`tiny.config` on the table."""
    built = tiny.config(method, **train)
    built.data = {"name": "tests.mixed:table", "args": {}}
    if method != "nll":
        built.teacher.config.data = built.data
    return built
