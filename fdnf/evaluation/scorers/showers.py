"""Showers of a flow against simulated ones, as the CaloChallenge judges them.

A classifier tells samples from test rows: by the cells, and by high-level features.
Samples are given the energies and positions of the validation rows, which are no test
rows', so that none is there twice. Cells are in the detector's units, where below the
threshold is 0: what a flow does with the noise in its place is no matter.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fdnf.data import showers as simulated
from fdnf.data.tabular import SPLITS, Tabular
from fdnf.evaluation.core.scores import Result, Score
from fdnf.evaluation.models import sampler as samplers
from fdnf.evaluation.scorers.context import Context, Evaluation
from fdnf.metrics import c2st
from fdnf.metrics import showers as metrics
from fdnf.train.teachers import Trained

NAME = "showers"
# Of the test rows and of the samples, whose conditions are the validation rows'.
TEST, VAL = SPLITS.index("test"), SPLITS.index("val")
# A classifier of fewer rows learns nothing.
FEWEST = 100


class Showers(NamedTuple):
    """Showers in the detector's units.

    Attributes:
        cells: energies in GeV, `[showers, cells]`.
        conditions: energy in GeV and position of the impact, `[showers, 3]`.
    """

    cells: np.ndarray
    conditions: np.ndarray


def are(data: Any) -> bool:
    """Whether data are showers, whose cells have places."""
    return isinstance(data, Tabular) and data.name == NAME


def where(data: Tabular) -> metrics.Cells:
    """Places of the cells."""
    return metrics.Cells(*simulated.places(simulated.layout(data.dim)))


def scores(context: Context) -> Iterator[Score]:
    """AUC of two classifiers of `eval.samples` samples and as many test rows."""
    if not are(context.data):
        return
    found = drawn(context.whole, context.method, context.trained, context.run)
    yield from judged(found, context.data, context.seed)


def drawn(whole: Evaluation, method: str, trained: Trained, run: int) -> Showers:
    """Showers of a run of a model, drawn once an evaluation."""
    seed, rows = trained.config.seed + run, whole.section.samples
    return whole.once(
        ("showers", method, run), lambda: samples(trained, run, rows, seed, whole.data)
    )


def floor(evaluation: Evaluation) -> Iterator[Result]:
    """The same of validation rows in place of samples: 0.5, and its error."""
    if not are(evaluation.data):
        return
    known = of_split(evaluation.data, VAL, evaluation.section.samples)
    found = judged(known, evaluation.data, 0)
    yield evaluation.baseline("validation", found, kind="vectors")


def of_split(data: Tabular, split: int, rows: int) -> Showers:
    """The first showers of a split."""
    stored = getattr(data, SPLITS[split])[:rows]
    middle = np.full((len(stored), data.columns.noisy), 0.5, np.float32)
    cells = data.columns.decode(data.columns.dequantise(middle, stored)[0])
    return Showers(cells, _conditions(data, split, rows))


def samples(trained: Trained, run: int, rows: int, seed: int, data: Tabular) -> Showers:
    """Showers of a run, given the conditions of validation rows; not more than these.

    A sample that is not finite has no energy in its cells, and is told apart.
    """
    assert data.conditions is not None
    beside = data.conditions[VAL][:rows]
    given: Any = trained.preprocess.condition(None, jnp.asarray(beside))
    model = samplers.of(trained, run, trained.config.eval.batch_size, fold=False)
    shape = (len(beside), *trained.event)
    key = jax.random.fold_in(jax.random.key(seed), VAL)
    x, _ = model.weighed(key, shape, np.asarray(given))
    cells = np.nan_to_num(data.columns.decode(x), nan=0.0, posinf=0.0, neginf=0.0)
    return Showers(cells, _conditions(data, VAL, rows))


def judged(given: Showers, data: Tabular, seed: int) -> Iterator[Score]:
    """Both classifiers' scores of showers against test rows."""
    test = of_split(data, TEST, len(given.cells))
    if min(len(test.cells), len(given.cells)) < FEWEST:
        return
    views: Mapping[str, Any] = {
        "cells_auc": lambda each: _seen(each, data),
        "features_auc": lambda each: np.concatenate(
            [
                metrics.features(each.cells, each.conditions[:, 0], where(data)),
                each.conditions,
            ],
            axis=1,
        ),
    }
    for metric, view in views.items():
        told = c2st.c2st(view(test), view(given), seed=seed)
        yield Score(metric, told.auc, "test", n=told.rows, se=told.auc_error)


def _seen(each: Showers, data: Tabular) -> np.ndarray:
    """Cells as a flow sees them, with the same noise in each 0, and the conditions."""
    # Rounding may have a cell just below the threshold.
    least = np.array([column.unit for column in data.columns.columns])
    cells = np.where(each.cells > 0, np.maximum(each.cells, least), 0)
    stored = data.columns.store(cells)
    middle = np.full((len(stored), data.columns.noisy), 0.5, np.float32)
    y, _ = data.columns.dequantise(middle, stored)
    return np.concatenate([np.asarray(y), each.conditions], axis=1)


def _conditions(data: Tabular, split: int, rows: int) -> np.ndarray:
    assert data.conditions is not None
    columns, stored = data.condition_columns, data.conditions[split][:rows]
    return columns.decode(stored)
