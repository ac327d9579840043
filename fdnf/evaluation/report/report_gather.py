"""The runs of a directory as a report has them: read, named apart, and missing.

Runs of one architecture, data set and method that differ in an override of their sweep
other than the seed are methods of their own here, named by what differs.
"""

import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from fdnf.evaluation.core import records
from fdnf.evaluation.core.records import Record
from fdnf.evaluation.report import report_runs, sweeps
from fdnf.evaluation.report.report_runs import Run
from fdnf.evaluation.report.sweeps import Point, State, Sweep
from fdnf.evaluation.tables import cells
from fdnf.evaluation.tables.cells import Asked

# Overrides that runs of one cell of a table differ in.
_SEEDED = ("seed", "runs", "teacher.workdir")
# A longer reason is cut in the notes of tables; the report's start has it whole.
_REASON = 70


class Gathered(NamedTuple):
    """What a directory holds.

    Attributes:
        root: the directory.
        sweep: the points, if there are any.
        states: of the points, by name.
        runs: those with results, then those begun or known by their like.
        unknown: points of which not even the architecture is known.
        problems: files that could not be read.
    """

    root: pathlib.Path
    sweep: Sweep
    states: Mapping[str, State]
    runs: tuple[Run, ...]
    unknown: tuple[Point, ...]
    problems: tuple[str, ...]

    def done(self) -> list[Run]:
        """The runs with results."""
        return [run for run in self.runs if run.record is not None]

    def results(self) -> list[Record]:
        """Their records, under the methods' names."""
        return [run.result() for run in self.done()]

    def asked(self) -> list[Asked] | None:
        """The runs without results, with the reason; None without a sweep."""
        if not self.sweep.points:
            return None
        return [
            Asked(*run[:4], self.reason(run.point))
            for run in self.runs
            if run.record is None and run.point is not None
        ]

    def reason(self, point: Point) -> str:
        """Why a point has no results, on one short line."""
        state = self.states[point.name]
        text = " ".join(state.reason.split())
        cut = text if len(text) <= _REASON else f"{text[: _REASON - 3].rstrip()}..."
        return f"{state.kind}: {cut}" if cut else state.kind


