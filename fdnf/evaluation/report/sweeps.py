"""The directory of a sweep: its points, and how each of them stands.

Read from `sweep.json`, or from the `point.json` files where there is none; a directory
with neither is one of runs without points.
"""

import json
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from fdnf.evaluation.core import records, speech_records, sr_records

SWEEP, POINT = "sweep.json", "point.json"
CONFIG, FINISHED, FAILED = "config.json", "finished.json", "failed.json"
LOG, ATTEMPTS, RESULTS = "log.jsonl", "attempts.jsonl", "results"
TABLE = "table.md"
# Of a run's directory, with a directory for each evaluation on other rows than its own.
OTHER_DATA = "other_data"
STATES = ("failed", "unreadable", "preempted", "running", "waiting", "done")
# Exit status of a run that saved and stopped on a signal.
SAVED = 75
# Directories of many files, none of which a report reads by its name.
_CLOSED = {"checkpoints", "tensorboard", "jobs", OTHER_DATA}


class Point(NamedTuple):
    """One training of a sweep.

    Attributes:
        name: in the sweep.
        folder: its directory.
        config: file and words, such as "configs/maf_bsds300.py:student".
        overrides: keys of the config to values.
        after: names of the points that must be done before.
        command: what trains and evaluates it alone.
    """

    name: str
    folder: pathlib.Path
    config: str = ""
    overrides: Mapping[str, Any] = {}
    after: tuple[str, ...] = ()
    command: str = ""


class Sweep(NamedTuple):
    """All points, and what made them."""

    name: str
    points: tuple[Point, ...] = ()
    command: str = ""
    arguments: Mapping[str, Any] = {}


class State(NamedTuple):
    """How a point stands: one of STATES, why, and how often it was started."""

    kind: str
    reason: str = ""
    starts: int = 0


def read(root: pathlib.Path) -> tuple[Sweep, list[str]]:
    """The sweep of a directory, and what could not be read of it.

    Args:
        root: of the sweep.

    Returns:
        The sweep, and a text for each file that is there and is not what it should be.
    """
    problems: list[str] = []
    scattered = [
        point
        for path in files(root, POINT)
        if (point := _point(root, path.parent, load(root, path, problems), problems))
    ]
    whole = load(root, root / SWEEP, problems)
    if not whole:
        return Sweep(root.absolute().name, tuple(scattered)), problems
    own = {point.folder: point for point in scattered}
    found = []
    for entry in _list(whole.get("points")):
        folder = root / str(_object(entry).get("workdir", ""))
        point = _point(root, folder, _object(entry), problems)
        if point is not None:
            command = own[folder].command if folder in own else ""
            found.append(point._replace(command=command))
    if not found:
        problems.append(f"{SWEEP}: it lists no points")
    return Sweep(
        str(whole.get("sweep") or root.absolute().name),
        tuple(found),
        str(whole.get("created_by") or ""),
        _object(whole.get("arguments")),
    ), problems


def states(points: Sequence[Point]) -> dict[str, State]:
    """How each point stands, by name, as its files have it.

    A process that was killed leaves no word: what was started and not ended is
    "running", here as much as where it is.
    """
    found = {point.name: _state(point) for point in points}
    for point in points:
        if found[point.name].kind != "waiting":
            continue
        open_ = [n for n in point.after if n in found and found[n].kind != "done"]
        open_.sort(key=lambda name: STATES.index(found[name].kind))
        if open_:
            more = f" and {len(open_) - 1} more" if len(open_) > 1 else ""
            reason = f"waits for {open_[0]}, which is {found[open_[0]].kind}{more}"
            found[point.name] = State("waiting", reason)
    return found


def files(root: pathlib.Path, name: str) -> Iterator[pathlib.Path]:
    """The files of a name below a directory, in order; checkpoints are not entered."""
    for folder, below, present in os.walk(root):
        below[:] = sorted(set(below) - _CLOSED)
        if name in present:
            yield pathlib.Path(folder) / name


def load(root: pathlib.Path, path: pathlib.Path, problems: list[str]) -> dict[str, Any]:
    """The object of a JSON file; an empty one, and a problem, where it is no object."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError) as error:
        problems.append(f"{place(root, path)}: cannot be read ({error})")
        return {}
    if not isinstance(content, dict):
        kind = type(content).__name__
        problems.append(f"{place(root, path)}: expected an object, got {kind}")
        return {}
    return content


def place(root: pathlib.Path, path: pathlib.Path) -> str:
    """A path as a report names it, which does not tell where the root is."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


def evaluated(folder: pathlib.Path) -> bool:
    """Whether a run's results are there, all of them."""
    names = (records.FILENAME, sr_records.FILENAME, speech_records.FILENAME)
    found = (any((folder / RESULTS).glob(f"*/*/{name}")) for name in names)
    # The records come first, then pictures, the table last.
    return (folder / TABLE).exists() and any(found)


def _state(point: Point) -> State:
    attempts = _attempts(point.folder / ATTEMPTS)
    starts = sum(row.get("event") == "start" for row in attempts)
    if (point.folder / FINISHED).exists() and evaluated(point.folder):
        return State("done", "", starts)
    problems: list[str] = []
    failed = load(point.folder, point.folder / FAILED, problems)
    last = attempts[-1] if attempts else {}
    if last.get("event") == "start":
        return State("running", "no end was noted: running, or killed", starts)
    if failed or problems:
        return State("failed", str(failed.get("error") or problems[0]), starts)
    code = last.get("rc")
    if last.get("event") == "end" and code != SAVED:
        return State("failed", str(last.get("error") or _ended(code)), starts)
    if last.get("event") == "end":
        return State("preempted", "saved and stopped", starts)
    if (point.folder / FINISHED).exists():
        return State("preempted", "trained, not evaluated", starts)
    if (point.folder / CONFIG).exists():
        return State("running", "begun, not finished", starts)
    return State("waiting", "not begun", starts)


def _ended(code: Any) -> str:
    if code == 0:
        return "ended without a result"
    killed = isinstance(code, int) and code < 0
    return f"killed by signal {-code}" if killed else f"exit status {code}"


def _attempts(path: pathlib.Path) -> list[dict[str, Any]]:
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError:
        return []
    rows = []
    for line in lines:
        try:
            rows.append(_object(json.loads(line)))
        except ValueError:  # The row that is being written.
            continue
    return [row for row in rows if row]


def _point(
    root: pathlib.Path,
    folder: pathlib.Path,
    entry: Mapping[str, Any],
    problems: list[str],
) -> Point | None:
    if not entry:
        return None
    if not isinstance(entry.get("name"), str):
        problems.append(f"{place(root, folder)}: a point without a name")
        return None
    return Point(
        entry["name"],
        folder,
        str(entry.get("config", "")),
        _object(entry.get("overrides")),
        tuple(map(str, _list(entry.get("after")))),
        str(entry.get("command", "")),
    )


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
