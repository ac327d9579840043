"""What tasks of flows have in common: pictures of training and of levels."""

import pathlib
from typing import Any

import jax.numpy as jnp

from fdnf.evaluation.core import methods
from fdnf.evaluation.pictures import curves, images, levels
from fdnf.evaluation.scorers.context import Evaluation
from fdnf.train import transfer
from fdnf.train.settings import ConfigError
from fdnf.train.teachers import Trained

# Test rows whose levels are compared.
ROWS = 2000


def learned_to_sample(evaluation: Evaluation) -> bool:
    """Whether one of the models is a sampler that learned from a teacher's density."""
    return any(
        model.config.loss.method in transfer.METHODS
        for model in evaluation.models.values()
    )


def named(evaluation: Evaluation) -> dict[str, Trained]:
    """The models by what pictures call them."""
    return {methods.label(m): trained for m, trained in evaluation.models.items()}


def fits(evaluation: Evaluation) -> None:
    """Refuses models of data of another shape."""
    data = evaluation.data
    for trained in evaluation.models.values():
        if trained.event != data.event:
            raise ConfigError(
                f"the flow was trained on data of shape {trained.event}, {data.name} "
                f"has {data.event}: evaluate it with the config it was trained with"
            )


def draw_curves(evaluation: Evaluation, folder: pathlib.Path) -> list[pathlib.Path]:
    """Validation log-likelihood in training, of images bits/dim: `training.png`."""
    if learned_to_sample(evaluation) and "teacher" not in evaluation.models:
        return []
    key, label = "val_log_prob", "validation log-likelihood (nats)"
    if _of_images(evaluation):
        key, label = "val_bits_per_dim", "validation bits/dim"
    return curves.of_runs(
        folder / "training.png",
        {methods.label(method): path for method, path in evaluation.where.items()},
        key,
        ylabel=label,
        title=f"{evaluation.data.name}, validation",
    )


def draw_levels(evaluation: Evaluation, folder: pathlib.Path) -> list[pathlib.Path]:
    """Distances of students to their teacher level by level: `levels.png`."""
    students, data = named(evaluation), evaluation.data
    teacher = students.pop(methods.label("teacher"), None)
    # What learns to sample has levels of another kind than its teacher's, or none.
    if teacher is None or not students or learned_to_sample(evaluation):
        return []

    def batches(student: Trained) -> list[tuple[Any, Any]]:
        if _of_images(evaluation):
            return images.encoded(student, data)
        return [(jnp.asarray(data.test[:ROWS]), None)]

    shown = "images" if _of_images(evaluation) else "rows"
    title = f"{data.name}, test {shown}"
    path = folder / "levels.png"
    return [levels.of_students(path, students, teacher, batches, title=title)]


def _of_images(evaluation: Evaluation) -> bool:
    return bool(next(iter(evaluation.models.values())).preprocess.levels)
