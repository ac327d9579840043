"""A run's directory: who writes it, and the small files that say what it is."""

import contextlib
import json
import logging
import os
import pathlib
import socket
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import filelock
import numpy as np

from fdnf import files
from fdnf.train import checkpoint, distributed, faults, guiding, settings, stored
from fdnf.train.rules import ConfigError

CONFIG, FINISHED, FAILED = "config.json", "finished.json", "failed.json"
LOCK = ".lock"
# Seconds in which a process that was just killed lets go of its directory.
PATIENCE = 2.0

_log = logging.getLogger(__name__)


class WorkdirError(OSError):
    """A workdir that another process writes, or that is no longer where it was."""


class _Hold(NamedTuple):
    """A lock that this process has, and what stands in its file."""

    lock: Any
    note: bytes


_holds: dict[pathlib.Path, _Hold] = {}


def check_writable(workdir: str | pathlib.Path) -> None:
    """Makes `workdir` and a file in it, to fail before training rather than after.

    Raises:
      CheckpointError: when either cannot be made.
    """
    path = stored.place(workdir)
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path) as file:
            file.write(b"0")
    except OSError as error:
        raise stored.CheckpointError(
            f"workdir {path} cannot be written ({error}): choose another --workdir,"
            " or change its permissions."
        ) from error


@contextlib.contextmanager
def alone(workdirs: Iterable[str | pathlib.Path]) -> Iterator[None]:
    """Holds directories for this process to write; within, it may hold them again.

    The lock is the operating system's: it goes with the process, however that ends.
    Of several processes of a run the first holds it for all. Reading needs no lock.

    Args:
      workdirs: directories, made if absent.

    Raises:
      WorkdirError: another process writes one of them.
      CheckpointError: one of them cannot be written.
    """
    with contextlib.ExitStack() as stack:
        error: Exception | None = None
        if distributed.is_first():
            try:
                for workdir in workdirs:
                    check_writable(workdir)
                    stack.enter_context(_held(_real(workdir)))
            except (WorkdirError, stored.CheckpointError) as refused:
                error = refused
        if bool(distributed.broadcast(np.asarray(error is not None))):
            raise error or WorkdirError("process 0 was refused the workdir")
        yield


def check_held(workdir: str | pathlib.Path) -> None:
    """Whether what this process holds is still at its place.

    Raises:
      WorkdirError: the directory was moved, removed, or is another.
    """
    hold = _holds.get(_real(workdir))
    if hold is None:
        return
    try:
        found = (_real(workdir) / LOCK).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        found = b""
    if found != hold.note:
        raise WorkdirError(
            f"workdir {workdir} was moved or removed while it was written: what came "
            "since its last checkpoint is not saved. Put it back, then give the same "
            "command again to go on from there"
        )


@contextlib.contextmanager
def _held(path: pathlib.Path) -> Iterator[None]:
    if path in _holds:
        yield
        return
    about = {
        "host": socket.gethostname(),
        "process": os.getpid(),
        "since": time.strftime("%Y-%m-%d %H:%M:%S %z"),
    }
    note = files.dumps(about).encode()

    def write(handle: int) -> None:
        os.ftruncate(handle, 0)
        os.pwrite(handle, note, 0)

    # A lock of the kind that is only a file would outlive the process.
    lock = filelock.FileLock(
        path / LOCK, thread_local=False, fallback_to_soft=False, on_acquired=write
    )
    try:
        lock.acquire(timeout=PATIENCE)
    except filelock.Timeout:
        raise WorkdirError(
            f"workdir {path} is being written by {_holder(path)}: wait until that is "
            "done or stop it, or give another --workdir. Reading it (--mode=eval, "
            "sample, export) is possible meanwhile"
        ) from None
    except (OSError, NotImplementedError) as error:
        _log.warning(
            "%s cannot be locked (%s): see to it that no other process writes it",
            path,
            error,
        )
        yield
        return
    _holds[path] = _Hold(lock, note)
    try:
        yield
    finally:
        del _holds[path]
        lock.release()


def _holder(path: pathlib.Path) -> str:
    try:
        about = json.loads((path / LOCK).read_bytes())
        return "process {process} on {host} since {since}".format(**about)
    except (OSError, ValueError, TypeError, KeyError):
        return "another process"


def _real(path: str | pathlib.Path) -> pathlib.Path:
    """One name for a directory, however it is written."""
    return pathlib.Path(os.path.realpath(os.path.expanduser(path)))


def write_failed(workdir: pathlib.Path, error: Exception) -> None:
    """Leaves word of why this run cannot go on; the first process does."""
    if distributed.is_first():
        files.write_json(workdir / FAILED, {"error": str(error)})


