"""Importance weights p / q of a target over a proposal, and how far they can be used.

A sampler q that is to stand for a target p is judged by what its draws weigh:
w = p(x) / q(x) over x of q. If q equals p all weights are 1. Everything is computed
from logarithms, in float64, so that densities need not be normalised nor their ratios
representable.

Reference: Owen (2013), Monte Carlo theory, methods and examples, chapter 9; Vehtari,
Simpson, Gelman, Yao and Gabry (2024), Pareto smoothed importance sampling.
"""

import math
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Float
from scipy import special

Numbers = Float[np.ndarray | jax.Array, " rows"]

# Fewest weights of a tail that a generalised Pareto distribution is fitted to.
FEWEST_TAIL = 5
# The tail is this share of all weights, or a multiple of their root where that is less.
TAIL_SHARE, TAIL_ROOTS = 0.2, 3.0
# Share of the largest weight below which one is 0 beside it; reciprocals stay finite.
SMALLEST = 1e-300
# The shape is drawn to this value, as if so many more weights had said so.
PRIOR_SHAPE, PRIOR_WEIGHT = 0.5, 10
# Above this shape an average of weights cannot be trusted, however many there are.
WIDEST = 0.7
# Nats from which on a draw of q has so much less density under p that p never makes it.
IMPOSSIBLE = 1_000.0


class Importance(NamedTuple):
    """What the weights of n draws of a proposal say.

    Attributes:
        ess: effective sample size, (sum w)^2 / sum w^2: as many exact draws of the
            target would give a mean of as small a variance. From 1 to n; 0 where no
            weight is positive.
        ess_share: ess / n, in [0, 1]. It is an estimate from these draws alone: where
            the proposal lacks a part of the target it is too high.
        khat: shape of the generalised Pareto distribution of the largest weights. The
            weights have 1 / khat finite moments: a variance below 1/2, a mean below
            1; from 0.7 on no number of draws in reach makes an average trustworthy.
            inf where a weight is infinite, none is positive, or fewer than five stand
            above all others; nan of fewer than 21 draws, or of weights that are all
            alike, whose tail has no shape.
        largest_share: the largest weight over the sum of all, in (0, 1]; nan where no
            weight is positive.
        log_mean: log of the mean weight, in nats: an estimate of log of the integral
            of p, so 0 of a density that is normalised and covered; an unnormalised p
            has its evidence here.
        ess_share_error: standard error of ess_share, by linearisation.
        log_mean_error: standard error of log_mean, sqrt(1 / ess - 1 / n).
        rows: draws, n.
        zero: draws of weight 0, of which log p is -inf.
        infinite: draws of infinite weight, of which log q is -inf. All mass is theirs.
        undefined: draws whose weight is not a number; they count as 0.
    """

    ess: float
    ess_share: float
    khat: float
    largest_share: float
    log_mean: float
    ess_share_error: float
    log_mean_error: float
    rows: int
    zero: int
    infinite: int
    undefined: int

    @property
    def reliable(self) -> bool:
        """Whether averages with these weights can be trusted.

        That is khat < min(1 - 1 / log10(n), 0.7), and no infinite weight; weights that
        are all alike can be. Of fewer than 21 draws nothing is known: False.

        Reference: Vehtari et al. (2024), section 3.2.3 and table 1.
        """
        if not _tail(self.rows) or not self.ess > 0:
            return False
        if math.isnan(self.khat):  # All weights are alike.
            return True
        return self.khat < widest(self.rows)


class Divergence(NamedTuple):
    """The reverse KL of a sampler q to p, by those draws of q that p may make.

    Attributes:
        mean: of log q - log p over these draws, in nats; nan where there are none.
        error: its standard error; nan of fewer than two.
        rows: how many they are.
    """

    mean: float
    error: float
    rows: int


def widest(rows: int) -> float:
    """The shape below which an average of so many weights can be trusted.

    It is min(1 - 1 / log10(n), 0.7), and below 0 where ten draws are all.

    Reference: Vehtari et al. (2024), section 3.2.3.
    """
    return min(1 - 1 / math.log10(rows), WIDEST) if rows > 1 else -math.inf


def weights(log_p: Numbers, log_q: Numbers) -> Importance:
    """What draws of q weigh under p.

    Args:
        log_p: log of the target's density of each draw, in nats, up to a constant;
            -inf where it has none.
        log_q: log of the proposal's own density of it.

    Returns:
        See `Importance`.

    Raises:
        ValueError: other shapes than one number a draw of each, or no draws.
    """
    p, q = (np.asarray(v, np.float64) for v in (log_p, log_q))
    if p.shape != q.shape or p.ndim != 1:
        raise ValueError(
            f"log_p has shape {p.shape}, log_q {q.shape}: expected one number a draw "
            "of each"
        )
    with np.errstate(invalid="ignore"):
        return of(p - q)


def of(log_weights: Numbers) -> Importance:
    """As `weights`, of log w = log p - log q.

    Args:
        log_weights: one a draw.

    Returns:
        See `Importance`.

    Raises:
        ValueError: no draws, or another number of axes.
    """
    given = _checked(log_weights)
    rows, undefined = len(given), int(np.isnan(given).sum())
    infinite, zero = int((given == np.inf).sum()), int((given == -np.inf).sum())
    counts = {
        "rows": rows,
        "zero": zero,
        "infinite": infinite,
        "undefined": undefined,
    }
    if infinite:
        # The limit of weights that grow together beyond all others.
        ess, share = float(infinite), 1.0 / infinite
        none = math.nan
        return Importance(
            ess, ess / rows, math.inf, share, math.inf, none, none, **counts
        )
    known = np.where(np.isnan(given), -np.inf, given)
    top = float(known.max())
    if top == -math.inf:
        none = math.nan
        return Importance(0.0, 0.0, math.inf, none, top, none, none, **counts)
    w = np.exp(known - top)
    first, second = float(w.mean()), float(np.square(w).mean())
    share = first**2 / second
    # Influence of each draw on (E w)^2 / E w^2, which has none where all are alike.
    influence = 2 * first / second * w - share / second * np.square(w)
    return Importance(
        ess=share * rows,
        ess_share=share,
        khat=pareto_khat(known),
        largest_share=1.0 / float(w.sum()),
        log_mean=top + math.log(first),
        ess_share_error=float(influence.std()) / math.sqrt(rows),
        log_mean_error=math.sqrt(max(1.0 / share - 1.0, 0.0) / rows),
        **counts,
    )


