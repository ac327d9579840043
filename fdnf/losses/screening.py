"""Rows that a loss of samples leaves out, and what stands in for them."""

import jax
import jax.numpy as jnp
from jaxtyping import Array

from fdnf.types import Decoding

Latents = tuple[Array, ...]


def exploded(decoding: Decoding, limit: float | None) -> Array:
    """`[batch]`, True where a sample is not finite or leaves [-limit, limit]."""
    flat = decoding.x.reshape(decoding.x.shape[0], -1)
    bad = ~jnp.all(jnp.isfinite(flat), axis=1)
    if limit is not None:
        bad |= jnp.max(jnp.abs(flat), axis=1) > limit
    return jax.lax.stop_gradient(bad)


def replace_rows(rows: Array, z: Latents) -> Latents:
    """`z` with the given rows at 0, the mode, where every flow decodes safely."""
    return tuple(
        jnp.where(rows.reshape(-1, *(1,) * (part.ndim - 1)), 0.0, part) for part in z
    )
