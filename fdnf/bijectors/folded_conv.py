"""An activation norm and a 1x1 convolution as one affine map, its inverse at hand."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array

from fdnf.bijectors.base import Bijector
from fdnf.ops import positions
from fdnf.types import Context, Events, LogDet


class FoldedConv(Bijector):
    """y = W x + b at every position, with W^-1 and log |det W| as parameters.

    Parameters come from the `fold` of a flow (`flows.surgery`, `srflow_surgery`,
    `waveglow_surgery`); they are for use, not for training, which would move W away
    from what stands for its inverse. `init` gives the identity.
    """

    @nn.compact
    def _map(self, channels: int) -> tuple[Array, Array, Array, Array]:
        def eye(_):
            return jnp.eye(channels, dtype=jnp.float32)

        zeros = nn.initializers.zeros
        weight = self.param("weight", eye)
        inverse = self.param("inverse", eye)
        bias = self.param("bias", zeros, (channels,), jnp.float32)
        log_det = self.param("log_det", zeros, (), jnp.float32)
        return weight, inverse, bias, log_det

    def forward(self, x: Events, cond: Context | None = None) -> tuple[Events, LogDet]:
        """Multiplies by W and adds b."""
        weight, _, bias, log_det = self._map(x.shape[-1])
        return positions.multiply(x, weight) + bias, positions.log_det(log_det, x)

    def inverse(self, y: Events, cond: Context | None = None) -> tuple[Events, LogDet]:
        """Takes b away and multiplies by the inverse."""
        _, inverse, bias, log_det = self._map(y.shape[-1])
        return positions.multiply(y - bias, inverse), positions.log_det(-log_det, y)
