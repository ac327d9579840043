"""Tests of whether two samples of numbers are of one distribution.

For log-likelihoods and other scalars; `two_sample` has distances between vectors.
"""

import warnings
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float
from scipy import stats

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

    D = max_t |F_a(t) - F_b(t)|, with the p-value of Kolmogorov's distribution for
    n m / (n + m) numbers: good from some 30 rows on, conservative where values are
    tied.

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
    # The exact distribution takes minutes of samples of unlike sizes.
    # scipy's types do not tell what its results have.
    found: Any = stats.ks_2samp(first, second, method="asymp")
    return KolmogorovSmirnov(float(found.statistic), float(found.pvalue))


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
    difference = float(first.mean() - second.mean())
    if not first.std() and not second.std():
        return MeanDifference(difference, difference, difference, float(not difference))
    with warnings.catch_warnings():
        # Of one constant sample, whose variance of 0 is no loss of digits.
        warnings.simplefilter("ignore", RuntimeWarning)
        found: Any = stats.ttest_ind(first, second, equal_var=False)
    low, high = found.confidence_interval(level)
    return MeanDifference(difference, float(low), float(high), float(found.pvalue))


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
