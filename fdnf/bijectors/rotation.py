"""Invertible 1x1 convolution that starts as a proper rotation."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from fdnf.bijectors.invertible_conv import InvertibleConv, Matrix


class RotationConv(InvertibleConv):
    """y = W x at every position; W starts orthogonal with determinant +1.

    Reference: Prenger et al. (2018), section 2.1 and released code, where W is the Q
    of a random matrix, its first column turned around if det Q < 0.
    """

    @nn.compact
    def _weight(self, channels: int) -> Matrix:
        def start(key):
            weight = jax.random.orthogonal(key, channels, dtype=jnp.float32)
            sign = jnp.sign(jnp.linalg.det(weight))
            # Not an update of the column: in a loop of one step, XLA's CPU backend has
            # been seen to overwrite what the determinant still reads.
            return jnp.where(jnp.arange(channels) == 0, sign, 1.0) * weight

        return self.param("weight", start)
