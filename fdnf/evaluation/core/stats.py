"""Means with Student-t intervals, over seeds or over items, and paired differences.

`±` means one thing everywhere: the half-width of the 95 % interval over the unit that a
table names, seeds or items. A standard error is called so.
"""

import math
from collections.abc import Hashable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from scipy import special


class Interval(NamedTuple):
    """Mean of `n` values; the interval is mean +- `half_width`, None for one value.

    Attributes:
        mean: of the finite values; of none the first that there is.
        half_width: of the interval; None where it is not defined.
        n: finite values.
        of: all values, those that are not finite included.
    """

    mean: float
    half_width: float | None
    n: int
    of: int = 0

    def excludes_zero(self) -> bool:
        """Whether zero lies outside the interval; false where there is none."""
        return self.half_width is not None and abs(self.mean) > self.half_width


def over(values: Iterable[Any], level: float = 0.95) -> Interval | None:
    """Mean of independent values and its Student-t interval.

    half_width = t_{n-1}((1 + level) / 2) * s / sqrt(n), with s the sample standard
    deviation.

    Args:
        values: one number a seed, or an item. Those that are not finite are left out,
            and `n` and `of` tell how many.
        level: confidence, between 0 and 1.

    Returns:
        The interval, in the unit of the values; None without a value.

    Raises:
        ValueError: a level outside (0, 1).
    """
    if not 0 < level < 1:
        raise ValueError(f"level={level}: expected a confidence between 0 and 1")
    given = np.asarray(list(values), np.float64)
    finite = given[np.isfinite(given)]
    n = int(finite.size)
    if n == 0:
        return (
            Interval(float(given[0]), None, 0, int(given.size)) if given.size else None
        )
    mean = float(finite.mean())
    if n == 1:
        return Interval(mean, None, 1, int(given.size))
    quantile = float(special.stdtrit(n - 1, (1 + level) / 2))
    half_width = quantile * float(finite.std(ddof=1)) / math.sqrt(n)
    return Interval(mean, half_width, n, int(given.size))


def paired(
    first: Mapping[Hashable, float],
    second: Mapping[Hashable, float],
    level: float = 0.95,
) -> Interval | None:
    """Mean of first - second over the units that both have, with its interval.

    Pairing removes what a unit does to both alike: a seed the order of the data and the
    noise, an item its difficulty.

    Args:
        first: unit (a seed, the name of an item) to value.
        second: likewise.
        level: confidence, between 0 and 1.

    Returns:
        The interval of the difference; None where no unit has a finite value in both.
    """
    found = [
        value - second[unit]
        for unit, value in first.items()
        if unit in second and math.isfinite(value) and math.isfinite(second[unit])
    ]
    return over(found, level)


def by_unit(values: Iterable[tuple[Hashable, float]]) -> dict[Hashable, float]:
    """Unit to the mean of its finite values; of none the first that there is."""
    groups: dict[Hashable, list[float]] = {}
    for unit, value in values:
        groups.setdefault(unit, []).append(value)
    found = {}
    for unit, group in groups.items():
        finite = [value for value in group if math.isfinite(value)]
        found[unit] = float(np.mean(finite)) if finite else group[0]
    return found
