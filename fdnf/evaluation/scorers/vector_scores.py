"""How well samples of vectors match the test rows."""

from typing import Any

import numpy as np

from fdnf.data.tabular import Tabular
from fdnf.evaluation.tasks import sampling
from fdnf.metrics import two_sample
from fdnf.train.teachers import Trained

# A sample is exploded beyond this multiple of the largest |x| of the training rows.
REACH = 3.0


class Judge:
    """Distances of a flow's samples to the test rows."""

    def __init__(self, data: Tabular, evaluation: Any):
        """Takes the data and the `eval` section."""
        self.data, self.evaluation = data, evaluation

    def __call__(self, trained: Trained, run: int, seed: int) -> dict[str, Any]:
        """Fields of the run's record; all methods of a seed get the same latents."""
        drawn = sampling.samples(trained, run, self.evaluation.samples, seed)
        kept = drawn[~exploded(drawn, self.data)]
        share = 100.0 * (1.0 - len(kept) / len(drawn))
        found = distances(kept, self.data, seed)
        return {"metrics": {**found, "exploded_percent": share}}

    def footnote(self) -> str:
        """What is to be said below the tables."""
        found = floor(self.data, self.evaluation.samples)
        numbers = ", ".join(f"{k.replace('_', ' ')} {v:.4g}" for k, v in found.items())
        return (
            "\nFloor of the distances, training rows against test rows of the same "
            f"numbers: {numbers}.\n"
        )


def exploded(samples: np.ndarray, data: Tabular) -> np.ndarray:
    """`[rows]`, True where a sample is not finite or far beyond all training rows.

    A handful of such rows would be all that a distance of samples shows. They are
    left out of it, and their share is reported beside it.
    """
    limit = REACH * np.abs(data.train).max()
    return ~np.all(np.abs(samples) <= limit, axis=1)


def distances(samples: np.ndarray, data: Tabular, seed: int) -> dict[str, float]:
    """Distances of samples to test rows, of which equally many are drawn."""
    rows = np.random.default_rng(seed).permutation(len(data.test))[: len(samples)]
    if len(samples) < 2 or len(rows) < 2:
        return {}
    test = data.test[np.sort(rows)]
    few = slice(0, 2500)
    return {
        "sliced_wasserstein": two_sample.sliced_wasserstein(samples, test),
        "energy_distance": two_sample.energy_distance(samples[few], test[few]),
    }


def floor(data: Tabular, rows: int, seed: int = 0) -> dict[str, float]:
    """The same distances between test rows and training rows: what is reachable."""
    rng = np.random.default_rng(seed)
    size = min(rows, len(data.test), len(data.train))
    picked = rng.choice(len(data.train), size, replace=False)
    return distances(data.train[picked], data, seed)
