"""The Inception-v3 network of 2015 whose pooled features define the FID.

This is the network of TensorFlow's `inception-2015-12-05` graph, which differs from
Inception-v3 as published in its pooling: averages leave the padding out, and the last
block takes a maximum. Weights are read in PyTorch's naming (`Mixed_5b.branch1x1.conv`),
the form in which they are passed around.

References: Szegedy et al. (2016), Rethinking the Inception Architecture, table 1;
Heusel et al. (2017), GANs Trained by a Two Time-Scale Update Rule.
"""

import functools
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Float

from fdnf.metrics import ranges
from fdnf.metrics import weights as weight_files
from fdnf.metrics.backbones import Convolution

FILE = "pt_inception-2015-12-05-6726825d.pth"
SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
FEATURES = 2048
SIZE = 299
# Pixels on each side below which the last block has no output.
SMALLEST = 75
BATCH_NORM_EPSILON = 1e-3

Pictures = Float[Array, "batch height width 3"]


# (layer, HWIO shape of its kernel) -> its weights.
_Take = Callable[[str, tuple[int, int, int, int]], Convolution]
# As `_convolved`, with the weights' source bound.
_Conv = Callable[..., Array]


def inception_v3(params: Mapping[str, Convolution], x: Pictures) -> Array:
    """The 2048 features of the last pooling.

    Args:
        params: by layer, as `inception_params` gives them.
        x: images in [-1, 1], at least 75 pixels on each side; FID has 299 by 299.

    Returns:
        `[batch, 2048]`, non-negative.

    Raises:
        ValueError: the images are too small, or as of `ranges.checked`.
    """
    x = ranges.checked(x, -1.0, 1.0)
    if min(x.shape[1:3]) < SMALLEST:
        raise ValueError(
            f"images of {x.shape[1]}x{x.shape[2]} pixels: expected at least {SMALLEST}"
            f" on each side, and {SIZE} for an FID; see `resized`"
        )

    return _network(functools.partial(_convolved, lambda name, _: params[name]), x)


def resized(x: Float[Array, "batch height width channels"]) -> Array:
    """Images at 299 by 299 pixels, bilinear without antialiasing.

    Pixel centres are those of `align_corners=False`. Reductions are not antialiased
    either: this is what published FID code does, and its numbers depend on it.
    """
    shape = (x.shape[0], SIZE, SIZE, x.shape[3])
    return jax.image.resize(x, shape, "bilinear", antialias=False)


