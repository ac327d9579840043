"""A signal stops training at a step, saved; the same command goes on from there."""

import os
import pathlib
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from fdnf.train import interruption, loop
from fdnf.train.checkpoint import Checkpointer
from fdnf.train.interruption import StoppedBySignalError
from fdnf.train.writers import Writer, read_log
from tests import processes, tiny


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("unbroken")
    loop.train_and_evaluate(tiny.config(), workdir)
    return workdir


def signalled(config, workdir, number, step, monkeypatch):
    """Trains, and gets a signal when this step is logged."""
    write = Writer.write

    def writes(self, now, scalars):
        write(self, now, scalars)
        if now == step:
            os.kill(os.getpid(), number)

    with monkeypatch.context() as patch, interruption.handled():
        patch.setattr(Writer, "write", writes)
        loop.train_and_evaluate(config, workdir)


@pytest.fixture(autouse=True)
def heeded():
    """A shell's background job ignores SIGINT, and what nohup starts SIGHUP."""
    names = (signal.SIGINT, signal.SIGHUP)
    before = {number: signal.signal(number, signal.SIG_DFL) for number in names}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


# SIGINT reaches the command, below, and SIGUSR2 a pack in `test_packs_training`.
@pytest.mark.parametrize(
    "name", ["SIGTERM", pytest.param("SIGINT", marks=pytest.mark.slow)]
)
def test_saved_at_the_step_and_resumed(name, unbroken, tmp_path, monkeypatch):
    config = tiny.config()
    says = rf"stopped by {name} at step 9, saved in {tmp_path}/checkpoints: the same"
    with pytest.raises(StoppedBySignalError, match=says):
        signalled(config, tmp_path, signal.Signals[name], 9, monkeypatch)
    assert Checkpointer(tmp_path).steps() == [9, 6]
    assert not (tmp_path / loop.FINISHED).exists()
    loop.train_and_evaluate(config, tmp_path)
    tiny.same_rows(read_log(tmp_path), read_log(unbroken))
    tiny.same_best(tmp_path, unbroken)


def test_between_rows_of_the_log_none_is_lost(unbroken, tmp_path, monkeypatch):
    config = tiny.config()
    config.train.log_every = config.train.eval_every = 6
    rows = [row for row in read_log(unbroken) if row["step"] % 6 == 0]
    take = loop.program.step.make_train_step

    def make(*args, **kwargs):
        step = take(*args, **kwargs)

        def counted(state, *more):
            if state.step == 6:
                os.kill(os.getpid(), signal.SIGTERM)
            return step(state, *more)

        return counted

    with monkeypatch.context() as patch, interruption.handled():
        patch.setattr(loop.program.step, "make_train_step", make)
        with pytest.raises(StoppedBySignalError, match="at step 9"):
            loop.train_and_evaluate(config, tmp_path)
    assert [row["step"] for row in read_log(tmp_path)] == [6]
    loop.train_and_evaluate(config, tmp_path)
    for ours, theirs in zip(read_log(tmp_path), rows, strict=True):
        assert ours["step"] == theirs["step"]
        assert ours["val_log_prob"] == theirs["val_log_prob"]


def test_at_the_last_step_the_run_is_finished_and_then_stops(tmp_path, monkeypatch):
    with pytest.raises(StoppedBySignalError, match="stopped by SIGTERM"):
        signalled(tiny.config(), tmp_path, signal.SIGTERM, 12, monkeypatch)
    assert (tmp_path / loop.FINISHED).exists()


def catches(pid, number):
    """Whether a process has a handler for a signal."""
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    (mask,) = [line.split()[1] for line in lines if line.startswith("SigCgt")]
    return bool(int(mask, 16) >> (number - 1) & 1)


def says_one_thing(says, told):
    """One line says it, and nothing else is there but what the program logs."""
    assert says.count(told) == 1, says
    for noise in ("Traceback", "Exception ignored", "Thread", "Error"):
        assert noise not in says, says


