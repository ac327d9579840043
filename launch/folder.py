"""The files of a sweep under its root, and the commands that they stand for.

ROOT/sweep.json                 all points
ROOT/states.json                how they stood when their results were last gathered
ROOT/<point>/point.json         one of them, and the command that makes it alone
ROOT/<point>/attempts.jsonl     when it was started and how that ended
ROOT/jobs/<job>.json, .log      what one process was given, and what it printed
"""

import json
import os
import pathlib
import secrets
import shlex
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from launch import points
from launch.points import Point, SweepError

RECORDS = ("result.json", "super_resolution.json", "speech.json")
SWEEP, POINT, ATTEMPTS = "sweep.json", "point.json", "attempts.jsonl"
STATES = "states.json"
MAIN = ("python", "-m", "fdnf.main")


class Folder:
    """The directory of a sweep.

    Args:
      root: path of one line, without characters of globs; `~` is expanded. Commands
        name it relative to the current directory where they can, so that a sweep means
        the same however its root is written.

    Raises:
      SweepError: for a path that a script or a checkpoint cannot have.
    """

    def __init__(self, root: str | os.PathLike):
        """See the class."""
        try:
            absolute = pathlib.Path(root).expanduser().absolute()
        except RuntimeError:
            raise SweepError(
                f"{os.fspath(root)}: no home directory is known to put in place of ~; "
                "write the path out"
            ) from None
        points.one_line(str(absolute), "the directory of a sweep")
        # Where a program would train to the end and then read no checkpoint.
        if wrong := set(str(absolute)) & set("[]*?\\"):
            raise SweepError(
                f"{absolute} has {' '.join(sorted(wrong))} in it, which checkpoints "
                "cannot be read below: give another --root"
            )
        here = pathlib.Path.cwd()
        inside = absolute.is_relative_to(here) and absolute != here
        self.root = str(absolute.relative_to(here) if inside else absolute)
        self.path = pathlib.Path(self.root)

    def workdir(self, name: str) -> pathlib.Path:
        """Directory of a point."""
        return self.path / name

    def job(self, name: str, suffix: str = ".json") -> pathlib.Path:
        """A file of one job."""
        return self.path / "jobs" / f"{name}{suffix}"

    def entry(self, point: Point) -> dict[str, Any]:
        """A point as it stands in `sweep.json`."""
        return {
            "name": point.name,
            "workdir": point.name,
            "config": point.config,
            "overrides": point.resolved(self.root),
            "after": list(point.after),
        }

    def command(self, point: Point, main: Sequence[str] = MAIN) -> list[str]:
        """The command that makes a point alone, from the directory of `configs/`."""
        flags = [
            f"--config.{key}={flag_text(value)}"
            for key, value in point.resolved(self.root).items()
        ]
        workdir = f"--workdir={self.workdir(point.name)}"
        return [*main, "--mode=single", f"--config={point.config}", workdir, *flags]

    def packed_entry(self, point: Point) -> dict[str, Any]:
        """A point as a file of `--points` has it."""
        overrides = point.resolved(self.root)
        return {"workdir": str(self.workdir(point.name)), "overrides": overrides}

    def read(self) -> tuple[str, list[Point]]:
        """Name and points of the sweep that was started here.

        Raises:
          SweepError: no sweep was started here.
        """
        known = self._known()
        if known is None:
            raise SweepError(
                f"no {SWEEP} in {self.root}: start a sweep there, or name one"
            )
        return known["sweep"], [read_point(entry) for entry in known["points"]]

    def _known(self) -> dict[str, Any] | None:
        """What `sweep.json` holds; None if there is none."""
        path = self.path / SWEEP
        found = read_json(path)
        try:
            if found is not None:
                str(found["sweep"])
                for entry in found["points"]:
                    read_point(entry)
            elif path.exists():
                raise TypeError("no JSON object")
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise SweepError(
                f"{path} is damaged ({type(error).__name__}: {error}): remove it and "
                "give the command that started the sweep again; points that are done "
                "stay so"
            ) from error
        return found

    def write(
        self,
        sweep: str,
        arguments: Mapping[str, Any],
        created_by: str,
        wanted: Sequence[Point],
    ) -> list[Point]:
        """Writes `sweep.json` and each `point.json`; points already there stay.

        Returns:
          All points, those that were there first.

        Raises:
          SweepError: another sweep lies there, or a point of one name and another
            meaning.
        """
        before: list[dict[str, Any]] = []
        known = self._known()
        if known is not None:
            if known["sweep"] != sweep:
                raise SweepError(
                    f"{self.root} holds the sweep {known['sweep']}: give {sweep} "
                    "another --root"
                )
            before = known["points"]
        entries: dict[str, dict[str, Any]] = {entry["name"]: entry for entry in before}
        for point in wanted:
            new: dict[str, Any] = json.loads(json.dumps(self.entry(point)))
            old = entries.get(point.name, new)
            if _meaning(old) != _meaning(new):
                raise SweepError(
                    f"{self.root} holds another point {point.name}: {_meaning(old)}, "
                    f"now {_meaning(new)}; name it otherwise or give another --root"
                )
            entries[point.name] = new
        text = {
            "sweep": sweep,
            "arguments": dict(arguments),
            "created_by": created_by,
            "points": list(entries.values()),
        }
        self.path.mkdir(parents=True, exist_ok=True)
        write_json(self.path / SWEEP, text)
        for point in wanted:
            path = self.workdir(point.name) / POINT
            command = shlex.join(self.command(point))
            content = {**entries[point.name], "command": command}
            if read_json(path) != content:
                path.parent.mkdir(parents=True, exist_ok=True)
                write_json(path, content)
        return [read_point(entry) for entry in entries.values()]

    def attempts(self, name: str) -> list[dict[str, Any]]:
        """Starts and ends of a point so far."""
        return read_lines(self.workdir(name) / ATTEMPTS)

    def note(self, names: Iterable[str], **row: Any) -> None:
        """Appends one start or end to the attempts of points."""
        line = json.dumps({"time": time.time(), **row}) + "\n"
        for name in names:
            path = self.workdir(name) / ATTEMPTS
            path.parent.mkdir(parents=True, exist_ok=True)
            # One write each: rows of two processes do not mix.
            with open(path, "ab", buffering=0) as file:
                file.write(line.encode())

    def write_job(
        self,
        name: str,
        of: Sequence[Point],
        pack: str = "auto",
        retries: int = 2,
        main: Sequence[str] = (),
        engine: str = "local",
    ) -> None:
        """Writes what a job is to do, and the list of points of the program.

        Args:
          name: of the job.
          of: the points that it trains.
          pack: given on to the program: how many of them may train as one.
          retries: how often it may crash without having logged a further step.
          main: what starts the program; by default this Python and `-m fdnf.main`.
          engine: "local" or "slurm", for the record.
        """
        packed = [self.packed_entry(point) for point in of]
        write_json(self.job(name, ".points.json"), packed)
        content = {
            "engine": engine,
            "pack": pack,
            "retries": retries,
            "main": list(main) or [sys.executable, "-m", "fdnf.main"],
            "points": [self.entry(point) for point in of],
        }
        write_json(self.job(name), content)

    def read_job(self, name: str) -> tuple[list[Point], dict[str, Any]]:
        """Points of a job, and all that was written.

        Raises:
          FileNotFoundError: there is no such job.
        """
        content = read_json(self.job(name))
        if content is None:
            raise FileNotFoundError(f"{self.job(name)}: expected a job to run")
        return [read_point(entry) for entry in content["points"]], content


