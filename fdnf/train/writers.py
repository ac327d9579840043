"""What a run tells: its log, and its progress on the terminal.

`log.jsonl` and `log.csv` always, TensorBoard where installed; a bar on a terminal, or a
plain line now and then.
"""

import csv
import importlib.util
import io
import json
import logging
import math
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import jax
import numpy as np

from fdnf import files

_log = logging.getLogger(__name__)
_JSONL, _CSV = "log.jsonl", "log.csv"


class Writer:
    """Appends rows of scalars to the log of a workdir; process 0 only.

    A scalar with a run axis is a list in JSONL and one column `name/run` a run in
    CSV and TensorBoard. JSON knows neither NaN nor infinity: such a value is null,
    and the entry `nonfinite` says which it was, `{"loss/1": "inf"}`. `log.csv` has
    the columns of all rows so far; a row with a new name rewrites it from
    `log.jsonl`, with empty cells in the rows before.

    Log a step before saving its checkpoint: what is resumed is then in the log.

    Args:
        workdir: directory of the run; made if absent.
        resume_step: step of the checkpoint that training continues from. Rows after
            it, and a half-written last line, are cut. None starts a new log and
            renames one that is there to `log.jsonl.old` and `log.csv.old`.
        tensorboard: whether to write TensorBoard files, if tensorboardX is there.
    """

    def __init__(
        self,
        workdir: str | Path,
        resume_step: int | None = None,
        tensorboard: bool = True,
    ):
        """See the class."""
        self._active = jax.process_index() == 0
        if not self._active:
            return
        self._workdir = Path(workdir)
        self._workdir.mkdir(parents=True, exist_ok=True)
        self._resume_step = resume_step
        self._tensorboard: Any = None
        self._use_tensorboard = (
            tensorboard and importlib.util.find_spec("tensorboardX") is not None
        )
        if resume_step is None:
            for name in (_JSONL, _CSV):
                path = self._workdir / name
                if path.exists():
                    path.replace(path.with_name(f"{name}.old"))
        else:
            path = self._workdir / _JSONL
            rows, damage = _parse(path)
            if damage:
                _log.warning("%s: %s", path, damage)
                # What could not be read may still say something to its owner.
                path.replace(path.with_name(f"{_JSONL}.damaged"))
            lines = [line for line, row in rows if row["step"] <= resume_step]
            files.write_text(path, "".join(f"{line}\n" for line in lines))
        self._columns = self._rewrite_csv()
        self._jsonl = open(self._workdir / _JSONL, "a", encoding="utf-8")
        self._csv = open(self._workdir / _CSV, "a", encoding="utf-8", newline="")

    def write(self, step: int, scalars: Mapping[str, Any]) -> None:
        """Appends one row and hands it to the operating system.

        Args:
            step: steps taken so far.
            scalars: by name, numbers, strings or arrays `[runs]`; names may hold
                slashes. `step` and `nonfinite` are taken.
        """
        if not self._active:
            return
        taken = {"step", "nonfinite"} & scalars.keys()
        if taken:
            raise ValueError(f"scalars hold {sorted(taken)}: these names are taken.")
        row = {"step": int(step), **{k: _plain(k, v) for k, v in scalars.items()}}
        self._jsonl.write(_dump(row) + "\n")
        self._jsonl.flush()
        cells = _cells(row)
        if cells.keys() <= set(self._columns):
            _csv_writer(self._csv, self._columns).writerow(cells)
            self._csv.flush()
        else:
            self._csv.close()
            self._columns = self._rewrite_csv()
            self._csv = open(self._workdir / _CSV, "a", encoding="utf-8", newline="")
        self._write_tensorboard(row["step"], cells)

    def close(self) -> None:
        """Closes the files."""
        if not self._active:
            return
        self._jsonl.close()
        self._csv.close()
        if self._tensorboard is None:
            return
        # Its thread may die under this, and would then be waited for in vain.
        closing = threading.Thread(target=self._tensorboard.close, daemon=True)
        if _is_writing(self._tensorboard):
            closing.start()
            closing.join(10)
        if closing.is_alive() or not closing.ident:
            self._drop_tensorboard()

    def __enter__(self) -> "Writer":
        """Returns itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Closes the files."""
        self.close()

    def _rewrite_csv(self) -> list[str]:
        rows = [_cells(row) for row in read_log(self._workdir)]
        columns = list(dict.fromkeys(name for row in rows for name in row)) or ["step"]
        text = io.StringIO(newline="")
        writer = _csv_writer(text, columns)
        writer.writeheader()
        writer.writerows(rows)
        files.write_text(self._workdir / _CSV, text.getvalue())
        return columns

    def _write_tensorboard(self, step: int, cells: Mapping[str, Any]) -> None:
        if not self._use_tensorboard:
            return
        if self._tensorboard is not None and not _is_writing(self._tensorboard):
            self._drop_tensorboard()
            return
        if self._tensorboard is None:
            import tensorboardX

            resume = self._resume_step
            self._tensorboard = tensorboardX.SummaryWriter(
                str(self._workdir / "tensorboard"),
                purge_step=None if resume is None else resume + 1,
                # More than a row has, so that nobody waits for a thread that died.
                max_queue=10_000,
            )
        for name, value in cells.items():
            if name != "step" and not isinstance(value, str):
                self._tensorboard.add_scalar(name, value, step)

    def _drop_tensorboard(self) -> None:
        """Goes on without: its files could not be written."""
        _log.warning("TensorBoard files under %s end here", self._workdir)
        # Otherwise the exit of the process waits for what nobody takes.
        self._tensorboard.file_writer.event_writer._event_queue.cancel_join_thread()
        self._tensorboard, self._use_tensorboard = None, False


