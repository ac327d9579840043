"""Two samples held against each other: distances of vectors, tests of numbers.

Distances are lower when better and measure features in the units they come in, so
scale features to comparable units first. The tests, for log-likelihoods and other
scalars, ask whether samples are of one distribution, or of one mean.

Everything is float64 on the host, in blocks: two samples of 10,000 rows need about
100 MB.
"""

import math
import warnings
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import numpy as np
from jaxtyping import Float

from fdnf.metrics import rows

X = Float[np.ndarray | jax.Array, "n features"]
Y = Float[np.ndarray | jax.Array, "m features"]
Numbers = Float[np.ndarray | jax.Array, " rows"]
Others = Float[np.ndarray | jax.Array, " others"]

# Rows or projections handled at once.
BLOCK = 256
# Rows of each sample that set the median bandwidth: it moves by about a hundredth
# between draws of this size.
MEDIAN_ROWS = 1000


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


def sliced_wasserstein(x: X, y: Y, *, projections: int = 500, seed: int = 0) -> float:
    """Sliced Wasserstein-2 distance over fixed random projections.

    SW = sqrt(mean_k W2(u_k x, u_k y)^2), with u_k uniform on the unit sphere and the
    one-dimensional W2 exact, for samples of unequal sizes too.

    Args:
        x: first sample.
        y: second sample.
        projections: number of directions u_k.
        seed: of the directions; keep it between numbers that are compared.

    Returns:
        The distance, in the units of the features; lower is better, and 0 means
        equal samples along every direction. A shift by d gives about
        |d| / sqrt(features). Two samples of one distribution are above 0.

    Raises:
        ValueError: an empty or non-finite sample, or no projections.

    Reference: Bonneel et al. (2015), Sliced and Radon Wasserstein Barycenters.
    """
    x, y = _samples(x, y)
    if projections < 1:
        raise ValueError(f"projections={projections}: expected at least 1")
    rng = np.random.default_rng(seed)
    directions = rng.standard_normal((projections, x.shape[1]))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    in_x, in_y, weights = _matched_quantiles(len(x), len(y))
    total = 0.0
    for start in range(0, projections, BLOCK):
        u = directions[start : start + BLOCK]
        gap = np.sort(u @ x.T, axis=1)[:, in_x]
        gap -= np.sort(u @ y.T, axis=1)[:, in_y]
        total += float((np.square(gap, out=gap) @ weights).sum())
    return math.sqrt(total / projections)


def mmd(x: X, y: Y, bandwidth: float | Literal["median"] = "median") -> float:
    """Squared maximum mean discrepancy, unbiased, with a Gaussian kernel.

    mmd = mean_{i!=j} k(x_i, x_j) + mean_{i!=j} k(y_i, y_j) - 2 mean_{ij} k(x_i, y_j)
    and k(a, b) = exp(-|a - b|^2 / (2 bandwidth^2)).

    Args:
        x: first sample, at least two rows.
        y: second sample, at least two rows.
        bandwidth: of the kernel, in the units of the features; "median" is
            `median_distance` of the two, so give a number to compare several samples.

    Returns:
        MMD^2, at most 2; lower is better. 0 is expected of two samples of one
        distribution, and values slightly below 0 are chance.

    Raises:
        ValueError: a sample of fewer than two rows or not finite, or a bandwidth
            that is not positive.

    Reference: Gretton et al. (2012), A Kernel Two-Sample Test, eq. 3.
    """
    x, y = _samples(x, y)
    n, m = len(x), len(y)
    if min(n, m) < 2:
        raise ValueError(f"samples of {n} and {m} rows: expected at least 2 in each")
    width = median_distance(x, y) if bandwidth == "median" else bandwidth
    if not width > 0:
        raise ValueError(
            f"bandwidth {width} (given: {bandwidth!r}): expected a positive number; "
            "the median distance of samples that are mostly duplicates is 0"
        )
    scale = -0.5 / width**2

    def kernel(squared: np.ndarray) -> np.ndarray:
        squared *= scale
        return np.exp(squared, out=squared)

    # The n diagonal terms are exp(0) = 1.
    within_x = (_pair_sum(x, x, kernel) - n) / (n * (n - 1))
    within_y = (_pair_sum(y, y, kernel) - m) / (m * (m - 1))
    return within_x + within_y - 2 * _pair_sum(x, y, kernel) / (n * m)


