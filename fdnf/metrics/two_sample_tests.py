"""Tests of whether two samples of numbers are of one distribution.

For log-likelihoods and other scalars; `two_sample` has distances between vectors.
"""

import math
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float
from scipy import special

Numbers = Float[np.ndarray | jax.Array, " rows"]
Others = Float[np.ndarray | jax.Array, " others"]


class KolmogorovSmirnov(NamedTuple):
    """Largest gap between two distribution functions.

    Attributes:
        statistic: D = max |F(t) - G(t)|, in [0, 1]; 0 for equal samples, 1 where the
            samples do not overlap.
        p_value: of a gap as large or larger between samples of one distribution.
    """

    statistic: float
    p_value: float


class MeanDifference(NamedTuple):
    """Difference of two means, with an interval and the test of whether it is 0.

    Attributes:
        difference: mean of the first minus mean of the second, in their unit.
        low: lower end of the interval.
        high: upper end.
        p_value: of a difference as far from 0 or farther between equal means.
    """

    difference: float
    low: float
    high: float
    p_value: float


def kolmogorov_smirnov(a: Numbers, b: Others) -> KolmogorovSmirnov:
    """Two-sample Kolmogorov-Smirnov test, two-sided.

    D = max_t |F_a(t) - F_b(t)|, and p = Q(sqrt(n m / (n + m)) D) with Q the tail of
    Kolmogorov's limit distribution: good from some 30 rows on, conservative where
    values are tied.

    Args:
        a: first sample; minus infinity is below and infinity above all numbers.
        b: second sample.

    Returns:
        Statistic and p-value; they do not change under increasing maps of both.

    Raises:
        ValueError: a sample is empty or has a value that is not a number.

    Reference: Smirnov (1939), On the estimation of the discrepancy between empirical
    curves of distribution for two independent samples.
    """
    first, second = _checked(a, "first", 1), _checked(b, "second", 1)
    n, m = len(first), len(second)
    first.sort()
    second.sort()
    at = np.concatenate([first, second])
    below = np.searchsorted(first, at, "right") / n
    gap = float(np.abs(below - np.searchsorted(second, at, "right") / m).max())
    return KolmogorovSmirnov(
        gap, float(special.kolmogorov(math.sqrt(n * m / (n + m)) * gap))
    )


def mean_difference(a: Numbers, b: Others, level: float = 0.95) -> MeanDifference:
    """Difference of the means with Welch's interval, for unequal variances.

    d = mean(a) - mean(b), s = sqrt(var(a) / n + var(b) / m); the interval is
    d +- t_v((1 + level) / 2) s with Welch and Satterthwaite's degrees of freedom v.

    Args:
        a: first sample, at least two finite rows.
        b: second sample, likewise.
        level: confidence, between 0 and 1.

    Returns:
        The difference, its interval and p-value; two constant samples have an
        interval of length 0.

    Raises:
        ValueError: a sample of fewer than two rows or with a value that is not
            finite, or a level outside (0, 1).

    Reference: Welch (1947), The generalization of Student's problem when several
    different population variances are involved.
    """
    if not 0 < level < 1:
        raise ValueError(f"level={level}: expected a confidence between 0 and 1")
    first, second = _checked(a, "first", 2), _checked(b, "second", 2)
    for name, sample in (("first", first), ("second", second)):
        if not np.isfinite(sample).all():
            bad = int((~np.isfinite(sample)).sum())
            raise ValueError(
                f"{bad} of {len(sample)} values of the {name} sample are infinite: a "
                "mean needs finite ones; leave them out and report how many there were"
            )
    parts = [sample.var(ddof=1) / len(sample) for sample in (first, second)]
    difference = float(first.mean() - second.mean())
    square = sum(parts)
    if square == 0:
        return MeanDifference(difference, difference, difference, float(not difference))
    free = square**2 / sum(
        part**2 / (len(sample) - 1)
        for part, sample in zip(parts, (first, second), strict=True)
    )
    error = math.sqrt(square)
    half = float(special.stdtrit(free, (1 + level) / 2)) * error
    p_value = 2 * float(special.stdtr(free, -abs(difference) / error))
    return MeanDifference(difference, difference - half, difference + half, p_value)


def _checked(sample: np.ndarray | jax.Array, name: str, least: int) -> np.ndarray:
    """The numbers in float64, a copy."""
    numbers = np.array(sample, np.float64)
    if numbers.ndim != 1 or len(numbers) < least:
        raise ValueError(
            f"the {name} sample has shape {numbers.shape}: expected [rows], at least "
            f"{least}"
        )
    bad = int(np.isnan(numbers).sum())
    if bad:
        raise ValueError(
            f"{bad} of {len(numbers)} values of the {name} sample are not numbers: "
            "leave them out and report how many there were"
        )
    return numbers
