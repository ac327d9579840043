"""Runs of the command as processes: started, watched, signalled, and ended for sure."""

import contextlib
import dataclasses
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax

from configs import maf_gas
from fdnf.train import workdirs

ROOT = pathlib.Path(__file__).parents[1]
_DEVICES = "--xla_force_host_platform_device_count"


# One MADE, calls of two steps, each in the log.
SMALL = {
    "model.args.steps": 1,
    "train.steps": 100,
    "train.steps_per_call": 2,
    "train.log_every": 2,
    "train.eval_every": 20,
}


def config(overrides: dict[str, Any]) -> Any:
    """What the command trains by default, with these keys changed."""
    built = maf_gas.get_config("teacher,smoke")
    built.update_from_flattened_dict(overrides)
    return built


@dataclasses.dataclass
class Run:
    """A command under way; what it writes to stderr is kept."""

    process: subprocess.Popen
    messages: pathlib.Path

    def stderr(self) -> str:
        return self.messages.read_text()

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def ended(self, seconds: float = 90) -> int:
        """Its exit status, minus the number of the signal that ended it."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running: {self.stderr()[-2000:]}") from None


@contextlib.contextmanager
def started(
    *arguments: str,
    messages: pathlib.Path,
    config: str = "configs/maf_gas.py:teacher,smoke",
    overrides: dict[str, Any] | None = None,
    devices: int = 1,
    before: Callable[[], None] | None = None,
    environment: dict[str, str] | None = None,
) -> Iterator[Run]:
    """The command with its compilation cache; killed at the end if it still runs."""
    command = [
        sys.executable,
        "-m",
        "fdnf.main",
        "--mode=single",
        f"--config={config}",
        f"--compilation_cache={jax.config.jax_compilation_cache_dir}",
        *(f"--config.{key}={value}" for key, value in (overrides or {}).items()),
        *arguments,
    ]
    with open(messages, "wb") as stderr:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=os.environ
            | {"XLA_FLAGS": f"{_DEVICES}={devices}"}
            | (environment or {}),
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            preexec_fn=before,
        )
        try:
            yield Run(process, messages)
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()


@contextlib.contextmanager
def together(
    count: int, *arguments: str, messages: pathlib.Path, **options: Any
) -> Iterator[list[Run]]:
    """So many processes of one run."""
    coordinator = f"127.0.0.1:{free_port()}"
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(
                started(
                    *arguments,
                    f"--coordinator={coordinator}",
                    f"--num_processes={count}",
                    f"--process_id={i}",
                    messages=messages.with_name(f"{messages.name}.{i}"),
                    **options,
                )
            )
            for i in range(count)
        ]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def until(
    happened: Callable[[], bool], runs: Sequence[Run], seconds: float = 90
) -> None:
    """Waits for it; fails at the deadline, or when a process ends before it."""
    deadline = time.monotonic() + seconds
    while not happened():
        for run in runs:
            ended = run.process.poll()
            assert ended is None or happened(), f"ended ({ended}): {run.stderr()}"
        assert time.monotonic() < deadline, f"never: {runs[0].stderr()[-2000:]}"
        time.sleep(0.005)


def rows(workdir: pathlib.Path) -> int:
    """Rows of its log."""
    log = workdir / "log.jsonl"
    return log.read_bytes().count(b"\n") if log.exists() else 0


def trained(
    workdir: pathlib.Path, messages: pathlib.Path, **options: Any
) -> None:
    """Runs the command until it has trained; evaluating is not waited for."""
    with started(f"--workdir={workdir}", messages=messages, **options) as run:
        until((workdir / workdirs.FINISHED).exists, [run])
        run.signal(signal.SIGKILL)
