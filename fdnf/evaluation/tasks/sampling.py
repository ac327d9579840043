"""Samples of trained flows; teacher and students given one seed share their noise."""

import pathlib
from typing import Any

import jax
import numpy as np

from fdnf import files
from fdnf.data import build as datasets
from fdnf.evaluation.models import sampler as samplers
from fdnf.evaluation.pictures import marginals
from fdnf.evaluation.tasks import conditional, image_sampling
from fdnf.train import teachers
from fdnf.train.preprocess import Speech, SuperResolution
from fdnf.train.teachers import Trained


def samples(trained: Trained, run: int, rows: int, seed: int) -> np.ndarray:
    """`[rows, dim]` samples of one run at the config's `eval.temperature`."""
    sampler = samplers.of(trained, run, fold=False)
    temperature = trained.config.eval.temperature
    return sampler.rows(jax.random.key(seed), (rows, *trained.event), temperature)


def write(workdir: pathlib.Path, config) -> list[pathlib.Path]:
    """Draws `eval.samples` samples of each run into `<workdir>/samples`.

    Args:
      workdir: of a trained flow.
      config: its `eval` section is used, and its seed.

    Returns:
      The files: `samples.npz` (arrays `run_0`, ...) and pictures; of images see
      `image_sampling.write`.
    """
    trained = teachers.load(workdir)
    trained.config.eval.update(config.eval)
    if isinstance(trained.preprocess, SuperResolution | Speech):
        return conditional.sample(trained, workdir, config.seed)
    folder = workdir / "samples"
    folder.mkdir(parents=True, exist_ok=True)
    if trained.preprocess.levels:
        return image_sampling.write(trained, folder, config.seed)
    drawn = {
        f"run_{run}": samples(trained, run, config.eval.samples, config.seed + run)
        for run in range(trained.runs)
    }
    archive = folder / "samples.npz"
    with files.replacing(archive) as file:
        np.savez(file, **drawn)  # pyright: ignore[reportArgumentType]
    data: Any = datasets.build(trained.config.data)
    shown = {"data": data.test[: config.eval.samples], "samples": drawn["run_0"]}
    return [archive, *marginals.of_samples(shown, folder)]
