"""Maps of each channel by itself: activation normalization, scaling, splines."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array

from fdnf.bijectors.base import Bijector, Inspection, Moves
from fdnf.bijectors.transformers import Transformer
from fdnf.ops import conditioners, linear, statistics
from fdnf.types import Context, Events, LogDet


class ActNorm(Bijector):
    """Per-channel affine map whose first values come from the first batch.

    y = (x + bias) * exp(log_scale), log_scale = soft_clamp(raw). `init` sets `bias`
    and `raw` so that each channel of its batch leaves with mean 0 and variance 1.
    That happens in `init` alone: there is no flag, so nothing is taken again when
    parameters are loaded or replicated. A channel that is constant in this batch (all
    are, in one row) gets the scale of the others, see `ops.statistics`. An `init`
    through `inverse` starts at the identity, since the batch that would fix the
    statistics is not known there.

    Args:
      bound: largest |log_scale|; data of a standard deviation below exp(-bound) is
        not brought to 1.

    Reference: Kingma and Dhariwal (2018), section 3.1.
    """

    bound: float = 12.0

    @nn.compact
    def _affine(self, channels: int, x: Events | None) -> tuple[Array, Array]:
        def bias_init(_):
            if x is None:
                return jnp.zeros(channels, jnp.float32)
            return -jnp.mean(x, axis=tuple(range(x.ndim - 1)))

        def raw_init(_):
            if x is None:
                return jnp.zeros(channels, jnp.float32)
            return statistics.raw_log_scale(x, tuple(range(x.ndim - 1)), self.bound)

        bias = self.param("bias", bias_init)
        raw = self.param("raw_log_scale", raw_init)
        return bias, conditioners.soft_clamp(raw, self.bound)

    def forward(self, x: Events, cond: Context | None = None) -> tuple[Events, LogDet]:
        """Centres, then scales."""
        bias, log_scale = self._affine(x.shape[-1], x)
        return (x + bias) * jnp.exp(log_scale), linear.total_log_det(
            jnp.sum(log_scale), x
        )

    def inverse(self, y: Events, cond: Context | None = None) -> tuple[Events, LogDet]:
        """Scales back, then shifts back."""
        bias, log_scale = self._affine(y.shape[-1], None)
        return y * jnp.exp(-log_scale) - bias, -linear.total_log_det(
            jnp.sum(log_scale), y
        )

    def _moves(self, like: Events) -> Moves:
        return Moves.of_elements(self._affine(like.shape[-1], None)[1])


class Scaling(Bijector):
    """Elementwise scaling of the whole event, NICE's last layer.

    y = x * exp(soft_clamp(raw)); raw starts at 0.

    Reference: Dinh et al. (2015), section 3.3.
    """

    bound: float = 12.0

    @nn.compact
    def _log_scale(self, shape: tuple[int, ...]) -> Array:
        raw = self.param("raw_log_scale", nn.initializers.zeros, shape, jnp.float32)
        return conditioners.soft_clamp(raw, self.bound)

    def forward(self, x: Events, cond: Context | None = None) -> tuple[Events, LogDet]:
        """Multiplies."""
        log_scale = self._log_scale(x.shape[1:])
        return x * jnp.exp(log_scale), jnp.broadcast_to(log_scale.sum(), x.shape[:1])

    def inverse(self, y: Events, cond: Context | None = None) -> tuple[Events, LogDet]:
        """Divides."""
        log_scale = self._log_scale(y.shape[1:])
        return y * jnp.exp(-log_scale), jnp.broadcast_to(-log_scale.sum(), y.shape[:1])

    def _moves(self, like: Events) -> Moves:
        return Moves.of_elements(self._log_scale(like.shape[1:]))


class Elementwise(Bijector):
    """y_i = T(x_i; raw_i): a transformer whose numbers each channel has for itself.

    It bends the marginal of a channel, whatever the other channels are, for
    `outputs` numbers a channel and no network. It starts as the identity, or as what
    the transformer's `start` makes of the first batch.

    Args:
      transformer: T.
    """

    transformer: Transformer

    @nn.compact
    def _raw(self, channels: int, first: Events | None) -> Array:
        def start(_):
            raw = jnp.zeros((self.transformer.outputs, channels), jnp.float32)
            if first is None:
                return raw
            rows = jnp.asarray(first.reshape(-1, channels), jnp.float32)
            zeros = jnp.zeros((len(raw), *rows.shape), rows.dtype)
            found = self.transformer.start(rows, zeros)
            return raw if found is None else found

        return self.param("raw", start)

    def _mapped(self, one: Callable, raw: Array, x: Events) -> tuple[Events, Events]:
        # Row by row, so that what depends on the channel alone is computed once.
        rows = x.reshape(-1, x.shape[-1])
        y, log_slope = jax.vmap(lambda row: one(raw, row))(rows)
        return y.reshape(x.shape), log_slope.reshape(x.shape)

    def forward(self, x: Events, cond: Context | None = None) -> tuple[Events, LogDet]:
        """Maps each channel."""
        raw = self._raw(x.shape[-1], x)
        y, log_slope = self._mapped(self.transformer.forward, raw, x)
        return y, _total(log_slope)

    def inverse(self, y: Events, cond: Context | None = None) -> tuple[Events, LogDet]:
        """Maps each channel back."""
        raw = self._raw(y.shape[-1], None)
        x, log_slope = self._mapped(self.transformer.inverse, raw, y)
        return x, _total(log_slope)

    def inspect_forward(self, x: Events, cond: Context | None = None) -> Inspection:
        """Of each channel's slope at x. Its numbers are no network's: none are told."""
        raw = self._raw(x.shape[-1], None)
        y, slope = self._mapped(self.transformer.forward, raw, x)
        return Inspection(y, _total(slope), moves=Moves.of_elements(slope))

    def inspect_inverse(self, y: Events, cond: Context | None = None) -> Inspection:
        """As `inspect_forward`, of what is mapped to y."""
        raw = self._raw(y.shape[-1], None)
        x, slope = self._mapped(self.transformer.inverse, raw, y)
        return Inspection(x, _total(slope), moves=Moves.of_elements(-slope))


def _total(log_slope: Array) -> LogDet:
    return jnp.sum(log_slope.reshape(log_slope.shape[0], -1), axis=-1)
