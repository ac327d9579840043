"""How the points of a sweep stand, from their directories and who runs them."""

import dataclasses
import math
import socket
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from launch import folder as folders
from launch import processes
from launch.folder import Folder
from launch.points import Point

WAITING, RUNNING, DONE, FAILED, PREEMPTED = STATES = (
    *("waiting", "running", "done", "failed", "preempted"),
)
EX_OK, EX_REFUSED, EX_TEMPFAIL = 0, 2, 75
_TAIL = 2**16


@dataclasses.dataclass(frozen=True)
class Queued:
    """A point that a cluster has in its queue.

    Attributes:
      job: its id there.
      running: whether it has been started.
      reason: why not, in the cluster's words.
    """

    job: str
    running: bool
    reason: str = ""


@dataclasses.dataclass(frozen=True)
class State:
    """How one point stands.

    Attributes:
      name: of the point.
      state: one of `STATES`.
      queued: whether something will run it, or does, without our doing.
      step: the last one logged.
      steps: how many there will be; 0 if that is not known yet.
      metric: last validation log-likelihood, in nats, mean over runs; of a finished
        point the best. Of what learns to sample, its last validation loss.
      detail: why it failed, or what it waits for.
      log: file with what the process printed.
      rows: of its attempts, starts and ends.
      final: whether another attempt would fail the same way.
    """

    name: str
    state: str
    queued: bool = False
    step: int = 0
    steps: int = 0
    metric: float | None = None
    detail: str = ""
    log: str = ""
    rows: int = 0
    final: bool = False


def survey(
    folder: Folder,
    points: Iterable[Point],
    queue: Mapping[str, Queued] | None = None,
    take_over: bool = False,
    known: Mapping[str, "State"] = MappingProxyType({}),
) -> dict[str, State]:
    """The state of each point.

    Args:
      folder: of the sweep.
      points: each after those it waits for.
      queue: points in a cluster's queue; None if it could not be asked, and what was
        started there is then taken to run.
      take_over: whether processes of other machines, which cannot be asked from here,
        are taken to be gone.
      known: an earlier answer; points that were done are still done.
    """
    states: dict[str, State] = {}
    for point in points:
        before = known.get(point.name)
        if before is not None and before.state == DONE:
            states[point.name] = before
            continue
        state = _state(folder, point, queue, take_over)
        if state.state in (WAITING, PREEMPTED) and not state.detail:
            state = dataclasses.replace(state, detail=_blocked(point, states))
        states[point.name] = state
    return states


def counts(states: Iterable[State]) -> str:
    """How many points are in each state, in words."""
    found = Counter(state.state for state in states)
    return ", ".join(f"{found[name]} {name}" for name in STATES if found[name])


def progress(folder: Folder, name: str) -> tuple[int, int, float | None]:
    """`(step, steps, metric)` of a point; see `State`."""
    workdir = folder.workdir(name)
    finished = folders.read_json(workdir / "finished.json")
    if finished is not None and _count(finished.get("steps")):
        metric = _mean(finished.get("best_val_log_prob", finished.get("val_loss")))
        return finished["steps"], finished["steps"], metric
    config = folders.read_json(workdir / "config.json") or {}
    train = config.get("train")
    steps = _count(train.get("steps")) if isinstance(train, dict) else 0
    step, metric = 0, None
    for row in reversed(folders.read_lines(workdir / "log.jsonl", _TAIL)):
        step = max(step, _count(row.get("step")))
        metric = _mean(row.get("val_log_prob", row.get("val_loss")))
        if metric is not None:
            break
    return step, steps, metric


def table(states: Sequence[State]) -> str:
    """One line a point, and the counts."""
    header = ("state", "step", "validation", "point", "")
    rows = [
        (
            state.state,
            f"{state.step}/{state.steps}" if state.steps else "",
            "" if state.metric is None else f"{state.metric:.4g}",
            state.name,
            state.detail + (f" ({state.log})" if state.state == FAILED else ""),
        )
        for state in states
    ]
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(4)]
    lines = [
        "  ".join([*map(str.ljust, row[:4], widths), row[4]]).rstrip()
        for row in [header, *rows]
    ]
    return "\n".join([*lines, counts(states)])


def as_json(states: Iterable[State]) -> list[dict[str, Any]]:
    """The states for other programs."""
    return [dataclasses.asdict(state) for state in states]


def _state(folder: Folder, point: Point, queue, take_over: bool) -> State:
    attempts = folder.attempts(point.name)
    last = attempts[-1] if attempts else {}
    step, steps, metric = progress(folder, point.name)
    state = State(
        point.name,
        WAITING,
        step=step,
        steps=steps,
        metric=metric,
        log=last.get("log", ""),
        rows=len(attempts),
    )

    def now(name: str, **changes: Any) -> State:
        return dataclasses.replace(state, state=name, **changes)

    if folders.is_done(folder.workdir(point.name)):
        return now(DONE)
    started = PREEMPTED if attempts else WAITING
    entry = (queue or {}).get(point.name)
    if entry is not None:
        if entry.running:
            return now(RUNNING, queued=True)
        detail = f"queued as {entry.job}" + (f": {entry.reason}" * bool(entry.reason))
        return now(started, queued=True, detail=detail)
    if last.get("event") == "start":
        doubt = _doubt(last, queue, take_over)
        if doubt is not None:
            return now(RUNNING, queued=True, detail=doubt)
    failure = folders.read_json(folder.workdir(point.name) / "failed.json")
    if failure is not None:
        return now(FAILED, detail=str(failure.get("error")), final=True)
    if last.get("event") == "start":
        return now(PREEMPTED, detail="its process is gone without a word")
    rc = last.get("rc")
    if rc is None or rc == EX_TEMPFAIL:
        return now(started)
    detail = last.get("error") or processes.describe(rc)
    if rc == EX_OK:
        detail = "ended well, but without a result"
    return now(FAILED, detail=detail, final=rc in (EX_OK, EX_REFUSED))


def _doubt(start: Mapping[str, Any], queue, take_over: bool) -> str | None:
    """What is to be said of an attempt that may still run; None if it is over."""
    if start.get("engine") == "slurm":
        return None if queue is not None else "by SLURM, which was not asked"
    host = start.get("host")
    if host != socket.gethostname():
        told = f"on {host}, which cannot be asked from here; --take-over if it is gone"
        return None if take_over else told
    alive = (
        processes.is_alive(start.get("pid"), start.get("identity")),
        processes.is_alive(start.get("child"), start.get("child_identity")),
    )
    return "" if any(alive) else None


def _blocked(point: Point, states: Mapping[str, State]) -> str:
    """Which of the points it waits for are not done, the failed ones first."""
    open_ = [states[name] for name in point.after if states[name].state != DONE]
    if not open_:
        return ""
    first = min(open_, key=lambda state: state.state != FAILED)
    more = f" and {len(open_) - 1} more" if len(open_) > 1 else ""
    return f"for {first.name} ({first.state}){more}"


def _count(value: Any) -> int:
    """A number of steps; 0 for what is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _mean(values: Any) -> float | None:
    """The mean of numbers that are all finite; None of anything else."""
    if not isinstance(values, list):
        values = [values]
    if not values or not all(isinstance(value, int | float) for value in values):
        return None
    mean = sum(values) / len(values)
    return float(mean) if math.isfinite(mean) else None
