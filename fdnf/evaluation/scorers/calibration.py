"""Calibration of conditional flows, column by column: PIT, coverage, CRPS.

Each test row has draws for its condition, in the table's units; rows are there as often
as they count. Of a flow of one column
the PIT is its own distribution function at the row.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fdnf.data.tabular import SPLITS, Tabular
from fdnf.evaluation.core.scores import Score
from fdnf.evaluation.models import sampler as samplers
from fdnf.evaluation.models.sampler import Sampler
from fdnf.evaluation.scorers import vectors
from fdnf.evaluation.scorers.context import Context, Evaluation
from fdnf.flows.base import FlowModule
from fdnf.metrics import calibration
from fdnf.train.teachers import Trained

TEST = SPLITS.index("test")
# Draws of a row; of fewer rows, and of more columns, nothing is said; and numbers drawn
# at most.
DRAWS, FEWEST, MOST, NUMBERS = 100, 200, 12, 2_000_000
LEVELS = (50, 90)
# The column of which point estimates are judged as redshifts.
REDSHIFT = "redshift"
# Of the seed's key: its draws, apart from other samples.
_STREAM = 11


class Calibration(NamedTuple):
    """Test rows against what a model says of them, given their conditions.

    Attributes:
        names: of the columns.
        pit: `[rows, columns]`.
        crps: `[rows, columns]`, in each column's unit.
        median: of the draws, `[rows, columns]`.
        x: the test rows, `[rows, columns]`.
    """

    names: tuple[str, ...]
    pit: np.ndarray
    crps: np.ndarray
    median: np.ndarray
    x: np.ndarray


def scores(context: Context) -> Iterator[Score]:
    """CRPS, PIT and coverage of each column, of a conditional flow of a table."""
    found = of(context.whole, context.method, context.trained, context.run)
    if found is None:
        return
    rows = len(found.x)
    for index, name in enumerate(found.names):
        values = found.crps[:, index]
        error = float(values.std(ddof=1)) / rows**0.5
        mean = float(values.mean())
        yield Score("crps", mean, "test", item=name, n=rows, se=error)
        told = calibration.uniformity(found.pit[:, index])
        yield Score("pit_ks", told.ks, "test", item=name, n=rows)
        yield Score("pit_ks", told.ks_p, "test", "p", item=name, n=rows)
        for level in LEVELS:
            share = 100 * calibration.coverage(found.pit[:, index], level / 100)
            yield Score(f"coverage_{level}", share, "test", item=name, n=rows)
        if name == REDSHIFT:
            point = calibration.redshifts(found.median[:, index], found.x[:, index])
            for metric, value in point._asdict().items():
                value = 100 * value if metric == "outliers" else value
                yield Score(f"redshift_{metric}", value, "test", item=name, n=rows)


def of(
    whole: Evaluation, method: str, trained: Trained, run: int
) -> Calibration | None:
    """Calibration of a run, once an evaluation; None of what has no conditions.

    Nor is there one of few test rows, or of more columns than a table can show.
    """
    data = whole.data
    if not isinstance(data, Tabular) or data.conditions is None:
        return None
    rows = min(len(data.test), whole.section.samples, NUMBERS // (DRAWS * data.dim))
    if rows < FEWEST or data.dim > MOST:
        return None
    return whole.once(
        ("calibration", method, run),
        lambda: _measured(trained, run, data, rows, trained.config.seed + run),
    )


def _measured(
    trained: Trained, run: int, data: Tabular, rows: int, seed: int
) -> Calibration:
    assert data.conditions is not None
    names = tuple(f"column {i}" for i in range(data.dim))
    if data.columns is not None:
        names = data.columns.names
    picked = vectors.chosen(data, rows)
    stored, beside = data.test[picked], data.conditions[TEST][picked]
    prepared: Any = trained.preprocess
    cond = np.asarray(prepared.condition(None, jnp.asarray(beside)))
    size = trained.config.eval.batch_size
    model = samplers.of(trained, run, size, fold=False)
    key = jax.random.fold_in(jax.random.key(seed), _STREAM)
    shape = (rows * DRAWS, data.dim)
    drawn, _ = model.weighed(key, shape, np.repeat(cond, DRAWS, axis=0))
    y = prepared.plain_rows(stored)
    draws = prepared.given_back(jnp.asarray(drawn)).reshape(rows, DRAWS, data.dim)
    x = prepared.given_back(y)
    each = range(data.dim)
    pit = [calibration.pit(draws[..., i], x[:, i], seed) for i in each]
    if data.dim == 1 and isinstance(model.flow, FlowModule) and not prepared.noisy:
        pit = [_by_latents(model, np.asarray(y), cond)]
    return Calibration(
        names,
        np.stack(pit, axis=1),
        np.stack([calibration.crps(draws[..., i], x[:, i]) for i in each], axis=1),
        np.median(draws, axis=1),
        x,
    )


def _by_latents(model: Sampler, y: np.ndarray, cond: np.ndarray) -> np.ndarray:
    """Phi(z) of a flow of one column, which grows with it, or falls."""
    no_noise = jax.random.key(0)
    plain = model._replace(preprocess=samplers.AS_IT_IS)
    z, above = (
        plain.encode(each, no_noise, cond)[0].reshape(-1) for each in (y, y + 1.0)
    )
    return calibration.pit_of_latents(np.where(above >= z, z, -z))
