"""Statistics of a first batch that are safe to normalise by.

A layer that takes its first scales from data divides by a standard deviation. That of
one row, of equal rows or of a constant column is 0, or rounding, and says nothing of
the rows to come: divided by, it makes scales of 1e5 a layer, and a test row that
differs has a density of 0. Such a column is still: it gets the spread of the others.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from fdnf.ops import conditioners

# A standard deviation up to here is none: what layers add to it before they divide.
SMALLEST = 1e-6
# Values of a column that differ by no more roundings than these are the same one.
ROUNDINGS = 64


def constant(
    x: Float[Array | np.ndarray, "*rows columns"], axes: int | tuple[int, ...]
) -> Bool[Array, "..."]:
    """Which columns are one value, up to `ROUNDINGS` of its size; over `axes`.

    By the range: the mean of many equal numbers is not that number, so their standard
    deviation need not be small.
    """
    low, high = jnp.min(x, axis=axes), jnp.max(x, axis=axes)
    size = jnp.maximum(jnp.abs(low), jnp.abs(high))
    return high - low <= ROUNDINGS * float(jnp.finfo(x.dtype).eps) * size


def spread(
    x: Float[Array, "*rows columns"],
    axes: int | tuple[int, ...],
    still: Bool[Array, " columns"] | None = None,
) -> Float[Array, " columns"]:
    """Standard deviation of each column over `axes`, fit to divide by.

    A column that is constant, or spreads by at most `SMALLEST`, gets the geometric mean
    of the others' standard deviations, in whose units it probably is; 1 if all are
    still. The others' numbers are the plain ones.

    Args:
      x: values, columns (channels) last.
      axes: all others.
      still: which columns are known to say nothing; by default those that `constant`
        names. For values whose centre is taken off, and with it what rounding is
        measured by.
    """
    std = jnp.std(x, axis=axes)
    if still is None:
        still = constant(x, axes)
    still = still | (std <= SMALLEST)
    logs = jnp.where(still, 0, jnp.log(jnp.where(still, 1, std)))
    usual = jnp.exp(jnp.sum(logs) / jnp.maximum(jnp.sum(~still), 1))
    return jnp.where(still, usual, std)


def robust_spread(
    x: Float[Array, "batch *rest"], kept: Bool[Array, " batch"]
) -> Float[Array, " columns"]:
    """Standard deviation of each column over kept rows; a far row hardly moves it.

    Deviations beyond ten times itself count as ten times. A column that is constant
    has 0.

    Args:
      x: values, columns (channels) last.
      kept: rows that count.
    """
    beside = kept.reshape(kept.shape + (1,) * (x.ndim - 1))
    weight, axes = jnp.broadcast_to(beside, x.shape), tuple(range(x.ndim - 1))
    total = jnp.maximum(jnp.sum(weight, axis=axes), 1)
    tiny = float(jnp.finfo(x.dtype).tiny) ** 0.5

    def mean(a: Array) -> Array:
        return jnp.sum(jnp.where(weight, a, 0), axis=axes) / total

    centre = jnp.zeros_like(total, x.dtype)
    scale = 2 * mean(jnp.sqrt(jnp.abs(x))) ** 2
    for _ in range(8):
        scale = jnp.maximum(scale, tiny)
        off = jnp.clip((x - centre) / scale, -10, 10)
        step = mean(off)
        centre = centre + scale * step
        scale = scale * jnp.sqrt(mean((off - step) ** 2))
    return jnp.where(scale > 1e-6 * jnp.abs(centre) + tiny, scale, 0)


def robust(
    error: Float[Array, "*shape"], bound: float | None
) -> Float[Array, "*shape"]:
    """e^2 / 2, and from |e| = bound on bound^2 (1 / 2 + log(|e| / bound)).

    Its slope falls as 1 / e from there: however far an error is, a step moves it by the
    same fraction, and the others decide where the step goes. None for squares alone.
    """
    if bound is None:
        return 0.5 * error**2
    size = jnp.maximum(jnp.abs(error), bound)
    near = 0.5 * jnp.clip(error, -bound, bound) ** 2
    return near + bound**2 * jnp.log(size / bound)


def raw_log_scale(
    x: Float[Array, "*rows columns"], axes: int | tuple[int, ...], bound: float
) -> Float[Array, " columns"]:
    """The raw log-scale whose soft clamp brings each column to a spread of 1."""
    log_std = jnp.log(spread(x, axes) + SMALLEST)
    return conditioners.inverse_soft_clamp(-log_std, bound)


def affine_start(
    rest: Float[Array, "*rows columns"],
    raw: Float[Array, "*rows columns"],
    axes: int | tuple[int, ...],
    bound: float,
) -> tuple[Float[Array, " columns"], Float[Array, " columns"]]:
    """Shift m and bias b with which (rest - m) exp(-soft_clamp(raw + b)) is standard.

    A new network's raw log-scales vary with the row, so the two are a fixed point; a
    few rounds reach it. Columns that are constant get the scale of the others.

    Args:
      rest: what the shift is taken off.
      raw: the network's raw log-scales.
      axes: those over which mean 0 and variance 1 hold; all but the last.
      bound: of the soft clamp.
    """
    still = constant(rest, axes)
    shift, bias = jnp.mean(rest, axis=axes), jnp.zeros(rest.shape[-1], rest.dtype)
    for _ in range(5):
        weight = jnp.exp(-conditioners.soft_clamp(raw + bias, bound))
        shift = jnp.sum(rest * weight, axis=axes) / jnp.sum(weight, axis=axes)
        std = spread((rest - shift) * weight, axes, still)
        log_std = jnp.log(std + SMALLEST)
        bias = conditioners.inverse_soft_clamp(
            conditioners.soft_clamp(bias, bound) + log_std, bound
        )
    return shift, bias


def constant_part(x: Any) -> str | None:
    """Says which columns (channels) of a first batch are constant, in words.

    Args:
      x: a batch whose values are at hand, columns last; of any kind of number.

    Returns:
      None if there is nothing to say.
    """
    x = np.asarray(x)
    x = x.astype(jnp.promote_types(jnp.float32, x.dtype))
    if not x.size:
        return None
    # Within `jit` too, where a batch that is closed over has values.
    with jax.ensure_compile_time_eval():
        still = np.flatnonzero(constant(x, tuple(range(x.ndim - 1))))
    if not still.size:
        return None
    if still.size == x.shape[-1]:
        rows = "has one row" if len(x) == 1 else f"has {len(x)} rows that are all equal"
        return (
            f"the first batch {rows}: no spread can be read off it, and every layer "
            "that takes its first scale from data starts at scale 1. Initialise with "
            "a batch of real rows."
        )
    word = "column" if x.ndim == 2 else "channel"
    first = x.reshape(-1, x.shape[-1])[0]
    named = ", ".join(f"{i} ({first[i]:.6g})" for i in still[:8])
    more = f" and {still.size - 8} more" if still.size > 8 else ""
    return (
        f"the first batch of {len(x)} rows is constant in {word} {named}{more}: it "
        "starts with the scale of the others. Drop what never varies, or initialise "
        "with more rows."
    )
