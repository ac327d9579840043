"""Every number that a table may show: what it is called, its unit, what is better.

A scorer that yields a metric adds its quantity here, or to `QUANTITIES` from its own
file: a table asks for the label, the arrow, the decimals and the legend by name.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

from fdnf.evaluation.core import methods


class Quantity(NamedTuple):
    """What a metric is.

    Attributes:
        label: as printed, without its unit.
        unit: as printed; "" of a number without.
        better: 1 where more is better, -1 where less is, 0 of what is neither.
        digits: decimals; None gives the typical value three digits.
        legend: a sentence of how it is taken, below tables that show it.
    """

    label: str
    unit: str = ""
    better: int = -1
    digits: int | None = None
    legend: str = ""

    @property
    def arrow(self) -> str:
        """Up where more is better, down where less is."""
        return {1: " ↑", -1: " ↓", 0: ""}[self.better]


_FRECHET = "Frechet distance of Gaussians fitted to features of samples and images."
_SAMPLES = (
    "Exploded samples are not finite, or beyond 3 times the largest value of the "
    "training data; they are left out of distances of samples."
)
QUANTITIES: dict[str, Quantity] = {
    # Of densities.
    "log_likelihood": Quantity("log-likelihood", "nats", 1, 3),
    "bits_per_dim": Quantity("bits/dim", "", -1, 3),
    # Of samples of vectors.
    "sliced_wasserstein": Quantity("Sliced W2"),
    "energy_distance": Quantity("Energy distance"),
    "mmd": Quantity("MMD²"),
    "exploded_percent": Quantity("Exploded samples", "%", legend=_SAMPLES),
    # Of samples of images, over features.
    "fid": Quantity("FID", legend=_FRECHET),
    "fd": Quantity("FD", legend=_FRECHET),
    "kid": Quantity("KID"),
    "precision": Quantity("Precision", better=1),
    "recall": Quantity("Recall", better=1),
    "density": Quantity("Density", better=1),
    "coverage": Quantity("Coverage", better=1),
    # Of cost: times are medians of a batch, low and high its 10th and 90th percentile.
    "parameters": Quantity("Params", better=0, digits=0),
    "steps": Quantity("Steps", better=0, digits=0),
    "density_ms": Quantity("Density", "ms"),
    "sampling_ms": Quantity("Sampling", "ms"),
    "density_mib": Quantity("Density", "MiB", digits=1),
    "sampling_mib": Quantity("Sampling", "MiB", digits=1),
}
# Of metrics that are not quantities: where they stand, and with which decimals.
UNKNOWN = Quantity("", better=0)
SPLITS = {"test": "Test", "val": "Validation"}
# What a condition of interpolated images begins with.
INTERPOLATION = "interpolation"


def of(metric: str) -> Quantity:
    """The quantity of a metric; one that nobody has described is called by its name."""
    if metric in QUANTITIES:
        return QUANTITIES[metric]
    return UNKNOWN._replace(label=metric.replace("_", " "))


def in_order(metrics: Iterable[str]) -> list[str]:
    """Distinct metrics in the order of `QUANTITIES`, then the others by name."""
    return methods.in_order(metrics, QUANTITIES)


def condition(given: str) -> str:
    """A condition in words: "t0.7" is "temp 0.7"."""
    return re.sub(r"\bt(?=\d)", "temp ", given.replace("_", " "))


def place(given: str) -> tuple:
    """A key that sorts conditions: the usual first, higher temperatures before lower.

    Interpolations stand last.
    """
    temperatures = [-float(t) for t in re.findall(r"(?<=[t-])[\d.]+", given)]
    return given.startswith(INTERPOLATION), given != "", temperatures, given


def short(features: Iterable[str]) -> dict[str, str]:
    """Id of features to what tables call them: their network, where that is plain."""
    ids = sorted(set(features) - {""})
    networks = [re.split("[_@]", i)[0] for i in ids]
    found = {
        i: network if networks.count(network) == 1 else i
        for i, network in zip(ids, networks, strict=True)
    }
    return {"": "", **found}
