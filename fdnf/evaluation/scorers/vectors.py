"""How well samples of vectors match the test rows."""

from collections.abc import Iterator

import jax
import numpy as np

from fdnf.data.tabular import Tabular
from fdnf.evaluation.core.scores import Result, Score
from fdnf.evaluation.models import sampler as samplers
from fdnf.evaluation.scorers.context import Context, Evaluation
from fdnf.metrics import two_sample
from fdnf.train.teachers import Trained

# A sample is exploded beyond this multiple of the largest |x| of the training rows.
REACH = 3.0
# Rows of each side of the energy distance, whose cost is quadratic.
FEW = 2500


def scores(context: Context) -> Iterator[Score]:
    """Distances of `eval.samples` samples to the test rows, and how many exploded."""
    drawn = samples(context.trained, context.run, context.section.samples, context.seed)
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
    found = distances(data.train[picked], data, seed)
    yield evaluation.baseline("training", found, kind="vectors")


def samples(trained: Trained, run: int, rows: int, seed: int) -> np.ndarray:
    """`[rows, dim]` samples of one run at the config's `eval.temperature`.

    All methods of a seed get the same latents.
    """
    model = samplers.of(trained, run, fold=False)
    shape, temperature = (rows, *trained.event), trained.config.eval.temperature
    return model.rows(jax.random.key(seed), shape, temperature)


def exploded(samples: np.ndarray, data: Tabular) -> np.ndarray:
    """`[rows]`, True where a sample is not finite or far beyond all training rows.

    A handful of such rows would be all that a distance of samples shows. They are
    left out of it, and their share is reported beside it.
    """
    limit = REACH * np.abs(data.train).max()
    return ~np.all(np.abs(samples) <= limit, axis=1)


def distances(samples: np.ndarray, data: Tabular, seed: int) -> Iterator[Score]:
    """Distances of samples to test rows, of which equally many are drawn."""
    rows = np.random.default_rng(seed).permutation(len(data.test))[: len(samples)]
    if len(samples) < 2 or len(rows) < 2:
        return
    test = data.test[np.sort(rows)]
    sliced = two_sample.sliced_wasserstein(samples, test)
    energy = two_sample.energy_distance(samples[:FEW], test[:FEW])
    yield Score("sliced_wasserstein", sliced, "test", n=len(samples))
    yield Score("energy_distance", energy, "test", n=min(len(samples), FEW))
