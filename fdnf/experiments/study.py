"""Teacher, plain student and distilled students, over seeds, then their table.

Every student has the same size, data, batches, number of steps and initial seed; they
differ in the loss alone.
"""

import copy
import logging
import pathlib
import re
import zlib
from collections.abc import Sequence
from typing import Any

from fdnf import files
from fdnf.data import build as datasets
from fdnf.data import fingerprint
from fdnf.evaluation.core import methods as named
from fdnf.evaluation.core import stored
from fdnf.evaluation.tasks import evaluate
from fdnf.evaluation.tasks import rows as given_rows
from fdnf.train import (
    checkpoint,
    distributed,
    faults,
    loop,
    models,
    objectives,
    process,
    settings,
    teachers,
    workdirs,
)
from fdnf.train.preprocess import Data

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
      WorkdirError: another process writes the directory.
    """
    workdir = pathlib.Path(workdir)
    known = {"student", *objectives.METHODS, *config.study.recipes} - {"nll"}
    unknown = sorted(set(methods) - known)
    if unknown or not objectives.needs_teacher(config):
        raise settings.ConfigError(
            f"a study takes a config with a teacher (configs/maf_gas.py:ilkd) and "
            f"methods out of {sorted(known)}; got {unknown or config.loss.method}"
        )
    plans = {method: _plan(config, method, runs) for method in methods}
    for plan in plans.values():
        settings.check(plan)
    with workdirs.alone([workdir]):
        return _run(config, workdir, plans, runs)


def _run(config: Any, workdir: pathlib.Path, plans: dict[str, Any], runs: int) -> str:
    data = datasets.build(config.data)
    where = {"teacher": pathlib.Path(config.teacher.workdir or workdir / "teacher")}
    prepared = settings.prepared(config, data)
    shapes = data.event, prepared.condition_shape(data.event)
    if config.teacher.workdir:  # Refused now, not once the plain student is trained.
        trained = teachers.load(where["teacher"])
        faults.check_same_data(config, "teacher", trained.config.data, where["teacher"])
        teachers.match(trained, data.event, runs, prepared)
        _check_levels(plans, trained.flow, *shapes)
    else:
        taught = copy.deepcopy(config.teacher.config)
        taught.runs = runs
        settings.check(taught)
        _check_levels(plans, models.build(taught.model), *shapes)
        loop.train_and_evaluate(taught, where["teacher"], label="teacher")
    for method, plan in plans.items():
        where[method] = workdir / method
        if method != "student":
            plan.teacher.workdir = str(where["teacher"])
            plan.teacher.config = None
        loop.train_and_evaluate(plan, where[method], label=named.label(method))
        process.release_programs()
    if not distributed.is_first():
        return ""
    return report(workdir, where, data, config.eval)


def again(config: Any, workdir: str | pathlib.Path, rows: str | None = None) -> str:
    """Evaluates the finished methods of a study's workdir again; trains nothing.

    A student's own workdir is one of a single method.

    Args:
      config: of the study.
      workdir: its directory.
      rows: a file of rows to judge by, in place of the test rows.

    Raises:
      ConfigError: if none is finished.
      DataError: for rows that are none of the models'.
    """
    workdir = pathlib.Path(workdir)
    teacher = pathlib.Path(config.teacher.workdir or workdir / "teacher")
    names = ("student", *objectives.METHODS, *config.study.recipes)
    found = {"teacher": teacher} | {name: workdir / name for name in names}
    where = {k: path for k, path in found.items() if (path / loop.FINISHED).exists()}
    if not where.keys() - {"teacher"} and (workdir / loop.FINISHED).exists():
        where[config.get("label") or config.loss.method] = workdir
    if not where:
        raise settings.ConfigError(f"{workdir} holds no finished run: train it first")
    data = datasets.build(config.data)
    return report(workdir, where, data, config.eval, rows)


def _check_levels(
    plans: dict[str, Any],
    teacher: models.Model,
    event: tuple[int, ...],
    cond: tuple[int, ...] | None,
) -> None:
    for method, plan in plans.items():
        if objectives.needs_teacher(plan):
            student = models.build(plan.model)
            try:
                objectives.check_levels(plan, student, teacher, event, cond)
            except ValueError as error:
                raise settings.ConfigError(f"{method}: {error}") from error


def _plan(config: Any, method: str, runs: int) -> Any:
    plan = copy.deepcopy(config)
    plan.unlock()
    plan.runs = runs
    if method == "student":
        plan.loss = {"method": "nll", "units": config.loss.get("units", "nats")}
        del plan.teacher
    else:
        # What the config itself is called stays as it is.
        if config.get("label") != method:
            plan.label = ""
            if method in plan.study.recipes:
                _override(plan, method)
            else:
                plan.loss.method = method
        if plan.teacher.get("config"):
            plan.teacher.config.runs = runs
    return plan


def _override(plan: Any, method: str) -> None:
    """Applies a recipe, in whose keys a slash stands for a point."""
    recipe = plan.study.recipes[method].to_dict()
    try:
        settings.override(plan, {k.replace("/", "."): v for k, v in recipe.items()})
    except settings.ConfigError as error:
        raise settings.ConfigError(f"study.recipes.{method}: {error}") from error


def report(
    workdir: pathlib.Path,
    where: dict[str, pathlib.Path],
    data: Data,
    evaluation: Any,
    rows: str | None = None,
) -> str:
    """Evaluates finished runs; writes results, tables and pictures.

    Args:
      workdir: gets `results/`, `table.md`, `figures/`. Of other data than the runs were
        trained on, a directory of their own in `other_data/` gets them.
      where: the directory of each method.
      data: what all were trained on, or others of the same form.
      evaluation: the `eval` section to go by, instead of those saved with the runs.
      rows: a file of rows that stand in the place of the test rows; these, too, are
        other data.

    Returns:
      The tables as Markdown.
    """
    if rows:
        *_, last = where.values()
        data = given_rows.replaced(teachers.load(last), data, rows)
    workdir = _place(workdir, where, data, other=bool(rows))
    _check_teacher(where)
    table = evaluate.evaluate(workdir, where, data, evaluation)
    _log.info("written: %s/table.md, %s/figures/", workdir, workdir)
    return table


def _place(
    workdir: pathlib.Path,
    where: dict[str, pathlib.Path],
    data: Data,
    *,
    other: bool = False,
) -> pathlib.Path:
    """Where an evaluation goes, so that it takes no other's place."""
    ours = fingerprint.of(data)
    # A teacher may have been trained on other data than its students.
    students = [path for method, path in where.items() if method != "teacher"]
    for path in students or where.values():
        saved = (checkpoint.meta_of(path).get("rests_on") or {}).get("data")
        if other or (saved is not None and not fingerprint.same(saved, ours)):
            name = re.sub(r"[^\w.-]+", "_", data.name).strip("._")
            name += f"-{zlib.crc32(files.dumps(ours).encode()):08x}"
            return workdir / stored.OTHER_DATA / name
    return workdir


def _check_teacher(where: dict[str, pathlib.Path]) -> None:
    """Says which students learned from another teacher than stands beside them."""
    if "teacher" not in where or len(where) == 1:
        return
    mark = checkpoint.meta_of(where["teacher"]).get("mark")
    for path in where.values():
        saved = checkpoint.meta_of(path).get("rests_on") or {}
        if saved.get("teacher", mark) != mark:
            _log.warning(
                "%s learned from another teacher than the one in %s, which has changed "
                "since and stands beside it in the tables",
                path,
                where["teacher"],
            )
