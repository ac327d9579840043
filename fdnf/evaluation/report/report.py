"""The report of a run, a study or a sweep: one HTML page and one Markdown page.

What is wrong or missing comes first, then tables, curves, samples, configs, versions
and commands. The same directory gives the same pages, byte for byte, on one machine:
no clock, host name or path of the directory is in them.
"""

import argparse
import importlib.metadata
import json
import pathlib
import platform
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from fdnf import files
from fdnf.evaluation.report import (
    report_curves,
    report_gather,
    report_html,
    report_pictures,
    report_settings,
    sweeps,
)
from fdnf.evaluation.report.report_gather import Gathered
from fdnf.evaluation.report.report_runs import Run
from fdnf.evaluation.tables import cells, markup, tables
from fdnf.evaluation.tables.markup import Code, Fold, Items, Section, Table, Text

PAGE, MARKDOWN, LATEX = "report.html", "table.md", "table.tex"
PACKAGES = ("fdnf", "jax", "flax", "optax", "numpy")


class Written(NamedTuple):
    """What was written.

    Attributes:
        markdown: the Markdown page.
        wrong: what is missing or could not be read, one line each.
        paths: the files.
    """

    markdown: str
    wrong: tuple[str, ...]
    paths: tuple[pathlib.Path, ...]


