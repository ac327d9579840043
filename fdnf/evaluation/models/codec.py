"""A flow on images between uint8 and latents, in batches of one size.

Everything that is drawn or scored of one flow goes through the same two compiled
programs, one a direction: of a deep flow each takes long to compile.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import numpy as np

from fdnf.data.images import Images
from fdnf.data.tabular import SPLITS
from fdnf.flows import surgery
from fdnf.flows.glow import Glow
from fdnf.ops import rows
from fdnf.train import preprocess as prepared
from fdnf.train import teachers
from fdnf.train.teachers import Trained

Latents = tuple[np.ndarray, ...]
# One for all latents, or one for each, the top last.
Temperature = float | int | tuple[float | int, ...]


@runtime_checkable
class Preprocess(Protocol):
    """How images become data of a flow and come back; hashable.

    Attributes:
        classes: of labels that the flow takes as a condition, 0 for none.
    """

    @property
    def classes(self) -> int:
        """The number of classes."""
        ...

    def encode(self, key: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """uint8 images to data, dequantised, with the log-determinant."""
        ...

    def to_pixels(self, y: jax.Array) -> jax.Array:
        """Data to uint8 images."""
        ...


class Decoded(NamedTuple):
    """What a flow makes of latents.

    Attributes:
        images: uint8 `[n, height, width, channels]`.
        reach: float32 `[n]`, largest |x| of each before it was cut to grey levels;
            nan where a value is not a number.
    """

    images: np.ndarray
    reach: np.ndarray


class Codec(NamedTuple):
    """A flow, its variables, the preprocessing of its data and a batch size.

    Attributes:
        flow: has the methods encode, decode and draw; hashable.
        variables: its variables.
        preprocess: of its data.
        batch_size: of the compiled programs; any number of images goes through them,
            the last batch filled up.
    """

    flow: Any
    variables: Any
    preprocess: Preprocess
    batch_size: int = 64

    def condition(self, labels: np.ndarray | None) -> np.ndarray | None:
        """Labels as the flow takes them, one-hot; None if it takes none.

        Raises:
            ValueError: the flow takes labels and there are none.
        """
        classes = self.preprocess.classes
        if not classes:
            return None
        if labels is None:
            raise ValueError("the flow is conditional: it needs the images' labels")
        return np.eye(classes, dtype=np.float32)[labels]

    def encode(
        self, images: np.ndarray, key: jax.Array, cond: np.ndarray | None = None
    ) -> Latents:
        """Latents of images, one array a part, the top last.

        Args:
            images: uint8 [n, height, width, channels].
            key: of the dequantisation noise.
            cond: of each image, as `condition` gives it.
        """

        def one(i: int, batch: Latents) -> Any:
            flow, preprocess = self.flow, self.preprocess
            part = jax.random.fold_in(key, i)
            return _encode(flow, preprocess, self.variables, part, *batch)

        given = (images,) if cond is None else (images, cond)
        return _in_batches(one, given, self.batch_size)

    def decode(self, z: Latents, cond: np.ndarray | None = None) -> Decoded:
        """Images of latents, and how far they went beyond what is an image."""

        def one(i: int, batch: Latents) -> Any:
            flow, preprocess = self.flow, self.preprocess
            parts, rest = batch[: len(z)], batch[len(z) :]
            return _decode(flow, preprocess, self.variables, parts, *rest)

        given = z if cond is None else (*z, cond)
        return Decoded(*_in_batches(one, given, self.batch_size))

    def draw(
        self, key: jax.Array, shape: tuple[int, ...], temperature: Temperature = 1.0
    ) -> Latents:
        """Latents of the prior for images of `shape`, `(n, *event)`.

        Args:
            key: randomness; at every temperature the same noise.
            shape: number of images and shape of one.
            temperature: standard deviation, one number or one for each part.

        Raises:
            ValueError: another number of temperatures than of parts.
        """
        drawn: Any = self.flow.apply(
            self.variables, key, shape, temperature, method="draw"
        )
        return tuple(np.asarray(part) for part in drawn)


def of(trained: Trained, run: int, batch_size: int) -> Codec:
    """The codec of one run of a trained flow; a Glow is folded, which is faster.

    Args:
        trained: the flow.
        run: which of its runs.
        batch_size: of the compiled programs.
    """
    flow, variables = teachers.run_of(trained, run)
    if isinstance(flow, Glow) and not flow.folded:
        flow, variables = surgery.fold(flow, variables)
    return Codec(flow, jax.device_put(variables), trained.preprocess, batch_size)


def as_decoded(data: Images, preprocess: prepared.Preprocess) -> Images:
    """Images with as many grey levels as those that a flow decodes."""
    shift = 8 - preprocess.bits
    if not shift:
        return data
    parts = {split: getattr(data, split) >> shift for split in SPLITS}
    return data._replace(levels=preprocess.levels, **parts)


def _in_batches(
    one: Callable[[int, Latents], Any], arrays: Latents, size: int
) -> Latents:
    """`one` over batches of exactly `size` rows; results as long as the arrays."""
    n = len(arrays[0])
    if not n:
        raise ValueError("no images: expected at least one")
    found = []
    for i, start in enumerate(range(0, n, size)):
        batch = tuple(np.asarray(array[start : start + size]) for array in arrays)
        fill = size - len(batch[0])
        if fill:
            batch = tuple(np.concatenate([b, b[-1:].repeat(fill, 0)]) for b in batch)
        found.append([np.asarray(part) for part in one(i, batch)])
    return tuple(np.concatenate(parts)[:n] for parts in zip(*found, strict=True))


_compiled = functools.partial(jax.jit, static_argnames=("flow", "preprocess"))


@_compiled
def _encode(flow, preprocess, variables, key, images, cond=None):
    y, _ = preprocess.encode(key, images)
    return flow.apply(variables, y, cond, method="encode").z


@_compiled
def _decode(flow, preprocess, variables, z, cond=None):
    x = flow.apply(variables, z, cond, method="decode").x
    return preprocess.to_pixels(x), rows.largest(x)
