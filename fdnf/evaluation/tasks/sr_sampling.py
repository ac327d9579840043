"""Pictures of what a model of super-resolution makes of test images."""

import pathlib
from collections.abc import Mapping

from fdnf.data.super_resolution import Pairs
from fdnf.evaluation.core.sr_records import PRETRAINED, TEACHER
from fdnf.evaluation.models import upscaler as upscalers
from fdnf.evaluation.pictures import strips
from fdnf.evaluation.scorers import sr_scores
from fdnf.evaluation.tables import sr_cells
from fdnf.flows.base import FlowModule
from fdnf.students.rrdb import RRDBNet
from fdnf.train.teachers import Trained


def write(
    trained: Trained,
    data: Pairs,
    folder: pathlib.Path,
    seed: int,
    others: Mapping[str, Trained],
) -> list[pathlib.Path]:
    """Draws `eval.strips` images of each benchmark, for each run of a model.

    Args:
        trained: the model, its config's `eval` as it shall be; read are `strips` and
            `temperature`.
        data: whose test images are enlarged.
        folder: where the files go.
        seed: of run 0; run r has `seed + r`.
        others: shown before it, such as "teacher"; run r of theirs, or their last.

    Returns:
        The files, `run_0_Set5.png` and so on.
    """
    evaluation = trained.config.eval
    temperature = sr_scores.settings_of(evaluation).temperature
    paths = []
    for run in range(trained.runs):
        shown = {
            sr_cells.label(name): upscalers.of(other, min(run, other.runs - 1))
            for name, other in others.items()
        }
        shown[label(trained)] = upscalers.of(trained, run)
        paths += strips.draw(
            folder,
            shown,
            data,
            strips=evaluation.strips,
            temperature=temperature,
            seed=seed + run,
            prefix=f"run_{run}_",
        )
    return paths


def label(trained: Trained) -> str:
    """What a picture calls a model that stands alone."""
    if isinstance(trained.flow, FlowModule):
        return sr_cells.label(TEACHER)
    if isinstance(trained.flow, RRDBNet):
        return sr_cells.label(PRETRAINED)
    return sr_cells.label(trained.config.get("label") or "student")
