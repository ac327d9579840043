"""Convolutional networks: the conditioners of coupling layers on images.

Parameters are float32, and so are results, whatever the `dtype` of the arithmetic
between; None is that of the input.
"""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fdnf.ops import conditioners, conditions, convolutions, statistics
from fdnf.types import Context

Images = Float[Array, "batch height width channels"]
Result = Float[Array, "batch height width features"]

BOUND = 12.0
DTYPES = ("float32", "bfloat16")


def check_dtype(model: str, dtype: str) -> None:
    """Refuses what the arithmetic of a convolutional model cannot be in.

    Raises:
      ValueError: for a name that is not in DTYPES.
    """
    if dtype not in DTYPES:
        raise ValueError(f"{model}(dtype={dtype!r}): expected one of {DTYPES}")


class Conv(nn.Module):
    """Convolution that keeps height and width.

    Args:
      features: output channels.
      size: height and width of the kernel.
      norm: an activation norm stands where the bias would: (h + bias) exp(log_scale),
        with statistics 0 and 1 on the batch of `init`.
      dtype: of the arithmetic.
      scale: standard deviation of the kernel's start; 0.05 as the released code.
    """

    features: int
    size: int = 3
    norm: bool = True
    dtype: str | None = None
    scale: float = 0.05

    @nn.compact
    def __call__(self, x: Images, extra: Array | None = None) -> Array:
        """Convolves; `extra` is added before the normalisation."""
        shape = (self.size, self.size, x.shape[-1], self.features)
        start = nn.initializers.normal(self.scale)
        kernel = self.param("kernel", start, shape, jnp.float32)
        h = _convolve(x, kernel, self.dtype)
        if extra is not None:
            h += extra.astype(h.dtype)
        if not self.norm:
            zeros = nn.initializers.zeros
            bias = self.param("bias", zeros, (self.features,), jnp.float32)
            return h + bias.astype(h.dtype)

        def bias_init(_):
            return -jnp.mean(h.astype(jnp.float32), axis=(0, 1, 2))

        def raw_init(_):
            return statistics.raw_log_scale(h.astype(jnp.float32), (0, 1, 2), BOUND)

        bias = self.param("bias", bias_init)
        raw = self.param("raw_log_scale", raw_init)
        scale = jnp.exp(conditioners.soft_clamp(raw, BOUND))
        return (h + bias.astype(h.dtype)) * scale.astype(h.dtype)


class ZeroConv(nn.Module):
    """Convolution that starts at 0: (conv(h) + bias) exp(3 log_scale).

    Reference: Kingma and Dhariwal (2018), released code.
    """

    features: int
    dtype: str | None = None

    @nn.compact
    def __call__(self, x: Images) -> Result:
        """Float32 whatever the dtype between."""
        shape = (3, 3, x.shape[-1], self.features)
        zeros = nn.initializers.zeros
        kernel = self.param("kernel", zeros, shape, jnp.float32)
        bias = self.param("bias", zeros, (self.features,), jnp.float32)
        raw = self.param("raw_log_scale", zeros, (self.features,), jnp.float32)
        h = _convolve(x, kernel, self.dtype)
        h = h.astype(jnp.promote_types(jnp.float32, h.dtype)) + bias
        return h * jnp.exp(conditioners.soft_clamp(3.0 * raw, BOUND))


class ConvBlock(nn.Module):
    """Glow's conditioner: 3x3, 1x1, 3x3 convolution; the last one starts at 0.

    A condition of image shape, brought to the size of the input (`conditions.fitted`),
    is concatenated to it; a vector is mapped to the hidden channels and added.

    Args:
      hidden: channels between.
      norm: activation norms after the first two convolutions, or plain biases.
      dtype: of the arithmetic; "bfloat16" halves memory, and costs about three digits
        of the shifts and log-scales, not of the flow's inverse.

    Reference: Kingma and Dhariwal (2018), section 5.
    """

    hidden: int
    norm: bool = True
    dtype: str | None = None

    @nn.compact
    def __call__(self, x: Images, features: int, cond: Context | None = None) -> Result:
        """Maps images to `features` channels of the same height and width."""
        x, extra = _with_context(x, cond, self.hidden)
        conv: Callable = Conv
        h = conv(self.hidden, 3, self.norm, self.dtype, name="conv_in")(x, extra)
        h = jax.nn.relu(h)
        h = conv(self.hidden, 1, self.norm, self.dtype, name="conv_mid")(h)
        return ZeroConv(features, self.dtype, name="conv_out")(jax.nn.relu(h))


class ConvResNet(nn.Module):
    """Residual convolutional network, RealNVP's conditioner.

    Args:
      hidden: channels between.
      blocks: residual blocks of two 3x3 convolutions.
      dtype: of the arithmetic.

    Reference: Dinh et al. (2017), section 4.1, with activation norms for batch norms.
    """

    hidden: int
    blocks: int = 1
    dtype: str | None = None

    @nn.compact
    def __call__(self, x: Images, features: int, cond: Context | None = None) -> Result:
        """Maps images to `features` channels of the same height and width."""
        x, extra = _with_context(x, cond, self.hidden)
        h = Conv(self.hidden, 3, True, self.dtype, name="conv_in")(x, extra)
        for i in range(self.blocks):
            r = Conv(self.hidden, 3, True, self.dtype, name=f"a_{i}")(jax.nn.relu(h))
            h += Conv(self.hidden, 3, True, self.dtype, name=f"b_{i}")(jax.nn.relu(r))
        return ZeroConv(features, self.dtype, name="conv_out")(jax.nn.relu(h))


def _convolve(x: Array, kernel: Array, dtype: str | None) -> Array:
    if dtype is not None:
        x, kernel = x.astype(dtype), kernel.astype(dtype)
    return convolutions.convolve(x, kernel)


def _with_context(
    x: Array, cond: Context | None, hidden: int
) -> tuple[Array, Array | None]:
    """The input with an image condition beside it, and what a vector adds."""
    if cond is None:
        return x, None
    if cond.ndim == 2:
        return x, nn.Dense(hidden, name="context")(cond)[:, None, None, :]
    if cond.ndim != 4 or cond.shape[0] != x.shape[0]:
        raise ValueError(
            f"condition of shape {cond.shape} beside images of {x.shape}: expected a "
            "vector a row, or images"
        )
    cond = conditions.fitted(cond, *x.shape[1:3])
    return jnp.concatenate([x, cond], axis=-1), None


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
        return convolutions.convolve(x, kernel)
