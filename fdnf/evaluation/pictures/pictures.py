"""The pictures of a study: curves and levels of any flow, then those of its data."""

import logging
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fdnf.data.images import Images
from fdnf.data.tabular import Tabular
from fdnf.evaluation.pictures import figures, image_pictures, transfer_pictures
from fdnf.evaluation.tables import intervals
from fdnf.evaluation.tasks import sampling
from fdnf.losses import distillation, pairing
from fdnf.train import objectives, teachers, transfer
from fdnf.train.teachers import Trained
from fdnf.train.writers import read_log

_log = logging.getLogger(__name__)

NAMES = {
    "teacher": "teacher",
    "student": "student",
    "lkd": "LKD student",
    "ilkd": "ILKD student",
    "skd": "SKD student",
}
# Test rows whose levels are compared, and images at once.
ROWS, IMAGES, BATCH = 2000, 256, 64
PARTS = {
    "passed": "the part passed on",
    "split": "the part split off",
    "both": "the whole level",
}


def name(method: str) -> str:
    """A method as progress and pictures call it."""
    return NAMES.get(method, method)


def draw(
    folder: pathlib.Path,
    where: Mapping[str, pathlib.Path],
    trained: Mapping[str, Trained],
    data: Tabular | Images,
) -> list[pathlib.Path]:
    """Draws training curves, distances level by level, and samples.

    Args:
        folder: where the files go.
        where: the directory of each method.
        trained: its flow.
        data: what all were trained on.

    Returns:
        The files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    samplers = any(
        flow.config.loss.method in transfer.METHODS for flow in trained.values()
    )
    paths = []
    if not samplers or "teacher" in trained:
        paths += _training(folder / "training.png", where, data)
    # What learns to sample has levels of another kind than its teacher's, or none.
    if "teacher" in trained and len(trained) > 1 and not samplers:
        paths.append(_levels(folder / "levels.png", trained, data))
    named = {name(method): flow for method, flow in trained.items()}
    if isinstance(data, Images):
        draw_images = transfer_pictures.draw if samplers else image_pictures.draw
        return paths + draw_images(folder, named, data)
    config = next(iter(trained.values())).config
    shown = {"data": data.test[: config.eval.samples]} | {
        label: sampling.samples(flow, 0, config.eval.samples, config.seed)
        for label, flow in named.items()
    }
    return paths + sampling.pictures(shown, folder)


def _training(
    path: pathlib.Path, where: Mapping[str, pathlib.Path], data: Tabular | Images
) -> list[pathlib.Path]:
    """The curves of those that have a log; without any log there is no picture."""
    key, label = "val_log_prob", "validation log-likelihood (nats)"
    if isinstance(data, Images):
        key, label = "val_bits_per_dim", "validation bits/dim"
    curves = {}
    for method, folder in where.items():
        # What learns to sample has no such curve: its losses are in other units.
        rows = [row for row in read_log(folder) if key in row]
        if not rows:
            continue
        values = np.array([row[key] for row in rows]).T
        curves[name(method)] = (np.array([row["step"] for row in rows]), values)
    if not curves:
        path.unlink(missing_ok=True)  # One of another time would be taken for it.
        _log.warning("%s is not drawn: no log has rows with %s", path, key)
        return []
    title = f"{data.name}, validation"
    return [figures.training_curves(curves, path, ylabel=label, title=title)]


def _levels(
    path: pathlib.Path, trained: Mapping[str, Trained], data: Tabular | Images
) -> pathlib.Path:
    """Distances of all students, by the pairs and parts of the distilled ones."""
    students = {k: flow for k, flow in trained.items() if k != "teacher"}
    taught = [f for f in students.values() if objectives.needs_teacher(f.config)]
    given = objectives.arguments(taught[0].config) if taught else {}
    pairs, parts = given.get("pairs", "ratio"), given.get("parts", "passed")
    gaps = {
        name(method): level_distances(
            flow, trained["teacher"], data, pairs=pairs, parts=parts
        )
        for method, flow in students.items()
    }
    label = "mean |student − teacher|"
    if isinstance(data, Images):
        label += f", {PARTS[parts]}"
    return figures.level_distances(
        gaps, path, ylabel=label, title=f"{data.name}, test {_rows(data)}"
    )


def _rows(data: Tabular | Images) -> str:
    return "images" if isinstance(data, Images) else "rows"


def level_distances(
    student: Trained,
    teacher: Trained,
    data: Tabular | Images,
    *,
    pairs: str | pairing.Pairs = "ratio",
    parts: str = "passed",
) -> tuple[np.ndarray, np.ndarray]:
    """Mean |student - teacher| at each pair of levels: mean and interval over runs.

    Run r of the student is compared with run r of the teacher, or with its only run.

    Args:
        student: one flow.
        teacher: the other.
        data: of whose test split the first rows are encoded.
        pairs: which levels, see `pairing.pairs_of`.
        parts: what of each, see `pairing.part_of`.

    Returns:
        `[pairs]` each.
    """
    batches = list(_encoded(student, data))
    gaps = []
    for r in range(student.runs):
        flow, variables = teachers.run_of(student, r)
        teaching, fixed = teachers.run_of(teacher, min(r, teacher.runs - 1))
        found, counts = [], []
        for x, cond in batches:
            _, aux = distillation.ilkd(
                *(flow, teaching, variables, fixed, x, cond), pairs=pairs, parts=parts
            )
            found.append([float(gap) for gap in aux.per_level])
            counts.append(len(x))
        gaps.append(np.average(found, axis=0, weights=counts))
    over_runs = [intervals.over_seeds(level) for level in np.array(gaps).T]
    mean = np.array([interval.mean for interval in over_runs])
    half = np.array([interval.half_width or 0.0 for interval in over_runs])
    return mean, half


def _encoded(trained: Trained, data: Tabular | Images) -> list[tuple[Any, Any]]:
    """Batches of test rows as the flow takes them, each with its condition."""
    if not isinstance(data, Images):
        return [(jnp.asarray(data.test[:ROWS]), None)]
    preprocess, found = trained.preprocess, []
    for i, start in enumerate(range(0, min(IMAGES, len(data.test)), BATCH)):
        rows = slice(start, min(start + BATCH, IMAGES))
        key = jax.random.fold_in(jax.random.key(0), i)
        cond = None
        if preprocess.classes and data.labels is not None:
            cond = jax.nn.one_hot(data.labels[2][rows], preprocess.classes)
        found.append((preprocess.encode(key, jnp.asarray(data.test[rows]))[0], cond))
    return found
