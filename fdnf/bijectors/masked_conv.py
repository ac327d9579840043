"""Masked convolutions with a positive diagonal: MintNet's layer."""

import math
from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fdnf.bijectors.base import Bijector, Report
from fdnf.ops import conditioners, convolutions, fixed_point
from fdnf.types import Context, LogDet

# Side of the kernels.
SIZE = 3
# Start of the last kernels, as a multiple of the usual one: near F(x) = x.
OUTPUT_SCALE = 0.05

Images = Float[Array, "batch height width channels"]


class Kernel(NamedTuple):
    """A kernel times its mask, cut to the rows in which a weight may stand.

    With one channel a unit sees nothing of the pixels below it (above it, in the
    mirrored order), so that row of the kernel is left out.

    Attributes:
      weight: the rows that are left.
      centre: index of the middle row among them.
    """

    weight: Float[Array, "rows columns inputs outputs"]
    centre: int


class Weights(NamedTuple):
    """A layer's weights, masked and with the signs of its centres coupled.

    Unit k of channel c has index c * hidden + k. `centres` are the middle weights that
    connect a channel with itself: [units], [units, units] with zeros elsewhere,
    [units].
    """

    slope: Float[Array, "height width channels"]
    in_kernel: Kernel
    in_bias: Float[Array, " units"]
    mid_kernel: Kernel
    mid_bias: Float[Array, " units"]
    out_kernel: Kernel
    out_bias: Float[Array, " channels"]
    centres: tuple[Array, Array, Array]


def evaluate(weights: Weights, x: Images) -> tuple[Images, Images]:
    """F(x) = t x + W3 h(W2 h(W1 x + b1) + b2) + b3, and the diagonal of its Jacobian.

    Weights that connect a channel with itself at the same pixel stand in the middle of
    their kernels, so with these as Wc and h = ELU, at each pixel
    diag = t + sum_ij W1c_i h'(a1_i) W2c_ij h'(a2_j) W3c_j.

    Reference: Song, Meng, Ermon (2019), MintNet, eq. 2 and section 3.2.
    """
    a1 = _convolve(x, weights.in_kernel) + weights.in_bias
    a2 = _convolve(_elu(a1), weights.mid_kernel) + weights.mid_bias
    y = _convolve(_elu(a2), weights.out_kernel) + weights.out_bias
    first, mid, last = weights.centres
    # One product with zeros between channels: small batched products are slow on CPU.
    slope = convolutions.dot(_elu_slope(a1) * first, mid)
    slope = (slope * _elu_slope(a2) * last).reshape(*x.shape, -1)
    return weights.slope * x + y, weights.slope + jnp.sum(slope, axis=-1)


def _elu(a: Array) -> Array:
    return jnp.where(a > 0, a, jnp.expm1(jnp.minimum(a, 0)))


def _elu_slope(a: Array) -> Array:
    return jnp.exp(jnp.minimum(a, 0))


def _convolve(x: Array, kernel: Kernel) -> Array:
    above, below = kernel.centre, kernel.weight.shape[0] - 1 - kernel.centre
    side = kernel.weight.shape[1] // 2
    return convolutions.convolve_shifted(
        x, kernel.weight, ((above, below), (side, side))
    )


