"""Factors of two in the size of images, by copies and by means."""

import jax.numpy as jnp
from jaxtyping import Array, Float

Images = Float[Array, "batch height width channels"]
Resized = Float[Array, "batch new_height new_width channels"]


def nearest_up(x: Images, times: int) -> Resized:
    """Every pixel becomes a square of `times` by `times` of them."""
    if times == 1:
        return x
    batch, height, width, channels = x.shape
    shape = (batch, height, times, width, times, channels)
    tiled = jnp.broadcast_to(x[:, :, None, :, None, :], shape)
    return tiled.reshape(batch, height * times, width * times, channels)


def nearest_down(x: Images) -> Resized:
    """The upper left pixel of every 2x2."""
    return x[:, ::2, ::2]


def mean_down(x: Images) -> Resized:
    """The mean of every 2x2: bilinear resampling to half the size, sides even."""
    batch, height, width, channels = x.shape
    squares = x.reshape(batch, height // 2, 2, width // 2, 2, channels)
    return squares.mean(axis=(2, 4))
