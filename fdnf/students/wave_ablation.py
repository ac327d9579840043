"""The ablation: students that keep some of a flow's restrictions."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array

from fdnf.nets.wavenet import Conv, WaveNet
from fdnf.ops import scales
from fdnf.students.wave import WaveStudent


class AffineBlock(nn.Module):
    """(h2 - b) / exp(log_s), then a linear map with a bias.

    With a partition, (b, log_s) come from the leading half, which passes unchanged,
    and move the other; without, they come from all channels and move all. The linear
    map is as wide as h and is under no constraint. log_s starts at 0, as a flow's.

    Args:
      layers: of the WaveNet.
      channels: of the WaveNet.
      taps: of its dilated convolutions.
      partition: halves, as a flow needs them.
      bound: log_s is softly clamped to (-bound, bound).
    """

    layers: int
    channels: int
    taps: int
    partition: bool
    bound: float = 7.0

    @nn.compact
    def __call__(self, h: Array, cond: Array | None = None) -> Array:
        """The block's output, of the same shape."""
        half = h.shape[-1] // 2 if self.partition else 0
        seen, moved = (h[..., :half], h[..., half:]) if half else (h, h)
        net = WaveNet(self.layers, self.channels, self.taps, zero=True, name="net")
        b, raw = jnp.split(net(seen, 2 * moved.shape[-1], cond), 2, axis=-1)
        moved = (moved - b) * jnp.exp(-scales.soft_clamp(raw, self.bound))
        h = jnp.concatenate([seen, moved], axis=-1) if half else moved
        return Conv(h.shape[-1], name="linear")(h)


class WaveFlowStudent(WaveStudent):
    """The teacher's layers, fewer and smaller, without early outputs.

    Reference: Baranchuk et al. (2021), figure 2a, appendix F, table 4 (a).
    """

    partition = True

    @nn.compact
    def _network(self, h: Array, cond: Array | None) -> Array:
        return self._stack(self._block(), h, cond)

    def _block(self) -> AffineBlock:
        return AffineBlock(
            self.layers, self.channels, self.taps, self.partition, name="stack"
        )


class WaveWideFlowStudent(WaveFlowStudent):
    """Coupling layers on a representation widened to `channels`: not invertible.

    Reference: Baranchuk et al. (2021), figure 2b, appendix F, table 4 (b).
    """

    @nn.compact
    def _network(self, h: Array, cond: Array | None) -> Array:
        h = Conv(self.channels, name="in_proj")(h)
        h = self._stack(self._block(), h, cond)
        return Conv(self.group, name="out_proj")(h)


class WaveAffineStudent(WaveFlowStudent):
    """Affine layers that see and move all channels: no cheap Jacobian.

    Reference: Baranchuk et al. (2021), figure 2c, appendix F, table 4 (c).
    """

    partition = False