def impossible(log_weights: Numbers) -> Bool[np.ndarray, " rows"]:
    """Which draws the target finds impossible.

    It is those whose log q - log p is above 1,000 nats or not finite. Both densities
    are to be normalised: otherwise log p has another constant.

    Args:
        log_weights: log p - log q, one a draw, in nats.

    Returns:
        True where it does.

    Raises:
        ValueError: no draws, or another number of axes.
    """
    given = _checked(log_weights)
    return ~np.isfinite(given) | (-given > IMPOSSIBLE)


def divergence(log_weights: Numbers) -> Divergence:
    """The reverse KL, E_q[log q - log p], without `impossible` draws.

    A single impossible draw is all of a mean. Without them it is no divergence of
    densities, and may be below 0: give their share beside it.

    Args:
        log_weights: log p - log q, one a draw, in nats.

    Returns:
        See `Divergence`.

    Raises:
        ValueError: no draws, or another number of axes.
    """
    given = _checked(log_weights)
    gap = -given[~impossible(given)]
    rows = len(gap)
    mean = float(gap.mean()) if rows else math.nan
    error = float(gap.std(ddof=1)) / math.sqrt(rows) if rows > 1 else math.nan
    return Divergence(mean, error, rows)


def pareto_khat(log_weights: Numbers) -> float:
    """Shape of the generalised Pareto distribution of the largest weights.

    The tail are the M = min(0.2 n, 3 sqrt(n)) largest; what they exceed the next by is
    fitted, and the shape drawn to 1/2 as by ten further weights.

    Args:
        log_weights: one a draw, up to a common constant; not a number counts as 0.

    Returns:
        The shape; inf where a weight is infinite, none is positive, or fewer than five
        stand above all others; nan of fewer than 21 draws, or where the tail's weights
        are all alike.

    Raises:
        ValueError: no draws, or another number of axes.

    Reference: Vehtari et al. (2024), section 3 and appendix G.
    """
    given = _checked(log_weights)
    known = np.sort(np.where(np.isnan(given), -np.inf, given))
    if not math.isfinite(known[-1]):
        return math.inf
    rows = len(known)
    if not (tail := _tail(rows)):
        return math.nan
    # Weights beyond what a float holds are 0 beside the largest.
    with np.errstate(under="ignore"):
        w = np.exp(known[-tail - 1 :] - known[-1])
    exceedances = w[1:] - w[0]
    if exceedances[-1] <= 1e-12:
        return math.nan  # All alike but for rounding.
    exceedances = exceedances[exceedances > SMALLEST]
    if len(exceedances) < FEWEST_TAIL:  # A handful stands far above all others.
        return math.inf
    shape = pareto_shape(exceedances)
    return (tail * shape + PRIOR_WEIGHT * PRIOR_SHAPE) / (tail + PRIOR_WEIGHT)


def pareto_shape(exceedances: Numbers) -> float:
    """The shape k of a generalised Pareto distribution, estimated from draws of it.

    Its density is (1 + k x / sigma)^(-1/k - 1) / sigma; moments of order 1 / k and up
    are infinite. The estimate is the mean of theta = -k / sigma by its profile
    likelihood over a grid, under a prior that adapts itself to the draws.

    Args:
        exceedances: positive draws, in any unit.

    Returns:
        The shape k.

    Raises:
        ValueError: no draws, another number of axes, or one that is not positive and
            finite.

    Reference: Zhang and Stephens (2009), A new and efficient estimation method for the
    generalized Pareto distribution.
    """
    x = np.sort(_checked(exceedances))
    if not (x[0] > 0 and math.isfinite(x[-1])):
        raise ValueError(
            f"exceedances from {x[0]} to {x[-1]}: expected positive, finite ones"
        )
    rows = len(x)
    points = 30 + math.isqrt(rows)
    quartile = x[math.floor(rows / 4 + 0.5) - 1] if rows > 1 else x[0]
    at = np.arange(1, points + 1) - 0.5
    theta = 1 / x[-1] + (1 - np.sqrt(points / at)) / (3 * quartile)
    shapes = np.log1p(-theta[:, None] * x).mean(axis=1)
    # Where theta passes 0 the distribution is exponential: the limit of both.
    ratio = np.where(shapes == 0, 1 / x.mean(), -theta / np.where(shapes, shapes, 1))
    likelihoods = rows * (np.log(ratio) - shapes - 1)
    mean = float(theta @ special.softmax(likelihoods))
    return float(np.log1p(-mean * x).mean())


def _tail(rows: int) -> int:
    """How many of the weights make the tail; 0 if they are too few for one."""
    tail = math.ceil(min(TAIL_SHARE * rows, TAIL_ROOTS * math.sqrt(rows)))
    return tail if FEWEST_TAIL <= tail < rows else 0


def _checked(values: Numbers) -> np.ndarray:
    found = np.asarray(values, np.float64)
    if found.ndim != 1 or not len(found):
        raise ValueError(
            f"an array of shape {found.shape}: expected one number a draw, of at least "
            "one draw"
        )
    return found
