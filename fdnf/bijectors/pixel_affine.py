"""Autoregressive affine map of images: parallel forward, sequential inverse."""

import functools

import jax.numpy as jnp
from jaxtyping import Array, Float

from fdnf.bijectors import pixel_inverse
from fdnf.bijectors.base import Bijector
from fdnf.nets import causal_unet
from fdnf.nets.pixelcnn import CausalUNet
from fdnf.ops import pixel_affine, scales, statistics
from fdnf.types import Context, Events, LogDet, Mapped

Images = Float[Array, "batch height width channels"]


class PixelAffine(Bijector):
    """z_c = (x_c - m_c - sum_{d < c} a_cd x_d) exp(-s_c) at every pixel.

    Means m, coefficients a in (-1, 1) and log-scales s of a pixel depend on the pixels
    before it in raster order, so that x_c given all sub-pixels before it is Gaussian.
    s = soft_clamp(raw), the same in both directions, so that neither the density of a
    pixel that hardly varies nor a sample goes to infinity.

    `init` gives z mean 0 and variance 1 in each channel over its batch, through the
    last biases of the network, where the channel varies (`ops.statistics`); `init`
    through `inverse` does so for what that returns, and makes it by one round of the
    network from 0, since a new one is little more than its last biases: the loop over
    pixels takes long to compile.

    Args:
      net: the network.
      bound: largest |s|.
      method: how `inverse` is computed, see `pixel_inverse.solve`; all agree.
      tolerance: of "jacobi", and of the gradient of every method.

    Reference: Salimans et al. (2017), section 2.2, with a Gaussian for the mixture, as
    Huang et al. (2019), section 4.1.2.
    """

    net: CausalUNet
    bound: float = 5.0
    method: str = "auto"
    tolerance: float = 1e-6

    def _bias_of_data(self, x: Images, outputs: Array) -> Array:
        """Of `forward`: z has mean 0 and variance 1."""
        channels = x.shape[-1]
        axes = (0, 1, 2)
        mean, raw, coefficients = pixel_affine.split(outputs, channels)
        rest = x - mean - pixel_affine.shifts(coefficients, x)
        still = statistics.constant(rest, axes)
        shift, bias = jnp.mean(rest, axis=axes), jnp.zeros(channels, x.dtype)
        # The network's raw log-scales vary with the pixel, so the two biases are a
        # fixed point; a few rounds reach it.
        for _ in range(5):
            weight = jnp.exp(-scales.soft_clamp(raw + bias, self.bound))
            shift = jnp.sum(rest * weight, axis=axes) / jnp.sum(weight, axis=axes)
            std = statistics.spread((rest - shift) * weight, axes, still)
            log_std = jnp.log(std + statistics.SMALLEST)
            bias = scales.inverse_soft_clamp(
                scales.soft_clamp(bias, self.bound) + log_std, self.bound
            )
        others = jnp.zeros(outputs.shape[-1] - 2 * channels, x.dtype)
        return jnp.concatenate([shift, bias, others])

    def _bias_of_latents(self, y: Images, outputs: Array) -> Array:
        """Of `inverse`: x has mean 0 and variance 1, if `net` is its last biases."""
        std = statistics.spread(y, (0, 1, 2)) + statistics.SMALLEST
        raw = scales.inverse_soft_clamp(-jnp.log(std), self.bound)
        others = jnp.zeros(outputs.shape[-1] - 2 * y.shape[-1], y.dtype)
        return jnp.concatenate([-jnp.mean(y, axis=(0, 1, 2)) / std, raw, others])

    def forward(self, x: Events, cond: Context | None = None) -> tuple[Mapped, LogDet]:
        """One pass of the network."""
        _check(x)
        size = pixel_affine.output_size(x.shape[-1])
        bias = functools.partial(self._bias_of_data, x)
        weights = self.net.weights(x, size, cond, bias)
        z, log_scale = pixel_affine.affine(
            causal_unet.evaluate(weights, x), x, self.bound
        )
        return z, -jnp.sum(log_scale, axis=(1, 2, 3))

    def inverse(self, y: Events, cond: Context | None = None) -> tuple[Mapped, LogDet]:
        """Pixel by pixel; the log_det by one pass of the network at the result."""
        _check(y)
        size = pixel_affine.output_size(y.shape[-1])
        bias = functools.partial(self._bias_of_latents, y)
        weights = self.net.weights(y, size, cond, bias)
        method = "once" if self.is_initializing() else self.method
        plan = pixel_inverse.Plan(self.bound, method, self.tolerance)
        x = pixel_inverse.solve(plan, weights, y)
        # Zeros stand in for images that exploded: the gradient of a discarded 0 is 0,
        # while that of a discarded inf is nan.
        finite = jnp.all(jnp.isfinite(x), axis=(1, 2, 3), keepdims=True)
        outputs = causal_unet.evaluate(weights, jnp.where(finite, x, 0))
        _, raw, _ = pixel_affine.split(outputs, y.shape[-1])
        log_scale = scales.soft_clamp(raw, self.bound)
        log_det = jnp.sum(log_scale, axis=(1, 2, 3))
        return x, jnp.where(finite[:, 0, 0, 0], log_det, jnp.nan)


def _check(x: Array) -> None:
    if x.ndim != 4:
        raise ValueError(
            f"data of shape {x.shape}: expected images [batch, height, width, "
            "channels]; for vectors there is MAF"
        )
