"""A causal sampler of images in a few passes: a fixed-point iteration that is learned.

x^k = m_k + sum a_k x^k + exp(s_k) u, with m_k, a_k, s_k of a pixel by the network of
pass k of the noise u and of the guess x^{k-1}, both at the pixels before it; x^0 = 0.
The last pass gives x, which is Gaussian in each sub-pixel given the noise before it:
the log-determinant is the sum of the last log-scales.

With an autoregressive teacher's network in every pass, blind to u, these are Jacobi's
iterations of its inverse, exact after as many passes as there are pixels. Networks that
start there and learn from pairs of noise and sample get as far in a few.

Reference: Song, Meng, Liao, Ermon (2021), Accelerating feedforward computation via
parallel nonlinear equation solving, algorithm 1; the passes are ours.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array

from fdnf.bijectors import pixel_affine
from fdnf.bijectors.base import Bijector, Report
from fdnf.bijectors.pixel_affine import Images, Plan
from fdnf.nets import causal_unet
from fdnf.nets.causal_unet import Weights
from fdnf.nets.pixelcnn import CausalUNet
from fdnf.ops import conditioners, statistics, triangular
from fdnf.types import Context, Events, LogDet, Mapped

Passes = tuple[Weights, ...]


def decode(
    bound: float, weights: Passes, u: Images
) -> tuple[tuple[Images, ...], Array]:
    """The images of all passes, and the outputs of the last network."""
    images, outputs = [jnp.zeros_like(u)], u
    for each in weights:
        outputs = causal_unet.evaluate(each, jnp.concatenate([images[-1], u], axis=-1))
        images.append(pixel_affine.choose(outputs, u, bound))
    return tuple(images[1:]), outputs


def _towards_noise(
    bound: float, weights: Passes, x: Images, u: Images
) -> tuple[Images, Array]:
    """One round u <- g(u) of the noise of an image, and the residual of u."""
    found, outputs = decode(bound, weights, u)
    residual = jnp.max(jnp.abs(found[-1] - x), axis=(1, 2, 3))
    return pixel_affine.affine(outputs, x, bound)[0], residual


class PixelPasses(Bijector):
    """u to x by a few passes; `inverse` iterates them, at most once a pixel.

    `init` gives what it returns mean 0 and variance 1 in each channel, through the last
    biases of all networks; that of `inverse` takes one round from 0.

    Args:
      features, blocks, stages: of each network, see `CausalUNet`.
      passes: how many networks.
      bound: largest |log-scale|.
      tolerance: of `inverse`, largest |x(u) - x|, and of gradients through it.
    """

    features: int = 32
    blocks: int = 3
    stages: int = 3
    passes: int = 2
    bound: float = 5.0
    tolerance: float = 1e-6

    def setup(self):
        """Makes the networks."""
        if self.passes < 1:
            raise ValueError(f"passes={self.passes}: expected at least 1")
        self.nets = [
            CausalUNet(self.features, self.blocks, self.stages)
            for _ in range(self.passes)
        ]

    def _weights(self, of: Array, cond: Context | None, inverse: bool) -> Passes:
        """The networks; their first biases are such that `of` is standardised."""
        pixel_affine.check_images(of)
        size, channels = pixel_affine.output_size(of.shape[-1]), of.shape[-1]

        def bias(outputs: Array) -> Array:
            del outputs  # Little more than these biases.
            mean = jnp.mean(of, axis=(0, 1, 2))
            scale = jnp.log(statistics.spread(of, (0, 1, 2)) + statistics.SMALLEST)
            if not inverse:
                mean, scale = -mean * jnp.exp(-scale), -scale
            raw = conditioners.inverse_soft_clamp(scale, self.bound)
            return jnp.concatenate(
                [mean, raw, jnp.zeros(size - 2 * channels, of.dtype)]
            )

        both = jnp.concatenate([of, of], axis=-1)
        return tuple(net.weights(both, size, cond, bias) for net in self.nets)

    def forward(self, x: Events, cond: Context | None = None) -> tuple[Mapped, LogDet]:
        """Noise to image, by all passes."""
        images, log_det = self.forward_by_passes(x, cond)
        return images[-1], log_det

    def forward_by_passes(
        self, x: Events, cond: Context | None = None
    ) -> tuple[tuple[Mapped, ...], LogDet]:
        """`forward`, with the images of all passes, the last one's last."""
        images, outputs = decode(self.bound, self._weights(x, cond, False), x)
        return images, self._log_det(outputs, x.shape[-1])

    def _log_det(self, outputs: Array, channels: int) -> LogDet:
        _, raw, _ = pixel_affine.split_outputs(outputs, channels)
        return jnp.sum(conditioners.soft_clamp(raw, self.bound), axis=(1, 2, 3))

    def inverse(self, y: Events, cond: Context | None = None) -> tuple[Mapped, LogDet]:
        """Image to noise, each row until its image is y to the tolerance."""
        return self.inverse_with_report(y, cond)[:2]

    def inverse_with_report(
        self, y: Events, cond: Context | None = None, start: Events | None = None
    ) -> tuple[Mapped, LogDet, Report]:
        """`inverse`, from 0 if there is no start."""
        weights = self._weights(y, cond, True)
        start = jnp.zeros_like(y) if start is None else start
        if self.is_initializing():
            u, _ = _towards_noise(self.bound, weights, y, start)
            count = jnp.ones(len(y), jnp.int32)
        else:
            plan = Plan(self.bound, "settle", self.tolerance, _towards_noise)
            dtype = jnp.result_type(y, weights[0].output.kernel)
            given = jax.tree.map(lambda a: a.astype(dtype), (weights, y, start))
            u, count = triangular.settle(plan, *given)
        finite = jnp.all(jnp.isfinite(u) & jnp.isfinite(y), axis=(1, 2, 3))
        found, outputs = decode(
            self.bound, weights, jnp.where(finite[:, None, None, None], u, 0)
        )
        log_det = -self._log_det(outputs, y.shape[-1])
        gap = jnp.max(jnp.abs(found[-1] - y), axis=(1, 2, 3))
        residual = jnp.where(finite & jnp.isfinite(gap), gap, jnp.inf)
        report = Report(residual[None], count[None])
        return u, jnp.where(finite, log_det, jnp.nan), report
