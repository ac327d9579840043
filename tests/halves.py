"""A flow on images whose latents can be read off its images, and its preprocessing."""

from typing import NamedTuple

import jax.numpy as jnp

from fdnf.flows.base import FlowModule


class Halves(FlowModule):
    """Splits off the left half of an image; the right half is the top latent.

    Latents are a tenth of the data.
    """

    def latent_shapes(self, event):
        height, width, channels = event
        return ((height, width // 2, channels),) * 2

    def _encode(self, x, cond):
        half = x.shape[2] // 2
        z = (x[:, :, :half] / 10.0, x[:, :, half:] / 10.0)
        return z, jnp.zeros(x.shape[0]), (x,)

    def _decode(self, z, cond):
        x = 10.0 * jnp.concatenate(z, axis=2)
        return x, jnp.zeros(x.shape[0]), (x,)


class Shifted(Halves):
    """The class is added to every latent."""

    def _encode(self, x, cond):
        z, log_det, levels = super()._encode(x, cond)
        return tuple(part + _number(cond) for part in z), log_det, levels

    def _decode(self, z, cond):
        return super()._decode(tuple(part - _number(cond) for part in z), None)


def _number(cond):
    return (cond @ jnp.arange(cond.shape[1]))[:, None, None, None]


class Centred(NamedTuple):
    """Pixel k is the datum k - 128 and no noise is added."""

    classes: int = 0

    def encode(self, key, x):
        y = x.astype(jnp.float32) - 128.0
        return y, jnp.zeros(y.shape[0])

    def to_pixels(self, y):
        return jnp.clip(jnp.round(y + 128.0), 0, 255).astype(jnp.uint8)
