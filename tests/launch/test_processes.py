"""Which process it is, how it ended, and what it ends with."""

import os
import signal
import subprocess
import sys
import time

import pytest

from launch import processes


@pytest.fixture
def sleeper():
    process = subprocess.Popen(["sleep", "60"])
    yield process
    process.kill()
    process.wait()


def test_identity(sleeper):
    known = processes.identity(sleeper.pid)
    assert processes.is_alive(sleeper.pid, known)
    assert not processes.is_alive(os.getpid(), known)
    sleeper.kill()
    assert processes.outcome(sleeper.pid, block=True) == -9
    # Not reaped yet, but gone.
    assert processes.identity(sleeper.pid) is None
    sleeper.wait()
    assert not processes.is_alive(sleeper.pid, known)
    assert not processes.is_alive(None, known)
    assert not processes.is_alive(os.getpid(), None)
    processes.send(sleeper.pid, signal.SIGTERM)


def test_outcome(sleeper):
    assert processes.outcome(sleeper.pid) is None
    sleeper.terminate()
    assert processes.outcome(sleeper.pid, block=True) == -15
    # The child is still there for whoever waits for it.
    assert processes.outcome(sleeper.pid) == -15
    assert sleeper.wait() == -15
    ended = subprocess.Popen([sys.executable, "-c", "raise SystemExit(75)"])
    assert processes.outcome(ended.pid, block=True) == 75
    ended.wait()


def test_dies_with_its_parent():
    """Also if that is killed with a signal that cannot be caught."""
    child = "import time; print('up', flush=True); time.sleep(60)"
    code = (
        "import os, subprocess, sys, time; from launch import processes;"
        "own = os.getpid();"
        f"p = subprocess.Popen([sys.executable, '-c', {child!r}],"
        "  preexec_fn=lambda: processes.die_with(own));"
        "print(p.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    lines = sorted(parent.stdout.readline() for _ in range(2))
    pid = int(lines[0])
    known = processes.identity(pid)
    assert known is not None
    parent.kill()
    parent.wait()
    until = time.monotonic() + 60
    while processes.is_alive(pid, known):
        assert time.monotonic() < until
        time.sleep(0.02)


def test_in_words():
    assert processes.describe(3) == "exit status 3"
    assert processes.describe(-11) == "killed by SIGSEGV"
    assert processes.describe(-100) == "killed by signal 100"
