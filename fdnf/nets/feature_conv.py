"""Glow's conditioner beside wide feature maps."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fdnf.nets.conv import Conv, ZeroConv
from fdnf.ops import convolution
from fdnf.types import Context

Images = Float[Array, "batch height width channels"]
Result = Float[Array, "batch height width features"]


class FeatureBlock(nn.Module):
    """3x3, 1x1, 3x3 convolution of [x, cond]; the last one starts at 0.

    The function and the number of weights of `ConvBlock` with an image condition. The
    first kernel is kept as two, of x and of cond, and their results are added: the
    wide maps are not copied beside the few channels of x, and under a `vmap` over
    many x of one cond what depends on cond alone is computed once.

    Args:
      hidden: channels between.
      norm: activation norms after the first two convolutions, or plain biases.
      dtype: of the arithmetic.

    Reference: Lugmayr et al. (2020), SRFlow, section 3 (conditional coupling).
    """

    hidden: int
    norm: bool = True
    dtype: str | None = None

    @nn.compact
    def __call__(self, x: Images, features: int, cond: Context | None = None) -> Result:
        """Maps [x, cond] to `features` channels of the same height and width.

        Raises:
          ValueError: without a condition, or if its height or width differ from x's.
        """
        if cond is None or cond.ndim != 4 or cond.shape[:3] != x.shape[:3]:
            given = None if cond is None else cond.shape
            raise ValueError(
                f"condition of shape {given} beside images of {x.shape}: expected "
                "feature maps of the same height and width"
            )
        extra = _Kernel(self.hidden, self.dtype, name="conv_features")(cond)
        h = Conv(self.hidden, 3, self.norm, self.dtype, name="conv_in")(x, extra)
        h = jax.nn.relu(h)
        h = Conv(self.hidden, 1, self.norm, self.dtype, name="conv_mid")(h)
        return ZeroConv(features, self.dtype, name="conv_out")(jax.nn.relu(h))


class _Kernel(nn.Module):
    """3x3 convolution without a bias."""

    features: int
    dtype: str | None = None

    @nn.compact
    def __call__(self, x: Array) -> Array:
        shape = (3, 3, x.shape[-1], self.features)
        start = nn.initializers.normal(0.05)
        kernel = self.param("kernel", start, shape, jnp.float32)
        if self.dtype is not None:
            x, kernel = x.astype(self.dtype), kernel.astype(self.dtype)
        return convolution.convolve(x, kernel)
