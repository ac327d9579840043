"""A sweep on this machine: a limited number of jobs side by side."""

import dataclasses
import glob
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

from launch import bundles, processes, status
from launch.bundles import Bundle
from launch.display import Display
from launch.folder import Folder
from launch.points import Point
from launch.squeue import Queue
from launch.status import DONE, FAILED, RUNNING, State


@dataclasses.dataclass
class Started:
    """A job that runs.

    Attributes:
      bundle: its points.
      process: the wrapper around the program.
      slot: which of the places side by side it takes.
      before: each point as it was then.
      told: whether it has been asked to stop.
    """

    bundle: Bundle
    process: subprocess.Popen
    slot: int
    before: Mapping[str, State]
    told: bool = False


class LocalEngine:
    """Runs the points of a sweep here.

    Args:
      folder: of the sweep.
      points: to run, each after those it waits for.
      jobs: how many jobs run side by side.
      pack: see `bundles.plan`.
      retries: how often a job may crash, or its wrapper be killed, without a further
        step.
      main: what starts the program, empty for the usual.
      take_over: see `status.survey`.
      display: where progress is shown.
      interval: seconds between two looks.
    """

    def __init__(
        self,
        folder: Folder,
        points: Sequence[Point],
        display: Display,
        jobs: int = 1,
        pack: int | None = None,
        retries: int = 2,
        main: Sequence[str] = (),
        take_over: bool = False,
        interval: float = 0.5,
    ):
        """See the class."""
        self._folder, self._points, self._display = folder, list(points), display
        self._jobs, self._pack, self._retries = jobs, pack, retries
        self._main, self._take_over, self._interval = main, take_over, interval
        self._batch, self._count = secrets.token_hex(4), 0
        self._pending: list[Bundle] = []
        self._started: list[Started] = []
        self._given_up: set[str] = set()
        self._lost: dict[str, int] = {}
        self._signals = 0
        self._queue = Queue(folder)
        self._states: dict[str, State] = {}
        self._awaited = False
        self._gpus = visible_gpus() if jobs > 1 else []

    def stop(self, *_: object) -> None:
        """Has all jobs save and end; the second time, ends them at once."""
        self._signals += 1
        if self._signals > 1:
            for started in self._started:
                processes.send(started.process.pid, signal.SIGKILL)

    @property
    def stopped(self) -> bool:
        """Whether it was asked to stop."""
        return self._signals > 0

    def run(self) -> dict[str, State]:
        """Runs until all is done or nothing can go on; the states at the end."""
        states = self._survey()
        todo = [p for p in self._points if not _is_taken(states[p.name])]
        self._pending = bundles.plan(todo, self._pack, self._jobs)
        with self._display:
            while True:
                self._collect()
                states = self._survey()
                self._take_up(states)
                self._drop_blocked(states)
                if self.stopped:
                    self._tell_to_stop()
                else:
                    self._start_what_can(states)
                foreign = [s for s in states.values() if s.queued]
                if foreign and not self._started and not self.stopped:
                    self._say_what_is_awaited(foreign)
                self._display.update(
                    states,
                    [(s.bundle.title, _names(s.bundle)) for s in self._started],
                )
                if not self._started and (self.stopped or not foreign):
                    return states
                time.sleep(self._interval)

    def _survey(self) -> dict[str, State]:
        self._states = status.survey(
            *(self._folder, self._points, self._queue(), self._take_over),
            known=self._states,
        )
        return self._states

    def _collect(self) -> None:
        """Takes up jobs that have ended."""
        for started in list(self._started):
            if started.process.poll() is None:
                continue
            self._started.remove(started)
            states = self._survey()
            for point in started.bundle.points:
                state, before = states[point.name], started.before[point.name]
                if state.state == FAILED and state.rows > before.rows:
                    self._given_up.add(point.name)
                elif state.state != DONE:
                    self._count_loss(state, before)

    def _count_loss(self, state: State, before: State) -> None:
        """A wrapper that was killed or signalled: again, but not for ever."""
        lost = 0 if state.step > before.step else self._lost.get(state.name, 0)
        self._lost[state.name] = lost + 1
        if lost + 1 > self._retries:
            self._given_up.add(state.name)

    def _tell_to_stop(self) -> None:
        for started in self._started:
            if not started.told:
                started.told = True
                processes.send(started.process.pid, signal.SIGTERM)

    def _say_what_is_awaited(self, foreign: Sequence[State]) -> None:
        if not self._awaited:
            told = foreign[0].detail or "by another process"
            self._display.say(
                f"waiting for {len(foreign)} points that run elsewhere, the first "
                f"{foreign[0].name}: {told}"
            )
        self._awaited = True

    def _take_up(self, states: Mapping[str, State]) -> None:
        """Plans points again that nobody has any more."""
        held = {name for started in self._started for name in _names(started.bundle)}
        held |= {name for bundle in self._pending for name in _names(bundle)}
        loose = [
            point
            for point in self._points
            if point.name not in held | self._given_up
            and not _is_taken(states[point.name])
        ]
        self._pending += bundles.plan(loose, self._pack)

    def _drop_blocked(self, states: Mapping[str, State]) -> None:
        """Takes out of what is planned what cannot run, or need not any more."""
        for bundle in list(self._pending):
            blocked = [p for p in bundle.points if self._given_up & set(p.after)]
            self._given_up |= {point.name for point in blocked}
            left = [
                point
                for point in bundle.points
                if point not in blocked and not _is_taken(states[point.name])
            ]
            if len(left) < len(bundle.points):
                self._pending.remove(bundle)
                self._pending += bundles.plan(left, self._pack)

    def _start_what_can(self, states: Mapping[str, State]) -> None:
        done = {name for name, state in states.items() if state.state == DONE}
        for bundle in list(self._pending):
            if len(self._started) < self._jobs and bundle.after <= done:
                self._pending.remove(bundle)
                self._start(bundle, states)

    def _start(self, bundle: Bundle, states: Mapping[str, State]) -> None:
        name = f"{self._batch}-{self._count}"
        self._count += 1
        pack = "auto" if self._pack is None else str(self._pack)
        self._folder.write_job(name, bundle.points, pack, self._retries, self._main)
        taken = {started.slot for started in self._started}
        slot = next(slot for slot in range(self._jobs) if slot not in taken)
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "launch.job", self._folder.root, name),
                f"--parent={os.getpid()}",
            ],
            stdin=subprocess.DEVNULL,
            env={**os.environ, **self._placed(slot)},
            # A terminal's Ctrl-C reaches this process only, which then hands it on.
            start_new_session=True,
        )
        before = {name: states[name] for name in _names(bundle)}
        self._started.append(Started(bundle, process, slot, before))

    def _placed(self, slot: int) -> dict[str, str]:
        """Environment of the job in a slot: GPUs are dealt out in turn."""
        if not self._gpus:
            return {}
        placed = {"CUDA_VISIBLE_DEVICES": self._gpus[slot % len(self._gpus)]}
        sharers = -(-self._jobs // len(self._gpus))
        if sharers > 1 and "XLA_PYTHON_CLIENT_MEM_FRACTION" not in os.environ:
            placed["XLA_PYTHON_CLIENT_MEM_FRACTION"] = f"{0.9 / sharers:.3f}"
        return placed


def visible_gpus() -> list[str]:
    """The NVIDIA GPUs of this machine that a process may use."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        return [name for name in given.split(",") if name]
    found = glob.glob("/dev/nvidia[0-9]*")
    return [str(i) for i in range(len(found))]


def _names(bundle: Bundle) -> list[str]:
    return [point.name for point in bundle.points]


def _is_taken(state: State) -> bool:
    """Whether a point needs nothing from us: done, or with somebody else."""
    return state.state in (DONE, RUNNING) or state.queued
