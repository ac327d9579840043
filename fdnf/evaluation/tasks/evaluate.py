"""Evaluation of trained models, whatever their data: one order of work for all.

Baselines are measured, then each run of each model is scored; pictures are drawn; then
the results are written, and last the tables of them.
"""

import logging
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from fdnf import files
from fdnf.data.images import Images
from fdnf.data.speech import Clips
from fdnf.data.super_resolution import Pairs
from fdnf.data.tabular import Tabular
from fdnf.evaluation import certificate
from fdnf.evaluation.core import methods, quantities, scores, stored
from fdnf.evaluation.core.scores import Result, Run
from fdnf.evaluation.models import timing
from fdnf.evaluation.scorers.context import Context, Evaluation
from fdnf.evaluation.tables import table as markup
from fdnf.evaluation.tables import view
from fdnf.evaluation.tables.columns import Column
from fdnf.evaluation.tables.table import Table
from fdnf.evaluation.tables.view import View
from fdnf.evaluation.tasks import (
    base,
    gaussian,
    images,
    speech,
    super_resolution,
    teacher,
    vectors,
)
from fdnf.evaluation.tasks.base import Task
from fdnf.train import loop, process, teachers, workdirs
from fdnf.train.settings import ConfigError
from fdnf.train.teachers import Trained

# A type of data to all that is done with models of it. A newcomer's study puts an
# `extended` task in the place of one of these.
TASKS: dict[type, Task] = {
    Tabular: teacher.held(vectors.TASK),
    Images: teacher.held(images.TASK),
    Pairs: super_resolution.TASK,
    Clips: speech.TASK,
}
# Tables of kinds of runs that are measured elsewhere.
VIEWS = {"gaussian": gaussian.VIEWS}
PRETRAINED = "pretrained"

_log = logging.getLogger(__name__)


def of(data: Any) -> Task:
    """The task of a set of data."""
    return TASKS[type(data)]


def check(section: Any) -> None:
    """Refuses an `eval` section by which no model could be judged.

    Raises:
        ConfigError: a number out of range, an unknown extractor, or weights that are
            not those asked for.
    """
    for task in TASKS.values():
        task.check(section)


def evaluate(
    workdir: str | pathlib.Path,
    where: Mapping[str, pathlib.Path],
    data: Any,
    section: Any,
) -> str:
    """Evaluates finished runs; writes results, tables and pictures.

    Args:
        workdir: gets `results/<method>/seed_<n>/result.json`, beside it the
            `certificate.json` of one that learned a teacher's density, `table.md`,
            `table.tex` and `figures/`.
        where: the directory of each method.
        data: what all were trained on, or other data of the same form.
        section: the `eval` section to go by, instead of those saved with the runs.

    Returns:
        The tables as Markdown.

    Raises:
        ConfigError: a run is not finished, a model cannot be judged by these data, or
            is named as a baseline.
    """
    workdir, task = pathlib.Path(workdir), of(data)
    evaluation = _evaluation(where, data, section)
    skipped = {method: _skipped(path) for method, path in evaluation.where.items()}
    results = measure(evaluation, skipped)
    folder = workdir / base.FIGURES
    folder.mkdir(parents=True, exist_ok=True)
    for draw in task.draw:
        draw(evaluation, folder)
    certificates = list(certificate.of_evaluation(evaluation, results))
    # After all that may fail: that they are there says that all is.
    for result in results:
        scores.write(result, workdir / base.RESULTS)
    for run, content in certificates:
        place = scores.place(run, workdir / base.RESULTS)
        files.write_json(place.with_name(certificate.NAME), content)
    # With those of methods that were evaluated at another time.
    made = tables(stored.read(workdir / base.RESULTS))
    text = "\n".join(map(markup.to_markdown, made))
    files.write_text(workdir / base.LATEX, "\n".join(map(markup.to_latex, made)))
    files.write_text(workdir / base.TABLE, text)
    return text


