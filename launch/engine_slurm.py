"""A sweep on SLURM, submitted through submitit."""

import dataclasses
import importlib.util
import pathlib
import re
import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Any

from launch import bundles, status
from launch import folder as folders
from launch.bundles import Bundle
from launch.display import Display
from launch.folder import Folder
from launch.points import Point, SweepError, one_line, safe
from launch.squeue import Queue, QueueError
from launch.status import DONE, FAILED, RUNNING, State

# Signals at the time limit that are answered; the directories say when to end.
_MOST_TIMEOUTS = 1000
_OPTION = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


@dataclasses.dataclass(frozen=True)
class Resources:
    """What sbatch is asked for; see the options of `launch.sweep`."""

    minutes: int = 240
    nodes: int = 1
    tasks_per_node: int = 1
    cpus: int = 2
    gpus: int | None = None
    mem: float | None = None
    partition: str | None = None
    account: str | None = None
    constraint: str | None = None
    parallel: int = 256
    signal_delay: int = 120
    sbatch: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    setup: Sequence[str] = ()

    def __post_init__(self):
        """Refuses what would end a line of the script that sbatch is given."""
        lines = {"setup": self.setup, **self.sbatch, **dataclasses.asdict(self)}
        lines["sbatch"] = tuple(self.sbatch)
        for key, value in lines.items():
            for text in value if isinstance(value, list | tuple) else (value,):
                one_line(str(text), f"--{key}")
        for key in self.sbatch:
            if not _OPTION.fullmatch(key):
                raise SweepError(
                    f"--sbatch {key}=...: expected the name of an option of sbatch"
                )

    def parameters(self) -> dict[str, Any]:
        """As submitit names them."""
        found = {
            "timeout_min": self.minutes,
            "nodes": self.nodes,
            "tasks_per_node": self.tasks_per_node,
            "cpus_per_task": self.cpus,
            "gpus_per_node": self.gpus,
            "mem_gb": self.mem,
            "slurm_partition": self.partition,
            "slurm_account": self.account,
            "slurm_constraint": self.constraint,
            "slurm_array_parallelism": self.parallel,
            "slurm_signal_delay_s": self.signal_delay,
            "slurm_setup": list(self.setup) or None,
            # Since SLURM 22.05, srun does not take this over from sbatch.
            "slurm_srun_args": [f"--cpus-per-task={self.cpus}"],
            "slurm_additional_parameters": {
                "requeue": True,
                "kill-on-invalid-dep": "yes",
                **self.sbatch,
            },
        }
        return {key: value for key, value in found.items() if value is not None}


