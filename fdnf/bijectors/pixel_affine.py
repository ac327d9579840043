"""Autoregressive affine map of images: parallel forward, sequential inverse.

z_c = (x_c - m_c - sum_{d < c} a_cd x_d) exp(-s_c), s = soft_clamp(raw)

at every pixel. A network's outputs of a pixel are means m, raw log-scales, and
coefficients a, which are the tanh of what the network says; they see the pixels before
it in raster order. First comes the map of one pixel, then the solution of a whole
image, then the bijector.

The inverse is the solution of x = g(x), g(x)[p] = choose(outputs(x)[p], z[p]): the
Jacobian of g is strictly triangular, and the iteration x <- g(x) is exact after as many
rounds as there are pixels (`ops.triangular`).

Reference: Salimans et al. (2017), PixelCNN++, eq. 3, with a Gaussian for the mixture.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fdnf.bijectors.base import Bijector, Report
from fdnf.nets import causal_unet, causal_unet_sampling
from fdnf.nets.causal_unet import Weights
from fdnf.nets.pixelcnn import CausalUNet
from fdnf.ops import conditioners, fixed_point, statistics, triangular
from fdnf.types import Context, Events, LogDet, Mapped

Outputs = Float[Array, "*pixels outputs"]
Pixels = Float[Array, "*pixels channels"]


def output_size(channels: int) -> int:
    """Numbers per pixel: means, raw log-scales, and coefficients between channels."""
    return 2 * channels + channels * (channels - 1) // 2


def split_outputs(outputs: Outputs, channels: int) -> tuple[Pixels, Pixels, Array]:
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
    mean, raw, coefficients = split_outputs(outputs, x.shape[-1])
    log_scale = conditioners.soft_clamp(raw, bound)
    return (x - mean - shifts(coefficients, x)) * jnp.exp(-log_scale), log_scale


def choose(outputs: Outputs, z: Pixels, bound: float) -> Pixels:
    """Undoes `affine` at pixels whose `outputs` are known, channel by channel."""
    channels = z.shape[-1]
    mean, raw, coefficients = split_outputs(outputs, channels)
    x = mean + z * jnp.exp(conditioners.soft_clamp(raw, bound))
    known = [x[..., 0]]
    for c in range(1, channels):
        before = jnp.stack(known, axis=-1)
        shift = jnp.sum(coefficients[..., _row_of(c)] * before, axis=-1)
        known.append(x[..., c] + shift)
    return jnp.stack(known, axis=-1)


METHODS = ("auto", "pixels", "jacobi", "naive", "once")

Images = Float[Array, "batch height width channels"]


def towards_data(
    bound: float, weights: Weights, z: Images, x: Images
) -> tuple[Images, Array]:
    """One round of `solve`, g(x), and how far x is from its solution, `[batch]`."""
    outputs = causal_unet.evaluate(weights, x)
    gap = jnp.abs(affine(outputs, x, bound)[0] - z)
    return choose(outputs, z, bound), jnp.max(gap, axis=(1, 2, 3))


@dataclasses.dataclass(frozen=True)
class Plan(triangular.Problem):
    """Everything static.

    Attributes:
      bound: largest |log-scale|.
      method: see `solve`.
      tolerance: of the iterations.
      step: (bound, weights, given, unknown) -> one round towards the unknown image,
        and its residual.
    """

    bound: float
    method: str
    tolerance: float
    step: Callable[[float, Any, Array, Array], tuple[Array, Array]] = towards_data

    def round(self, weights: Any, given: Array, unknown: Array) -> tuple[Array, Array]:
        """One pass of the networks."""
        return self.step(self.bound, weights, given, unknown)

    def parts(self, given: Array) -> int:
        """As many as there are pixels."""
        return given.shape[1] * given.shape[2]

    def found(self, weights: Weights, given: Array) -> Array:
        """Pixel by pixel, of `PixelAffine`."""
        chosen = functools.partial(choose, bound=self.bound)
        return causal_unet_sampling.generate(weights, given, chosen)


def solve(plan: Plan, weights: Weights, z: Images) -> Images:
    """The image whose pixels have the noise `z`, see `affine`.

    Args:
      plan: its `method` is one of
        "pixels": each unit of the network once (`causal_unet_sampling`).
        "jacobi": the whole network until the noise of the image is z to the
          tolerance, at most as often as there are sub-pixels (`fixed_point.solve`).
        "naive": the whole network as often as there are pixels, differentiated as
          written: the reference for tests.
        "once": one round from 0, which is the solution only if outputs depend on no
          pixel.
        "auto": "pixels", which on two CPU cores takes little more than one pass of
          the network, for 100 images 0.08 s of 8x8 and of 14x14 (one block, two
          stages, trained) against 3.5 s and 13 s of "naive"; "jacobi" takes as long
          as that on trained networks, and stops short of the solution in float32.
      weights: of the network.
      z: noise.

    Derivatives go to `weights` and `z`, in both modes. A row that is not finite
    touches no other row.

    Raises:
      ValueError: for an unknown method.
    """
    if plan.method not in METHODS:
        raise ValueError(f"unknown method {plan.method!r}; known: {METHODS}")
    dtype = jnp.result_type(z, weights.output.kernel)
    weights, z = jax.tree.map(lambda leaf: leaf.astype(dtype), (weights, z))
    if plan.method == "once":
        return plan.round(weights, z, jnp.zeros_like(z))[0]
    ways = {"naive": triangular.repeated, "jacobi": _jacobi}
    return ways.get(plan.method, triangular.solve)(plan, weights, z)


def _jacobi(plan: Plan, weights: Weights, z: Array) -> Array:
    def forward(x: Array) -> tuple[Array, Array]:
        outputs = causal_unet.evaluate(weights, x)
        back, log_scale = affine(outputs, x, plan.bound)
        return back, jnp.exp(-log_scale)

    limit = z[0].size
    return fixed_point.solve(forward, z, z, tolerance=plan.tolerance, limit=limit).x


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
      method: how `inverse` is computed, see `solve`; all agree.
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
        mean, raw, coefficients = split_outputs(outputs, channels)
        rest = x - mean - shifts(coefficients, x)
        start = statistics.affine_start(rest, raw, (0, 1, 2), self.bound)
        others = jnp.zeros(outputs.shape[-1] - 2 * channels, x.dtype)
        return jnp.concatenate([*start, others])

    def _bias_of_latents(self, y: Images, outputs: Array) -> Array:
        """Of `inverse`: x has mean 0 and variance 1, if `net` is its last biases."""
        std = statistics.spread(y, (0, 1, 2)) + statistics.SMALLEST
        raw = conditioners.inverse_soft_clamp(-jnp.log(std), self.bound)
        others = jnp.zeros(outputs.shape[-1] - 2 * y.shape[-1], y.dtype)
        return jnp.concatenate([-jnp.mean(y, axis=(0, 1, 2)) / std, raw, others])

    def forward(self, x: Events, cond: Context | None = None) -> tuple[Mapped, LogDet]:
        """One pass of the network."""
        check_images(x)
        size = output_size(x.shape[-1])
        bias = functools.partial(self._bias_of_data, x)
        weights = self.net.weights(x, size, cond, bias)
        z, log_scale = affine(causal_unet.evaluate(weights, x), x, self.bound)
        return z, -jnp.sum(log_scale, axis=(1, 2, 3))

    def inverse(self, y: Events, cond: Context | None = None) -> tuple[Mapped, LogDet]:
        """Pixel by pixel; the log_det by one pass of the network at the result."""
        return self.inverse_with_report(y, cond)[:2]

    def inverse_with_report(
        self, y: Events, cond: Context | None = None, start: Events | None = None
    ) -> tuple[Mapped, LogDet, Report]:
        """`inverse`; from a start by iteration of the whole network."""
        check_images(y)
        size = output_size(y.shape[-1])
        bias = functools.partial(self._bias_of_latents, y)
        weights = self.net.weights(y, size, cond, bias)
        method = "once" if self.is_initializing() else self.method
        plan = Plan(self.bound, method, self.tolerance)
        count = jnp.zeros(y.shape[:1], jnp.int32)
        if start is None:
            x = solve(plan, weights, y)
        else:
            dtype = jnp.result_type(y, weights.output.kernel)
            given: Any = jax.tree.map(lambda a: a.astype(dtype), (weights, y, start))
            x, count = triangular.settle(plan, *given)
        # Zeros stand in for images that exploded: the gradient of a discarded 0 is 0,
        # while that of a discarded inf is nan.
        finite = jnp.all(jnp.isfinite(x), axis=(1, 2, 3), keepdims=True)
        at, finite = jnp.where(finite, x, 0), finite[:, 0, 0, 0]
        back, log_scale = affine(causal_unet.evaluate(weights, at), at, self.bound)
        log_det = jnp.sum(log_scale, axis=(1, 2, 3))
        gap = jnp.max(jnp.abs(back - y), axis=(1, 2, 3))
        residual = jnp.where(finite & jnp.isfinite(gap), gap, jnp.inf)
        report = Report(residual[None], count[None])
        return x, jnp.where(finite, log_det, jnp.nan), report


def check_images(x: Array) -> None:
    """Raises ValueError for what is no batch of images."""
    if x.ndim != 4:
        raise ValueError(
            f"data of shape {x.shape}: expected images [batch, height, width, "
            "channels]; for vectors there is MAF"
        )
