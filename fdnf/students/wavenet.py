"""WaveGlow's student: WaveNets one after another."""

import flax.linen as nn
from jaxtyping import Array

from fdnf.nets.wavenet import Conv, WaveNet
from fdnf.students.wave import WaveStudent


class WaveNetBlock(nn.Module):
    """A WaveNet from a series to one of the same channels, nothing around it."""

    layers: int
    channels: int
    taps: int

    @nn.compact
    def __call__(self, h: Array, cond: Array | None = None) -> Array:
        """The WaveNet's output."""
        net = WaveNet(self.layers, self.channels, self.taps, name="net")
        return net(h, h.shape[-1], cond)


class WaveNetStudent(WaveStudent):
    """Coupling layers replaced by WaveNets on a wide representation.

    A linear map to `channels`, `blocks` WaveNets without shortcuts around them, a
    linear map to the samples of a group. The published ones are V1 (4 blocks of 128
    channels), V2 (4 of 96) and V3 (2 of 96).

    Reference: Baranchuk et al. (2021), figure 2d, appendix B.2, table 2.
    """

    @nn.compact
    def _network(self, h: Array, cond: Array | None) -> Array:
        h = Conv(self.channels, name="in_proj")(h)
        block = WaveNetBlock(self.layers, self.channels, self.taps, name="stack")
        h = self._stack(block, h, cond)
        return Conv(self.group, name="out_proj")(h)
