"""Whether conditional densities of one number say the truth: PIT, CRPS, coverage.

The probability integral transform of an observation, PIT = F(x | cond), is uniform
where the densities are right, and uniform only on average over conditions at that: it
sees no model that ignores the conditions. The CRPS, a proper score in the unit of x,
does. numpy, in float64.
"""

from typing import NamedTuple

import numpy as np
from scipy import special

# Beyond it a redshift is an outlier, in units of 1 + z.
OUTLIER = 0.15
# A normal standard deviation over the median absolute deviation.
_NORMAL = 1.4826022185056018


class Uniformity(NamedTuple):
    """A PIT histogram and two tests of it.

    Attributes:
        density: of each bin, 1 where the PIT is uniform, `[bins]`.
        error: standard error of such a density if it is uniform.
        ks: largest distance of the PIT's distribution to the uniform one.
        ks_p: p-value of it (Kolmogorov and Smirnov).
        chi2_p: p-value of the histogram (Pearson).
    """

    density: np.ndarray
    error: float
    ks: float
    ks_p: float
    chi2_p: float


class Redshifts(NamedTuple):
    """Errors of point estimates, (estimate - z) / (1 + z).

    Attributes:
        bias: their median.
        sigma_mad: 1.4826 times the median of their distances to the median.
        outliers: share beyond `OUTLIER`.
    """

    bias: float
    sigma_mad: float
    outliers: float


def pit(draws: np.ndarray, x: np.ndarray, seed: int = 0) -> np.ndarray:
    """PIT by samples: (rank of x among its draws + u) / (draws + 1), u uniform.

    With u it is exactly uniform, for any number of draws, where x is one more draw.

    Args:
        draws: of each row's conditional density, `[rows, draws]`.
        x: the observations, `[rows]`.
        seed: of u.

    Returns:
        `[rows]`, within (0, 1).
    """
    draws, x = _pair(draws, x)
    rng = np.random.default_rng(seed)
    below = (draws < x[:, None]).sum(axis=1)
    # Those that are equal, as whole numbers or zeros are, come in any order.
    equal = (draws == x[:, None]).sum(axis=1)
    rank = below + (equal + 1) * rng.random(len(x))
    return rank / (draws.shape[1] + 1)


def pit_of_latents(z: np.ndarray) -> np.ndarray:
    """PIT by a flow's own distribution function, Phi(z) of its one latent.

    Args:
        z: standard normal latents of the observations, `[rows]`, by a map that grows
            with x; of one that falls give -z.
    """
    return special.ndtr(np.asarray(z, np.float64))


def uniformity(values: np.ndarray, bins: int = 20) -> Uniformity:
    """The histogram of PIT values, and tests that they are uniform on [0, 1].

    Raises:
        ValueError: fewer values than bins, fewer than two bins, or values beyond.
    """
    values = np.asarray(values, np.float64)
    if values.ndim != 1 or bins < 2 or len(values) < bins:
        raise ValueError(
            f"{values.shape} values in {bins} bins: expected a vector of at least as "
            "many values as bins, and two bins"
        )
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError("PIT values beyond [0, 1], or none: expected probabilities")
    from scipy import stats  # Half a second, which a training need not wait for.

    counts, _ = np.histogram(values, bins, (0, 1))
    expected = len(values) / bins
    ks = stats.kstest(values, "uniform")
    return Uniformity(
        counts / expected,
        float(np.sqrt((1 - 1 / bins) / expected)),
        float(ks.statistic),
        float(ks.pvalue),
        float(stats.chisquare(counts).pvalue),
    )


def coverage(values: np.ndarray, level: float) -> float:
    """Share of the observations in the central intervals of a probability.

    Args:
        values: PIT, `[rows]`.
        level: the probability; a calibrated density covers as much.
    """
    if not 0 < level < 1:
        raise ValueError(f"level={level}: expected a probability, such as 0.9")
    inside = np.abs(np.asarray(values, np.float64) - 0.5) <= 0.5 * level
    return float(inside.mean())


def crps(draws: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Continuous ranked probability score by samples, `[rows]`, in the unit of x.

    E|X - x| - E|X - X'| / 2, the latter over pairs of different draws: the fair
    estimator, whose mean does not depend on the number of draws.

    Args:
        draws: of each row's conditional density, `[rows, draws]`, at least two.
        x: the observations, `[rows]`.

    Reference: Gneiting and Raftery (2007), eq. 21; Ferro (2014), Fair scores for
    ensemble forecasts, section 2.
    """
    draws, x = _pair(draws, x)
    count = draws.shape[1]
    if count < 2:
        raise ValueError(f"{count} draws of each row: expected at least 2")
    ordered = np.sort(draws, axis=1)
    # Each is above so many of the others as it is below of the rest.
    weights = 2 * np.arange(count) - count + 1
    pairs = ordered @ weights / (count * (count - 1))
    return np.abs(draws - x[:, None]).mean(axis=1) - pairs


def crps_of_normal(mean: np.ndarray, std: np.ndarray, x: np.ndarray) -> np.ndarray:
    """That of normal densities: s (w (2 Phi(w) - 1) + 2 phi(w) - 1 / sqrt(pi)).

    Reference: Gneiting and Raftery (2007), section 4.2.
    """
    w = (np.asarray(x) - mean) / std
    density = np.exp(-0.5 * w**2) / np.sqrt(2 * np.pi)
    inner = w * (2 * special.ndtr(w) - 1) + 2 * density
    return np.asarray(std * (inner - 1 / np.sqrt(np.pi)))


def redshifts(estimate: np.ndarray, z: np.ndarray) -> Redshifts:
    """Errors of point estimates of redshifts, as surveys report them.

    Args:
        estimate: such as medians of the conditional densities, `[rows]`.
        z: the redshifts, `[rows]`.
    """
    estimate, z = np.asarray(estimate, np.float64), np.asarray(z, np.float64)
    if estimate.shape != z.shape or z.ndim != 1 or not len(z):
        raise ValueError(f"{estimate.shape} estimates of {z.shape} redshifts")
    error = (estimate - z) / (1 + z)
    bias = np.median(error)
    spread = _NORMAL * np.median(np.abs(error - bias))
    return Redshifts(
        float(bias), float(spread), float((np.abs(error) > OUTLIER).mean())
    )


def _pair(draws: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    draws, x = np.asarray(draws, np.float64), np.asarray(x, np.float64)
    if draws.ndim != 2 or x.shape != draws.shape[:1] or not draws.size:
        raise ValueError(
            f"draws {draws.shape} of observations {x.shape}: expected [rows, draws] "
            "and [rows]"
        )
    return draws, x
