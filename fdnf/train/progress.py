"""Progress of a run: a bar on a terminal, or a plain line now and then; its pace."""

import sys
import time
from types import TracebackType
from typing import Any

import jax
import numpy as np


class Progress:
    """Shows step, loss and other scalars, steps per second and time left, on stderr.

    Args:
        total: steps of the whole run.
        start: steps already taken, when resuming.
        interval: seconds between plain lines where stderr is no terminal.
        label: name shown before the bar or line.
    """

    def __init__(
        self,
        total: int,
        start: int = 0,
        interval: float | int = 20.0,
        label: str = "train",
    ):
        """See the class."""
        self._total = total
        self._interval = interval
        self._label = label
        self._active = jax.process_index() == 0
        self._first = self._last = (time.monotonic(), start)
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> "Progress":
        """Shows the bar, if there is a terminal to show it on."""
        if self._active and sys.stderr.isatty():
            self._bar, self._task = _bar(self._label, self._total, self._first[1])
        self._first = self._last = (time.monotonic(), self._first[1])
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Takes the bar down, leaving its last state on the screen."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def update(self, step: int, **scalars: Any) -> None:
        """Reports that `step` steps are done; arrays over runs show their mean."""
        if not self._active:
            return
        shown = "  ".join(f"{k} {np.mean(v):.4g}" for k, v in scalars.items())
        if self._bar is not None:
            rate = _rate(self._first, (time.monotonic(), step))
            self._bar.update(
                self._task, completed=step, shown=shown, rate=f"{rate:.1f} steps/s"
            )
            return
        now = (time.monotonic(), step)
        if now[0] - self._last[0] < self._interval and step < self._total:
            return
        rate = _rate(self._last, now)
        left = _clock((self._total - step) / rate) if rate > 0 else "unknown"
        print(
            f"{self._label} {step}/{self._total}  {shown}  {rate:.1f} steps/s"
            f"  {left} left",
            file=sys.stderr,
            flush=True,
        )
        self._last = now


class Pace:
    """Steps per second of training alone.

    Neither compilation, which is the first call's, nor validation and saving count.
    """

    def __init__(self):
        """Before the first call."""
        self._since: float | None = None
        self._seconds, self._steps = 0.0, 0

    def called(self, result: Any, steps: int) -> None:
        """Counts the steps of a call; waits for the result of the first."""
        if self._since is None:
            jax.block_until_ready(result)
            self._since = time.monotonic()
        else:
            self._steps += steps

    def stop(self) -> dict[str, float]:
        """Stops the clock, once the results are there: what a row of the log gets."""
        if self._since is not None:
            self._seconds += time.monotonic() - self._since
        if not self._steps:
            return {}
        return {"steps_per_second": self._steps / max(self._seconds, 1e-9)}

    def go_on(self) -> None:
        """Starts the clock again."""
        self._since = time.monotonic()


def _rate(before: tuple, after: tuple) -> float:
    return (after[1] - before[1]) / max(after[0] - before[0], 1e-9)


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"


def _bar(label: str, total: int, start: int) -> tuple[Any, Any]:
    from rich import console, progress

    bar = progress.Progress(
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TextColumn("{task.fields[shown]}"),
        progress.TextColumn("{task.fields[rate]}"),
        progress.TimeRemainingColumn(),
        console=console.Console(stderr=True),
    )
    bar.start()
    return bar, bar.add_task(label, total=total, completed=start, shown="", rate="")