def _is_writing(tensorboard: Any) -> bool:
    """Whether the thread that writes its files lives; a full disk ends it."""
    return tensorboard.file_writer.event_writer._worker.is_alive()


def read_log(
    workdir: str | Path, problems: list[str] | None = None
) -> list[dict[str, Any]]:
    """Reads the rows of `log.jsonl`, NaN and infinities restored.

    A last line cut off by a crash is left out; an absent file has no rows. Lines that
    are no rows are left out too: they cost a part of the curves, and nothing else.

    Args:
        workdir: directory of the run.
        problems: gets a sentence if lines are left out; by default it is a warning.
    """
    rows, damage = _parse(Path(workdir) / _JSONL)
    if damage and problems is None:
        _log.warning("%s: %s", Path(workdir) / _JSONL, damage)
    elif damage and problems is not None:
        problems.append(damage)
    return [row for _, row in rows]


def _plain(name: str, value: Any) -> Any:
    if isinstance(value, str):
        return value
    array = np.asarray(value)
    if array.ndim > 1 or array.dtype.kind in "OSUc":
        raise ValueError(
            f"scalar {name!r} has shape {array.shape} and dtype {array.dtype}:"
            " expected a real number, or one for each run."
        )
    # bfloat16 and its kin are no numpy numbers, and become lists of themselves.
    return (array if array.dtype.kind in "biuf" else array.astype(np.float32)).tolist()


def _is_nonfinite(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def _cells(row: Mapping[str, Any]) -> dict[str, Any]:
    cells = {}
    for name, value in row.items():
        if isinstance(value, list):
            cells.update({f"{name}/{run}": item for run, item in enumerate(value)})
        else:
            cells[name] = value
    return cells


def _dump(row: Mapping[str, Any]) -> str:
    nonfinite = {k: str(v) for k, v in _cells(row).items() if _is_nonfinite(v)}
    if not nonfinite:
        return json.dumps(row, allow_nan=False)
    clean = {
        name: [None if _is_nonfinite(item) else item for item in value]
        if isinstance(value, list)
        else (None if _is_nonfinite(value) else value)
        for name, value in row.items()
    }
    return json.dumps({**clean, "nonfinite": nonfinite}, allow_nan=False)


def _load(line: str) -> dict[str, Any]:
    row = json.loads(line)
    if not isinstance(row, dict) or not isinstance(row.get("step"), int):
        raise ValueError("no object with a step")
    for key, value in row.pop("nonfinite", {}).items():
        name, _, run = key.rpartition("/")
        if isinstance(row.get(name), list):
            row[name][int(run)] = float(value)
        else:
            row[key] = float(value)
    return row


def _parse(path: Path) -> tuple[list[tuple[str, dict[str, Any]]], str]:
    """Each row with its line, and a sentence about lines that are none, if any."""
    if not path.exists():
        return [], ""
    # A line without its newline was being written when the process died. Splitting
    # bytes keeps a cut through a multi-byte character out of the way.
    *lines, _ = path.read_bytes().split(b"\n")
    rows, wrong = [], []
    for number, line in enumerate(lines, start=1):
        try:
            text = line.decode("utf-8")
            rows.append((text, _load(text)))
        except (ValueError, TypeError, AttributeError, IndexError, RecursionError):
            wrong.append(number)
    if not wrong:
        return rows, ""
    return rows, (
        f"{len(wrong)} of {len(lines)} lines are no log rows (the first is line "
        f"{wrong[0]}) and are left out of the curves"
    )


def _csv_writer(file: Any, columns: list[str]) -> Any:
    return csv.DictWriter(file, columns, lineterminator="\n")


class Progress:
    """Shows step, loss and other scalars, steps per second and time left, on stderr.

    Args:
        total: steps of the whole run.
        start: steps already taken, when resuming.
        interval: seconds between plain lines where stderr is no terminal.
        label: name shown before the bar or line; None shows nothing.
    """

    def __init__(
        self,
        total: int,
        start: int = 0,
        interval: float | int = 20.0,
        label: str | None = "train",
    ):
        """See the class."""
        self._total = total
        self._interval = interval
        self._label = label or ""
        self._active = label is not None and jax.process_index() == 0
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
