"""What tasks of flows have in common: pictures of training and of levels."""

import functools
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fdnf.evaluation.core import methods
from fdnf.evaluation.pictures import curves, images, levels, marginals
from fdnf.evaluation.scorers.context import Evaluation
from fdnf.flows.base import FlowModule
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
        rows, prepared = jnp.asarray(data.test[:ROWS]), student.preprocess
        beside = prepared.beside(data, 2)
        beside = None if beside is None else jnp.asarray(beside[:ROWS])
        x: Any = prepared.encode(jax.random.key(0), rows)[0]
        return [(x, prepared.condition(rows, beside))]

    shown = "images" if _of_images(evaluation) else "rows"
    title = f"{data.name}, test {shown}"
    path = folder / "levels.png"
    return [levels.of_students(path, students, teacher, batches, title=title)]


def draw_density(evaluation: Evaluation, folder: pathlib.Path) -> list[pathlib.Path]:
    """Densities in the plane, of flows on two columns, in their units: `density.png`.

    The teacher stands beside its students. Of conditional flows it is the density
    given one condition: that of the test row in the middle of the first condition's.
    """
    data = evaluation.data
    models = {
        label: trained
        for label, trained in named(evaluation).items()
        if isinstance(trained.flow, FlowModule)
    }
    prepared = next(iter(evaluation.models.values())).preprocess
    # Whole numbers have their density on lines.
    if data.event != (2,) or prepared.noisy or not models:
        return []
    points: Any = prepared.encode(jax.random.key(0), jnp.asarray(data.test))[0]
    points = np.asarray(prepared.given_back(points))
    title, given = data.name, None
    if data.conditions is not None:
        stored = data.conditions[2]
        row = np.argsort(stored[:, 0], kind="stable")[len(stored) // 2]
        given, columns = stored[row : row + 1], data.condition_columns
        if columns is not None:
            middle = jnp.full((1, columns.noisy), 0.5)
            given = columns.decode(columns.dequantise(middle, given)[0])
        names = [f"condition {i}" for i in range(given.shape[1])]
        names = names if columns is None else columns.names
        said = (f"{name} = {v:.4g}" for name, v in zip(names, given[0], strict=True))
        title = f"{title}, given {', '.join(said)}"
    low, high = np.quantile(points, (0.002, 0.998), axis=0)
    room = 0.15 * np.where(high > low, high - low, 1.0)
    return [
        marginals.density_maps(
            points if given is None else None,
            {
                label: functools.partial(trained.log_prob, cond=given)
                for label, trained in models.items()
            },
            folder / "density.png",
            box=np.stack([low - room, high + room], axis=1),
            names=("feature 0", "feature 1")
            if data.columns is None
            else data.columns.names,
            title=title,
        )
    ]


def _of_images(evaluation: Evaluation) -> bool:
    return bool(next(iter(evaluation.models.values())).preprocess.levels)
