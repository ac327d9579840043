"""WaveGlow's coupling: half of the channels scale and shift the others."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array

from fdnf.bijectors.base import Bijector
from fdnf.ops import scales
from fdnf.types import Context, Events, LogDet


class WaveCoupling(Bijector):
    """y2 = exp(log_s) x2 + b, y1 = x1, with (b, log_s) = conditioner(x1, cond).

    The shift comes after the scale, and the conditioner's outputs are [b, log_s], as
    released. x1 is the leading half of the channels.

    Args:
      conditioner: module called as `conditioner(x1, features, cond)`.
      bound: log_s is softly clamped to (-bound, bound). The released code leaves it
        open; with 7, a voice's log_s is hardly changed, and 12 couplings together
        stay in float32's range.

    Reference: Prenger et al. (2018), eq. 5-7 and released code.
    """

    conditioner: nn.Module
    bound: float = 7.0

    def _parts(
        self, x: Events, cond: Context | None
    ) -> tuple[Array, Array, Array, Array]:
        if x.shape[-1] < 2:
            raise ValueError(
                f"a coupling splits the channels and needs at least 2, got {x.shape}"
            )
        half = x.shape[-1] // 2
        x1, x2 = x[..., :half], x[..., half:]
        out = self.conditioner(x1, 2 * x2.shape[-1], cond)
        b, raw = jnp.split(out, 2, axis=-1)
        return x1, x2, b, scales.soft_clamp(raw, self.bound)

    def forward(self, x: Events, cond: Context | None = None) -> tuple[Events, LogDet]:
        """Scales, then shifts x2."""
        x1, x2, b, log_s = self._parts(x, cond)
        y = jnp.concatenate([x1, x2 * jnp.exp(log_s) + b], axis=-1)
        return y, jnp.sum(log_s, axis=tuple(range(1, log_s.ndim)))

    def inverse(self, y: Events, cond: Context | None = None) -> tuple[Events, LogDet]:
        """Takes the shift away, then the scale."""
        y1, y2, b, log_s = self._parts(y, cond)
        x = jnp.concatenate([y1, (y2 - b) * jnp.exp(-log_s)], axis=-1)
        return x, -jnp.sum(log_s, axis=tuple(range(1, log_s.ndim)))
