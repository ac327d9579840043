"""Means over seeds with Student-t intervals, and paired differences."""

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
from scipy import special


class Interval(NamedTuple):
    """Mean over `n` runs; the interval is mean +- `half_width`, None for one run."""

    mean: float
    half_width: float | None
    n: int

    def excludes_zero(self) -> bool:
        """Whether zero lies outside the interval; false where there is none."""
        return self.half_width is not None and abs(self.mean) > self.half_width


def over_seeds(values: Iterable[float], level: float = 0.95) -> Interval:
    """Mean of independent runs and its Student-t interval.

    half_width = t_{n-1}((1 + level) / 2) * s / sqrt(n), with s the sample standard
    deviation.

    Args:
        values: one finite number a run.
        level: confidence, between 0 and 1.

    Returns:
        The interval, in the unit of the values; `half_width` is None for one run.

    Raises:
        ValueError: no values, a value that is not finite, or a level outside (0, 1).
    """
    runs = np.asarray(list(values), np.float64)
    if runs.size == 0 or not np.isfinite(runs).all():
        raise ValueError(
            f"values over seeds are {runs.tolist()}: expected at least one, all "
            "finite; leave diverged runs out and report them by name"
        )
    if not 0 < level < 1:
        raise ValueError(f"level={level}: expected a confidence between 0 and 1")
    n = int(runs.size)
    mean = float(runs.mean())
    if n == 1:
        return Interval(mean, None, 1)
    quantile = float(special.stdtrit(n - 1, (1 + level) / 2))
    return Interval(mean, quantile * float(runs.std(ddof=1)) / math.sqrt(n), n)


def paired(
    first: Mapping[int, float], second: Mapping[int, float], level: float = 0.95
) -> Interval:
    """Mean of first - second over the seeds that both have, with its interval.

    Pairing removes what a seed does to both runs alike (the data order, the noise).

    Args:
        first: seed to value.
        second: seed to value.
        level: confidence, between 0 and 1.

    Returns:
        The interval of the difference; `n` is the number of shared seeds.

    Raises:
        ValueError: the two share no seed, or a difference is not finite.
    """
    seeds = sorted(first.keys() & second.keys())
    if not seeds:
        raise ValueError(
            f"seeds {sorted(first)} and {sorted(second)} have none in common: "
            "a paired difference needs runs with equal seeds"
        )
    return over_seeds((first[seed] - second[seed] for seed in seeds), level)


def render(interval: Interval, digits: int = 3, signed: bool = False) -> str:
    """The interval as text: "1.234 ± 0.056", or "1.234 (n=1)" for one run.

    Args:
        interval: what to print.
        digits: decimals of both numbers.
        signed: print the sign of a positive mean, as for differences.

    Returns:
        The text.
    """
    mean = f"{interval.mean:+.{digits}f}" if signed else f"{interval.mean:.{digits}f}"
    if interval.half_width is None:
        return f"{mean} (n=1)"
    return f"{mean} ± {interval.half_width:.{digits}f}"
