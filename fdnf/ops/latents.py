"""Latents drawn from a standard normal prior, one array a part."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

Temperature = float | Float[Array, ""] | tuple[float, ...]


def split_shapes(
    event: tuple[int, ...], levels: int, splits: int
) -> tuple[tuple[int, ...], ...]:
    """Shapes of what a multi-scale flow on images splits off, and of its top.

    Each level makes channels out of squares of 2x2 pixels; after each of the first
    `splits` levels half of the channels leave.

    Args:
      event: (height, width, channels), sides that 2^levels divides.
      levels: how many.
      splits: at most `levels`.
    """
    height, width, channels = event
    shapes = []
    for i in range(levels):
        height, width, channels = height // 2, width // 2, 4 * channels
        if i < splits:
            channels //= 2
            shapes.append((height, width, channels))
    return (*shapes, (height, width, channels))


def draw(
    key: PRNGKeyArray,
    rows: int,
    parts: tuple[tuple[int, ...], ...],
    temperature: Temperature = 1.0,
    dtype: Any = jnp.float32,
) -> tuple[Array, ...]:
    """Gaussian latents `[rows, *part]` for each of `parts`.

    Args:
      key: randomness; the same latents at every temperature but for their scale.
      rows: how many.
      parts: shape of each latent of one row.
      temperature: standard deviation of all latents, or a tuple of one a latent.
      dtype: of the latents, whatever that of the temperature is; by default float32
        where 64-bit mode is on too.

    Raises:
      ValueError: if there are not as many temperatures as latents.
    """
    keys = jax.random.split(key, len(parts))
    if not isinstance(temperature, tuple):
        temperatures: tuple = (temperature,) * len(parts)
    elif len(temperature) == len(parts):
        temperatures = temperature
    else:
        raise ValueError(
            f"{len(temperature)} temperatures {temperature} for {len(parts)} "
            f"latents of shapes {parts}: give one a latent, or one number for all"
        )
    return tuple(
        (scale * jax.random.normal(k, (rows, *part), dtype)).astype(dtype)
        for scale, k, part in zip(temperatures, keys, parts, strict=True)
    )
