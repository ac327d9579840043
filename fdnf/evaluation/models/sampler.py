"""One run of a trained model as functions: draw, decode, encode, log_prob.

Everything that is drawn or scored of a run goes through the same few compiled
programs, in batches of one size: of a deep network each takes long to compile. Models
given one seed and one batch size share their noise, and so do the temperatures.
"""

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fdnf.data.images import Images
from fdnf.data.tabular import SPLITS
from fdnf.flows import base, surgery
from fdnf.ops import rows
from fdnf.students.base import Student
from fdnf.train import preprocess as prepared
from fdnf.train import teachers
from fdnf.train import weights as of_weights
from fdnf.train.teachers import Trained

Latents = tuple[np.ndarray, ...]
# One for all latents, or one for each, the top last.
Temperature = float | int | tuple[float | int, ...]

# Rows in the flow's own space pass as they are.
AS_IT_IS = prepared.Preprocess()


class Decoded(NamedTuple):
    """What a flow makes of latents.

    Attributes:
        images: uint8 `[n, height, width, channels]`; of other data, as they are.
        reach: float32 `[n]`, largest |x| of each before it was cut to grey levels;
            nan where a value is not a number.
    """

    images: np.ndarray
    reach: np.ndarray


class Samples(NamedTuple):
    """Drawn images.

    Attributes:
        images: as of `Decoded`.
        reach: likewise.
        z: the latents, one array `[n, ...]` a part, the top last.
        labels: int32 `[n]` of a conditional flow, whose classes take turns.
    """

    images: np.ndarray
    reach: np.ndarray
    z: Latents
    labels: np.ndarray | None


