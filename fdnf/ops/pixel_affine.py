"""Gaussian sub-pixels given those before them: the map of one pixel and its inverse.

z_c = (x_c - m_c - sum_{d < c} a_cd x_d) exp(-s_c), s = soft_clamp(raw)

A network's outputs of a pixel are means m, raw log-scales, and coefficients a, which
are the tanh of what the network says. All functions work on the last axis.

Reference: Salimans et al. (2017), PixelCNN++, eq. 3, with a Gaussian for the mixture.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from fdnf.ops import scales

Outputs = Float[Array, "*pixels outputs"]
Pixels = Float[Array, "*pixels channels"]


def output_size(channels: int) -> int:
    """Numbers per pixel: means, raw log-scales, and coefficients between channels."""
    return 2 * channels + channels * (channels - 1) // 2


def split(outputs: Outputs, channels: int) -> tuple[Pixels, Pixels, Array]:
    """Means, raw log-scales, coefficients (1 on 0, 2 on 0, 2 on 1, ...) in (-1, 1)."""
    mean, raw, rest = jnp.split(outputs, [channels, 2 * channels], axis=-1)
    return mean, raw, jnp.tanh(rest)


def _row_of(c: int) -> slice:
    """Where the coefficients of channel `c` are."""
    return slice(c * (c - 1) // 2, c * (c + 1) // 2)


def shifts(coefficients: Array, x: Pixels) -> Pixels:
    """What the channels before each one add to its mean."""
    channels = range(x.shape[-1])
    parts = [coefficients[..., _row_of(c)] * x[..., :c] for c in channels]
    return jnp.stack([jnp.sum(part, axis=-1) for part in parts], axis=-1)


def affine(outputs: Outputs, x: Pixels, bound: float) -> tuple[Pixels, Pixels]:
    """(x - mean) exp(-s) with the means that follow from `x`, and s."""
    mean, raw, coefficients = split(outputs, x.shape[-1])
    log_scale = scales.soft_clamp(raw, bound)
    return (x - mean - shifts(coefficients, x)) * jnp.exp(-log_scale), log_scale


def choose(outputs: Outputs, z: Pixels, bound: float) -> Pixels:
    """Undoes `affine` at pixels whose `outputs` are known, channel by channel."""
    channels = z.shape[-1]
    mean, raw, coefficients = split(outputs, channels)
    x = mean + z * jnp.exp(scales.soft_clamp(raw, bound))
    known = [x[..., 0]]
    for c in range(1, channels):
        before = jnp.stack(known, axis=-1)
        shift = jnp.sum(coefficients[..., _row_of(c)] * before, axis=-1)
        known.append(x[..., c] + shift)
    return jnp.stack(known, axis=-1)
