"""One process's points as a child: signals handed on, crashes tried again.

`python -m launch.job ROOT NAME` is what a local sweep starts; it ends with 0 if all
points are done, 75 if it was stopped and they can go on, 2 if some were refused or
failed, else with the status of the last crash.
"""

import argparse
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, BinaryIO

from launch import folder as folders
from launch import processes, status
from launch.folder import Folder
from launch.points import Point
from launch.status import EX_OK, EX_REFUSED, EX_TEMPFAIL

STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
# Ends that nobody asked for, one after the other without a further step.
_MOST_INTERRUPTIONS = 10
_LONGEST_PAUSE = 30.0
# How a program that has saved ends for Ctrl-C: by the signal, or with what shells make
# of it.
_INTERRUPTED = (-signal.SIGINT, 128 + signal.SIGINT)
_TOLD = re.compile(r"^(fdnf: .*|[\w.]*(Error|Exception|Exit|Interrupt)\b.*)$")


class Runner:
    """Runs the points of a job until they are done or cannot go on.

    Args:
      folder: of the sweep.
      name: of the job.
      number: what the engine calls the job.
      crashes: how often it has crashed before without a further step.
      together: whether this process is one of several that train the same points; any
        end but a good one then concerns all of them, and is left to the caller.
      record: whether to write down starts and ends; one process of them does.
    """

    def __init__(
        self,
        folder: Folder,
        name: str,
        number: str = "",
        crashes: int = 0,
        together: bool = False,
        record: bool = True,
    ):
        """See the class."""
        self.folder, self.name = folder, name
        self.points, self._spec = folder.read_job(name)
        self.crashes = crashes
        self.asked = False
        self._number = number or name
        self._together, self._record = together, record
        self._child: int | None = None
        self._open: dict[str, Any] | None = None
        self._reached = {point.name: self._step(point) for point in self.points}
        self._first = sum(self._reached.values())

    @property
    def retries(self) -> int:
        """How often it may crash without a further step."""
        return self._spec["retries"]

    @property
    def log(self) -> str:
        """File with what its programs print."""
        return str(self.folder.job(self.name, ".log"))

    @property
    def advanced(self) -> bool:
        """Whether there are more steps than at its start."""
        self._has_advanced(self.points)
        return sum(self._reached.values()) > self._first

    def stop(self, *_: Any) -> None:
        """Asks the child to save and end; `run` then returns."""
        self.asked = True
        if self._child is not None:
            processes.send(self._child, signal.SIGTERM)

    def stop_and_wait(self) -> None:
        """The same, and returns when it has; may be called from a signal handler."""
        self.stop()
        if self._child is not None:
            self._end(processes.outcome(self._child, block=True))

    def run(self) -> int:
        """Runs the points; the exit status, see the module.

        Points that are refused together are tried one by one, and those that crash
        together by halves, so that one of them does not stop the others.
        """
        groups: list[tuple[list[Point], int]] = [(self.points, self.crashes)]
        interruptions, crash = 0, EX_OK
        while groups:
            points, self.crashes = groups.pop(0)
            group = [point for point in points if not self._is_done(point)]
            if not group:
                continue
            if self.asked:
                return EX_TEMPFAIL
            rc = self._attempt(group)
            if rc in _INTERRUPTED:
                # By hand, which no launcher undoes.
                self.asked, rc = True, EX_TEMPFAIL
            left = [point for point in group if self._can_go_on(point)]
            alone = len(group) == 1 or self._together
            if self.asked:
                undone = [*left, *(p for more, _ in groups for p in more)]
                if any(map(self._can_go_on, undone)):
                    return EX_TEMPFAIL
                return crash or self._verdict()
            if rc == EX_TEMPFAIL:
                interruptions = 1 if self._has_advanced(group) else interruptions + 1
                if self._together or interruptions > _MOST_INTERRUPTIONS:
                    return EX_TEMPFAIL
                groups.insert(0, (left, self.crashes))
            elif rc in (EX_OK, EX_REFUSED):
                if rc == EX_REFUSED and not alone:
                    groups = [([point], 0) for point in left] + groups
            else:
                self.crashes = 1 if self._has_advanced(group) else self.crashes + 1
                if self._together:
                    return rc
                if self.crashes <= (self.retries if alone else min(1, self.retries)):
                    groups.insert(0, (left, self.crashes))
                elif alone:
                    crash = rc
                    continue
                else:
                    half = -(-len(left) // 2)
                    # A part of several has no whole to be tried as once more.
                    parts = [part for part in (left[:half], left[half:]) if part]
                    again = [0 if len(part) == 1 else 1 for part in parts]
                    groups[:0] = zip(parts, again, strict=True)
                self._pause(min(2.0**self.crashes / 2, _LONGEST_PAUSE))
        return crash or self._verdict()

    def _attempt(self, group: Sequence[Point]) -> int:
        command = self._command(group)
        with open(self.log, "ab") as log:
            stamp = time.strftime("%Y-%m-%d %H:%M:%S")
            log.write(f"== {stamp} {shlex.join(command)}\n".encode())
            log.flush()
            before = log.tell()
            own = os.getpid()
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=lambda: _as_child(own),
            )
        self._child = child.pid
        self._open = {
            "names": [point.name for point in group],
            "before": before,
            "row": {
                "engine": self._spec["engine"],
                "job": self._number,
                "host": socket.gethostname(),
                "pid": own,
                "identity": processes.identity(own),
                "child": child.pid,
                "child_identity": processes.identity(child.pid),
                "log": self.log,
            },
        }
        self._note(event="start")
        if self.asked:
            # It came before there was a child to hand it to.
            processes.send(child.pid, signal.SIGTERM)
        rc = processes.outcome(child.pid, block=True)
        rc = self._end(rc)
        self._child = None
        child.wait()
        return rc

    def _end(self, rc: int | None) -> int:
        """Notes the end of the attempt, once."""
        assert rc is not None
        if self.asked and rc < 0:
            # Stopped before it could catch the signal: nothing is lost by that.
            rc = EX_TEMPFAIL
        if self._open is not None:
            error = _last_error(self._open["row"]["log"], self._open["before"])
            if rc in (EX_OK, EX_TEMPFAIL):
                error = ""
            elif rc < 0 or not error:
                error = processes.describe(rc)
            self._note(event="end", rc=rc, error=error)
            self._open = None
        return rc

    def _note(self, **changes: Any) -> None:
        if self._record and self._open is not None:
            self.folder.note(self._open["names"], **self._open["row"], **changes)

    def _command(self, group: Sequence[Point]) -> list[str]:
        main = self._spec["main"]
        if len(group) == 1 and not self._together:
            return self.folder.command(group[0], main)
        listed = self.folder.job(self.name, ".points.json")
        # Several processes read one list at different times: it then stays as it is,
        # and the program skips what is done.
        if not self._together:
            packed = [self.folder.packed_entry(point) for point in group]
            folders.write_json(listed, packed)
        return [
            *main,
            "--mode=single",
            f"--config={group[0].config}",
            f"--points={listed}",
            f"--pack={self._spec['pack']}",
        ]

    def _is_done(self, point: Point) -> bool:
        return folders.is_done(self.folder.workdir(point.name))

    def _can_go_on(self, point: Point) -> bool:
        failed = self.folder.workdir(point.name) / "failed.json"
        return not self._is_done(point) and not failed.exists()

    def _verdict(self) -> int:
        return EX_OK if all(map(self._is_done, self.points)) else EX_REFUSED

    def _step(self, point: Point) -> int:
        return status.progress(self.folder, point.name)[0]

    def _has_advanced(self, group: Sequence[Point]) -> bool:
        """Whether one of them has more steps than when it was last asked."""
        before = {point.name: self._reached[point.name] for point in group}
        for point in group:
            self._reached[point.name] = max(before[point.name], self._step(point))
        return any(self._reached[name] > step for name, step in before.items())

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self.asked and time.monotonic() < until:
            time.sleep(0.1)


