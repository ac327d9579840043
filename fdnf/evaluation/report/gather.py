"""The runs of a directory: of a run alone, of a study, or of a sweep.

What cannot be read is told among the problems, and the rest is shown.
"""

import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from fdnf import files
from fdnf.evaluation.core import methods, scores, stored
from fdnf.evaluation.core.scores import Result, Run

CONFIG, FINISHED = "config.json", "finished.json"
# Of a sweep, by `launch`: all points, one of them, and how they stand.
SWEEP, POINT, STATES = "sweep.json", "point.json", "states.json"
# What is most urgent first. The states of `launch.status`, and two of our own: results
# that cannot be read, and a point of which nothing is known.
KINDS = (
    *("failed", "unreadable", "preempted", "running", "waiting", "unknown", "done"),
)
# Overrides that do not make another experiment: pairing, place and name.
SAME = (
    *("seed", "runs", "label", "data.name", "loss.method"),
    *("teacher.workdir", "pretrained.workdir"),
)


class Point(NamedTuple):
    """One training of a sweep.

    Attributes:
        name: in the sweep.
        folder: its directory.
        config: file and words, such as "configs/maf_bsds300.py:student".
        overrides: keys of the config to values.
        command: what trains and evaluates it alone.
    """

    name: str
    folder: pathlib.Path
    config: str = ""
    overrides: Mapping[str, Any] = {}
    command: str = ""


class Sweep(NamedTuple):
    """All points, and what made them."""

    name: str
    points: tuple[Point, ...] = ()
    command: str = ""
    arguments: Mapping[str, Any] = {}


class State(NamedTuple):
    """How a point stands: one of KINDS, and why."""

    kind: str
    reason: str = ""


class Trained(NamedTuple):
    """A model of one seed, with results or on its way to them.

    Attributes:
        run: as its results have it, with the overrides of its point as settings; of one
            without results what its config says.
        scores: of the results; None of one without.
        folder: directory with its log and config.
        index: its place among the runs of that directory.
        config: the content of `config.json`.
        point: of the sweep, if it is one.
    """

    run: Run
    scores: tuple[scores.Score, ...] | None
    folder: pathlib.Path
    index: int
    config: Mapping[str, Any]
    point: Point | None = None


class Gathered(NamedTuple):
    """What a directory holds.

    Attributes:
        root: the directory.
        sweep: the points, if there are any.
        states: of the points, by name.
        runs: those with results, then those that were begun.
        baselines: results of what each evaluation has, models to start from too.
        problems: files that could not be read, a text each.
    """

    root: pathlib.Path
    sweep: Sweep
    states: Mapping[str, State]
    runs: tuple[Trained, ...]
    baselines: tuple[Result, ...]
    problems: tuple[str, ...]

    def done(self) -> list[Trained]:
        """The runs with results."""
        return [run for run in self.runs if run.scores is not None]

    def results(self) -> list[Result]:
        """All results, those of baselines first."""
        models = (Result(run.run, run.scores or ()) for run in self.done())
        return [*self.baselines, *models]


def gather(root: pathlib.Path) -> Gathered:
    """Reads a directory.

    Args:
        root: of a run, a study or a sweep.

    Returns:
        What is there; what could not be read is named among the problems.

    Raises:
        FileNotFoundError: no such directory, or neither results nor points in it.
        ValueError: two results of one run that nothing tells apart.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"{root} is not a directory: expected a work directory")
    problems: list[str] = []
    sweep = read_sweep(root, problems)
    points = {point.folder: point for point in sweep.points}
    read, damaged = _results(root, points, problems)
    if not read and not sweep.points and not problems:
        raise FileNotFoundError(
            f"no {scores.FILENAME} under {root}: a run writes one when it is evaluated"
        )
    configs = _Configs(root, problems)
    runs, baselines = [], []
    for top, results in read.items():
        for result in stored.merged(results):
            if methods.is_shared(result.run):
                baselines.append(result)
            else:
                runs.append(_trained(result, top, points.get(top), configs))
    done = {run.point.name for run in runs if run.point}
    states = _states(root, sweep, done, damaged, problems)
    begun = [
        run
        for point in sweep.points
        if point.name not in done
        for run in _begun(point, configs[point.folder])
    ]
    return Gathered(
        root,
        sweep,
        states,
        (*_told_apart(root, runs), *begun),
        tuple(stored.merged(baselines)),
        tuple(dict.fromkeys(problems)),
    )


def read_sweep(root: pathlib.Path, problems: list[str]) -> Sweep:
    """The sweep of a directory, from `sweep.json` or from each point's `point.json`.

    Args:
        root: of the sweep.
        problems: gets a text for each file that is not what it should be.
    """
    scattered = [
        point
        for path in stored.files_of(root, [POINT])
        if (point := _point(root, path.parent, load(root, path, problems), problems))
    ]
    whole = load(root, root / SWEEP, problems)
    name = root.absolute().name
    if not whole:
        return Sweep(name, tuple(scattered))
    own = {point.folder: point for point in scattered}
    found = []
    for entry in map(_object, _list(whole.get("points"))):
        folder = root / str(entry.get("workdir", ""))
        if (point := _point(root, folder, entry, problems)) is not None:
            command = own[folder].command if folder in own else ""
            found.append(point._replace(command=command))
    if not found:
        problems.append(f"{SWEEP}: it lists no points")
    return Sweep(
        str(whole.get("sweep") or name),
        tuple(found),
        str(whole.get("created_by") or ""),
        _object(whole.get("arguments")),
    )


def load(root: pathlib.Path, path: pathlib.Path, problems: list[str]) -> dict[str, Any]:
    """The object of a JSON file; an empty one, and a problem, where it is no object."""
    try:
        return files.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError) as error:
        problems.append(f"{place(root, path)}: cannot be read ({error})")
        return {}


def place(root: pathlib.Path, path: pathlib.Path) -> str:
    """A path as a report names it, which does not tell where the root is."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


