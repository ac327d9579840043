"""What is taken of each row of a batch."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def largest(x: Float[Array, "batch *event"]) -> Float[Array, " batch"]:
    """Largest |x| of each row, NaN where a value of it is none.

    The maximum alone would do by its definition, but XLA's CPU backend passes over the
    NaN of rows that are long enough.
    """
    flat = jnp.abs(x).reshape(x.shape[0], -1)
    return jnp.where(jnp.isnan(flat).any(axis=1), jnp.nan, flat.max(axis=1))
