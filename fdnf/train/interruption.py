"""Signals that ask a run to save and make way, as clusters and terminals send them.

SLURM sends SIGTERM when it preempts a job, and any signal asked for, usually SIGUSR1 or
SIGUSR2, some time before the time limit. A terminal sends SIGINT for Ctrl-C, and SIGHUP
when it is closed. What the caller has told the process to ignore (nohup, a shell's
background jobs) stays ignored.

The first signal has a training save after its step; where there is nothing to save
(imports, loading, compilation, evaluation) the program ends. The second ends it at
once. Neither prints more than a line.

Statuses of the exit, for all programs of the project:

  0    done
  2    something must be put right first; the same command would fail the same way
  75   stopped, and the same command goes on; a launcher gives it again by itself
  130  to a shell: ended by SIGINT, once it has saved. The same command goes on too,
       but somebody pressed Ctrl-C, so nothing may start it again by itself. The process
       really dies of the signal, since that alone ends a loop of the shell around it
  else a crash; 134 (SIGABRT) is how JAX ends what has lost another process
"""

import contextlib
import ctypes
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any, NoReturn

SIGNALS = (
    signal.SIGTERM,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGINT,
    signal.SIGHUP,
)
# These have callers that tell a process to ignore them.
_OF_TERMINALS = (signal.SIGINT, signal.SIGHUP)

# "Try again later" of sysexits.h: the same command goes on where this one stopped.
EXIT_CODE = 75
INTERRUPTED = 128 + signal.SIGINT

# Seconds that a program with nothing to save may take to clear up after a signal. It
# takes none while XLA compiles, where no handler of Python's runs.
GRACE = 5.0
# Seconds that one thread waits for the other to have written a line.
_WRITING = 5.0


class StoppedBySignalError(BaseException):
    """The run was told to stop, and can go on from its last checkpoint.

    No `Exception`: whoever takes any error for, say, a broken checkpoint must not take
    this for one.

    Attributes:
      agreed: whether all processes of the run stop with this one.
      status: of the exit, see the module.
    """

    def __init__(self, message: str, agreed: bool = False):
        """See the class."""
        super().__init__(message)
        self.agreed = agreed
        self.status = _status(_state.received)


class _State:
    """What a signal handler may touch."""

    received: str = ""
    deferred: bool = False
    # Whether a handler has raised, so that an error may be a consequence of that.
    raised: bool = False
    # How many `handled` there are around the code that runs.
    within: int = 0
    # Whether this is a program, whose signals are watched from the start.
    watched: bool = False
    terminals: tuple[int, ...] = ()
    # Of the thread that ends the program; a handler may come upon it in there.
    ending = threading.RLock()
    # Held while a line is written; whether the last one was.
    writing = threading.Lock()
    told: bool = False
    # Whether the main thread says the last word, where handlers do nothing.
    telling: bool = False


_state = _State()


def requested() -> str:
    """Name of the signal that asked to stop, or "" while none did."""
    return _state.received


def watch() -> None:
    """For programs, before they import anything that takes time; ends with them.

    A thread sees signals also where handlers of Python wait: while a module in C
    works, such as XLA's compiler.
    """
    _state.watched = True
    _state.terminals = tuple(fd for fd in range(3) if os.isatty(fd))
    read, write = os.pipe()
    os.set_blocking(write, False)
    for number in _heeded():
        signal.signal(number, _handle)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(read,), daemon=True).start()
    sys.unraisablehook = _unraisable


@contextlib.contextmanager
def handled() -> Iterator[None]:
    """Signals within raise `StoppedBySignalError`; outside, all is as it was.

    Only the main thread of a program can take signals: elsewhere nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, _handle) for number in _heeded()}
    _state.within += 1
    try:
        yield
    except Exception as error:
        if not _state.raised:
            raise
        raise _stopped() from error
    finally:
        _state.within -= 1
        for number, handler in before.items():
            signal.signal(number, handler)
        if not _state.within:
            _state.received, _state.raised = "", False


@contextlib.contextmanager
def deferred(begun: bool = True) -> Iterator[None]:
    """A first signal within is only noted, for the loop to ask by `requested`.

    Args:
      begun: whether there is something to save already; else `begin` says when.

    Raises:
      StoppedBySignalError: at the end, if there was one that nobody has acted on.
    """
    before, _state.deferred = _state.deferred, begun or _state.deferred
    try:
        yield
    finally:
        _state.deferred = before
    if _state.received and not before:
        raise _stopped()


def begin() -> None:
    """Within `deferred`: from here on there is something to save."""
    _state.deferred = True


def tell(word: str) -> None:
    """Says how the program ends, if nobody has: one line in one piece on stderr.

    The main thread and the one that watches signals may both come to an end. The first
    says its word. The other waits until it is written, and says nothing.

    Args:
      word: one line, without its end.
    """
    if threading.current_thread() is not threading.main_thread():
        _write(word, last=True)
        return
    _state.telling = True
    try:
        _write(word, last=True)
    finally:
        _state.telling = False


def leave(status: int) -> int:
    """The exit status; a program that is watched ends here, without a word of threads.

    Args:
      status: see the module.
    """
    if _state.watched:
        _end(status)
    return status


def end_at_once(status: int) -> NoReturn:
    """Ends this process; nothing is cleared up."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, RuntimeError):
            stream.flush()
    if status == INTERRUPTED and _state.watched:
        _die(signal.SIGINT)
    os._exit(status)


