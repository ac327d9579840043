"""Samples of flows on images as files, with the latents they were decoded from."""

import logging
import pathlib

import numpy as np

from fdnf import files
from fdnf.evaluation.models import sampler as samplers
from fdnf.evaluation.models.sampler import Samples
from fdnf.evaluation.pictures import grids
from fdnf.train.teachers import Trained

# Images of a grid of `write`: lines and images of each.
DOWN, ACROSS = 10, 16

_log = logging.getLogger(__name__)


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
        sampler = samplers.of(trained, run, evaluation.time_batch)
        for temperature in evaluation.temperatures:
            drawn = sampler.samples(
                trained.event,
                evaluation.samples,
                temperature=temperature,
                seed=seed + run,
            )
            wrong = ~np.isfinite(drawn.reach)
            if wrong.any():
                _log.warning("%d of %d samples are not finite", wrong.sum(), len(wrong))
            path = folder / f"run_{run}_{samplers.named(temperature)}.npz"
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
