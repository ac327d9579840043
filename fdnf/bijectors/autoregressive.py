"""Masked autoregressive affine maps: parallel forward, sequential inverse."""

import functools

import jax.numpy as jnp
from jaxtyping import Array, Float

from fdnf.bijectors.base import Bijector
from fdnf.nets import made, mlp
from fdnf.ops import autoregressive_inverse, scales, statistics
from fdnf.types import Context, LogDet

Vectors = Float[Array, "batch dim"]


class MaskedAffine(Bijector):
    """u_i = (x_i - m_i(x_{<i})) exp(-a_i(x_{<i})), a = soft_clamp(raw).

    Without further layers, `init` gives each u_i mean 0 and variance 1 on its batch,
    through the last biases of the network; what does not vary there gets the scale of
    the others, see `ops.statistics`. The log-scale is clamped softly, the same in both
    directions, so that no latent decodes to infinity.

    Args:
      made: the network; it must have 2 outputs per dimension, (m | raw).
      bound: largest |a|.
      method: how `inverse` is computed, one of `autoregressive_inverse.METHODS`;
        all agree, see there.
      tolerance: of the iterative methods.

    Reference: Papamakarios et al. (2017), eq. 3-5.
    """

    made: made.MADE
    bound: float = 5.0
    method: str = "auto"
    tolerance: float = 1e-5

    def _bias_init(self, x: Vectors, net: Array) -> Array:
        shift, raw = jnp.split(net, 2, axis=-1)
        rest = x - shift
        still = statistics.constant(rest, 0)
        # The network's own raw log-scales vary with the row, so the two biases are
        # a fixed point; a few rounds reach it.
        mean, bias = jnp.mean(rest, axis=0), jnp.zeros(x.shape[-1], x.dtype)
        for _ in range(5):
            weight = jnp.exp(-scales.soft_clamp(raw + bias, self.bound))
            mean = jnp.sum(rest * weight, axis=0) / jnp.sum(weight, axis=0)
            std = statistics.spread((rest - mean) * weight, 0, still)
            log_std = jnp.log(std + statistics.SMALLEST)
            bias = scales.inverse_soft_clamp(
                scales.soft_clamp(bias, self.bound) + log_std, self.bound
            )
        return jnp.concatenate([mean, bias])

    def forward(
        self, x: Vectors, cond: Context | None = None
    ) -> tuple[Vectors, LogDet]:
        """One pass of the network."""
        shift, raw = jnp.split(self.made(x, cond, self._bias_init), 2, axis=-1)
        log_scale = scales.soft_clamp(raw, self.bound)
        return (x - shift) * jnp.exp(-log_scale), -jnp.sum(log_scale, axis=-1)

    def inverse(
        self, y: Vectors, cond: Context | None = None
    ) -> tuple[Vectors, LogDet]:
        """x_i = u_i exp(a_i(x_{<i})) + m_i(x_{<i}), each unit computed once."""
        solution = autoregressive_inverse.invert(
            self.made.layers(y, cond),
            y,
            activation=mlp.activation(self.made.activation),
            log_scale=_log_scale(self.bound),
            method=self.method,
            tol=self.tolerance,
            lowest=made.lowest_degree(cond),
        )
        return solution.x, jnp.sum(solution.log_scale, axis=-1)


@functools.lru_cache
def _log_scale(bound: float):
    """One object per bound: static arguments are compared by identity."""
    return functools.partial(scales.soft_clamp, bound=bound)
