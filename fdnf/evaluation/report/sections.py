"""What a report says, section by section.

What is wrong or missing comes first, then tables, curves, samples, configs, versions
and commands.
"""

import importlib.metadata
import json
import pathlib
import platform
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from flax import traverse_util

from fdnf.evaluation.core import methods
from fdnf.evaluation.core.scores import Result
from fdnf.evaluation.report import gather, page, pictures
from fdnf.evaluation.report.gather import Gathered, Point, Trained
from fdnf.evaluation.report.page import Code, Fold, Items, Section, Text
from fdnf.evaluation.tables import missing
from fdnf.evaluation.tables.cell import MISSING
from fdnf.evaluation.tables.table import Table
from fdnf.evaluation.tasks import evaluate

PACKAGES = ("fdnf", "jax", "flax", "optax", "numpy")
# A terminal shows so many points that are not done.
_TOLD = 10


def of(found: Gathered) -> tuple[list[Section], list[Table], tuple[str, ...]]:
    """The sections of a report, its tables, and what is wrong, one line each."""
    problems = list(found.problems)
    made = evaluate.tables(found.results())
    curves = pictures.curves(found.runs, found.root, problems)
    folds, selection = pictures.folds(found.done(), found.root, problems)
    sections = [
        Section("Tables", tuple(made)),
        Section("Curves", tuple(curves)),
        Section("Samples", (Text(selection), *folds) if folds else (), True),
        Section("Configs", tuple(_configs(found.runs))),
        Section("Versions", tuple(_versions(found.done()))),
        Section("Data", tuple(_data(found.results()))),
        Section("Commands", tuple(_commands(found.sweep))),
    ]
    wrong = (*_undone(found), *dict.fromkeys(problems))
    state = Section("State", tuple(_state(found, problems)))
    whole = [state, *(section for section in sections if section.blocks)]
    return whole, made, wrong


def _state(found: Gathered, problems: Sequence[str]) -> Iterator[page.Block]:
    points = found.sweep.points
    if points:
        count = Counter(state.kind for state in found.states.values())
        told = [f"{count[kind]} {kind}" for kind in gather.KINDS if count[kind]]
        done = count["done"] == len(points)
        yield Text(f"{len(points)} points: {', '.join(told)}.", warns=not done)
    else:
        yield Text(f"{_count(len(found.done()), 'run')} with results.")
    if problems:
        noun = "file" if len(set(problems)) == 1 else "files"
        yield Text(f"{len(set(problems))} {noun} could not be read:", warns=True)
        yield Items(tuple(dict.fromkeys(problems)))
    rows = []
    for point in sorted(points, key=lambda p: _urgency(found, p)):
        state = found.states[point.name]
        if state.kind != "done":
            told = ": ".join(filter(None, (state.kind, " ".join(state.reason.split()))))
            rows.append((point.name, told))
    if rows:
        table = Table("Not done", ("Point", "State"), tuple(rows))
        many = len(rows) > _TOLD
        summary = f"All that is not done ({len(rows)})"
        yield Fold(summary, (table,), html_only=False) if many else table
    if not found.done():
        yield Text("No results yet, so there are no tables.")


def _urgency(found: Gathered, point: Point) -> tuple:
    kind = found.states[point.name].kind
    return gather.KINDS.index(kind), methods.by_number(point.name)


def _undone(found: Gathered) -> Iterator[str]:
    open_ = []
    for point in found.sweep.points:
        kind, reason = found.states[point.name]
        # What is unreadable is among the problems.
        if kind not in ("done", "unreadable"):
            told = ": ".join(filter(None, (kind, " ".join(reason.split()))))
            open_.append(f"missing: {point.name} ({told})")
    yield from open_[:_TOLD]
    if len(open_) > _TOLD:
        yield f"missing: {len(open_) - _TOLD} more, named on the page"


def _configs(runs: Sequence[Trained]) -> Iterator[page.Block]:
    seen: dict[pathlib.Path, Trained] = {}
    for run in runs:
        if run.config:
            seen.setdefault(run.folder, run)
    folds = []
    for trained in seen.values():
        run = trained.run
        title = f"{run.arch} {run.data} {methods.label(run)} seed {run.seed}"
        told = [f"{key} = {_shown(v)}" for key, v in _flat(trained.config).items()]
        folds.append(Fold(title, (Code("\n".join(told)),)))
    if folds:
        yield Fold(f"Whole configs ({len(folds)})", tuple(folds))


def _flat(config: Mapping[str, Any]) -> dict[str, Any]:
    """A config's values under dotted keys, sorted."""
    flat = traverse_util.flatten_dict(dict(config), sep=".", keep_empty_nodes=True)
    return dict(sorted(flat.items()))


def _shown(value: Any) -> str:
    if value is traverse_util.empty_node:
        return "{}"
    if isinstance(value, list | tuple):
        return f"({', '.join(map(_shown, value))})"
    if isinstance(value, float):
        return f"{value:g}"
    return MISSING if value is None else str(value)


def _versions(runs: Sequence[Trained]) -> Iterator[page.Block]:
    """As runs were trained, and of this machine, where the tables arose."""
    count: Counter[tuple[str, ...]] = Counter()
    for run in runs:
        if names := run.run.facts.get("versions"):
            count[tuple(str(names.get(name, MISSING)) for name in PACKAGES)] += 1
    rows = [
        (_count(number, "run") + ", as trained", MISSING, *versions)
        for versions, number in sorted(count.items())
    ]
    own = tuple(_version(name) for name in PACKAGES)
    rows.append(("This report", platform.python_version(), *own))
    yield Table("", ("Where", "python", *PACKAGES), tuple(rows))


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return MISSING


def _data(results: Sequence[Result]) -> Iterator[page.Block]:
    if told := missing.sources(results):
        yield Items(tuple(told))


def _commands(sweep: gather.Sweep) -> Iterator[page.Block]:
    if sweep.command:
        yield Text("The sweep:")
        yield Code(sweep.command)
    if sweep.arguments:
        arguments = (f"{k} = {json.dumps(v)}" for k, v in sweep.arguments.items())
        yield Text("Its arguments:")
        yield Code("\n".join(arguments))
    commands = [point.command for point in sweep.points if point.command]
    if commands:
        summary = f"Each point alone, from the root of the repository ({len(commands)})"
        yield Fold(summary, (Code("\n".join(commands)),), html_only=False)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + "s" * (number != 1)