def result(workdir: pathlib.Path) -> dict[str, Any] | None:
    """The contents of a run's `finished.json`; None without.

    Raises:
      DamagedError: it is not what was written there.
    """
    path = workdir / FINISHED
    way_out = (
        "give the training command of this run again, which makes the file anew from "
        "the last checkpoint"
    )
    try:
        found = files.read_json(path, way_out)
    except (FileNotFoundError, NotADirectoryError):
        return None
    kinds = {"steps": int, "skipped_steps": list, "best_step": list, "config": dict}
    wrong = [k for k, kind in kinds.items() if not isinstance(found.get(k), kind)]
    if wrong:
        raise files.DamagedError(f"{path} lacks {', '.join(wrong)}: {way_out}")
    return found


def finished(config: Any, workdir: pathlib.Path) -> dict[str, Any] | None:
    """The result of a finished run of this config; refuses one of another config.

    A run can be made longer: with a larger `train.steps`, finished or not, it goes on
    from its last checkpoint, and so does one that `train.early_stop` ended, with more
    patience. The learning rate's schedule, and all that is a fraction of the training,
    is then that of the new length, whose part behind the run is not done again.

    Files that are damaged count as absent, with a warning: the training that follows
    makes them anew from the last checkpoint.

    Returns:
      The contents of `finished.json`; None if there is something to train.

    Raises:
      ConfigError: the run there is of another config, or of more steps.
      CheckpointError: what is there cannot be told from its checkpoints either.
    """
    found = _unless_damaged(lambda: result(workdir))
    before = found and found["config"]
    if before is None:
        way_out = "it is made anew when training goes on"
        path = workdir / CONFIG
        before = _unless_damaged(lambda: files.read_json(path, way_out))
    if before is None:
        before = checkpoint.meta_of(workdir).get("config")
    if before is None:
        return None
    ours = settings.to_dict(config)
    with contextlib.suppress(AttributeError, KeyError, TypeError):
        # Written before there were all keys; what is no config differs in any case.
        before, ours = (faults.complete(c, spare=True) for c in (before, ours))
    ours = files.plain(ours)
    before, ours = _trained_by(files.plain(before)), _trained_by(ours)
    there, here = _steps(before), _steps(ours)
    longer = there < here
    if longer:
        before["train"]["steps"] = here
    changed = _differences(before, ours)
    if changed == [f"train.steps ({there!r} there, {here!r} here)"]:
        raise ConfigError(
            f"{workdir} holds a run of {there} steps, which train.steps={here} cannot "
            "make shorter: give as many or more, or another --workdir"
        )
    if changed:
        raise ConfigError(
            f"{workdir} holds a run of another config; different: "
            f"{', '.join(changed[:8])}. Give another --workdir, or remove this one"
        )
    if longer:
        _log.warning(
            "%s: made longer, from %d to %d steps; the learning rate, and what else is "
            "a fraction of the training, is that of the new length from here on",
            *(workdir, there, here),
        )
    return None if found and (longer or _more_patient(found, config)) else found


def _steps(config: Any) -> int:
    """The steps of a config; 0 of what is none."""
    train = config.get("train") if isinstance(config, dict) else None
    steps = train.get("steps") if isinstance(train, dict) else None
    return steps if isinstance(steps, int) else 0


def _more_patient(found: dict[str, Any], config: Any) -> bool:
    """Whether a run that stopped early is to wait longer than it did."""
    if not found.get("stopped_early"):
        return False
    before = found["config"]["train"].get("early_stop", 0)
    ours = config.train.get("early_stop", 0)
    return ours > before or not ours


def _unless_damaged(read: Callable[[], Any]) -> Any:
    try:
        return read()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except files.DamagedError as damaged:
        _log.warning("%s", damaged)
        return None


# What is done once a run is trained, and how it goes on, by the section it stands in.
_AFTER = ("eval", "study", "label", "group")
_HOW = {"train": ("accept_changes", "early_stop")}
# Sections that configs have for the sake of their study, by the methods that read them.
_OF_METHODS = {"guided": guiding.METHODS}


def _trained_by(config: Any, section: str = "") -> Any:
    """A config, and those within it, without what makes no other run of it."""
    if not isinstance(config, dict):
        return config
    left = {*_AFTER, *_HOW.get(section, ())}
    if section == "loss":
        method = config.get("method")
        left |= {name for name, of in _OF_METHODS.items() if method not in of}
    return {k: _trained_by(v, k) for k, v in config.items() if k not in left}


def _differences(a: Any, b: Any, path: str = "") -> list[str]:
    if isinstance(a, dict) and isinstance(b, dict):
        keys = sorted(a.keys() | b.keys())
        found = [_differences(a.get(k), b.get(k), f"{path}.{k}") for k in keys]
        return [name for names in found for name in names]
    if a == b or (path.endswith(".workdir") and _same_place(a, b)):
        return []
    return [f"{path.lstrip('.')} ({a!r} there, {b!r} here)"]


def _same_place(a: Any, b: Any) -> bool:
    """Whether two paths name one directory: from here, from there, through links."""
    return all(isinstance(p, str) and p for p in (a, b)) and _real(a) == _real(b)
