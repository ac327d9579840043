"""log |det (I + J)| of a residual map x + g(x), row by row, in three ways.

J is the Jacobian of g, whose Lipschitz constant is c < 1. Then det (I + J) > 0 and

    log det (I + J) = sum_k (-1)^(k + 1) tr J^k / k,    k = 1, 2, ...

(Behrmann et al., eq. 4). `exact` forms J; `series` cuts the sum off, `rest` bounds what
is left out; `estimate` draws how many terms are taken, and so that nothing is left out
on average. A product with J or its transpose costs about as much as g itself.

In all of them g is a function of (weights, x), rows of x not touching each other:
`estimate` takes gradients by both arguments of its own.

References: Behrmann et al. (2019), "Invertible residual networks", section 3.2; Chen et
al. (2019), "Residual flows for invertible generative modeling", section 3.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, PRNGKeyArray

from fdnf.ops import linear

Map = Callable[[Any, Array], Array]
Events = Float[Array, "batch *event"]
LogDet = Float[Array, " batch"]


def exact(g: Map, weights: Any, x: Events) -> LogDet:
    """By the Jacobian of each row: as many products with J as there are dimensions.

    Memory is that of [batch, dimensions, dimensions], and a determinant takes a third
    of dimensions^3 multiplications: for up to some hundred dimensions.
    """
    batch, size = x.shape[0], math.prod(x.shape[1:])
    _, push = jax.linearize(functools.partial(g, weights), x)
    units = jnp.eye(size, dtype=x.dtype).reshape(size, *x.shape[1:])
    columns = jax.vmap(lambda unit: push(jnp.broadcast_to(unit, x.shape)))(units)
    jacobian = jnp.moveaxis(columns.reshape(size, batch, size), 0, 2)
    return linear.log_abs_dets(jnp.eye(size, dtype=x.dtype) + jacobian)


def probes(count: int, event: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Vectors v with v v^T = I on average, `[probes, *event]`: tr A = mean of v^T A v.

    Signs drawn from the seed; where `count` is at least the number of dimensions, as
    many multiples of unit vectors, of which the mean is exact.

    Reference: Hutchinson (1990), "A stochastic estimator of the trace".
    """
    size = math.prod(event)
    if count >= size:
        drawn = math.sqrt(size) * np.eye(size)
    else:
        drawn = np.random.default_rng(seed).choice((-1.0, 1.0), (count, size))
    return drawn.reshape(-1, *event)


def series(
    g: Map,
    weights: Any,
    x: Events,
    terms: int,
    vectors: Float[np.ndarray | Array, "probes *event"],
) -> LogDet:
    """The first terms of the power series, with traces by given vectors.

    A function of x like any other, and differentiated as it stands. It is off by at
    most `rest` where traces are exact, see `probes`, and otherwise also by the error of
    the vectors, which all rows share.

    Reference: Behrmann et al. (2019), eq. 6 and algorithm 2.
    """
    _, pull = jax.vjp(functools.partial(g, weights), x)

    def along(vector):
        v = jnp.broadcast_to(vector, x.shape)

        def term(w, factor):
            (w,) = pull(w)
            return w, factor * _inner(w, v)

        k = np.arange(1, terms + 1)
        factors = jnp.asarray((-1.0) ** (k + 1) / k, x.dtype)
        return jnp.sum(lax.scan(term, v, factors)[1], axis=0)

    return jnp.mean(jax.vmap(along)(jnp.asarray(vectors, x.dtype)), axis=0)


def rest(dimensions: int, bound: float, terms: int) -> float:
    """Largest error of a power series cut off after so many terms, in nats.

    D (-log(1 - c) - sum_{k <= terms} c^k / k), as |tr J^k| <= D c^k.

    Reference: Behrmann et al. (2019), theorem 3.
    """
    k = np.arange(1, terms + 1)
    return dimensions * float(-math.log1p(-bound) - np.sum(bound**k / k))


def survival(bound: float) -> float:
    """Chance of one more term, for `estimate`, by which its variance is finite.

    Term k comes with a chance of about s^k and is divided by it, so that its second
    moment goes with (c^2 / s)^k: s must be above c^2. A quarter of the way from there
    to 1, with more terms that are always taken, has half the standard deviation of
    halfway at the same cost.
    """
    return (1 + 3 * bound**2) / 4


def expected(sure: int, chance: float) -> float:
    """How many products with J `estimate` takes on average, but for the last one."""
    return sure + chance / (1 - chance)


def estimate(
    key: PRNGKeyArray, g: Map, weights: Any, x: Events, sure: int, chance: float
) -> LogDet:
    """An unbiased estimate, with an unbiased gradient of its own.

    N = sure + a geometric number of terms are taken, and each is divided by the chance
    that it is taken ("Russian roulette"): log det = E sum_{k <= N} (-1)^(k + 1)
    v^T J^k v / (k P(N >= k)). Each row has a v of its own, of random signs; N is one
    number for all rows.

    The gradient is not that of this sum, which would keep all its terms in memory, but

        d log det = tr (I + J)^-1 dJ = E sum_{k <= N} (-1)^k v^T J^k dJ v / P(N >= k),

    by the same v and N: what stands left of dJ is found first, without a gradient, and
    memory is that of one product with J however many terms there are. Second
    derivatives are those of what is left after that, and so are not to be used.

    Args:
      key: randomness.
      g: see the file.
      weights: what g depends on.
      x: where.
      sure: terms that are always taken.
      chance: of one more, in (0, 1); above c^2, or the variance may not be finite.

    Reference: Chen et al. (2019), theorem 1, eq. 8 (Neumann series) and section 3.3.
    """
    ends, signs = jax.random.split(key)
    v = jax.random.rademacher(signs, x.shape, x.dtype)
    # In (0, 1]: P(more >= j) = chance^j.
    drawn = 1 - jax.random.uniform(ends, (), jnp.float32)
    count = sure + jnp.floor(jnp.log(drawn) / math.log(chance)).astype(jnp.int32)
    _, pull = jax.vjp(
        functools.partial(g, lax.stop_gradient(weights)), lax.stop_gradient(x)
    )

    def term(state):
        k, w, weight, value, left = state
        w = -pull(w)[0]
        weight = jnp.where(k > sure, weight / chance, weight)
        value -= weight * _inner(w, v) / k
        return k + 1, w, weight, value, left + weight * w

    one = jnp.ones((), x.dtype)
    start = (jnp.ones((), jnp.int32), v, one, jnp.zeros(x.shape[:1], x.dtype), v)
    *_, value, left = lax.while_loop(lambda state: state[0] <= count, term, start)
    _, moved = jax.jvp(functools.partial(g, weights), (x,), (v,))
    along = _inner(left, moved)
    return value + (along - lax.stop_gradient(along))


def _inner(a: Array, b: Array) -> LogDet:
    return jnp.sum((a * b).reshape(a.shape[0], -1), axis=1)
