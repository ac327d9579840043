"""What the runs of a report differ in, and what that does: tables of settings."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from fdnf.evaluation.report import report_runs
from fdnf.evaluation.report.report_runs import Run
from fdnf.evaluation.tables import cells, markup, quantities
from fdnf.evaluation.tables.markup import Table
from fdnf.evaluation.tables.quantities import Column

# Settings a plain student has no use for: those of the distillation.
_TAUGHT = re.compile(r"(loss|teacher)\.")
# Differences between configs that say no more than the columns beside them.
_OBVIOUS = re.compile(
    r"(seed|label|role|loss\.method|data\..*|model\.name|teacher\.(workdir|config\b.*)|"
    r"study\b.*)$"
)
_MOST_COLUMNS = 14


def pivots(runs: Sequence[Run]) -> list[Table]:
    """One table an architecture and data set whose runs of one kind differ in settings.

    Args:
        runs: with and without results.

    Returns:
        A row a setting: what varies, the metrics as mean and interval over seeds, and
        the difference to the plain student of the same seeds and settings.
    """
    found = []
    for arch, data in sorted({run[:2] for run in runs}):
        here = [run for run in runs if run[:2] == (arch, data)]
        keys = sorted(
            {
                key
                for base in {run.base for run in here}
                for key in report_runs.varying(r for r in here if r.base == base)
            }
        )
        if keys and any(run.record for run in here):
            found.append(_pivot(here, keys, f"{arch} on {data} by setting"))
    return found


def _pivot(runs: Sequence[Run], keys: Sequence[str], title: str) -> Table:
    columns = quantities.columns([run.result() for run in runs if run.record])
    gap = columns[0]
    names = report_runs.short(keys)
    groups: dict[tuple, list[Run]] = {}
    for run in runs:
        setting = tuple(report_runs.shown(_value(run, key)) for key in keys)
        groups.setdefault((run.base, *setting), []).append(run)
    rows, lonely = [], []
    for base, *setting in sorted(groups, key=_place):
        group = groups[(base, *setting)]
        results = [run.result() for run in group if run.record]
        plain = _plain(groups, dict(zip(keys, setting, strict=True)))
        difference = cells.MISSING
        if base != "student" and plain:
            difference = cells.difference(results, plain, gap.read, gap.digits)
        elif base != "student":
            lonely.append(base)
        seeds = cells.listed(run.seed for run in results) or cells.MISSING
        if lost := {run.seed for run in group if not run.record}:
            seeds += f"; lost {cells.listed(lost)}"
        rows.append(
            (
                cells.METHODS.get(base, base),
                *setting,
                cells.over_seeds(results, gap.read, gap.digits),
                difference,
                *(cells.over_seeds(results, c.read, c.digits) for c in columns[1:]),
                seeds,
            )
        )
    first, *others = (column.name for column in columns)
    header = ("Model", *names.values(), first, f"Δ {first}", *others, "Seeds")
    table = Table(title, header, tuple(rows), tuple(_notes(names, gap, lonely)))
    gone = cells.MISSING
    keep = [i for i in range(len(header)) if any(row[i] != gone for row in rows)]
    return table._replace(
        header=tuple(header[i] for i in keep),
        rows=tuple(tuple(row[i] for i in keep) for row in rows),
    )


def _notes(names: Mapping[str, str], gap: Column, lonely: Sequence[str]) -> list[str]:
    told = [f"{name}: {key}" for key, name in names.items() if name != key]
    notes = [
        "One row a setting; ± is the half-width of the 95 % Student-t interval over "
        f"seeds, n=1 a single seed. Δ {gap.name}: difference to the plain student of "
        "the same seed; * marks an interval without zero. "
        + ("Higher is better." if gap.higher else "Lower is better.")
    ]
    notes += [f"Columns: {', '.join(told)}."] if told else []
    if lonely:
        notes.append("No plain student to compare with, where there is no Δ.")
    return notes


def _value(run: Run, key: str) -> Any:
    if _TAUGHT.match(key) and run.base in ("student", "teacher"):
        return None
    return report_runs.value(run, key)


def _plain(
    groups: Mapping[tuple, Sequence[Run]], setting: Mapping[str, str]
) -> list[Any]:
    """Results of the plain student that agrees in what is not of the distillation."""
    own = tuple(
        cells.MISSING if _TAUGHT.match(key) else text for key, text in setting.items()
    )
    return [r.result() for r in groups.get(("student", *own), ()) if r.record]


def _place(key: tuple) -> tuple:
    base, *setting = key
    order = ["teacher", *list(cells.METHODS)[:-1]]
    known = order.index(base) if base in order else len(order)
    return known, base, [cells.by_number(text) for text in setting]


def differing(runs: Sequence[Run]) -> Table | None:
    """What differs between configs, a row for runs that differ in seed and method only.

    Args:
        runs: with and without results.

    Returns:
        The table; None where nothing differs but seed and method, or without a config.
    """
    flat = {id(run): flatten(run.config) for run in runs if run.config}
    runs = [run for run in runs if id(run) in flat]
    if not runs:
        return None
    keys = sorted({key for config in flat.values() for key in config})
    keys = [
        key
        for key in keys
        if not _OBVIOUS.match(key)
        if len({_text(f, key) for f in flat.values() if key in f}) > 1
    ]
    if not keys:
        return None
    left = keys[_MOST_COLUMNS:]
    keys = keys[:_MOST_COLUMNS]
    groups: dict[tuple[str, ...], list[Run]] = {}
    for run in runs:
        row = (*run[:3], *(_text(flat[id(run)], key) for key in keys))
        groups.setdefault(row, []).append(run)
    alike: dict[tuple[str, ...], set[str]] = {}
    for (arch, data, method, *values), group in groups.items():
        seeds = cells.listed(run.seed for run in group)
        alike.setdefault((arch, data, *values, seeds), set()).add(method)
    names = report_runs.short(keys)
    order = [*cells.METHODS]
    rows = []
    for (arch, data, *values), methods in alike.items():
        known = cells.in_order(methods, order)
        told = ", ".join(cells.METHODS.get(method, method) for method in known)
        rows.append((arch, data, told, *values))
    rows.sort(key=lambda row: [cells.by_number(text) for text in row])
    notes = ["A dash: that config has no such key, or nothing under it."]
    told = [f"{name}: {key}" for key, name in names.items() if name != key]
    notes += [f"Columns: {', '.join(told)}."] if told else []
    notes += [f"Differing as well, left out: {', '.join(left)}."] if left else []
    header = ("Arch", "Data", "Model", *names.values(), "Seeds")
    return Table("What differs", header, tuple(rows), tuple(notes))


def flatten(config: Mapping[str, Any]) -> dict[str, Any]:
    """A config's values under dotted keys, sorted."""
    found: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            found |= {f"{key}.{k}": v for k, v in flatten(value).items()}
        else:
            found[key] = value
    return dict(sorted(found.items()))


def whole(run: Run) -> markup.Fold:
    """A run's config, folded."""
    lines = [f"{k} = {_shown(v)}" for k, v in flatten(run.config).items()]
    name = cells.METHODS.get(run.method, run.method)
    title = f"{run.arch} {run.data} {name} seed {run.seed}"
    return markup.Fold(title, (markup.Code("\n".join(lines)),))


def _text(config: Mapping[str, Any], key: str) -> str:
    return _shown(config.get(key))


def _shown(value: Any) -> str:
    return "{}" if value == {} else report_runs.shown(value)