class SlurmEngine:
    """Submits the points of a sweep, and again what was lost.

    Args:
      folder: of the sweep.
      name: of the sweep, for the names of jobs.
      points: to run, each after those it waits for.
      resources: of each job.
      display: where progress is shown.
      pack: see `bundles.plan`.
      retries: how often a job may crash or be lost without a further step.
      main: what starts the program, empty for the usual.
      take_over: see `status.survey`.
      interval: seconds between two looks at the queue.
    """

    def __init__(
        self,
        folder: Folder,
        name: str,
        points: Sequence[Point],
        resources: Resources,
        display: Display,
        pack: int | None = None,
        retries: int = 2,
        main: Sequence[str] = (),
        take_over: bool = False,
        interval: float = 10.0,
    ):
        """See the class."""
        if "%" in str(folder.path.absolute()):
            raise SweepError(
                f"{folder.root} has % in it, which SLURM replaces in the names of "
                "logs: give another --root"
            )
        # In squeue's lines too, where fields stand between bars.
        self._folder, self._name = folder, safe(name)
        self._points = list(points)
        self._resources, self._display, self._pack = resources, display, pack
        self._retries, self._main, self._take_over = retries, main, take_over
        self._interval, self._queue = interval, Queue(folder, 0)
        # Points that this launcher submitted, as they were then.
        self._submitted: dict[str, State] = {}
        self._states: dict[str, State] = {}
        self._lost: dict[str, int] = {}
        self._jobs: dict[str, str] = {}
        self._given_up: set[str] = set()
        self._warned = False

    def run(self, wait: bool = False) -> dict[str, State]:
        """Submits what is neither done nor queued; the states then.

        Args:
          wait: whether to stay until all is done, or nothing can go on.

        Raises:
          SweepError: submitit or SLURM is missing, or refuses the jobs.
        """
        _check_environment()
        with self._display:
            while True:
                states = self._survey()
                if states is not None:
                    self._give_up(states)
                    if self._submit(states):
                        states = self._survey() or states
                    self._show(states)
                    if not wait or not any(s.queued for s in states.values()):
                        return states
                time.sleep(self._interval)

    def _survey(self) -> dict[str, State] | None:
        """None while SLURM does not answer and this is not the first time."""
        try:
            queue = self._queue.ask()
        except QueueError as error:
            if not self._submitted:
                raise SweepError(f"cannot ask SLURM: {error}") from None
            if not self._warned:
                self._display.say(f"SLURM does not answer, asking again: {error}")
            self._warned = True
            return None
        self._warned = False
        self._jobs = {name: entry.job for name, entry in queue.items()}
        self._states = status.survey(
            *(self._folder, self._points, queue, self._take_over), known=self._states
        )
        return self._states

    def _give_up(self, states: Mapping[str, State]) -> None:
        """Counts what was submitted and came back without being done."""
        for name in [n for n in self._submitted if not states[n].queued]:
            state, before = states[name], self._submitted.pop(name)
            point = next(p for p in self._points if p.name == name)
            if state.state == DONE:
                continue
            if state.state == FAILED and state.rows > before.rows:
                self._given_up.add(name)
            elif all(states[other].state == DONE for other in point.after):
                lost = 0 if state.step > before.step else self._lost.get(name, 0)
                self._lost[name] = lost + 1
                if lost + 1 > self._retries:
                    self._given_up.add(name)
                told = "given up" if name in self._given_up else "submitted again"
                self._display.say(f"lost {name}: {told}")

    def _submit(self, states: Mapping[str, State]) -> bool:
        """Submits what can run or will be able to; whether there was any."""
        todo: list[Point] = []
        coming = {name for name, state in states.items() if state.queued}
        for point in self._points:
            state = states[point.name]
            if state.state == DONE or state.queued or point.name in self._given_up:
                continue
            open_ = {name for name in point.after if states[name].state != DONE}
            if open_ <= coming:
                todo.append(point)
                coming.add(point.name)
        jobs = dict(self._jobs)
        waiting = bundles.plan(todo, self._pack)
        while waiting:
            level = [b for b in waiting if _ids(b, jobs, states) is not None]
            waiting = [bundle for bundle in waiting if bundle not in level]
            arrays: dict[frozenset[str], list[Bundle]] = {}
            for bundle in level:
                needed = _ids(bundle, jobs, states)
                assert needed is not None
                arrays.setdefault(needed, []).append(bundle)
            assert arrays, "bundles come after those that they wait for"
            for needed, array in arrays.items():
                for bundle, number in self._submit_array(array, needed):
                    jobs |= {point.name: number for point in bundle.points}
        self._submitted |= {point.name: states[point.name] for point in todo}
        return bool(todo)

    def _submit_array(
        self, array: Sequence[Bundle], after: frozenset[str]
    ) -> list[tuple[Bundle, str]]:
        import submitit

        from launch.requeue import Requeueable

        batch = secrets.token_hex(4)
        pack = "auto" if self._pack is None else str(self._pack)
        names = [f"{batch}-{index}" for index in range(len(array))]
        for name, bundle in zip(names, array, strict=True):
            self._folder.write_job(
                *(name, bundle.points, pack, self._retries, self._main, "slurm")
            )
        executor = submitit.AutoExecutor(
            self._folder.path / "jobs" / "submitit",
            cluster="slurm",
            slurm_max_num_timeout=_MOST_TIMEOUTS,
        )
        dependency = "afterok:" + ":".join(sorted(after))
        try:
            executor.update_parameters(
                name=f"{self._name}.{batch}",
                **self._resources.parameters(),
                **({"slurm_dependency": dependency} if after else {}),
            )
            # Before the jobs: what is in the queue is then known to be ours.
            self._folder.job(batch, ".slurm").touch()
            calls = [Requeueable(self._folder.root, name) for name in names]
            submitted = executor.submit_array(calls)
        except (RuntimeError, ValueError) as error:
            raise SweepError(f"SLURM refuses the jobs: {error}") from None
        numbers = [str(one.job_id) for one in submitted]
        place = self._folder.job(batch, ".slurm")
        folders.write_text(place, "\n".join(numbers) + "\n")
        self._display.say(
            f"submitted {len(array)} jobs as {numbers[0].partition('_')[0]}"
            + (f" after {', '.join(sorted(after))}" if after else "")
        )
        return list(zip(array, numbers, strict=True))

    def _show(self, states: Mapping[str, State]) -> None:
        running: dict[str, list[str]] = {}
        for name, state in states.items():
            if state.state == RUNNING and name in self._jobs:
                running.setdefault(self._jobs[name], []).append(name)
        self._display.update(
            states,
            [
                (f"{number}: {names[0].partition('/')[0]}", names)
                for number, names in running.items()
            ],
        )


def minutes(text: str) -> int:
    """A time as SLURM writes it, in whole minutes, rounded up.

    Raises:
      SweepError: for another text.
    """
    days, dash, rest = text.rpartition("-")
    try:
        parts = [int(part) for part in rest.split(":")]
        if dash:
            hours = (parts + [0, 0])[:3]
            seconds = int(days) * 86400 + hours[0] * 3600 + hours[1] * 60 + hours[2]
        elif len(parts) == 3:
            seconds = parts[0] * 3600 + parts[1] * 60 + parts[2]
        else:
            seconds = parts[0] * 60 + (parts + [0])[1]
    except ValueError:
        raise SweepError(
            f"--time {text}: expected minutes, M:S, H:M:S or D-H:M:S"
        ) from None
    return max(1, -(-seconds // 60))


def _ids(
    bundle: Bundle, jobs: Mapping[str, str], states: Mapping[str, State]
) -> frozenset[str] | None:
    """Jobs that a bundle waits for; None if one of them is not submitted yet."""
    needed = {name for name in bundle.after if states[name].state != DONE}
    if not needed <= jobs.keys():
        return None
    return frozenset(jobs[name] for name in needed)


def _check_environment() -> None:
    if importlib.util.find_spec("submitit") is None:
        raise SweepError("--slurm needs submitit: pip install -e '.[launch]'")
    # Jobs start in this directory, and find the callable by its module's name.
    if not pathlib.Path("launch", "requeue.py").is_file():
        raise SweepError(
            f"{pathlib.Path.cwd()} has no launch/: run from the repository's root, "
            "where jobs will import launch.requeue"
        )
