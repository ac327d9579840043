"""Teacher, plain student and distilled students, over seeds, then their table.

Every student has the same size, data, batches, number of steps and initial seed; they
differ in the loss alone.
"""

import copy
import json
import logging
import pathlib
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from fdnf.data import build as datasets
from fdnf.data.tabular import Tabular
from fdnf.evaluation import evaluate, figures, intervals, sampling, tables
from fdnf.losses import distillation
from fdnf.train import loop, objectives, settings, teachers
from fdnf.train.teachers import Trained
from fdnf.train.writers import read_log

NAMES = {
    "teacher": "teacher",
    "student": "student",
    "lkd": "LKD student",
    "ilkd": "ILKD student",
    "skd": "SKD student",
}

_log = logging.getLogger(__name__)


def run(
    config: Any, workdir: str | pathlib.Path, methods: Sequence[str], runs: int
) -> str:
    """Trains, evaluates, draws; what is finished already is not done again.

    Args:
      config: of a distilled student, with its teacher.
      workdir: gets one directory per method, `results/`, `table.md` and pictures.
      methods: of "student" (no distillation), "lkd", "ilkd", "skd".
      runs: seeds, from `config.seed` on, trained side by side.

    Returns:
      The tables as Markdown.

    Raises:
      ConfigError: for an unknown method, or a config that names no teacher.
    """
    workdir = pathlib.Path(workdir)
    unknown = sorted(set(methods) - {"student", *objectives.METHODS} - {"nll"})
    if unknown or not objectives.needs_teacher(config):
        raise settings.ConfigError(
            f"a study takes a config with a teacher (configs/*_distill.py) and methods "
            f"out of student, lkd, ilkd, skd; got {unknown or config.loss.method}"
        )
    plans = {method: _plan(config, method, runs) for method in methods}
    for plan in plans.values():
        settings.check(plan)
    data = datasets.build(config.data)
    where = {"teacher": pathlib.Path(config.teacher.workdir or workdir / "teacher")}
    if not config.teacher.workdir:
        taught = copy.deepcopy(config.teacher.config)
        taught.runs = runs
        loop.train_and_evaluate(taught, where["teacher"], label="teacher")
    for method, plan in plans.items():
        where[method] = workdir / method
        if method != "student":
            plan.teacher.workdir = str(where["teacher"])
            plan.teacher.config = None
        loop.train_and_evaluate(plan, where[method], label=NAMES[method])
    return report(workdir, where, data)


def _plan(config: Any, method: str, runs: int) -> Any:
    plan = copy.deepcopy(config)
    plan.unlock()
    plan.runs = runs
    if method == "student":
        plan.loss = {"method": "nll"}
        del plan.teacher
    else:
        plan.loss.method = method
        if plan.teacher.get("config"):
            plan.teacher.config.runs = runs
    return plan


def report(workdir: pathlib.Path, where: dict[str, pathlib.Path], data: Tabular) -> str:
    """Evaluates finished runs; writes records, tables and pictures.

    Args:
      workdir: gets `results/`, `table.md`, `figures/`.
      where: the directory of each method.
      data: what all were trained on.

    Returns:
      The tables as Markdown.
    """
    trained = {method: teachers.load(path) for method, path in where.items()}
    for method, path in where.items():
        _log.info("evaluating %s", path)
        skipped = json.loads((path / loop.FINISHED).read_text())["skipped_steps"]
        found = evaluate.evaluate(trained[method], data, method, skipped)
        evaluate.write(found, workdir / "results")
    table = tables.write(workdir / "results")
    table += _floor_note(trained, data)
    (workdir / "table.md").write_text(table, encoding="utf-8")
    draw(workdir / "figures", where, trained, data)
    return table


def _floor_note(trained: dict[str, Trained], data: Tabular) -> str:
    config = next(iter(trained.values())).config
    found = evaluate.floor(data, config.eval.samples)
    numbers = ", ".join(f"{k.replace('_', ' ')} {v:.4g}" for k, v in found.items())
    return (
        f"\nFloor of the distances, training rows against test rows of the same "
        f"numbers: {numbers}.\n"
    )


def draw(
    folder: pathlib.Path,
    where: dict[str, pathlib.Path],
    trained: dict[str, Trained],
    data: Tabular,
) -> list[pathlib.Path]:
    """Training curves, distances level by level, marginals and patches."""
    folder.mkdir(parents=True, exist_ok=True)
    curves = {}
    for method, path in where.items():
        rows = [row for row in read_log(path) if "val_log_prob" in row]
        values = np.array([row["val_log_prob"] for row in rows]).T
        curves[NAMES[method]] = (np.array([row["step"] for row in rows]), values)
    paths = [
        figures.training_curves(
            curves, folder / "training.png", title=f"{data.name}, validation"
        )
    ]
    students = [method for method in where if method != "teacher"]
    if "teacher" in where and students:
        gaps = {
            NAMES[method]: level_distances(trained[method], trained["teacher"], data)
            for method in students
        }
        paths.append(
            figures.level_distances(
                gaps, folder / "levels.png", title=f"{data.name}, test rows"
            )
        )
    config = next(iter(trained.values())).config
    shown = {"data": data.test[: config.eval.samples]} | {
        NAMES[method]: sampling.samples(t, 0, config.eval.samples, config.seed)
        for method, t in trained.items()
    }
    return paths + sampling.pictures(shown, folder)


def level_distances(
    student: Trained, teacher: Trained, data: Tabular, rows: int = 2000
) -> tuple[np.ndarray, np.ndarray]:
    """Mean |student - teacher| at each student level: mean and interval over runs.

    Levels are paired by depth ratio, run r of the student with run r of the teacher
    (or with its only run).
    """
    x = jnp.asarray(data.test[:rows])
    gaps = []
    for r in range(student.runs):
        flow, variables = teachers.run_of(student, r)
        teaching, fixed = teachers.run_of(teacher, min(r, teacher.runs - 1))
        _, aux = distillation.ilkd(flow, teaching, variables, fixed, x, pairs="ratio")
        gaps.append([float(gap) for gap in aux.per_level])
    found = [intervals.over_seeds(level) for level in np.array(gaps).T]
    mean = np.array([interval.mean for interval in found])
    half = np.array([interval.half_width or 0.0 for interval in found])
    return mean, half