def inception_params(weights: weight_files.Weights) -> dict[str, Convolution]:
    """The convolutions, with batch normalisation folded into kernel and bias.

    y = (conv(x) - mean) / (var + 0.001)^(1/2) * weight + bias. The classifier `fc` is
    left out.

    Args:
        weights: of a PyTorch state dict.

    Returns:
        What `inception_v3` takes, float32.

    Raises:
        WeightsError: an array is absent or of another shape.
    """
    params = {}
    for name, (height, width, inputs, filters) in kernel_shapes().items():
        kernel = weights.array(f"{name}.conv.weight", (filters, inputs, height, width))
        scale, bias, mean, variance = (
            weights.array(f"{name}.bn.{part}", (filters,)).astype(np.float64)
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        scale = scale / np.sqrt(variance + BATCH_NORM_EPSILON)
        kernel = kernel.transpose(2, 3, 1, 0) * scale
        params[name] = Convolution(
            kernel.astype(np.float32), (bias - mean * scale).astype(np.float32)
        )
    return params


def kernel_shapes() -> dict[str, tuple[int, int, int, int]]:
    """HWIO shape of each of the 94 convolutions, by layer."""
    shapes = {}

    def note(name: str, shape: tuple[int, int, int, int]) -> Convolution:
        shapes[name] = shape
        return Convolution(jnp.zeros(shape), jnp.zeros(shape[-1]))

    picture = jax.ShapeDtypeStruct((1, SMALLEST, SMALLEST, 3), jnp.float32)
    jax.eval_shape(
        functools.partial(_network, functools.partial(_convolved, note)), picture
    )
    return shapes


def _convolved(
    take: _Take,
    name: str,
    x: Array,
    filters: int,
    kernel: tuple[int, int] = (1, 1),
    *,
    stride: int = 1,
    padding: str = "SAME",
) -> Array:
    """Convolution, batch normalisation (folded in) and ReLU."""
    layer = take(name, (*kernel, x.shape[-1], filters))
    y = jax.lax.conv_general_dilated(
        x,
        jnp.asarray(layer.kernel, x.dtype),
        (stride, stride),
        padding,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        # A GPU may otherwise use TF32, and features would depend on the machine.
        precision="highest",
    )
    return nn.relu(y + jnp.asarray(layer.bias, x.dtype))


def _network(conv: _Conv, x: Array) -> Array:
    x = conv("Conv2d_1a_3x3", x, 32, (3, 3), stride=2, padding="VALID")
    x = conv("Conv2d_2a_3x3", x, 32, (3, 3), padding="VALID")
    x = conv("Conv2d_2b_3x3", x, 64, (3, 3))
    x = nn.max_pool(x, (3, 3), strides=(2, 2))
    x = conv("Conv2d_3b_1x1", x, 80)
    x = conv("Conv2d_4a_3x3", x, 192, (3, 3), padding="VALID")
    x = nn.max_pool(x, (3, 3), strides=(2, 2))
    for name, pooled in (("Mixed_5b", 32), ("Mixed_5c", 64), ("Mixed_5d", 64)):
        x = _block_a(conv, name, x, pooled)
    x = _block_b(conv, "Mixed_6a", x)
    for name, inner in zip("bcde", (128, 160, 160, 192), strict=True):
        x = _block_c(conv, f"Mixed_6{name}", x, inner)
    x = _block_d(conv, "Mixed_7a", x)
    x = _block_e(conv, "Mixed_7b", x, _average)
    x = _block_e(conv, "Mixed_7c", x, _maximum)
    return x.mean(axis=(1, 2))


def _block_a(conv: _Conv, name: str, x: Array, pooled: int) -> Array:
    one = conv(f"{name}.branch1x1", x, 64)
    five = conv(f"{name}.branch5x5_1", x, 48)
    five = conv(f"{name}.branch5x5_2", five, 64, (5, 5))
    three = conv(f"{name}.branch3x3dbl_1", x, 64)
    three = conv(f"{name}.branch3x3dbl_2", three, 96, (3, 3))
    three = conv(f"{name}.branch3x3dbl_3", three, 96, (3, 3))
    pool = conv(f"{name}.branch_pool", _average(x), pooled)
    return jnp.concatenate([one, five, three, pool], axis=-1)


def _block_b(conv: _Conv, name: str, x: Array) -> Array:
    down = functools.partial(conv, kernel=(3, 3), stride=2, padding="VALID")
    three = down(f"{name}.branch3x3", x, 384)
    double = conv(f"{name}.branch3x3dbl_1", x, 64)
    double = conv(f"{name}.branch3x3dbl_2", double, 96, (3, 3))
    double = down(f"{name}.branch3x3dbl_3", double, 96)
    pool = nn.max_pool(x, (3, 3), strides=(2, 2))
    return jnp.concatenate([three, double, pool], axis=-1)


def _block_c(conv: _Conv, name: str, x: Array, inner: int) -> Array:
    one = conv(f"{name}.branch1x1", x, 192)
    seven = conv(f"{name}.branch7x7_1", x, inner)
    seven = conv(f"{name}.branch7x7_2", seven, inner, (1, 7))
    seven = conv(f"{name}.branch7x7_3", seven, 192, (7, 1))
    double = conv(f"{name}.branch7x7dbl_1", x, inner)
    double = conv(f"{name}.branch7x7dbl_2", double, inner, (7, 1))
    double = conv(f"{name}.branch7x7dbl_3", double, inner, (1, 7))
    double = conv(f"{name}.branch7x7dbl_4", double, inner, (7, 1))
    double = conv(f"{name}.branch7x7dbl_5", double, 192, (1, 7))
    pool = conv(f"{name}.branch_pool", _average(x), 192)
    return jnp.concatenate([one, seven, double, pool], axis=-1)


def _block_d(conv: _Conv, name: str, x: Array) -> Array:
    down = functools.partial(conv, kernel=(3, 3), stride=2, padding="VALID")
    three = conv(f"{name}.branch3x3_1", x, 192)
    three = down(f"{name}.branch3x3_2", three, 320)
    seven = conv(f"{name}.branch7x7x3_1", x, 192)
    seven = conv(f"{name}.branch7x7x3_2", seven, 192, (1, 7))
    seven = conv(f"{name}.branch7x7x3_3", seven, 192, (7, 1))
    seven = down(f"{name}.branch7x7x3_4", seven, 192)
    pool = nn.max_pool(x, (3, 3), strides=(2, 2))
    return jnp.concatenate([three, seven, pool], axis=-1)


def _block_e(
    conv: _Conv, name: str, x: Array, pooling: Callable[[Array], Array]
) -> Array:
    one = conv(f"{name}.branch1x1", x, 320)
    three = conv(f"{name}.branch3x3_1", x, 384)
    wide = conv(f"{name}.branch3x3_2a", three, 384, (1, 3))
    tall = conv(f"{name}.branch3x3_2b", three, 384, (3, 1))
    double = conv(f"{name}.branch3x3dbl_1", x, 448)
    double = conv(f"{name}.branch3x3dbl_2", double, 384, (3, 3))
    wider = conv(f"{name}.branch3x3dbl_3a", double, 384, (1, 3))
    taller = conv(f"{name}.branch3x3dbl_3b", double, 384, (3, 1))
    pool = conv(f"{name}.branch_pool", pooling(x), 192)
    return jnp.concatenate([one, wide, tall, wider, taller, pool], axis=-1)


def _average(x: Array) -> Array:
    return nn.avg_pool(x, (3, 3), padding="SAME", count_include_pad=False)


def _maximum(x: Array) -> Array:
    return nn.max_pool(x, (3, 3), padding="SAME")
