"""Processes of this machine: which one it is, how it ended, who it dies with."""

import contextlib
import ctypes
import os
import pathlib
import signal
import sys

_PR_SET_PDEATHSIG = 1


def identity(pid: int) -> str | None:
    """A text that only this process has, since ids are used again; None if it is gone.

    A process that has ended and waits for its parent to notice is gone.
    """
    try:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return None
    # The second field is a name in parentheses, which may hold anything.
    fields = stat.rpartition(")")[2].split()
    state, started = fields[0], fields[19]
    if state in "ZX":
        return None
    boot = (
        pathlib.Path("/proc/sys/kernel/random/boot_id")
        .read_text(encoding="utf-8")
        .strip()
    )
    return f"{boot}/{started}"


def is_alive(pid: int | None, known: str | None) -> bool:
    """Whether the process that once had `known` as its identity still runs."""
    return bool(pid) and known is not None and identity(pid) == known


def outcome(pid: int, block: bool = False) -> int | None:
    """How a child ended: its exit status, or minus a signal; None while it runs.

    Unlike `Popen.wait` this takes no lock, so a signal handler may call it while the
    code that it interrupted does too. The child stays to be reaped.
    """
    flags = os.WEXITED | os.WNOWAIT | (0 if block else os.WNOHANG)
    found = os.waitid(os.P_PID, pid, flags)
    if found is None:
        return None
    exited = found.si_code == os.CLD_EXITED
    return found.si_status if exited else -found.si_status


def die_with(parent: int) -> None:
    """Sends SIGTERM to this process when the thread that started it ends.

    Args:
      parent: the process expected as parent; if it is already gone, at once.
    """
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGTERM)


def send(pid: int, signum: int) -> None:
    """Sends a signal to a process that may be gone."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signum)


def describe(rc: int) -> str:
    """An exit status in words."""
    if rc >= 0:
        return f"exit status {rc}"
    try:
        return f"killed by {signal.Signals(-rc).name}"
    except ValueError:
        return f"killed by signal {-rc}"
