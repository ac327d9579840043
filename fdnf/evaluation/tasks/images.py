"""Flows on images: bits per dimension, scores of samples over features, cost.

Reference: Walton et al. (2023), Distilling Normalizing Flows, tables 4, 5 and 6.
"""

import logging
import pathlib

import numpy as np

from fdnf import files
from fdnf.evaluation.core import quantities
from fdnf.evaluation.models import sampler as samplers
from fdnf.evaluation.models.sampler import Samples
from fdnf.evaluation.pictures import grids, teacher
from fdnf.evaluation.pictures import images as pictures
from fdnf.evaluation.scorers import cost, extractors, images, likelihood
from fdnf.evaluation.scorers.context import Evaluation
from fdnf.evaluation.tables.columns import Column
from fdnf.evaluation.tables.view import View
from fdnf.evaluation.tasks import base, densities
from fdnf.evaluation.tasks.base import Task
from fdnf.train.preprocess import Preprocess
from fdnf.train.teachers import Trained

# Images of a grid of `sample`: lines and images of each.
DOWN, ACROSS = 10, 16
_INTERPOLATED = f"{quantities.INTERPOLATION}*"
_SCORES = (
    Column("bits_per_dim"),
    *(
        Column(metric, given=None)
        for metric in ("fid", "fd", "kid", "precision", "recall", "density", "coverage")
    ),
    Column("exploded_percent", "test"),
    Column("exploded_percent", "test", given=None, idle=False),
)
_TIMES = (
    Column("density_ms", show="spread"),
    Column("sampling_ms", show="spread"),
)
COMPARISON = View(
    "Models of {data}",
    (*_SCORES, Column("parameters", show="count"), *_TIMES),
    index=("arch", "method"),
    needs=("bits_per_dim", "exploded_percent"),
    transposed=True,
    note="Times: one batch, median (10th-90th percentile). Real images: what further "
    "real images score in place of samples.",
)
DIFFERENCES = View(
    "Difference to the plain student",
    _SCORES,
    index=("arch", "data", "method"),
    each=(),
    against="student",
    baselines=False,
    transposed=True,
)
# Table 4.
QUALITY = View(
    "Test bits per dimension and Frechet distance",
    (Column("bits_per_dim", split="test"), Column("fid"), Column("fd")),
    index=("arch", "method"),
    each=(),
    spread="data",
    needs=("bits_per_dim",),
)
# Table 5.
SIZE = View(
    "Architecture, size and cost",
    (
        Column("levels", show="setting", label="Levels (L)"),
        Column("steps", show="setting", label="Steps (K)"),
        Column("hidden", show="setting", label="Hidden"),
        Column("parameters", show="count"),
        *_TIMES,
        Column("density_mib", show="number"),
        Column("sampling_mib", show="number"),
    ),
    index=("arch", "data", "method"),
    each=(),
    methods=("student", "teacher"),
    baselines=False,
    needs=("bits_per_dim",),
    ratio=("teacher", "student"),
    note="L levels of K steps each; the paper's Table 5 prints K under Levels and L "
    "under Depth. Distilled students have the plain one's size. Times and memory of "
    "one batch: median (10th-90th percentile), and the peak of arguments, results and "
    "temporaries in XLA's plan. Density is x to z, sampling z to x. Only numbers of "
    "one machine compare.",
)
# Table 6.
INTERPOLATIONS = View(
    "Frechet distance of interpolations in the latent space",
    (Column("fid", given=_INTERPOLATED), Column("fd", given=_INTERPOLATED)),
    index=("arch", "method"),
    each=(),
    spread="data",
    note="Images decoded between the top latents of two real images (eq. 16), the "
    "other latents drawn at the temperature.",
)
VIEWS = (COMPARISON, DIFFERENCES, QUALITY, SIZE, INTERPOLATIONS)

_log = logging.getLogger(__name__)


def sample(trained: Trained, workdir: pathlib.Path, seed: int) -> list[pathlib.Path]:
    """Draws `eval.samples` images of each run at each of `eval.temperatures`.

    Args:
        trained: the flow.
        workdir: its directory.
        seed: of run 0; run r has `seed + r`.

    Returns:
        The files, for each run and temperature: `samples/run_0_t1.0.npz` with `images`
        (uint8, 0 to `levels` - 1), `levels`, the latents `z_0`, ..., the top last,
        and `labels` of a conditional flow; and `run_0_t1.0.png`, a grid of the first.
    """
    section, levels = trained.config.eval, trained.preprocess.levels
    paths = []
    for run in range(trained.runs):
        sampler = samplers.of(trained, run, section.time_batch)
        for temperature in section.temperatures:
            drawn = sampler.samples(
                *(trained.event, section.samples),
                temperature=temperature,
                seed=seed + run,
            )
            wrong = ~np.isfinite(drawn.reach)
            if wrong.any():
                _log.warning("%d of %d samples are not finite", wrong.sum(), len(wrong))
            name = f"run_{run}_{samplers.named(temperature)}.npz"
            path = workdir / base.SAMPLES / name
            arrays = {"images": drawn.images, "levels": np.array(levels)}
            arrays |= {f"z_{i}": part for i, part in enumerate(drawn.z)}
            if drawn.labels is not None:
                arrays["labels"] = drawn.labels
            with files.replacing(path) as file:
                np.savez(file, **arrays)  # pyright: ignore[reportArgumentType]
            paths += [path, _grid(drawn, path.with_suffix(".png"), levels)]
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


def draw(evaluation: Evaluation, folder: pathlib.Path) -> list[pathlib.Path]:
    """Samples, and what each flow makes of real images."""
    if densities.learned_to_sample(evaluation):
        return teacher.draw(folder, evaluation.models, evaluation.data)
    return pictures.draw(folder, densities.named(evaluation), evaluation.data)


def _takes(trained: Trained) -> bool:
    preprocess = trained.preprocess
    return isinstance(preprocess, Preprocess) and bool(preprocess.levels)


TASK = Task(
    "images",
    _takes,
    scorers=(cost.scores, likelihood.scores, images.scores),
    views=VIEWS,
    sample=sample,
    baselines=(images.floor,),
    draw=(densities.draw_curves, densities.draw_levels, draw),
    check=extractors.check,
    fits=densities.fits,
)