class _Configs(dict):
    """Directory of a run to its config, each read once."""

    def __init__(self, root: pathlib.Path, problems: list[str]):
        super().__init__()
        self.root, self.problems = root, problems

    def __missing__(self, folder: pathlib.Path) -> dict[str, Any]:
        self[folder] = load(self.root, folder / CONFIG, self.problems)
        return self[folder]


def _results(
    root: pathlib.Path,
    points: Mapping[pathlib.Path, Point],
    problems: list[str],
) -> tuple[dict[pathlib.Path, list[Result]], dict[str, str]]:
    """Work directory to its results, and points whose results are damaged, with why."""
    read: dict[pathlib.Path, list[Result]] = {}
    damaged = {}
    for path in stored.paths(root):
        top = _workdir(root, path)
        try:
            read.setdefault(top, []).extend(stored.read_file(path))
        except files.DamagedError as error:
            problems.append(str(error).replace(str(path), place(root, path)))
            if top in points:
                damaged[points[top].name] = f"{path.name} is damaged"
    return read, damaged


def _workdir(root: pathlib.Path, path: pathlib.Path) -> pathlib.Path:
    """What the results in a file are of; one on its own has all beside it."""
    former = path.name == "transfer.json"
    for folder in path.parents:
        if folder == root:
            break
        if folder.name == ("transfer" if former else stored.RESULTS):
            return folder.parent
    return path.parent


def _trained(
    result: Result, top: pathlib.Path, point: Point | None, configs: _Configs
) -> Trained:
    own = top / result.run.method  # As a study has it.
    folder = own if configs[own] else top
    config = configs[folder]
    index = max(result.run.seed - _seed(config.get("seed"), result.run.seed), 0)
    settings = {**result.run.settings, **_settings(point)}
    run = result.run._replace(settings=settings)
    return Trained(run, result.scores, folder, index, config, point)


def _settings(point: Point | None) -> dict[str, Any]:
    given = point.overrides if point else {}
    return {key: _tuples(v) for key, v in given.items() if key not in SAME}


def _begun(point: Point, config: Mapping[str, Any]) -> Iterator[Trained]:
    """The runs of a point without results, as far as its config tells of them."""
    if "model" not in config or "data" not in config:
        return
    method = _object(config.get("loss")).get("method")
    if method in (None, "nll", "flow_matching"):
        method = config.get("role", "student")
    first = _seed(config.get("seed"), 0)
    for index in range(_seed(config.get("runs"), 1)):
        run = Run(
            str(_object(config["data"]).get("name")),
            str(config.get("label") or method),
            first + index,
            str(_object(config["model"]).get("name")),
            settings=_settings(point),
        )
        yield Trained(run, None, point.folder, index, config, point)


def _told_apart(root: pathlib.Path, runs: Sequence[Trained]) -> list[Trained]:
    """Runs that nothing but their point tells apart get that as a setting."""
    found = list(runs)
    for setting in ("config", "point"):
        groups: dict[tuple, list[int]] = {}
        for i, each in enumerate(found):
            groups.setdefault(each.run.key, []).append(i)
        for same in (group for group in groups.values() if len(group) > 1):
            one, other = (found[i] for i in same[:2])
            if any(found[i].point is None for i in same):
                raise ValueError(
                    f"{place(root, one.folder)} and {place(root, other.folder)} both "
                    f"hold {scores.name(one.run)}: give a directory with one of them"
                )
            for i in same:
                point = found[i].point
                assert point is not None
                told = {"config": point.config, "point": point.name}[setting]
                settings = {**found[i].run.settings, setting: told}
                run = found[i].run._replace(settings=settings)
                found[i] = found[i]._replace(run=run)
    return found


def _states(
    root: pathlib.Path,
    sweep: Sweep,
    done: set[str],
    damaged: Mapping[str, str],
    problems: list[str],
) -> dict[str, State]:
    """How each point stands: done by its results, else as `launch` saw it last."""
    entries = _list(load(root, root / STATES, problems).get("points"))
    told = {entry.get("name"): entry for entry in map(_object, entries)}
    states = {}
    for point in sweep.points:
        entry = told.get(point.name, {})
        kind, reason = str(entry.get("state")), str(entry.get("detail") or "")
        if point.name in damaged:
            state = State("unreadable", damaged[point.name])
        elif point.name in done and (point.folder / FINISHED).exists():
            state = State("done")
        elif kind in KINDS and kind != "done":
            state = State(kind, reason)
        else:
            state = State("unknown", "launch.sweep --gather tells more")
        states[point.name] = state
    return states


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
        str(entry.get("command", "")),
    )


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _seed(given: Any, otherwise: int) -> int:
    return given if isinstance(given, int) else otherwise


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
