"""SRFlow's injector: the condition alone moves all channels."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array

from fdnf.bijectors.base import Bijector
from fdnf.ops import scales
from fdnf.types import Context, Events, LogDet


class AffineInjector(Bijector):
    """y = (x + shift(cond)) * exp(log_scale(cond)), over all channels.

    The scale is in (floor, 1), as that of a coupling with `log_scale="sigmoid"`.

    Args:
      conditioner: module called as `conditioner(cond, features)`.
      floor: smallest scale, what the inverse divides by.

    Reference: Lugmayr et al. (2020), SRFlow, section 3 (affine injector).
    """

    conditioner: nn.Module
    floor: float = 1e-4

    def _affine(self, x: Events, cond: Context | None) -> tuple[Array, Array]:
        if cond is None or cond.shape[:-1] != x.shape[:-1]:
            given = None if cond is None else cond.shape
            raise ValueError(
                f"AffineInjector on events of {x.shape} with a condition of {given}: "
                "expected one of equal shape but for the channels"
            )
        shift, raw = jnp.split(self.conditioner(cond, 2 * x.shape[-1]), 2, axis=-1)
        return shift, scales.sigmoid_log_scale(raw, self.floor)

    def forward(self, x: Events, cond: Context | None = None) -> tuple[Events, LogDet]:
        """Shifts, then scales."""
        shift, log_scale = self._affine(x, cond)
        return (x + shift) * jnp.exp(log_scale), _sum(log_scale)

    def inverse(self, y: Events, cond: Context | None = None) -> tuple[Events, LogDet]:
        """Scales back, then shifts back."""
        shift, log_scale = self._affine(y, cond)
        return y * jnp.exp(-log_scale) - shift, -_sum(log_scale)


def _sum(log_scale: Array) -> LogDet:
    return jnp.sum(log_scale, axis=tuple(range(1, log_scale.ndim)))