class Sampler(NamedTuple):
    """A flow or student, its variables, the preprocessing of its data, a batch size.

    Attributes:
        flow: has the method decode; hashable.
        variables: its variables, of one run.
        preprocess: of its data, see `train.preprocess.Preprocess`; hashable.
        batch_size: of the compiled programs; any number of rows goes through them,
            the last batch filled up.
    """

    flow: Any
    variables: Any
    preprocess: Any = AS_IT_IS
    batch_size: int = 64

    @property
    def dense(self) -> bool:
        """Whether data can be given to it, and have a density."""
        if isinstance(self.flow, Student):
            return False
        return getattr(self.flow, "encode", None) is not None

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

        def one(i: int, *batch: np.ndarray) -> Any:
            part = jax.random.fold_in(key, i)
            return _encode(self.flow, self.preprocess, self.variables, part, *batch)

        given = (images,) if cond is None else (images, cond)
        return in_batches(one, given, self.batch_size)

    def decode(self, z: Latents, cond: np.ndarray | None = None) -> Decoded:
        """Images of latents, and how far they went beyond what is an image."""

        def one(i: int, *batch: np.ndarray) -> Any:
            parts, rest = batch[: len(z)], batch[len(z) :]
            return decode_batch(
                self.flow, self.preprocess, self.variables, parts, *rest
            )

        given = z if cond is None else (*z, cond)
        return Decoded(*in_batches(one, given, self.batch_size))

    def draw(
        self, key: jax.Array, shape: tuple[int, ...], temperature: Temperature = 1.0
    ) -> Latents:
        """Latents of the prior for data of `shape`, `(n, *event)`.

        Args:
            key: randomness; at every temperature the same noise.
            shape: number of rows and shape of one.
            temperature: standard deviation, one number or one for each part.

        Raises:
            ValueError: another number of temperatures than of parts.
        """
        if not hasattr(self.flow, "draw"):  # Of another library: one latent.
            return (np.asarray(temperature * jax.random.normal(key, shape)),)
        drawn: Any = self.flow.apply(
            self.variables, key, shape, temperature, method="draw"
        )
        return tuple(np.asarray(part) for part in drawn)

    def batches(
        self,
        event: tuple[int, ...],
        count: int,
        *,
        temperature: Temperature,
        seed: int,
    ) -> Iterator[Samples]:
        """Draws `count` images of shape `event`, batch by batch.

        Args:
            event: shape of an image.
            count: how many.
            temperature: of the latents, see `draw`.
            seed: of the noise.

        Yields:
            At most `batch_size` samples.
        """
        size, classes = self.batch_size, self.preprocess.classes
        for i, start in enumerate(range(0, count, size)):
            key = jax.random.fold_in(jax.random.key(seed), i)
            here = min(size, count - start)
            drawn = self.draw(key, (size, *event), temperature)
            z = tuple(part[:here] for part in drawn)
            labels = None
            if classes:
                labels = np.arange(start, start + here, dtype=np.int32) % classes
            yield Samples(*self.decode(z, self.condition(labels)), z, labels)

    def samples(
        self,
        event: tuple[int, ...],
        count: int,
        *,
        temperature: Temperature,
        seed: int,
    ) -> Samples:
        """All of `batches` at once."""
        drawn = self.batches(event, count, temperature=temperature, seed=seed)
        images, reach, z, labels = zip(*drawn, strict=True)
        return Samples(
            np.concatenate(images),
            np.concatenate(reach),
            tuple(np.concatenate(parts) for parts in zip(*z, strict=True)),
            None if labels[0] is None else np.concatenate(labels),
        )

    def rows(
        self,
        key: jax.Array,
        shape: tuple[int, ...],
        temperature: Temperature = 1.0,
        cond: np.ndarray | None = None,
    ) -> np.ndarray:
        """Vectors of `shape`, `(n, *event)`, drawn and decoded in one program.

        They are in the flow's own space, given conditions as the flow takes them.
        """
        given = (self.variables, key, cond)
        return np.asarray(_sample(self.flow, shape, temperature, *given))

    def weighed(
        self,
        key: jax.Array,
        shape: tuple[int, ...],
        cond: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Samples in the flow's own space, `(n, *event)`, and their log density.

        Args:
            key: randomness.
            shape: number of rows and shape of one.
            cond: condition of each, as the flow takes it.

        Returns:
            The samples, and `[n]` in nats as the flow decoded them, which costs no
            inversion; None of a model without a density.
        """
        z = self.draw(key, shape)

        def one(i: int, *batch: np.ndarray) -> Any:
            parts, rest = batch[: len(z)], batch[len(z) :]
            return weigh_batch(self.flow, self.variables, parts, *rest)

        given = z if cond is None else (*z, cond)
        found = in_batches(one, given, min(self.batch_size, shape[0]))
        return found[0], found[1] if len(found) > 1 else None

    def log_prob(self, x: np.ndarray, cond: np.ndarray | None = None) -> np.ndarray:
        """`[n]`, log density in nats of rows in the flow's own space, given `cond`."""
        no_noise = jax.random.key(0)

        def one(i: int, *batch: np.ndarray) -> Any:
            whole = (self.variables, no_noise, *batch)
            return (log_prob_batch(self.flow, AS_IT_IS, *whole),)

        given = (x,) if cond is None else (x, cond)
        return in_batches(one, given, min(self.batch_size, len(x)))[0]


def of(
    trained: Trained, run: int = 0, batch_size: int = 64, *, fold: bool = True
) -> Sampler:
    """The sampler of one run of a trained model.

    Args:
        trained: the model.
        run: which of its runs.
        batch_size: of the compiled programs.
        fold: whether a flow is folded that can be, which is faster and changes its
            results by rounding only.
    """
    flow, variables = teachers.run_of(trained, run)
    if fold:
        flow, variables = folded(flow, variables)
    return Sampler(flow, jax.device_put(variables), trained.preprocess, batch_size)


def folded(flow: Any, variables: Any) -> tuple[Any, Any]:
    """The model as it samples fastest: folded if it can be and is not."""
    # Those that can be folded say whether they are.
    if getattr(flow, "folded", True):
        return flow, variables
    return surgery.fold(flow, variables)


def rows_of(
    trained: Trained, data: Any, split: int, count: int, seed: int
) -> tuple[np.ndarray, np.ndarray | None]:
    """Rows of a split and their conditions as the flow sees them.

    They are drawn without repetition; rows with weights are kept with probability
    weight / largest weight, so that none is there twice, which a two-sample test would
    take for a sign, and those that are left count alike.
    """
    stored, prepared = getattr(data, SPLITS[split]), trained.preprocess
    rng, weights = np.random.default_rng(seed), of_weights.of(data, split)
    picked = rng.permutation(len(stored))
    if weights is not None:
        picked = picked[rng.random(len(stored)) * weights.max() < weights[picked]]
    picked = picked[:count]
    key = jax.random.fold_in(jax.random.key(seed), 2)
    encoded: Any = prepared.encode(key, jnp.asarray(stored[picked]))
    beside, cond = prepared.beside(data, split), None
    if beside is not None:
        cond = np.asarray(prepared.condition(None, jnp.asarray(beside[picked])))
    return np.asarray(encoded[0]), cond


def as_decoded(data: Images, preprocess: prepared.Preprocess) -> Images:
    """Images with as many grey levels as those that a flow decodes."""
    shift = 8 - preprocess.bits
    if not shift:
        return data
    parts = {split: getattr(data, split) >> shift for split in SPLITS}
    return data._replace(levels=preprocess.levels, **parts)


def named(temperature: Temperature) -> str:
    """A temperature as files and scores name it: "t0.7", or "t0.7-0.7-1.0"."""
    each = temperature if isinstance(temperature, tuple) else (temperature,)
    return "t" + "-".join(str(float(t)) for t in each)


def in_batches(function: Callable[..., Any], arrays: Latents, size: int) -> Latents:
    """`function` over batches of one size; results as long as the arrays.

    Args:
        function: of the batch's number and of one array for each of `arrays`.
        arrays: equally many rows each.
        size: rows of a batch; the last is filled up with its last row.

    Raises:
        ValueError: there are no rows.
    """
    n = len(arrays[0])
    if not n:
        raise ValueError("no rows: expected at least one")
    found = []
    for i, start in enumerate(range(0, n, size)):
        batch = [np.asarray(array[start : start + size]) for array in arrays]
        fill = size - len(batch[0])
        if fill:
            batch = [np.concatenate([b, b[-1:].repeat(fill, 0)]) for b in batch]
        found.append([np.asarray(part) for part in function(i, *batch)])
    return tuple(np.concatenate(parts)[:n] for parts in zip(*found, strict=True))


_compiled = functools.partial(jax.jit, static_argnames=("flow", "preprocess"))


@_compiled
def _encode(flow, preprocess, variables, key, images, cond=None):
    y, _ = preprocess.encode(key, images)
    return flow.apply(variables, y, cond, method="encode").z


@_compiled
def decode_batch(flow, preprocess, variables, z, cond=None):
    """Data as they are shown, and largest |x| of each; compiled."""
    x = flow.apply(variables, z, cond, method="decode").x
    return preprocess.to_pixels(x), rows.largest(x)


@functools.partial(jax.jit, static_argnames="flow")
def weigh_batch(flow, variables, z, cond=None):
    """Samples of latents and, of a flow, their log density in nats; compiled."""
    given = () if cond is None else (cond,)
    decoding: Any = flow.apply(variables, z, *given, method="decode")
    if decoding.log_det is None:
        return (decoding.x,)
    return decoding.x, base.standard_normal_log_prob(z) - decoding.log_det


@_compiled
def log_prob_batch(flow, preprocess, variables, key, x, cond=None):
    """The log density of stored rows in nats; compiled."""
    y, log_det = preprocess.encode(key, x)
    return flow.apply(variables, y, cond, method="encode").log_prob + log_det


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _sample(flow, shape, temperature, variables, key, cond=None):
    if cond is None:  # What flows of other libraries need not know.
        return flow.apply(variables, key, shape, temperature, method="sample")
    return flow.apply(variables, key, shape, temperature, cond, method="sample")
