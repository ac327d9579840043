"""How a sweep goes: a table that stays in place on a terminal, else lines."""

import sys
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, TextIO

from launch import status
from launch.status import DONE, FAILED, RUNNING, STATES, State

Jobs = Sequence[tuple[str, Sequence[str]]]


class Display:
    """Shows the states of points and the jobs that run.

    Args:
      stream: where to.
      interval: seconds between two lines, where there is no terminal.
    """

    def __init__(self, stream: TextIO = sys.stderr, interval: float = 30.0):
        """See the class."""
        self._stream, self._interval = stream, interval
        self._live: Any = None
        self._since: dict[str, tuple[float, int]] = {}
        self._before: dict[str, str] = {}
        self._told = float("-inf")

    def __enter__(self) -> "Display":
        """Puts the table up."""
        if self._stream.isatty():
            from rich import console, live

            self._live = live.Live(
                console=console.Console(file=self._stream),
                auto_refresh=False,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Takes it down, leaving its last state on the screen."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def update(self, states: Mapping[str, State], jobs: Jobs) -> None:
        """Shows how things stand.

        Args:
          states: of all points.
          jobs: those that run, each a title and the names of its points.
        """
        rows = [self._row(title, [states[n] for n in names]) for title, names in jobs]
        if self._live is not None:
            self._live.update(_table(states, rows), refresh=True)
            return
        self._tell_changes(states)
        now = time.monotonic()
        if now - self._told >= self._interval:
            self._told = now
            self._print(status.counts(states.values()))
            for row in rows:
                self._print("  " + "  ".join(cell for cell in row if cell))

    def say(self, text: str) -> None:
        """One line of news."""
        if self._live is not None:
            self._live.console.print(text, markup=False, highlight=False)
        else:
            self._print(text)

    def _tell_changes(self, states: Mapping[str, State]) -> None:
        for name, state in states.items():
            before = self._before.get(name)
            self._before[name] = state.state
            if before in (None, state.state):
                continue
            line = f"{state.state:9}  {name}"
            if state.state == DONE and state.metric is not None:
                line += f"  val {state.metric:.4g}"
            if state.state != RUNNING and state.detail:
                line += f": {state.detail}"
            self._print(line + (f" ({state.log})" if state.state == FAILED else ""))

    def _row(self, title: str, points: Sequence[State]) -> tuple[str, ...]:
        """Title, points done, mean step, metric, time left."""
        now = time.monotonic()
        for state in points:
            self._since.setdefault(state.name, (now, state.step))
        done = sum(state.state == DONE for state in points)
        part = f"{done}/{len(points)} done" if len(points) > 1 else ""
        steps = max(state.steps for state in points)
        step = sum(state.step for state in points) / len(points)
        told = [state.metric for state in points if state.metric is not None]
        return (
            title,
            part,
            f"step {step:.0f}/{steps}" if steps else "starting",
            f"val {sum(told) / len(told):.4g}" if told else "",
            self._left(points, now),
        )

    def _left(self, points: Sequence[State], now: float) -> str:
        taken = sum(state.step - self._since[state.name][1] for state in points)
        spent = now - min(self._since[state.name][0] for state in points)
        left = sum(max(state.steps - state.step, 0) for state in points)
        if taken <= 0 or spent <= 0:
            return ""
        minutes, seconds = divmod(round(left * spent / taken), 60)
        hours, minutes = divmod(minutes, 60)
        return f"{hours}:{minutes:02}:{seconds:02} left"

    def _print(self, text: str) -> None:
        print(text, file=self._stream, flush=True)


def _table(states: Mapping[str, State], rows: Sequence[tuple[str, ...]]) -> Any:
    from rich import table, text

    counted = status.counts(states.values())
    colours = dict(zip(STATES, ("dim", "cyan", "green", "red", "yellow"), strict=True))
    title = text.Text(counted)
    for name, colour in colours.items():
        title.highlight_regex(rf"\d+ {name}", colour)
    grid = table.Table(title=title, title_justify="left", box=None, show_header=False)
    grid.add_column(overflow="ellipsis", no_wrap=True)
    for justify in ("right", "right", "right", "right"):
        grid.add_column(justify=justify, no_wrap=True)
    for row in rows:
        grid.add_row(*map(text.Text, row))
    failed = [state for state in states.values() if state.state == FAILED][-3:]
    for state in failed:
        told = f"{state.name} failed: {state.detail} ({state.log})"
        grid.add_row(text.Text(told, style="red"))
    return grid
