"""Results as one tall table: a row a score, with the run that it is of."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from fdnf.evaluation.core import methods, quantities
from fdnf.evaluation.core.scores import Result, Run, Score


class Row(NamedTuple):
    """A score and its run."""

    run: Run
    score: Score

    def field(self, name: str) -> Any:
        """A field of the score or the run, else a setting or a fact; None without."""
        if name in _SCORE:
            return getattr(self.score, name)
        if name in _RUN:
            return getattr(self.run, name)
        return self.run.settings.get(name, self.run.facts.get(name))


_SCORE, _RUN = frozenset(Score._fields), frozenset(Run._fields)


def rows(results: Iterable[Result]) -> list[Row]:
    """A row a score; facts that are numbers are scores as well."""
    found = []
    for run, scores in results:
        for name, value in run.facts.items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                found.append(Row(run, Score(name, float(value))))
        found += [Row(run, score) for score in scores]
    return found


def where(table: Sequence[Row], **fields: Any) -> list[Row]:
    """The rows whose fields are as given.

    A baseline is of no architecture, and a time or a size of no split: they stand
    beside those of any.
    """
    found = list(table)
    for name, value in fields.items():
        found = [
            row
            for row in found
            if row.field(name) == value
            or (name == "arch" and value and methods.is_baseline(row.run))
            or (name == "split" and not row.score.split)
        ]
    return found


def values(table: Sequence[Row], name: str, teacher_last: bool = False) -> list[Any]:
    """Distinct values of a field, in the order of tables."""
    found = list(dict.fromkeys(row.field(name) for row in table))
    if name == "method":
        return methods.order(found, teacher_last)
    if name == "arch":  # What has none, as a baseline, stands below those that do.
        order = methods.in_order(found, methods.ARCHS)
        return sorted(order, key=lambda arch: not arch)
    if name == "metric":
        return quantities.in_order(found)
    if name == "given":
        return sorted(found, key=quantities.place)
    if name == "split":
        return methods.in_order(found, quantities.SPLITS)
    if name == "item":
        return found
    if all(isinstance(value, str) for value in found):
        return methods.in_order(found, methods.DATASETS if name == "data" else ())
    return sorted(found, key=lambda value: methods.by_number(str(value)))


def differing(results: Iterable[Result]) -> list[str]:
    """Names of settings in which runs of one method differ: a sweep went over them."""
    groups: dict[tuple, list[Run]] = {}
    for run, _ in results:
        if not methods.is_baseline(run):
            key = (run.kind, run.data, run.arch, run.method)
            groups.setdefault(key, []).append(run)
    found: dict[str, None] = {}
    for group in groups.values():
        for name in (name for run in group for name in run.settings):
            if len({str(run.settings.get(name)) for run in group}) > 1:
                found[name] = None
    return list(found)
