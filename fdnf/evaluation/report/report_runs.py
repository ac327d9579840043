"""One run as a report has it, and the settings in which runs differ."""

import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from fdnf.evaluation.core.records import Record
from fdnf.evaluation.report.sweeps import Point
from fdnf.evaluation.tables import cells
from fdnf.evaluation.tables.cells import Asked

# Overrides that do not make another experiment: pairing, place and name.
SAME = ("seed", "runs", "teacher.workdir", "label", "data.name", "loss.method")


class Run(NamedTuple):
    """One model of one seed, trained or to be trained.

    Attributes:
        arch: architecture as printed.
        data: data set.
        method: its name in tables.
        seed: of the run.
        base: what kind of training it is, whatever its name: "teacher", "student", or
            the loss.
        folder: directory with its log and config.
        index: its place among the runs of that directory.
        config: the content of `config.json`.
        point: of the sweep, if it is one.
        record: its results; None where there are none.
    """

    arch: str
    data: str
    method: str
    seed: int
    base: str
    folder: pathlib.Path
    index: int
    config: Mapping[str, Any]
    point: Point | None
    record: Record | None

    def result(self) -> Record:
        """The record under the method's name; of runs that have one."""
        if self.record is None:
            raise ValueError(f"{self.folder} has no result")
        return self.record._replace(method=self.method)

    def as_asked(self) -> Asked:
        """Its cell of the tables."""
        return Asked(*self[:4])


def settings(run: Run | Point) -> dict[str, Any]:
    """The overrides of a run that make it another experiment."""
    point = run.point if isinstance(run, Run) else run
    overrides = point.overrides if point else {}
    return {key: value for key, value in overrides.items() if key not in SAME}


def varying(runs: Iterable[Run]) -> list[str]:
    """The keys among `settings` in which runs differ."""
    found = [(run, settings(run)) for run in runs]
    keys = sorted({key for _, given in found for key in given})
    return [
        key for key in keys if len({shown(value(run, key)) for run, _ in found}) > 1
    ]


def value(run: Run, key: str) -> Any:
    """What a run has under a key: its override, else its config's; None if neither."""
    given = settings(run)
    if key in given:
        return given[key]
    section: Any = run.config
    for part in key.split("."):
        section = section.get(part) if isinstance(section, Mapping) else None
    return section


def shown(given: Any) -> str:
    """A value of a config in a table."""
    if isinstance(given, list | tuple):
        return f"({', '.join(map(shown, given))})"
    if isinstance(given, float):
        return f"{given:g}"
    return cells.MISSING if given is None else str(given)


def short(keys: Sequence[str]) -> dict[str, str]:
    """Keys to the fewest last parts that tell them apart."""
    names = {}
    for key in keys:
        parts = key.split(".")
        ends = (".".join(parts[-n:]) for n in range(1, len(parts) + 1))
        names[key] = next(
            end
            for end in ends
            if sum(f".{other}".endswith(f".{end}") for other in keys) == 1
        )
    return names
