"""Samples of flows on images, with the latents they were decoded from.

Teacher and students given one seed and one batch size share their noise, and so do the
temperatures.
"""

import logging
import pathlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax
import numpy as np

from fdnf import files
from fdnf.evaluation.models import codec as codecs
from fdnf.evaluation.models.codec import Codec, Latents, Temperature
from fdnf.evaluation.pictures import grids
from fdnf.train.teachers import Trained

# Images of a grid of `write`: lines and images of each.
DOWN, ACROSS = 10, 16

_log = logging.getLogger(__name__)


class Samples(NamedTuple):
    """Drawn images.

    Attributes:
        images: uint8 `[n, height, width, channels]`.
        reach: float32 `[n]`, see `codec.Decoded`.
        z: the latents, one array `[n, ...]` a part, the top last.
        labels: int32 `[n]` of a conditional flow, whose classes take turns.
    """

    images: np.ndarray
    reach: np.ndarray
    z: Latents
    labels: np.ndarray | None


def batches(
    codec: Codec,
    event: tuple[int, ...],
    count: int,
    *,
    temperature: Temperature,
    seed: int,
) -> Iterator[Samples]:
    """Draws `count` images of shape `event`, batch by batch.

    Args:
        codec: the flow.
        event: shape of an image.
        count: how many.
        temperature: of the latents, see `Codec.draw`.
        seed: of the noise.

    Yields:
        At most `codec.batch_size` samples.
    """
    size, classes = codec.batch_size, codec.preprocess.classes
    for i, start in enumerate(range(0, count, size)):
        key = jax.random.fold_in(jax.random.key(seed), i)
        here = min(size, count - start)
        drawn = codec.draw(key, (size, *event), temperature)
        z = tuple(part[:here] for part in drawn)
        labels = None
        if classes:
            labels = np.arange(start, start + here, dtype=np.int32) % classes
        yield Samples(*codec.decode(z, codec.condition(labels)), z, labels)


def samples(
    codec: Codec,
    event: tuple[int, ...],
    count: int,
    *,
    temperature: Temperature,
    seed: int,
) -> Samples:
    """All of `batches` at once."""
    drawn = batches(codec, event, count, temperature=temperature, seed=seed)
    images, reach, z, labels = zip(*drawn, strict=True)
    return Samples(
        np.concatenate(images),
        np.concatenate(reach),
        tuple(np.concatenate(parts) for parts in zip(*z, strict=True)),
        None if labels[0] is None else np.concatenate(labels),
    )


def condition(temperature: Temperature) -> str:
    """A temperature as files and metrics name it: "t0.7", or "t0.7-0.7-1.0"."""
    each = temperature if isinstance(temperature, tuple) else (temperature,)
    return "t" + "-".join(str(float(t)) for t in each)


def temperatures(evaluation) -> Sequence[Temperature]:
    """`eval.temperatures`, the first being the usual one."""
    return tuple(evaluation.temperatures)


def write(trained: Trained, folder: pathlib.Path, seed: int) -> list[pathlib.Path]:
    """Draws `eval.samples` images of each run at each of `eval.temperatures`.

    Args:
        trained: the flow, its config's `eval` as it shall be.
        folder: where the files go.
        seed: of run 0; run r has `seed + r`.

    Returns:
        The files, for each run and temperature: `run_0_t1.0.npz` with `images`
        (uint8, 0 to `levels` - 1), `levels`, the latents `z_0`, ..., the top last,
        and `labels` of a conditional flow; and `run_0_t1.0.png`, a grid of the first.
    """
    evaluation, preprocess = trained.config.eval, trained.preprocess
    paths = []
    for run in range(trained.runs):
        codec = codecs.of(trained, run, evaluation.time_batch)
        for temperature in temperatures(evaluation):
            drawn = samples(
                codec,
                trained.event,
                evaluation.samples,
                temperature=temperature,
                seed=seed + run,
            )
            wrong = ~np.isfinite(drawn.reach)
            if wrong.any():
                _log.warning("%d of %d samples are not finite", wrong.sum(), len(wrong))
            path = folder / f"run_{run}_{condition(temperature)}.npz"
            arrays = {"images": drawn.images, "levels": np.array(preprocess.levels)}
            arrays |= {f"z_{i}": part for i, part in enumerate(drawn.z)}
            if drawn.labels is not None:
                arrays["labels"] = drawn.labels
            with files.replacing(path) as file:
                np.savez(file, **arrays)  # pyright: ignore[reportArgumentType]
            paths += [path, _grid(drawn, path.with_suffix(".png"), preprocess.levels)]
    return paths


def _grid(drawn: Samples, path: pathlib.Path, levels: int) -> pathlib.Path:
    """A grid of the first samples; of a conditional flow, a line for each class."""
    if drawn.labels is None:
        rows, down = {"": {"": drawn.images}}, DOWN
    else:
        labels, down = drawn.labels, 1
        rows = {
            f"class {k}": {"": drawn.images[labels == k]} for k in np.unique(labels)
        }
    return grids.draw(rows, path, across=ACROSS, down=down, levels=levels)
