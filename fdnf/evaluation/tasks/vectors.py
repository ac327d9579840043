"""Flows on vectors: likelihoods, distances of samples, cost."""

import pathlib

import numpy as np

from fdnf import files
from fdnf.data import build as datasets
from fdnf.data.tabular import Tabular
from fdnf.evaluation.pictures import marginals
from fdnf.evaluation.scorers import cost, likelihood, vectors
from fdnf.evaluation.scorers.context import Evaluation
from fdnf.evaluation.tables.columns import Column
from fdnf.evaluation.tables.view import View
from fdnf.evaluation.tasks import base, densities
from fdnf.evaluation.tasks.base import Task
from fdnf.train.preprocess import Preprocess
from fdnf.train.teachers import Trained

# Walton et al. (2023), table 1; and the same of the validation rows.
LIKELIHOODS = tuple(
    View(
        f"{name} log-likelihood (nats)",
        (Column("log_likelihood", split=split),),
        index=("arch", "method"),
        each=(),
        spread="data",
        baselines=False,
        teacher_last=True,
    )
    for split, name in (("test", "Test"), ("val", "Validation"))
)
COMPARISON = View(
    "{arch} on {data}",
    (
        Column("log_likelihood"),
        Column("sliced_wasserstein", split="test"),
        Column("energy_distance", split="test"),
        Column("mmd", split="test"),
        Column("exploded_percent", split="test"),
        Column("parameters", show="count"),
        Column("density_ms", show="spread"),
        Column("sampling_ms", show="spread"),
    ),
    each=("arch", "data"),
    needs=("log_likelihood",),
    note="Times: one batch, median (10th-90th percentile).",
)
DIFFERENCES = View(
    "Difference to the plain student",
    COMPARISON.columns[:5],
    index=("arch", "data", "method"),
    each=(),
    against="student",
    baselines=False,
)
# Table 2.
COST = View(
    "Time and size",
    (
        Column("density_ms", show="spread"),
        Column("sampling_ms", show="spread"),
        Column("parameters", show="thousands", label="Params (K)"),
    ),
    index=("arch", "data", "method"),
    each=(),
    methods=("student", "teacher"),
    baselines=False,
    ratio=("teacher", "student"),
    note="Time of one batch: median (10th-90th percentile of the repetitions), median "
    "over the seeds that were timed: of those evaluated together the first. Density is "
    "x to z, sampling z to x. Distilled students have the plain one's size. Only times "
    "taken on one machine compare.",
)
VIEWS = (COMPARISON, DIFFERENCES, *LIKELIHOODS, COST)


def sample(trained: Trained, workdir: pathlib.Path, seed: int) -> list[pathlib.Path]:
    """Draws `eval.samples` samples of each run.

    Args:
        trained: the flow.
        workdir: its directory.
        seed: of run 0; run r has `seed + r`.

    Returns:
        The files: `samples/samples.npz` (arrays `run_0`, ...) and pictures.
    """
    folder, rows = workdir / base.SAMPLES, trained.config.eval.samples
    drawn = {
        f"run_{run}": vectors.samples(trained, run, rows, seed + run)
        for run in range(trained.runs)
    }
    archive = folder / "samples.npz"
    with files.replacing(archive) as file:
        np.savez(file, **drawn)  # pyright: ignore[reportArgumentType]
    data = datasets.build(trained.config.data)
    assert isinstance(data, Tabular)
    shown = {"data": data.test[:rows], "samples": drawn["run_0"]}
    return [archive, *marginals.of_samples(shown, folder)]


def draw(evaluation: Evaluation, folder: pathlib.Path) -> list[pathlib.Path]:
    """Samples of each model's first run beside the data."""
    rows, models = evaluation.section.samples, densities.named(evaluation)
    seed = next(iter(models.values())).config.seed
    drawn = {"data": evaluation.data.test[:rows]} | {
        label: vectors.samples(trained, 0, rows, seed)
        for label, trained in models.items()
    }
    return marginals.of_samples(drawn, folder)


def _takes(trained: Trained) -> bool:
    preprocess = trained.preprocess
    return isinstance(preprocess, Preprocess) and not preprocess.levels


TASK = Task(
    "vectors",
    _takes,
    scorers=(cost.scores, likelihood.scores, vectors.scores),
    views=VIEWS,
    sample=sample,
    baselines=(vectors.floor,),
    draw=(
        densities.draw_curves,
        densities.draw_levels,
        densities.draw_density,
        draw,
    ),
    fits=densities.fits,
)
