"""Evaluation of models whose data come with a condition: images, and speech.

The one place where super-resolution parts from speech, and both from the rest.
"""

import pathlib
from typing import Any

from fdnf.data import build as datasets
from fdnf.data.speech import Clips
from fdnf.data.super_resolution import Pairs
from fdnf.evaluation import (
    speech_report,
    speech_sampling,
    sr_report,
    sr_sampling,
)
from fdnf.train import teachers, workdirs
from fdnf.train.teachers import Trained

KINDS = (Pairs, Clips)
PRETRAINED = "pretrained"


def report(
    workdir: pathlib.Path,
    where: dict[str, pathlib.Path],
    data: Pairs | Clips,
    evaluation: Any,
) -> str:
    """Evaluates finished runs; writes records, tables and pictures.

    Args:
      workdir: gets `results/`, `table.md`, `figures/`.
      where: the directory of each method.
      data: what all were trained on.
      evaluation: the `eval` section to go by, instead of those saved with the runs.

    Returns:
      The tables as Markdown.
    """
    trained = _with_pretrained(where)
    for found in trained.values():
        found.config.eval.update(evaluation)
    if isinstance(data, Pairs):
        return sr_report.report(workdir, trained, data, evaluation)
    return speech_report.report(workdir, trained, data, evaluation)


def sample(trained: Trained, workdir: pathlib.Path, seed: int) -> list[pathlib.Path]:
    """Writes what a model makes of test data, beside its teacher's, if it has one.

    Args:
      trained: the model, its config's `eval` as it shall be.
      workdir: that it was loaded from; gets `samples/`.
      seed: of the latents.

    Returns:
      The files.
    """
    folder = workdir / "samples"
    folder.mkdir(parents=True, exist_ok=True)
    data, others = datasets.build(trained.config.data), {}
    teacher = trained.config.get("teacher")
    if teacher and teacher.workdir:
        others["teacher"] = teachers.load(teacher.workdir)
        others["teacher"].config.eval.update(trained.config.eval)
    if isinstance(data, Pairs):
        return sr_sampling.write(trained, data, folder, seed, others)
    assert isinstance(data, Clips)
    return speech_sampling.write(trained, data, folder, seed, others)


def _with_pretrained(where: dict[str, pathlib.Path]) -> dict[str, Trained]:
    """The models by method, before a teacher what it started from."""
    found: dict[str, Trained] = {}
    for method, path in where.items():
        trained = teachers.load(path)
        section = trained.config.get(PRETRAINED)
        if section and PRETRAINED not in found:
            source = pathlib.Path(section.workdir or path / PRETRAINED)
            if (source / workdirs.FINISHED).exists():
                found[PRETRAINED] = teachers.load(source)
        found[method] = trained
    return found
