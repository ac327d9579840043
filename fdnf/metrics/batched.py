"""What a feature extractor is, and one made of a pure function."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8


@runtime_checkable
class FeatureExtractor(Protocol):
    """Images to features, one row each, with a name that says which features.

    Attributes:
        id: network, layer and resizing, then @ and the first 8 digits of `sha256`.
        sha256: of the weights.
        dim: features of one image.
    """

    @property
    def id(self) -> str:
        """The name."""
        ...

    @property
    def sha256(self) -> str:
        """The checksum."""
        ...

    @property
    def dim(self) -> int:
        """The number of features."""
        ...

    def __call__(
        self, images: UInt8[np.ndarray, "n height width channels"]
    ) -> Float[np.ndarray, "n features"]:
        """Features in float32."""
        ...


@dataclasses.dataclass(frozen=True, eq=False)
class BatchedExtractor:
    """An extractor made of a pure function, run in padded batches of one size.

    Attributes:
        id: as in `FeatureExtractor`.
        sha256: likewise.
        dim: likewise.
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
    batch_size: int = 32

    def __post_init__(self) -> None:
        if not 2 <= self.levels <= 256 or self.batch_size < 1:
            raise ValueError(
                f"levels={self.levels} and batch_size={self.batch_size}: expected 2 to"
                " 256, and at least 1"
            )
        object.__setattr__(self, "params", jax.device_put(self.params))

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