def catch(signals: Sequence[int], handler: Callable[..., None]) -> None:
    """Installs a handler."""
    for signum in signals:
        signal.signal(signum, handler)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one job of a local sweep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", help="directory of the sweep")
    parser.add_argument("name", help="of the job, ROOT/jobs/NAME.json")
    parser.add_argument("--parent", type=int, help="process to end with")
    given = parser.parse_args(argv)
    runner = Runner(Folder(given.root), given.name)
    catch(STOPS, runner.stop)
    if given.parent:
        processes.die_with(given.parent)
    rc = runner.run()
    return rc if rc >= 0 else 128 - rc


def _as_child(parent: int) -> None:
    for signum in STOPS:
        signal.signal(signum, signal.SIG_DFL)
    processes.die_with(parent)


def _last_error(path: str, before: int) -> str:
    """The line of a log, from `before` on, that says why a program ended."""
    with open(path, "rb") as log:
        size = _end_of(log)
        log.seek(max(before, size - 2**14))
        lines = log.read().decode(errors="replace").splitlines()
    lines = [line.strip() for line in lines if line.strip()]
    told = [line for line in lines if _TOLD.match(line)]
    return (told or lines or [""])[-1][:500]


def _end_of(file: BinaryIO) -> int:
    return file.seek(0, os.SEEK_END)


if __name__ == "__main__":
    sys.exit(main())
