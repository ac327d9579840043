"""One linear map at every position of an event, channels last."""

import math

import jax.numpy as jnp
from jaxtyping import Array, Float

Channels = Float[Array, "batch *position channels"]


def multiply(x: Channels, weight: Float[Array, "channels channels"]) -> Channels:
    """W x at every position, as one product of two matrices.

    At full precision: a GPU's default one breaks round trips.
    """
    rows = x.reshape(-1, x.shape[-1])
    return jnp.matmul(rows, weight.T, precision="highest").reshape(x.shape)


def log_det(each: Float[Array, ""], x: Channels) -> Float[Array, " batch"]:
    """`[batch]`: every position contributes the log-determinant of the one map."""
    return jnp.broadcast_to(math.prod(x.shape[1:-1]) * each, x.shape[:1])