def gather(root: pathlib.Path) -> Gathered:
    """Reads everything that a report is made of but logs, pictures and checkpoints.

    Args:
        root: directory of a run, a study or a sweep.

    Returns:
        What is there; what could not be read is named among the problems.

    Raises:
        FileNotFoundError: no such directory, or neither results nor points in it.
        ValueError: two results of one architecture, data set, method and seed, which
            nothing tells apart.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"{root} is not a directory: expected a work directory")
    sweep, problems = sweeps.read(root)
    states = sweeps.states(sweep.points)
    by_folder = {point.folder: point for point in sweep.points}
    configs: dict[pathlib.Path, Mapping[str, Any]] = {}
    runs = []
    for path in sweeps.files(root, records.FILENAME):
        folder, top = _folders(path)
        point = by_folder.get(top)
        try:
            record = records.Record.from_json(path.read_text(encoding="utf-8"))
        except (ValueError, OSError) as error:
            text = (
                f"{sweeps.place(root, path)}: {error}; evaluate that run again, or "
                "move the file away"
            )
            problems.append(text)
            if point is not None:
                starts = states[point.name].starts
                told = f"{path.name}: {error}"
                states[point.name] = State("unreadable", told, starts)
            continue
        if folder not in configs:
            configs[folder] = sweeps.load(root, folder / sweeps.CONFIG, problems)
        config = configs[folder]
        index = max(record.seed - _seed(config.get("seed"), record.seed), 0)
        base = _base(config, point) or record.method
        runs.append(Run(*record[:4], base, folder, index, config, point, record))
    absent, unknown = _absent(root, sweep, runs, problems)
    if not runs and not sweep.points and not problems:
        raise FileNotFoundError(
            f"no {records.FILENAME} under {root}: a run writes one when it is evaluated"
        )
    runs = _named_apart(root, [*runs, *absent])
    unique = tuple(dict.fromkeys(problems))
    return Gathered(root, sweep, states, tuple(runs), tuple(unknown), unique)


def _folders(path: pathlib.Path) -> tuple[pathlib.Path, pathlib.Path]:
    """Of a result: the directory of its run, and that of its point."""
    method = path.parent.parent
    if method.parent.name != sweeps.RESULTS:
        return path.parent, path.parent
    top = method.parent.parent
    own = top / method.name  # As a study has it.
    return (own if (own / sweeps.CONFIG).exists() else top), top


def _absent(
    root: pathlib.Path, sweep: Sweep, runs: Sequence[Run], problems: list[str]
) -> tuple[list[Run], list[Point]]:
    """Runs that points ask for and that are not there, and points of unknown kind."""
    present = {(run.point.name, run.seed) for run in runs if run.point}
    like = {_kind(run.point): (*run[:3], run.base) for run in runs if run.point}
    archs = {run.config.get("model", {}).get("name"): run.arch for run in runs}
    data = {_dump(run.config.get("data")): run.data for run in runs}
    lost: list[tuple[Point, Mapping[str, Any], int, list[int]]] = []
    for point in sweep.points:
        config = sweeps.load(root, point.folder / sweeps.CONFIG, problems)
        given = config or point.overrides
        first = _seed(given.get("seed"), 0)
        seeds = range(first, first + _seed(given.get("runs"), 1))
        if absent := [seed for seed in seeds if (point.name, seed) not in present]:
            lost.append((point, config, first, absent))
        if absent and "model" in config and "data" in config:
            model, base = config["model"].get("name", ""), _base(config, point)
            names = (
                archs.get(model) or _arch(model),
                data.get(_dump(config["data"])) or str(config["data"].get("name")),
                str(config.get("label") or base),
                base,
            )
            like.setdefault(_kind(point), names)
    found, unknown = [], []
    for point, config, first, absent in lost:
        if (names := like.get(_kind(point))) is None:
            unknown.append(point)
            continue
        arch, name, method, base = names
        for seed in absent:
            own = point.folder, seed - first, config, point, None
            found.append(Run(arch, name, method, seed, base, *own))
    return found, unknown


def _named_apart(root: pathlib.Path, runs: Sequence[Run]) -> list[Run]:
    """Runs with what differs in the names of their methods, where anything does."""
    found = []
    for arch, data, method in dict.fromkeys(run[:3] for run in runs):
        group = [run for run in runs if run[:3] == (arch, data, method)]
        keys = report_runs.short(report_runs.varying(group))
        for run in group:
            told = [
                f"{name}={report_runs.shown(report_runs.value(run, key))}"
                for key, name in keys.items()
            ]
            found.append(run._replace(method=" ".join([method, *told])))
    counts: dict[tuple, list[Run]] = {}
    for run in found:
        counts.setdefault(run[:4], []).append(run)
    for key, twice in counts.items():
        if len(twice) > 1 and any(run.point is None for run in twice):
            one, other = (sweeps.place(root, run.folder) for run in twice[:2])
            raise ValueError(
                f"{one} and {other} both hold {' '.join(map(str, key[:3]))} seed "
                f"{key[3]}: give a directory with one of them"
            )
    double = {key[:3] for key, twice in counts.items() if len(twice) > 1}
    apart = {
        key[:3]
        for key, twice in counts.items()
        if len({run.point.config for run in twice if run.point}) < len(twice)
    }
    return [
        run._replace(method=f"{run.method} {_own_name(run.point, run[:3] in apart)}")
        if run[:3] in double and run.point
        else run
        for run in found
    ]


def _own_name(point: Point, whole: bool) -> str:
    return point.name if whole else point.config


def _kind(point: Point | None) -> str:
    """What a point and its like of other seeds have in common."""
    if point is None:
        return ""
    keys = {k: v for k, v in point.overrides.items() if k not in _SEEDED}
    return _dump([point.config, keys])


def _base(config: Mapping[str, Any], point: Point | None) -> str:
    method = config.get("loss", {}).get("method")
    if method is not None:
        return str(config.get("role", "student")) if method == "nll" else str(method)
    words = point.config.partition(":")[2].split(",") if point else []
    return next((word for word in words if word in cells.METHODS), "")


def _arch(model: str) -> str:
    # jax and flax are only needed for a name that no result tells.
    from fdnf.evaluation.tasks import evaluate

    return evaluate.ARCHITECTURES.get(model, model)


def _seed(given: Any, otherwise: int) -> int:
    return given if isinstance(given, int) else otherwise


def _dump(content: Any) -> str:
    return json.dumps(content, sort_keys=True, default=str)
