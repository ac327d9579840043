"""How well samples of vectors match the test rows.

Rows and samples are compared as the flow sees them: columns of a table are
standardised, or transformed, so that all count alike. Samples of a conditional flow are
given the conditions of the test rows, so that all of both are compared.
"""

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from fdnf.data.tabular import Tabular
from fdnf.evaluation.core.scores import Result, Score
from fdnf.evaluation.models import sampler as samplers
from fdnf.evaluation.scorers.context import Context, Evaluation
from fdnf.metrics import two_sample
from fdnf.train import weights as of_rows
from fdnf.train.teachers import Trained

# A sample is exploded beyond this multiple of the largest |x| of the training rows.
REACH = 3.0
_TEST = 2  # The split.
# Rows of each side of the energy distance, whose cost is quadratic.
FEW = 2500


def scores(context: Context) -> Iterator[Score]:
    """Distances of `eval.samples` samples to the test rows, and how many exploded."""
    rows = context.section.samples
    drawn = samples(context.trained, context.run, rows, context.seed, context.data)
    kept = drawn[~exploded(drawn, context.data)]
    share = 100.0 * (1.0 - len(kept) / len(drawn))
    yield Score("exploded_percent", share, "test", n=len(drawn))
    yield from distances(kept, context.data, context.seed)


def floor(evaluation: Evaluation) -> Iterator[Result]:
    """The same distances of training rows to test rows: what is reachable."""
    data, seed = evaluation.data, 0
    rng = np.random.default_rng(seed)
    size = min(evaluation.section.samples, len(data.test), len(data.train))
    picked = rng.choice(len(data.train), size, replace=False)
    found = distances(seen(data, "train")[picked], data, seed)
    yield evaluation.baseline("training", found, kind="vectors")


def samples(
    trained: Trained, run: int, rows: int, seed: int, data: Tabular | None = None
) -> np.ndarray:
    """`[rows, dim]` samples of one run at the config's `eval.temperature`.

    All methods of a seed get the same latents.

    Args:
        trained: the flow.
        run: which of its runs.
        rows: how many.
        seed: of the latents.
        data: of whose test rows a conditional flow gets the conditions; see `chosen`.
    """
    model = samplers.of(trained, run, fold=False)
    shape, temperature = (rows, *trained.event), trained.config.eval.temperature
    cond = None
    if data is not None and data.conditions is not None:
        beside = data.conditions[_TEST][chosen(data, rows)]
        given: Any = trained.preprocess.condition(None, jax.numpy.asarray(beside))
        cond = np.asarray(given)
    return model.rows(jax.random.key(seed), shape, temperature, cond)


def chosen(data: Tabular, rows: int) -> np.ndarray:
    """Numbers of test rows, each as often as its weight says; all of them in turn."""
    weights = of_rows.of(data, _TEST)
    return np.resize(of_rows.in_proportion(weights, len(data.test)), rows)


def seen(data: Tabular, split: str) -> np.ndarray:
    """Rows of a split as a flow sees them, whole numbers with noise."""
    stored = getattr(data, split)
    if data.columns is None:
        return stored
    return np.asarray(data.columns.encode(jax.random.key(0), stored)[0])


def exploded(samples: np.ndarray, data: Tabular) -> np.ndarray:
    """`[rows]`, True where a sample is not finite or far beyond all training rows.

    A handful of such rows would be all that a distance of samples shows. They are
    left out of it, and their share is reported beside it.
    """
    limit = REACH * np.abs(seen(data, "train")).max()
    return ~np.all(np.abs(samples) <= limit, axis=1)


def distances(samples: np.ndarray, data: Tabular, seed: int) -> Iterator[Score]:
    """Distances of samples to test rows, of which equally many are drawn."""
    rows = np.random.default_rng(seed).permutation(len(data.test))[: len(samples)]
    if len(samples) < 2 or len(rows) < 2:
        return
    test = seen(data, "test")[chosen(data, len(data.test))[np.sort(rows)]]
    sliced = two_sample.sliced_wasserstein(samples, test)
    energy = two_sample.energy_distance(samples[:FEW], test[:FEW])
    yield Score("sliced_wasserstein", sliced, "test", n=len(samples))
    yield Score("energy_distance", energy, "test", n=min(len(samples), FEW))