def energy_distance(x: X, y: Y) -> float:
    """Energy distance between the two empirical distributions.

    E = 2 mean_{ij} |x_i - y_j| - mean_{ij} |x_i - x_j| - mean_{ij} |y_i - y_j|,
    all pairs counted, so that E >= 0.

    Args:
        x: first sample.
        y: second sample.

    Returns:
        The distance, in the units of the features; lower is better, and 0 means
        equal samples. Two samples of one distribution are above 0, by about
        1/n + 1/m times their mean distance.

    Raises:
        ValueError: an empty or non-finite sample.

    Reference: Szekely and Rizzo (2013), Energy statistics, eq. 6.1.
    """
    x, y = _samples(x, y)
    n, m = len(x), len(y)

    def root(squared: np.ndarray) -> np.ndarray:
        return np.sqrt(squared, out=squared)

    between = _pair_sum(x, y, root) / (n * m)
    within_x = _pair_sum(x, x, root) / (n * n)
    within_y = _pair_sum(y, y, root) / (m * m)
    return max(2 * between - within_x - within_y, 0.0)


def median_distance(x: X, y: Y) -> float:
    """Median distance between rows of the pooled samples, the usual bandwidth.

    Args:
        x: first sample; evenly spaced rows stand for a large one.
        y: second sample, likewise.

    Returns:
        The median over pairs of different rows, in the units of the features.

    Raises:
        ValueError: an empty or non-finite sample.
    """
    x, y = _samples(x, y)
    pooled = np.concatenate([_thin(x), _thin(y)])
    blocks = []
    for start in range(0, len(pooled), BLOCK):
        squared = rows.squared_distances(pooled[start : start + BLOCK], pooled)
        i, j = np.ogrid[: len(squared), : len(pooled)]
        blocks.append(squared[j > i + start])
    return float(np.sqrt(np.median(np.concatenate(blocks))))


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
    first, second = _numbers(a, "first", 1), _numbers(b, "second", 1)
    # The exact distribution takes minutes of samples of unlike sizes.
    # scipy's types do not tell what its results have.
    from scipy import stats  # Half a second, which a training need not wait for.

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
    first, second = _numbers(a, "first", 2), _numbers(b, "second", 2)
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
        from scipy import stats

        found: Any = stats.ttest_ind(first, second, equal_var=False)
    low, high = found.confidence_interval(level)
    return MeanDifference(difference, float(low), float(high), float(found.pvalue))


def _samples(
    x: np.ndarray | jax.Array, y: np.ndarray | jax.Array
) -> tuple[np.ndarray, np.ndarray]:
    """Both samples in float64, centred together to spare digits in |a - b|^2."""
    first, second = rows.pair(x, y, 1)
    center = (first.mean(axis=0) + second.mean(axis=0)) / 2
    return first - center, second - center


def _matched_quantiles(n: int, m: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Optimal plan between n and m sorted points: indices in each, and the masses."""
    # In units of 1 / (n m) all boundaries between masses are integers.
    ends = np.union1d(np.arange(1, n + 1) * m, np.arange(1, m + 1) * n)
    starts = np.concatenate([[0], ends[:-1]])
    return starts // m, starts // n, (ends - starts) / (n * m)


def _pair_sum(
    a: np.ndarray, b: np.ndarray, function: Callable[[np.ndarray], np.ndarray]
) -> float:
    """Sum over all pairs of `function` of the squared distance."""
    return math.fsum(
        float(function(rows.squared_distances(a[start : start + BLOCK], b)).sum())
        for start in range(0, len(a), BLOCK)
    )


def _thin(sample: np.ndarray) -> np.ndarray:
    count = min(len(sample), MEDIAN_ROWS)
    return sample[np.linspace(0, len(sample) - 1, count).astype(int)]


def _numbers(sample: np.ndarray | jax.Array, name: str, least: int) -> np.ndarray:
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
