"""What is taken of, and done to, whole rows of a batch."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

Rows = Bool[Array, " batch"]
Events = Float[Array, "batch *event"]


def largest(x: Events) -> Float[Array, " batch"]:
    """Largest |x| of each row, NaN where a value of it is none.

    The maximum alone would do by its definition, but XLA's CPU backend passes over the
    NaN of rows that are long enough.
    """
    flat = jnp.abs(x).reshape(x.shape[0], -1)
    return jnp.where(jnp.isnan(flat).any(axis=1), jnp.nan, flat.max(axis=1))


def beside(rows: Array, x: Array) -> Array:
    """One value a row, `[batch]`, or one for all, shaped to stand beside `x`."""
    return rows.reshape(rows.shape + (1,) * (x.ndim - 1))


def exploded(x: Events, limit: float | None = None) -> Rows:
    """True where a row is not finite or leaves [-limit, limit]; has no gradient."""
    flat = x.reshape(x.shape[0], -1)
    bad = ~jnp.all(jnp.isfinite(flat), axis=1)
    if limit is not None:
        bad |= jnp.max(jnp.abs(flat), axis=1) > limit
    return jax.lax.stop_gradient(bad)


def zeroed(rows: Rows, tree: Any) -> Any:
    """The arrays with the given rows at 0: of latents the mode, that decodes safely."""
    return jax.tree.map(lambda part: jnp.where(beside(rows, part), 0.0, part), tree)