@pytest.mark.parametrize(
    ("name", "when", "status", "told"),
    [
        ("SIGTERM", "import", 75, "fdnf: stopped by SIGTERM: the same command goes on"),
        ("SIGINT", "import", -2, "fdnf: stopped by SIGINT: the same command goes on"),
        # In CI a command that trains is stopped in `test_distributed`, and SIGHUP comes
        # from a terminal, below.
        pytest.param(
            *("SIGUSR1", "training", 75, "fdnf: stopped by SIGUSR1 at step"),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            *("SIGHUP", "evaluation", 75, "fdnf: stopped by SIGHUP: the same command"),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_the_command_at_any_time(name, when, status, told, tmp_path):
    number, workdir = signal.Signals[name], tmp_path / "run"
    steps = 3000 if when == "training" else 20
    with processes.started(
        f"--workdir={workdir}",
        messages=tmp_path / "stderr",
        overrides=processes.SMALL | {"train.steps": steps},
    ) as run:
        happens = {
            "import": lambda: catches(run.process.pid, signal.SIGTERM),
            "training": lambda: processes.rows(workdir) > 2,
            "evaluation": (workdir / loop.FINISHED).exists,
        }
        processes.until(happens[when], [run])
        run.signal(number)
        assert run.ended() == status, run.stderr()
    says_one_thing(run.stderr(), told)
    if when == "training":
        assert Checkpointer(workdir).steps()[0] == read_log(workdir)[-1]["step"]


# What no handler of Python's interrupts, as XLA's compiler.
DEAF = "import hashlib; hashlib.pbkdf2_hmac('sha256', b'', b'', 10**9)"
ANY_TIME = "import time; time.sleep(600)"
POOL = """
from concurrent import futures
with futures.ThreadPoolExecutor(2) as pool:
    list(pool.map(time.sleep, [0.05] * 10_000))
"""


def program(does, prelude="", begun=False):
    """A program that watches signals; says "ready" when it does what it does."""
    return textwrap.dedent(
        f"""
        import sys, time
        from fdnf.train import interruption
        interruption.watch()
        interruption.GRACE = 0.5
        {prelude}
        try:
            with interruption.handled(), interruption.deferred(begun={begun}):
                print("ready", flush=True)
                exec({does!r})
        except interruption.StoppedBySignalError as error:
            interruption.tell(str(error))
            sys.exit(interruption.leave(error.status))
        """
    )


def started(code, **options):
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=processes.ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize("does", [DEAF, ANY_TIME, POOL])
@pytest.mark.parametrize(("name", "status"), [("SIGTERM", 75), ("SIGINT", -2)])
def test_with_nothing_to_save_it_ends(does, name, status):
    # What ends by itself is given the time.
    patient = "interruption.GRACE = 60" if does == ANY_TIME else ""
    process = started(program(does, patient))
    process.send_signal(signal.Signals[name])
    _, says = process.communicate(timeout=50)
    assert process.returncode == status, says
    assert says == f"fdnf: stopped by {name}: the same command goes on\n"


@pytest.mark.parametrize("does", [DEAF, "while True: pass"])
@pytest.mark.parametrize(("name", "status"), [("SIGTERM", 75), ("SIGINT", -2)])
def test_twice_is_at_once(does, name, status):
    process = started(program(does, begun=True))
    assert process.stderr
    process.send_signal(signal.Signals[name])
    assert "saving after this step; once more" in process.stderr.readline()
    begun = time.monotonic()
    process.send_signal(signal.Signals[name])
    _, says = process.communicate(timeout=50)
    # Before what it does would have ended.
    assert time.monotonic() - begun < 20
    assert process.returncode == status, says
    assert says == (
        f"fdnf: stopped by {name} before it had saved: the same command goes on\n"
    )


def test_both_threads_come_to_the_end_at_once():
    """The one that watches loses its patience while the main thread says its word."""
    prelude = """
import os
class Slow:
    def __init__(self, write):
        self.slow = write
    def write(self, *line):
        time.sleep(0.3)
        return self.slow(*line)
    def flush(self):
        pass
os.write = Slow(os.write).write
sys.stderr = Slow(sys.stderr.write)
interruption.GRACE = 0.1
"""
    process = started(program(ANY_TIME, textwrap.indent(prelude, " " * 8)))
    process.send_signal(signal.SIGTERM)
    _, says = process.communicate(timeout=50)
    assert process.returncode == 75
    assert says == "fdnf: stopped by SIGTERM: the same command goes on\n"


def test_a_second_one_while_it_says_so():
    """Neither the handler nor the thread that watches ends it before that is out."""
    prelude = """
import os, signal
write = os.write
def slow(fd, line):
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(0.3)
    return write(fd, line)
os.write = slow
interruption.GRACE = 60
"""
    process = started(program(ANY_TIME, textwrap.indent(prelude, " " * 8)))
    process.send_signal(signal.SIGTERM)
    _, says = process.communicate(timeout=50)
    assert process.returncode == 75
    assert says == "fdnf: stopped by SIGTERM: the same command goes on\n"


def test_a_second_one_while_it_ends():
    """It comes upon what the first has begun, in the same thread."""
    prelude = """
import os, signal
class Slow:
    def write(self, text):
        pass
    def flush(self):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.2)
"""
    does = "sys.stdout = Slow(); os.kill(os.getpid(), signal.SIGTERM); time.sleep(600)"
    process = started(program(does, textwrap.indent(prelude, " " * 8)))
    _, says = process.communicate(timeout=50)
    assert process.returncode == 75
    assert says == "fdnf: stopped by SIGTERM: the same command goes on\n"


def test_raised_where_no_error_can_be():
    """In a finalizer, which Python only grumbles about."""
    prelude = "import os, signal"
    does = """
class Dying:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        for _ in range(1000):
            pass
Dying()
time.sleep(60)
"""
    process = started(program(does, prelude))
    _, says = process.communicate(timeout=50)
    assert process.returncode == 75
    assert says == "fdnf: stopped by SIGTERM: the same command goes on\n"


def test_a_terminal_that_is_closed(tmp_path):
    """What is printed after that is no error."""
    saved = tmp_path / "saved"
    does = f"""
while not interruption.requested():
    time.sleep(0.01)
print("saving", flush=True)
print("saving", file=sys.stderr, flush=True)
open({str(saved)!r}, "w").write(interruption.requested())
"""
    # A new session takes the terminal for its own.
    prelude = "import fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0)"
    ours, its = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", program(does, prelude, begun=True)],
        cwd=processes.ROOT,
        stdin=its,
        stdout=its,
        stderr=its,
        start_new_session=True,
    )
    os.close(its)
    assert b"ready" in os.read(ours, 1000)
    os.close(ours)
    assert process.wait(50) == 75
    assert saved.read_text() == "SIGHUP"
