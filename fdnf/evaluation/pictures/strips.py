"""Strips of enlarged images: low resolution, bicubic, models' samples, the image."""

import pathlib
from collections.abc import Mapping, Sequence

import jax
import numpy as np

from fdnf.data.super_resolution import Benchmark, Pairs
from fdnf.evaluation.models.upscaler import Upscaler
from fdnf.evaluation.pictures import grids
from fdnf.ops import resize
from fdnf.train import process

# Sides of a shown part, in high resolution and as it is drawn.
SIDE, DRAWN = 128, 256
# Low-resolution pixels around the part that models see.
MARGIN = 8
# Samples of each model, and models beyond which each shows one.
SAMPLES, MANY = 2, 4


def draw(
    folder: pathlib.Path,
    models: Mapping[str, Upscaler],
    data: Pairs,
    *,
    strips: int,
    temperature: float,
    seed: int = 0,
    prefix: str = "",
) -> list[pathlib.Path]:
    """Draws a picture a benchmark, a line for each image shown.

    A line shows the part of an image that varies most. All models share the noise of
    their samples.

    Args:
        folder: where the files go.
        models: label to model.
        data: whose test images are shown.
        strips: how many of each benchmark, spread evenly; 0 for none.
        temperature: of the noise.
        seed: of the noise.
        prefix: of the files' names.

    Returns:
        The files, `<prefix><benchmark>.png`.
    """
    paths = []
    for i, benchmark in enumerate(data.test if strips else ()):
        rows = spread(len(benchmark.hr), strips)
        side = min(SIDE, *(min(benchmark.hr[k].shape[:2]) for k in rows))
        key = jax.random.fold_in(jax.random.key(seed), i)
        lines = {
            benchmark.names[k]: _line(models, benchmark, k, side, temperature, key)
            for k in rows
        }
        note = (
            f"The part of each image that varies most, {side}x{side} pixels. Samples "
            f"at temperature {temperature}, not selected; in one place all models "
            f"decode the same noise. Models saw {MARGIN} low-resolution pixels around "
            "the part, where there are any."
        )
        paths.append(
            grids.draw(
                lines,
                folder / f"{prefix}{benchmark.name}.png",
                across=1,
                down=1,
                zoom=max(1, round(DRAWN / side)),
                title=f"{benchmark.name}, scale {data.scale}",
                note=note,
            )
        )
        process.release_programs()
    return paths


def spread(count: int, shown: int) -> list[int]:
    """At most `shown` places out of `count`, spread evenly."""
    places = np.linspace(0, count - 1, min(count, shown))
    return [int(place) for place in np.round(places)]


def liveliest(image: np.ndarray, side: int, step: int) -> tuple[int, int]:
    """Top and left of the square window whose grey levels vary most.

    Args:
        image: `[height, width, channels]`.
        side: of the window, at most the image's.
        step: windows begin at multiples of it.
    """
    grey = image.mean(axis=-1)
    grey -= grey.mean()
    sums = [_window_sums(values, side)[::step, ::step] for values in (grey, grey**2)]
    variance = sums[1] - sums[0] ** 2 / side**2
    top, left = np.unravel_index(np.argmax(variance), variance.shape)
    return step * int(top), step * int(left)


def _window_sums(values: np.ndarray, side: int) -> np.ndarray:
    total = np.pad(values, ((1, 0), (1, 0))).cumsum(axis=0).cumsum(axis=1)
    rows = total[side:] - total[:-side]
    return rows[:, side:] - rows[:, :-side]


def _line(
    models: Mapping[str, Upscaler],
    benchmark: Benchmark,
    k: int,
    side: int,
    temperature: float,
    key: jax.Array,
) -> dict[str, np.ndarray]:
    hr, lr = benchmark.hr[k], benchmark.lr[k]
    scale = hr.shape[0] // lr.shape[0]
    top, left = liveliest(hr, side, scale)

    def cut(image: np.ndarray, at: Sequence[int] = (top, left)) -> np.ndarray:
        return image[..., at[0] : at[0] + side, at[1] : at[1] + side, :]

    enlarged = lr.repeat(scale, axis=0).repeat(scale, axis=1)
    panels = {
        "low resolution": cut(enlarged)[None],
        "bicubic": cut(resize.upscale_uint8(lr, scale))[None],
    }
    around, starts = _around(lr, (top // scale, left // scale), side // scale)
    inside = (top - scale * starts[0], left - scale * starts[1])
    count = SAMPLES if len(models) <= MANY else 1
    for label, upscaler in models.items():
        drawn = count if upscaler.draws else 1
        seen = around[None].repeat(drawn, axis=0)
        images = upscaler(seen, jax.random.fold_in(key, k), temperature).images
        for i, image in enumerate(cut(images, inside)):
            panels[f"{label}, sample {i + 1}" if drawn > 1 else label] = image[None]
    return panels | {"high resolution": cut(hr)[None]}


def _around(
    lr: np.ndarray, at: tuple[int, int], side: int
) -> tuple[np.ndarray, tuple[int, ...]]:
    """A window with its margin, of one size wherever it lies, and where it begins."""
    starts, cuts = [], []
    for start, length in zip(at, lr.shape[:2], strict=True):
        size = min(length, side + 2 * MARGIN)
        start = min(max(0, start - MARGIN), length - size)
        starts.append(start)
        cuts.append(slice(start, start + size))
    return lr[cuts[0], cuts[1]], tuple(starts)
