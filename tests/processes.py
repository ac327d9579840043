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
    "train.steps": 200,
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

    def ended(self, seconds: float = 240) -> int:
        """Its exit status, minus the number of the signal that ended it."""
        try:
            status = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running: {self.stderr()[-2000:]}") from None
        time.sleep(0.05)  # For the last of its messages.
        return status


def flags(devices: int) -> str:
    """Those of the tests, so that results agree to the bit, but for the devices."""
    given = os.environ.get("XLA_FLAGS", "").split()
    rest = [flag for flag in given if not flag.startswith(_DEVICES)]
    return " ".join([*rest, f"{_DEVICES}={devices}"])


@contextlib.contextmanager
def started(
    *arguments: str,
    messages: pathlib.Path,
    config: str = "configs/maf_gas.py:teacher,smoke",
    overrides: dict[str, Any] | None = None,
    devices: int = 1,
    environment: dict[str, str] | None = None,
    direct: bool = False,
) -> Iterator[Run]:
    """The command with its compilation cache; killed at the end if it still runs.

    Args:
      arguments: beside those of the config.
      messages: file that gets what it writes to stderr.
      config: file and words.
      overrides: of the config.
      devices: it has.
      environment: beside that of the tests.
      direct: whether it writes that file itself, under the limits that it is given.
    """
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
    with contextlib.ExitStack() as stack:
        stderr = stack.enter_context(open(messages, "wb"))
        if not direct:
            copy = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=stderr)
            stack.callback(copy.wait)
            assert copy.stdin
            stderr = stack.enter_context(copy.stdin)
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=os.environ | {"XLA_FLAGS": flags(devices)} | (environment or {}),
            stdout=subprocess.DEVNULL,
            stderr=stderr,
        )
        stderr.close()
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
    happened: Callable[[], bool],
    runs: Sequence[Run],
    seconds: float = 240,
    pause: float = 0.005,
) -> None:
    """Waits for it; fails at the deadline, or when a process ends before it."""
    deadline = time.monotonic() + seconds
    while not happened():
        for run in runs:
            ended = run.process.poll()
            assert ended is None or happened(), f"ended ({ended}): {run.stderr()}"
        assert time.monotonic() < deadline, f"never: {runs[0].stderr()[-2000:]}"
        time.sleep(pause)


def rows(workdir: pathlib.Path) -> int:
    """Rows of its log."""
    log = workdir / "log.jsonl"
    return log.read_bytes().count(b"\n") if log.exists() else 0


def trained(workdir: pathlib.Path, messages: pathlib.Path, **options: Any) -> None:
    """Runs the command until it has trained; evaluating is not waited for."""
    with started(f"--workdir={workdir}", messages=messages, **options) as run:
        until((workdir / workdirs.FINISHED).exists, [run])
        run.signal(signal.SIGKILL)