def is_done(workdir: pathlib.Path) -> bool:
    """Whether a point is trained and evaluated."""
    if read_json(workdir / "finished.json") is None:
        return False
    found = (any((workdir / "results").glob(f"*/*/{name}")) for name in RECORDS)
    # Those of baselines come first, the table last: a result alone is not all.
    return (workdir / "table.md").exists() and any(found)


def flag_text(value: Any) -> str:
    """A value as `--config.KEY=` takes it."""
    if isinstance(value, list | tuple):
        return repr(points.plain(list(value)))
    return str(value)


def read_json(path: pathlib.Path) -> dict[str, Any] | None:
    """The object in a JSON file; None where there is none, or something else."""
    try:
        found = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def write_json(path: pathlib.Path, content: Any) -> None:
    """Writes strict JSON as `write_text`."""
    write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def write_text(path: pathlib.Path, text: str) -> None:
    """Writes a file at once: a reader sees the old or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    # "x" opens nothing that is there, a link that somebody has laid included.
    with open(temporary, "x", encoding="utf-8") as file:
        file.write(text)
    os.replace(temporary, path)


def read_lines(path: pathlib.Path, last: int | None = None) -> list[dict[str, Any]]:
    """The rows of a JSONL file, those of its last `last` bytes; broken ones left out.

    A row that is being written, or was when a process died, is no row yet.
    """
    try:
        with open(path, "rb") as file:
            if last is not None:
                file.seek(max(0, os.fstat(file.fileno()).st_size - last))
            lines = file.read().split(b"\n")
    except (FileNotFoundError, NotADirectoryError):
        return []
    rows = []
    for line in lines:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict):
            rows.append(row)
    return rows


def _meaning(entry: Mapping[str, Any]) -> dict[str, Any]:
    """What a name stands for; another run's place may be written in two ways."""
    overrides = {k: v for k, v in entry["overrides"].items() if k not in points.PLACES}
    return {"config": entry["config"], "overrides": overrides, "after": entry["after"]}


def read_point(entry: Mapping[str, Any]) -> Point:
    """A point from an entry of `sweep.json`."""
    overrides = {key: points.plain(value) for key, value in entry["overrides"].items()}
    return Point(entry["config"], overrides, tuple(entry["after"]), entry["name"])
