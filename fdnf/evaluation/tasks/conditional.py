"""Evaluation of models whose data come with a condition: images, and speech.

The one place where super-resolution parts from speech, and both from the rest.
"""

import logging
import pathlib
from typing import Any

from fdnf.data import build as datasets
from fdnf.data.speech import Clips
from fdnf.data.super_resolution import Pairs
from fdnf.evaluation.scorers import sr_judge, sr_scores
from fdnf.evaluation.tasks import speech_report, speech_sampling, sr_report, sr_sampling
from fdnf.train import teachers, workdirs
from fdnf.train.teachers import Trained

KINDS = (Pairs, Clips)
PRETRAINED = "pretrained"

_log = logging.getLogger(__name__)


def check(evaluation: Any) -> None:
    """Refuses what no model could be judged by, before any time is spent.

    Args:
      evaluation: the `eval` section; those of other data are passed by.

    Raises:
      ConfigError: a number out of range, or weights of LPIPS that are not those.
    """
    if "lpips" in evaluation:
        sr_scores.settings_of(evaluation)
        sr_judge.of(evaluation)


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
    if place := _teacher_of(trained, workdir):
        others["teacher"] = teachers.load(place)
        others["teacher"].config.eval.update(trained.config.eval)
    if isinstance(data, Pairs):
        return sr_sampling.write(trained, data, folder, seed, others)
    assert isinstance(data, Clips)
    return speech_sampling.write(trained, data, folder, seed, others)


def _teacher_of(trained: Trained, workdir: pathlib.Path) -> pathlib.Path | None:
    """The directory of a student's teacher, if it is still there.

    It may have been trained first, into the student's, or lie beside it in a study
    that has moved since.
    """
    section = trained.config.get("teacher")
    if not section:
        return None
    named = [pathlib.Path(section.workdir)] if section.workdir else []
    places = [*named, workdir / "teacher", workdir.absolute().parent / "teacher"]
    for place in places:
        if (place / workdirs.FINISHED).exists():
            return place
    _log.warning("the teacher is not shown: no finished run in %s", places[0])
    return None


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