def _heeded() -> list[signal.Signals]:
    return [
        number
        for number in SIGNALS
        if number not in _OF_TERMINALS or signal.getsignal(number) != signal.SIG_IGN
    ]


def _status(name: str) -> int:
    return INTERRUPTED if name == signal.SIGINT.name else EXIT_CODE


def _stopped() -> StoppedBySignalError:
    return StoppedBySignalError(
        f"stopped by {_state.received}: the same command goes on"
    )


def _handle(number: int, frame: FrameType | None) -> None:
    del frame
    if _state.watched and number == signal.SIGHUP:
        # The thread that watches may come to it later than what is printed next.
        _let_go_of_terminals()
    if _state.telling:
        # What is being written is the end, and the thread that watches has seen this.
        return
    again = bool(_state.received)
    _state.received = signal.Signals(number).name
    if _state.watched and (again or not _state.within):
        _end_with_a_word(_state.received, again)
    # A second signal does not wait for the end of a step.
    if again or not _state.deferred:
        _state.raised = True
        raise _stopped()


def _watch(pipe: int) -> None:
    """Sees each signal as it comes, whatever the main thread does."""
    first = True
    while True:
        number = os.read(pipe, 1)[0]
        if number not in SIGNALS:
            continue
        name = signal.Signals(number).name
        if number == signal.SIGHUP:
            _let_go_of_terminals()
        if not first or not _state.within:
            _end_with_a_word(name, not first)
        first = False
        if _state.deferred:
            _write(f"{name}: saving after this step; once more to end at once")
        elif not select.select([pipe], [], [], GRACE)[0] and not _state.deferred:
            _end_with_a_word(name, False)


def _end_with_a_word(name: str, again: bool) -> NoReturn:
    # What `_State` knows of the signal may be cleared at any moment by `handled`.
    more = " before it had saved" if again else ""
    tell(f"stopped by {name}{more}: the same command goes on")
    _end(_status(name))


def _end(status: int) -> NoReturn:
    """Ends the program, whoever of two threads is first; it may take too long."""
    if not _state.ending.acquire(blocking=False):
        time.sleep(GRACE)
    end_at_once(status)


def _write(text: str, last: bool = False) -> None:
    """Whole lines, none after the last one; gives up where stderr takes nothing."""
    if not _state.writing.acquire(timeout=_WRITING):
        return
    try:
        if not _state.told:
            with contextlib.suppress(OSError):
                os.write(2, f"fdnf: {text}\n".encode())
            # A caller who is no program may go on, and stop again.
            _state.told = last and _state.watched
    finally:
        _state.writing.release()


def _let_go_of_terminals() -> None:
    """What is printed to one that is gone would be an error, and end a training."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for fd in _state.terminals:
        os.dup2(nowhere, fd)
    os.close(nowhere)


def _unraisable(given: Any) -> None:
    """An error where none can be raised: of ours the program ends all the same."""
    if isinstance(given.exc_value, StoppedBySignalError):
        tell(str(given.exc_value))
        _end(given.exc_value.status)
    sys.__unraisablehook__(given)


def _die(number: signal.Signals) -> None:
    # From any thread, which `signal.signal` does not allow.
    libc = ctypes.CDLL(None)
    libc.signal.argtypes = (ctypes.c_int, ctypes.c_void_p)
    for _ in range(10):
        # The main thread may be putting handlers back.
        libc.signal(int(number), None)
        # This thread takes it, before the next line.
        signal.pthread_kill(threading.get_ident(), number)
        time.sleep(0.1)
