"""Signals that ask a run to save and make way, as clusters send them.

SLURM sends SIGTERM when it preempts a job, and any signal asked for, usually SIGUSR1 or
SIGUSR2, some time before the time limit.
"""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)

# "Try again later" of sysexits.h: the same command goes on where this one stopped.
EXIT_CODE = 75


class StoppedBySignalError(Exception):
    """The run was told to stop, and can go on from its last checkpoint.

    Attributes:
      agreed: whether all processes of the run stop with this one.
    """

    def __init__(self, message: str, agreed: bool = False):
        """See the class."""
        super().__init__(message)
        self.agreed = agreed


class _State:
    """What a signal handler may touch: flags only."""

    received: str = ""
    deferred: bool = False


_state = _State()


def requested() -> str:
    """Name of the signal that asked to stop, or "" while none did."""
    return _state.received


def _handle(number: int, frame: FrameType | None) -> None:
    del frame
    again = bool(_state.received)
    _state.received = signal.Signals(number).name
    # A second signal does not wait for the end of a step.
    if again or not _state.deferred:
        raise StoppedBySignalError(f"stopped by {_state.received}")


@contextlib.contextmanager
def handled() -> Iterator[None]:
    """Signals within raise `StoppedBySignalError`; outside, all is as it was.

    Only the main thread of a program can take signals: elsewhere nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, _handle) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _state.received = ""


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """A first signal within is only noted, for the loop to ask by `requested`.

    Raises:
      StoppedBySignalError: at the end, if there was one that nobody has acted on.
    """
    before, _state.deferred = _state.deferred, True
    try:
        yield
    finally:
        _state.deferred = before
    if _state.received and not before:
        raise StoppedBySignalError(f"stopped by {_state.received}")