def measure(
    evaluation: Evaluation, skipped: Mapping[str, Sequence[int]] | None = None
) -> list[Result]:
    """What baselines and all runs of all models are measured to be.

    Args:
        evaluation: models and data.
        skipped: steps that each run of a method skipped.

    Raises:
        ConfigError: a model cannot be judged by these data, or is named as a baseline.
    """
    task = of(evaluation.data)
    named = sorted(methods.BASELINES.keys() & evaluation.models.keys())
    if named:
        raise ConfigError(
            f"models are called {named}: these are the names of baselines; give "
            "another `label`"
        )
    task.fits(evaluation)
    results = [result for floor in task.baselines for result in floor(evaluation)]
    for method, trained in evaluation.models.items():
        _log.info("evaluating %s", evaluation.where.get(method, method))
        for run in range(trained.runs):
            steps = (skipped or {}).get(method, [0] * trained.runs)
            context = Context(evaluation, method, run)
            results.append(_scored(task, context, steps[run]))
        process.release_programs()
    return results


def tables(results: Sequence[Result]) -> list[Table]:
    """The tables of results of any kinds, each kind by the views of its task.

    Those of a kind without a task are in one table, of all their scores.
    """
    known = {task.kind: task.views for task in TASKS.values()}
    known |= VIEWS
    found = []
    for kind in methods.in_order((run.kind for run, _ in results), known):
        mine = [result for result in results if result.run.kind == kind]
        metrics = {score.metric for _, own in mine for score in own}
        columns = tuple(Column(m, given=None) for m in quantities.in_order(metrics))
        whole = View("{data}", columns, index=("arch", "method"))
        found += view.page(known.get(kind, (whole,)), mine)
    return found


def sample(workdir: pathlib.Path, config: Any) -> list[pathlib.Path]:
    """Writes what each run of a trained model makes, into `<workdir>/samples`.

    Args:
        workdir: of the model.
        config: its `eval` section is used, and its seed, which is that of run 0.

    Returns:
        The files.
    """
    trained = teachers.load(workdir)
    trained.config.eval.update(config.eval)
    (task,) = (task for task in TASKS.values() if task.takes(trained))
    (workdir / base.SAMPLES).mkdir(parents=True, exist_ok=True)
    return task.sample(trained, workdir, config.seed)


def _evaluation(
    where: Mapping[str, pathlib.Path], data: Any, section: Any
) -> Evaluation:
    """The models by method, before a teacher what it started from."""
    models: dict[str, Trained] = {}
    places: dict[str, pathlib.Path] = {}
    for method, path in where.items():
        trained = teachers.load(path)
        started = trained.config.get(PRETRAINED)
        if started and PRETRAINED not in models:
            source = pathlib.Path(started.workdir or path / PRETRAINED)
            if (source / workdirs.FINISHED).exists():
                models[PRETRAINED], places[PRETRAINED] = teachers.load(source), source
        models[method], places[method] = trained, path
    for trained in models.values():
        trained.config.eval.update(section)
    return Evaluation(data, section, models, places)


def _scored(task: Task, context: Context, skipped: int) -> Result:
    trained, config = context.trained, context.trained.config
    # First, since scorers add to the facts.
    found = tuple(score for scorer in task.scorers for score in scorer(context))
    run = Run(
        context.data.name,
        context.method,
        context.seed,
        methods.architecture(config.model.name),
        task.kind,
        task.label(trained, context.method),
        settings=config.model.args.to_dict(),
        facts={
            "parameters": timing.parameter_count(
                teachers.run_of(trained, context.run)[1]
            ),
            # Which may be fewer than asked for (train.early_stop).
            "steps": trained.meta.get("step", config.train.steps),
            "skipped_steps": skipped,
            "source": context.data.source,
            "versions": trained.meta.get("versions") or {},
            **context.facts,
        },
    )
    return Result(run, found)


def _skipped(workdir: pathlib.Path) -> list[int]:
    result = workdirs.result(workdir)
    if result is None:
        raise ConfigError(
            f"the run in {workdir} is not finished ({loop.FINISHED} is missing): give "
            "its training command again, which goes on where it stood"
        )
    return result["skipped_steps"]
