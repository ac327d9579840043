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
from fdnf.flows import build as flows
from fdnf.flows.base import FlowModule
from fdnf.losses import distillation
from fdnf.train import checkpoint, loop, objectives, settings, teachers
from fdnf.train.teachers import Trained
from fdnf.train.writers import read_log

NAMES = {
    "teacher": "teacher",
    "student": "student",
    "lkd": "LKD student",
    "ilkd": "ILKD student",
    "skd": "SKD student",
}


def _name(method: str) -> str:
    return NAMES.get(method, method)


_log = logging.getLogger(__name__)


def run(
    config: Any, workdir: str | pathlib.Path, methods: Sequence[str], runs: int
) -> str:
    """Trains, evaluates, draws; what is finished already is not done again.

    Args:
      config: of a distilled student, with its teacher.
      workdir: gets one directory per method, `results/`, `table.md` and pictures.
      methods: of "student" (no distillation), "lkd", "ilkd", "skd", and the names in
        `config.study.recipes`, whose overrides are then applied.
      runs: seeds, from `config.seed` on, trained side by side.

    Returns:
      The tables as Markdown.

    Raises:
      ConfigError: for an unknown method, or a config that names no teacher.
    """
    workdir = pathlib.Path(workdir)
    known = {"student", *objectives.METHODS, *config.study.recipes} - {"nll"}
    unknown = sorted(set(methods) - known)
    if unknown or not objectives.needs_teacher(config):
        raise settings.ConfigError(
            f"a study takes a config with a teacher (configs/*_distill.py) and methods "
            f"out of {sorted(known)}; got {unknown or config.loss.method}"
        )
    plans = {method: _plan(config, method, runs) for method in methods}
    for plan in plans.values():
        settings.check(plan)
    checkpoint.check_writable(workdir)
    data = datasets.build(config.data)
    where = {"teacher": pathlib.Path(config.teacher.workdir or workdir / "teacher")}
    if config.teacher.workdir:  # Refused now, not once the plain student is trained.
        trained = teachers.load(where["teacher"])
        teachers.match(trained, data.dim, runs)
        _check_levels(plans, trained.flow, data.dim)
    else:
        taught = copy.deepcopy(config.teacher.config)
        taught.runs = runs
        settings.check(taught)
        _check_levels(plans, flows.build(taught.model), data.dim)
        loop.train_and_evaluate(taught, where["teacher"], label="teacher")
    for method, plan in plans.items():
        where[method] = workdir / method
        if method != "student":
            plan.teacher.workdir = str(where["teacher"])
            plan.teacher.config = None
        loop.train_and_evaluate(plan, where[method], label=_name(method))
    return report(workdir, where, data, config.eval)


def again(config: Any, workdir: str | pathlib.Path) -> str:
    """Evaluates the finished methods of a study's workdir again; trains nothing.

    Raises:
      ConfigError: if none is finished.
    """
    workdir = pathlib.Path(workdir)
    teacher = pathlib.Path(config.teacher.workdir or workdir / "teacher")
    names = ("student", *objectives.METHODS, *config.study.recipes)
    found = {"teacher": teacher} | {name: workdir / name for name in names}
    where = {k: path for k, path in found.items() if (path / loop.FINISHED).exists()}
    if not where:
        raise settings.ConfigError(f"{workdir} holds no finished run: train it first")
    return report(workdir, where, datasets.build(config.data), config.eval)


def _check_levels(plans: dict[str, Any], teacher: FlowModule, dim: int) -> None:
    for method, plan in plans.items():
        if objectives.needs_teacher(plan):
            student = flows.build(plan.model)
            try:
                objectives.check_levels(plan, student, teacher, dim)
            except ValueError as error:
                raise settings.ConfigError(f"{method}: {error}") from error


def _plan(config: Any, method: str, runs: int) -> Any:
    plan = copy.deepcopy(config)
    plan.unlock()
    plan.runs = runs
    if method == "student":
        plan.loss = {"method": "nll"}
        del plan.teacher
    else:
        if method in plan.study.recipes:
            _override(plan, plan.study.recipes[method].to_dict())
        else:
            plan.loss.method = method
        if plan.teacher.get("config"):
            plan.teacher.config.runs = runs
    return plan


def _override(config: Any, changes: dict[str, Any]) -> None:
    for key, value in changes.items():
        *path, last = key.split("/")
        section = config
        for name in path:
            section = section[name]
        if last not in section:
            raise settings.ConfigError(f"study.recipes: no key {key!r} in the config")
        section[last] = value


def report(
    workdir: pathlib.Path,
    where: dict[str, pathlib.Path],
    data: Tabular,
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
    trained = {method: teachers.load(path) for method, path in where.items()}
    for flow in trained.values():
        flow.config.eval.update(evaluation)
    for method, path in where.items():
        _log.info("evaluating %s", path)
        found = evaluate.evaluate(trained[method], data, method, _skipped(path))
        evaluate.write(found, workdir / "results")
    table = tables.write(workdir / "results")
    table += _floor_note(trained, data)
    (workdir / "table.md").write_text(table, encoding="utf-8")
    draw(workdir / "figures", where, trained, data)
    return table


def _skipped(workdir: pathlib.Path) -> list[int]:
    path = workdir / loop.FINISHED
    if not path.exists():
        raise settings.ConfigError(
            f"the run in {workdir} is not finished ({path.name} is missing): give its "
            "training command again, which goes on where it stood"
        )
    return json.loads(path.read_text(encoding="utf-8"))["skipped_steps"]


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
        curves[_name(method)] = (np.array([row["step"] for row in rows]), values)
    paths = [
        figures.training_curves(
            curves, folder / "training.png", title=f"{data.name}, validation"
        )
    ]
    students = [method for method in where if method != "teacher"]
    if "teacher" in where and students:
        gaps = {
            _name(method): level_distances(trained[method], trained["teacher"], data)
            for method in students
        }
        paths.append(
            figures.level_distances(
                gaps, folder / "levels.png", title=f"{data.name}, test rows"
            )
        )
    config = next(iter(trained.values())).config
    shown = {"data": data.test[: config.eval.samples]} | {
        _name(method): sampling.samples(t, 0, config.eval.samples, config.seed)
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