def write(root: str | pathlib.Path, latex: bool = False) -> Written:
    """Writes the report of a directory into it.

    Args:
        root: the directory.
        latex: write the tables as LaTeX as well.

    Returns:
        What was written.

    Raises:
        FileNotFoundError: no such directory, or nothing in it to report.
        ValueError: two results that nothing tells apart.
        OSError: the directory cannot be written to.
    """
    folder = pathlib.Path(root)
    found = report_gather.gather(folder)
    made, shown = _tables(found), found.sweep.name
    sections, wrong = _sections(found, made)
    markdown = markup.page(shown, sections)
    texts = {PAGE: report_html.page(shown, sections), MARKDOWN: markdown}
    if latex:
        texts[LATEX] = "\n".join(markup.to_latex(table) for table in made)
    for name, text in texts.items():
        files.write_text(folder / name, text)
    return Written(markdown, wrong, tuple(folder / name for name in texts))


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the report of a directory, and print it as Markdown.

    Args:
        arguments: of the command line.

    Returns:
        The exit status: 0, 1 for a report of which something is missing or unreadable,
        2 where there was nothing to report.
    """
    files.print_anything()
    parser = argparse.ArgumentParser(
        prog="python -m fdnf.evaluation.report",
        description="Report on every result.json under DIR: tables, curves, samples, "
        "configs, versions and commands in DIR/report.html, which needs no other file; "
        "the same without pictures in DIR/table.md and on the screen. DIR is the "
        "directory of a run, of a study or of a sweep (sweep.json).",
        epilog="Exit status: 0; 1 if points of the sweep are not done, or a file could "
        "not be read (the report begins with them); 2 if nothing was written.",
    )
    parser.add_argument("dir", type=pathlib.Path, metavar="DIR")
    parser.add_argument(
        "--latex", action="store_true", help="write the tables to DIR/table.tex as well"
    )
    parser.add_argument(
        "--quiet", action="store_true", help="print where the pages are, not the tables"
    )
    flags = parser.parse_args(arguments)
    try:
        written = write(flags.dir, latex=flags.latex)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if not flags.quiet:
        print(written.markdown)
    for text in written.wrong:
        print(text, file=sys.stderr)
    print(f"Written: {', '.join(map(str, written.paths))}", file=sys.stderr)
    return 1 if written.wrong else 0


def _sections(
    found: Gathered, made: Sequence[Table]
) -> tuple[list[Section], tuple[str, ...]]:
    problems = list(found.problems)
    curves = report_curves.pictures(found.runs, found.root, problems)
    folds, selection = report_pictures.folds(found.done(), found.root, problems)
    sections = [
        Section("Tables", tuple(made)),
        Section("Curves", tuple(curves)),
        Section("Samples", (Text(selection), *folds) if folds else (), True),
        Section("Configs", tuple(_configs(found))),
        Section("Versions", tuple(_versions(found, problems))),
        Section("Data", tuple(_data(found))),
        Section("Commands", tuple(_commands(found))),
    ]
    wrong = (*_undone(found), *dict.fromkeys(problems))
    state = Section("State", tuple(_state(found, problems)))
    return [state, *(section for section in sections if section.blocks)], wrong


def _tables(found: Gathered) -> list[Table]:
    runs, asked = found.results(), found.asked()
    if not runs:
        return []
    made = tables.every_table(runs, asked)
    if found.unknown:
        names = ", ".join(point.name for point in found.unknown)
        note = f"Missing, and not begun: {names}."
        first = made[0]
        made[0] = first._replace(notes=(*first.notes, note))
    pivots = report_settings.pivots(found.runs)
    return [*pivots, *made]


def _state(found: Gathered, problems: Sequence[str]) -> Iterator[markup.Block]:
    points = found.sweep.points
    if points:
        count = Counter(state.kind for state in found.states.values())
        told = [f"{count[kind]} {kind}" for kind in sweeps.STATES if count[kind]]
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
            rows.append((point.name, told, str(state.starts)))
    if rows:
        header = ("Point", "State", "Starts")
        table = Table("Not done", header, tuple(rows), ())
        many = len(rows) > _TOLD
        summary = f"All that is not done ({len(rows)})"
        yield Fold(summary, (table,), html_only=False) if many else table
    if not found.done():
        yield Text("No results yet, so there are no tables.")


def _urgency(found: Gathered, point: sweeps.Point) -> tuple:
    kind = found.states[point.name].kind
    return sweeps.STATES.index(kind), cells.by_number(point.name)


# A terminal shows so many points that are not done.
_TOLD = 10


def _undone(found: Gathered) -> Iterator[str]:
    missing = [
        f"missing: {point.name} ({found.reason(point)})"
        for point in found.sweep.points
        if found.states[point.name].kind not in ("done", "unreadable")
    ]
    yield from missing[:_TOLD]
    if len(missing) > _TOLD:
        yield f"missing: {len(missing) - _TOLD} more, named on the page"


def _configs(found: Gathered) -> Iterator[markup.Block]:
    differing = report_settings.differing(found.runs)
    if differing is not None:
        yield differing
    seen: dict[pathlib.Path, Run] = {}
    for run in found.runs:
        if run.config:
            seen.setdefault(run.folder, run)
    folds = tuple(report_settings.whole(run) for run in seen.values())
    if folds:
        yield Fold(f"Whole configs ({len(folds)})", folds)


def _versions(found: Gathered, problems: list[str]) -> Iterator[markup.Block]:
    """Of the newest checkpoint of each run; of this machine, where the tables arose."""
    count: Counter[tuple[str, ...]] = Counter()
    for folder in dict.fromkeys(run.folder for run in found.runs):
        saved = [p for p in (folder / "checkpoints").glob("*/meta/metadata")]
        saved = [path for path in saved if path.parent.parent.name.isdigit()]
        newest = max(saved, key=lambda path: int(path.parent.parent.name), default=None)
        if newest is None:
            continue
        meta = sweeps.load(found.root, newest, problems)
        names = meta.get("versions") or {}
        count[tuple(str(names.get(name, cells.MISSING)) for name in PACKAGES)] += 1
    rows = [
        (_count(number, "run") + ", as trained", cells.MISSING, *versions)
        for versions, number in sorted(count.items())
    ]
    own = tuple(_version(name) for name in PACKAGES)
    rows.append(("This report", platform.python_version(), *own))
    notes = ("Of runs: as their newest checkpoint has it.",) if count else ()
    header = ("Where", "python", *PACKAGES)
    yield Table("", header, tuple(rows), notes)


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return cells.MISSING


def _data(found: Gathered) -> Iterator[markup.Block]:
    told = cells.sources(found.results())
    if told:
        yield Items(tuple(told))


def _commands(found: Gathered) -> Iterator[markup.Block]:
    sweep = found.sweep
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