class MaskedConv(Bijector):
    """y = t x + W3 h(W2 h(W1 x + b1) + b2) + b3 with masked 3x3 convolutions.

    Each channel has `hidden` units in both hidden layers, and masks let a unit see the
    channels before its own and the past of its own (`conditioners.conv_mask`). W2's
    centres take the signs of those of W1 and W3, so that every product along a path
    from a pixel to itself is at least 0: the Jacobian is triangular with a diagonal of
    at least t, and log_det is the sum of its logarithm. Opposite orders in turn see
    all.

    t = exp(soft_clamp(raw)), one a pixel and channel, instead of the released code's
    max(|raw|, 1e-12): smooth, never stuck at the kink, and bounded below, which bounds
    what the fixed-point inverse divides by.

    Args:
      hidden: units per channel.
      mirrored: the reverse order.
      bound: largest |log t|.
      step: of the fixed-point inverse, see `fixed_point.solve`; the paper's 1 / eta.
      tolerance: of its residual.
      limit: of its iterations.
      patience: its iterations without gain before the step is halved.

    Reference: Song, Meng, Ermon (2019), MintNet, sections 3.1-3.3.
    """

    hidden: int = 16
    mirrored: bool = False
    bound: float = 3.0
    step: float = 1.0
    tolerance: float = 2e-7
    limit: int = 500
    patience: int | None = 20

    @nn.compact
    def _weights(self, shape: tuple[int, ...]) -> Weights:
        channels, zeros = shape[-1], nn.initializers.zeros

        def kernel(name: str, copies: tuple[int, int], scale: float) -> Kernel:
            mask = conditioners.conv_mask(
                channels, copies=copies, mirrored=self.mirrored
            )
            rows = np.flatnonzero(mask.any(axis=(1, 2, 3)))
            mask = mask[rows]
            seen = mask.sum() / mask.shape[-1]
            start = nn.initializers.normal(scale / math.sqrt(seen))
            weight = self.param(name, start, mask.shape, jnp.float32)
            return Kernel(weight * mask, int(np.flatnonzero(rows == SIZE // 2)[0]))

        def bias(name: str, width: int) -> Array:
            return self.param(name, zeros, (width,), jnp.float32)

        raw = self.param("raw_log_slope", zeros, shape, jnp.float32)
        first = kernel("in_kernel", (1, self.hidden), 1.0)
        mid = kernel("mid_kernel", (self.hidden, self.hidden), 1.0)
        last = kernel("out_kernel", (self.hidden, 1), OUTPUT_SCALE)
        mid, centres = _coupled(first, mid, last)
        units = channels * self.hidden
        return Weights(
            slope=jnp.exp(conditioners.soft_clamp(raw, self.bound)),
            in_kernel=first,
            in_bias=bias("in_bias", units),
            mid_kernel=mid,
            mid_bias=bias("mid_bias", units),
            out_kernel=last,
            out_bias=bias("out_bias", channels),
            centres=centres,
        )

    def forward(self, x: Images, cond: Context | None = None) -> tuple[Images, LogDet]:
        """One evaluation."""
        y, diag = evaluate(self._weights(x.shape[1:]), x)
        return y, jnp.sum(jnp.log(diag), axis=(1, 2, 3))

    def inverse_with_report(
        self, y: Images, cond: Context | None = None, start: Images | None = None
    ) -> tuple[Images, LogDet, Report]:
        """`inverse`, with what it took; the report is of one layer."""
        weights = self._weights(y.shape[1:])
        found = fixed_point.solve(
            lambda x: evaluate(weights, x),
            y,
            y / weights.slope if start is None else start,
            step=self.step,
            tolerance=self.tolerance,
            limit=self.limit,
            patience=self.patience,
        )
        _, diag = evaluate(weights, found.x)
        log_det = -jnp.sum(jnp.log(diag), axis=(1, 2, 3))
        return found.x, log_det, Report(found.residual[None], found.iterations[None])

    def inverse(self, y: Images, cond: Context | None = None) -> tuple[Images, LogDet]:
        """Fixed-point iteration, each row until its residual is within tolerance."""
        return self.inverse_with_report(y)[:2]


def _coupled(
    first: Kernel, mid: Kernel, last: Kernel
) -> tuple[Kernel, tuple[Array, Array, Array]]:
    """`mid` with signs such that W1c W2c W3c is at least 0, and the three centres."""
    column = SIZE // 2
    before, middle, after = (k.weight[k.centre, column] for k in (first, mid, last))
    channel = np.arange(before.shape[1]) * before.shape[0] // before.shape[1]
    unit = np.arange(len(channel))
    before, after = before[channel, unit], after[unit, channel]
    sign = _sign(before)[:, None] * _sign(after)
    same = channel[:, None] == channel
    centre = jnp.where(same, sign * jnp.abs(middle), 0)
    weight = mid.weight.at[mid.centre, column].set(jnp.where(same, centre, middle))
    return Kernel(weight, mid.centre), (before, centre, after)


def _sign(weight: Array) -> Array:
    """1 at 0, where jnp.sign would cut the path."""
    return jnp.where(weight < 0, -1.0, 1.0).astype(weight.dtype)
