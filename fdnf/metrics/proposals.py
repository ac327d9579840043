"""How many proposals it takes to make samples of p of weighed ones of q.

What weighed draws of q say of themselves is in `importance`; here is what becomes of
them in chains and in resampling, as functions of log w = log p - log q. Everything is
numpy in float64.

References: Smith and Tierney (1996), "Exact transition probabilities for the
independence Metropolis sampler"; Liu (1996), "Metropolized independent sampling with
comparisons to rejection sampling and importance sampling"; Kitagawa (1996) for
systematic resampling.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import Float

# Of draws of q; of a conditional one of several conditions, as many of each.
LogWeights = Float[np.ndarray, "*conditions rows"]

# Weights that distances are computed of.
LOOKED_AT = 2**16


def distance(log_weights: LogWeights, steps: int) -> float:
    """Total variation from p of an independence Metropolis-Hastings chain's end.

    The chain stands on its first proposal and has steps - 1 moves, each to the next
    proposal with probability min(1, w(y) / w(x)). Let r_k be the density of its state
    after k moves over p; it is a function of the weight w alone (of mean 1 under q):

      r_0(w) = 1 / w
      r_k+1(w) = E_q[r_k(v) v min(1/w, 1/v)] + r_k(w) E_q[(1 - v/w)^+],

    v the weight of a proposal. With the measured weights for q that is computed as it
    stands; the distance is E_q[w |r - 1|] / 2. Of one step it is that of q from p.

    Args:
        log_weights: of proposals, in nats, up to a constant; -inf for no weight.
        steps: proposals of a chain, at least 1.

    Returns:
        In [0, 1], of the first `LOOKED_AT` proposals; the mean over conditions, each
        of which has chains of its own.

    Reference: Smith and Tierney (1996), whose closed form this recursion has.
    """
    return distances(log_weights, steps)[-1]


def distances(
    log_weights: LogWeights, steps: int, tolerance: float = -1.0
) -> list[float]:
    """`distance` after 1, 2, ... steps, up to the first that is at most `tolerance`."""
    w = np.sort(_normalised(log_weights[..., :LOOKED_AT]))
    rows, some = w.shape[-1], w > 0.0
    inverse = np.divide(1.0, w, out=np.zeros_like(w), where=some)
    # A chain leaves a start without weight at the first other proposal.
    none = 1.0 - some.mean(axis=-1, keepdims=True)
    counted = np.arange(1, rows + 1) - np.cumsum(w, axis=-1) * inverse
    stay = counted / rows
    idle, r, found = none, inverse, []
    for _ in range(steps):
        apart = (w * np.abs(r - 1.0)).mean(axis=-1) + idle[..., 0]
        found.append(0.5 * float(apart.mean()))
        if found[-1] <= tolerance:
            break
        mass = r * w / rows
        below = np.cumsum(mass, axis=-1) * inverse
        over = mass * inverse
        above = np.cumsum(over[..., ::-1], axis=-1)[..., ::-1] - over
        r = np.where(some, below + above + r * stay + idle * inverse, 0.0)
        idle = idle * none
    return found


def excess(log_weights: LogWeights, steps: int) -> float:
    """Share of rows that repeat others when each is drawn from `steps` proposals.

    A proposal that counts for w / m > 1 rows stands in for w / m - 1 others: of each
    row E_q[(w - m)^+], w of mean 1. None if no weight exceeds m, where drawing is
    rejection sampling.

    Args:
        log_weights: as of `distance`.
        steps: m, proposals a row.
    """
    return float(np.maximum(_normalised(log_weights) - steps, 0.0).mean())


def enough(
    log_weights: LogWeights,
    method: str,
    tolerance: float,
    most: int,
    least: int = 1,
) -> int:
    """As few proposals a row as are tolerated, by the measured weights.

    Args:
        log_weights: as of `distance`.
        method: "metropolis", by `distance`, or "resampling", by `excess`.
        tolerance: of that.
        most: the answer where no fewer do.
        least: of resampling.
    """
    if method == "metropolis":
        return len(distances(log_weights, most, tolerance))
    w = _normalised(log_weights)
    for steps in range(least, most):
        if np.maximum(w - steps, 0.0).mean() <= tolerance:
            return steps
    return most


def systematic(
    log_weights: LogWeights, rows: int, rng: np.random.Generator
) -> np.ndarray:
    """Numbers of the proposals that stand for `rows` rows, in proportion to weights.

    One at every 1 / rows of the whole weight, from a random start on, so that each is
    taken floor or ceil of rows * w / sum w times; then in random order.

    Args:
        log_weights: as of `distance`.
        rows: how many.
        rng: randomness.

    Raises:
        ValueError: none has a weight.
    """
    flat = np.asarray(log_weights, np.float64)
    good = np.flatnonzero(flat > -np.inf)
    if not len(good):
        raise ValueError(f"none of {len(flat)} proposals has a weight")
    heap = np.cumsum(np.exp(flat[good] - flat[good].max()))
    points = (np.arange(rows) + rng.random()) / rows * heap[-1]
    found = np.searchsorted(heap, points, side="right")
    # Rounding may put the last point on the very end.
    return rng.permutation(good[np.minimum(found, len(good) - 1)])


def groups(cond: np.ndarray) -> np.ndarray:
    """Which rows have the same condition: `[rows]`, counted from 0."""
    flat = np.asarray(cond).reshape(len(cond), -1)
    return np.unique(flat, axis=0, return_inverse=True)[1].reshape(-1)


def smallest(cond: np.ndarray | None, n: int, rows: int) -> int:
    """The fewest rows of one condition in a batch, which are drawn from one pool."""
    cuts = list(_cuts(n, rows))
    if cond is None:
        return min(cut.stop - cut.start for cut in cuts)
    return int(min(np.bincount(groups(cond[cut])).min() for cut in cuts))


def batches(cond: np.ndarray | None, n: int, rows: int) -> Iterator[Any]:
    """Number, conditions, filled up with the last, and rows of each batch."""
    for i, cut in enumerate(_cuts(n, rows)):
        here = cut.stop - cut.start
        near = None
        if cond is not None:
            fill = cond[cut.stop - 1 : cut.stop].repeat(rows - here, 0)
            near = np.concatenate([cond[cut], fill])
        yield i, near, here


def _cuts(n: int, rows: int) -> Iterator[slice]:
    """Batches of at most `rows`, as even as can be: each may be a pool of its own."""
    parts = -(-n // rows)
    for i in range(parts):
        yield slice(i * n // parts, (i + 1) * n // parts)


def _normalised(log_weights: LogWeights) -> np.ndarray:
    """Weights of mean 1, under each condition, float64."""
    given = np.asarray(log_weights, np.float64)
    top = given.max(axis=-1, keepdims=True)
    # Of a condition without any weight all is as far as can be.
    w = np.exp(given - np.where(np.isfinite(top), top, 0.0))
    mean = w.mean(axis=-1, keepdims=True)
    return np.divide(w, mean, out=np.zeros_like(w), where=mean > 0.0)
