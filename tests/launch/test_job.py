"""One job: what it runs again, what it leaves, and what it ends with."""

import json
import signal
import sys

import pytest

from launch import job
from launch.folder import Folder
from launch.points import Point
from tests.launch import harness


@pytest.fixture
def start(tmp_path):
    """Writes a job of points with these overrides; how to run it."""
    folder = Folder(tmp_path)

    def start(*points, **more):
        made = [
            Point("configs/maf_gas.py:teacher", keys, name=f"p{i}")
            for i, keys in enumerate(points)
        ]
        folder.write_job("a-0", made, main=harness.MAIN.split(), **more)
        words = [sys.executable, "-m", "launch.job", str(tmp_path), "a-0"]
        return folder, words

    return start


@pytest.fixture
def pauses(monkeypatch):
    """What a job that is run `here` would have waited after its crashes, in seconds."""
    found = []
    monkeypatch.setattr(job.Runner, "_pause", lambda _, seconds: found.append(seconds))
    monkeypatch.setattr(job, "catch", lambda *_: None)
    monkeypatch.setenv("FAKE_STEP", "0.0")
    monkeypatch.chdir(harness.REPOSITORY)
    return found


def here(words):
    """Runs a job in this process; its exit status."""
    return job.main(words[3:])


def results(folder, name):
    """Exit statuses of a point's attempts."""
    return [row["rc"] for row in folder.attempts(name) if row["event"] == "end"]


def test_points_of_one_process(start):
    folder, words = start({"seed": 0}, {"seed": 1}, pack="2")
    assert harness.run(words, 0.0)[0] == 0
    assert results(folder, "p0") == results(folder, "p1") == [0]
    first, second = (folder.attempts(name)[0] for name in ("p0", "p1"))
    assert first["child"] == second["child"]
    log = folder.job("a-0", ".log").read_text()
    assert log.count("== ") == 1
    assert "--pack=2" in log
    # Again: nothing to do.
    assert harness.run(words, 0.0)[0] == 0
    assert results(folder, "p0") == [0]


def test_a_refused_point_does_not_stop_the_others(start):
    folder, words = start({"seed": 0}, {"seed": 1, "optim.lr": -1}, {"seed": 2})
    assert harness.run(words, 0.0)[0] == 2
    assert sorted(harness.values(folder.path)) == ["p0", "p2"]
    assert results(folder, "p0") == [2, 0]
    assert results(folder, "p1") == [2, 2]
    last = folder.attempts("p1")[-1]
    assert last["error"] == "fdnf: ConfigError: optim.lr=-1"


def test_a_diverged_point_does_not_stop_the_others(start):
    folder, words = start({"seed": 0}, {"seed": 1, "fake.diverge_at": 7})
    assert harness.run(words, 0.0)[0] == 2
    assert sorted(harness.values(folder.path)) == ["p0"]
    assert results(folder, "p0") == results(folder, "p1") == [2]


def test_a_diverged_point_is_not_started_with_the_others_again(start, pauses):
    keys = [{"fake.diverge_at": 3}, {"fake.crash_at": 7}, {"train.steps": 10}]
    folder, words = start(*keys)
    assert here(words) == 2
    assert sorted(harness.values(folder.path)) == ["p1", "p2"]
    assert results(folder, "p0") == [-9]
    assert results(folder, "p1") == results(folder, "p2") == [-9, 0]


def test_crashes_are_tried_again_while_there_are_steps(start, pauses):
    """Three crashes with further steps between them, and one retry allowed."""
    keys = {"train.steps": 36, "fake.crash_every": 11}
    folder, words = start(keys, retries=1)
    assert here(words) == 0
    assert results(folder, "p0") == [-9] * 3 + [0]
    assert harness.steps(folder.path, "p0") == list(range(1, 37))
    assert pauses == [1.0] * 3


def test_crashes_without_a_further_step(start, pauses):
    folder, words = start({"fake.crash_always_at": 3}, retries=1)
    assert here(words) == 128 + signal.SIGSEGV
    assert results(folder, "p0") == [-11, -11]
    assert folder.attempts("p0")[-1]["error"] == "killed by SIGSEGV"
    assert pauses == [1.0]


@pytest.mark.parametrize("retries", [0, 2])
def test_a_point_that_crashes_does_not_stop_the_others(retries, start, pauses):
    keys = [{"seed": seed, "train.steps": 5} for seed in range(5)]
    keys[3]["fake.crash_always_at"] = 1
    folder, words = start(*keys, retries=retries)
    assert here(words) == 128 + signal.SIGSEGV
    assert sorted(harness.values(folder.path)) == ["p0", "p1", "p2", "p4"]
    # Together (twice where that is allowed), in two halves on the way to it, alone.
    assert results(folder, "p3") == [-11] * (2 + min(1, retries) + 1 + retries)
    assert results(folder, "p0")[-1] == 0


def test_a_program_that_cannot_start(start, pauses):
    folder, words = start({"seed": 0}, retries=0)
    path = folder.job("a-0")
    code = "import sys; print('some'); sys.exit('ValueError: no')"
    spec = {**json.loads(path.read_text()), "main": [sys.executable, "-c", code]}
    path.write_text(json.dumps(spec))
    assert here(words) == 1
    assert folder.attempts("p0")[-1]["error"] == "ValueError: no"


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2])
def test_a_signal_is_handed_on_and_awaited(start, signum):
    folder, words = start({"seed": 0})
    process = harness.start(words, hold=["p0"])
    harness.wait_for(lambda: harness.held(folder.path, "p0"), "steps")
    process.send_signal(signum)
    assert process.wait(120) == 75
    process.communicate()
    assert results(folder, "p0") == [75]
    reached = harness.steps(folder.path, "p0")[-1]
    saved = json.loads((folder.path / "p0" / "state.json").read_text())
    assert saved[0] == reached


@pytest.mark.parametrize("end", ["os.kill(os.getpid(), 2)", "sys.exit(130)"])
def test_what_is_interrupted_by_hand_is_not_started_again(start, end):
    folder, words = start({"seed": 0}, retries=2)
    path = folder.job("a-0")
    code = f"import os, signal, sys; signal.signal(2, signal.SIG_DFL); {end}"
    spec = {**json.loads(path.read_text()), "main": [sys.executable, "-c", code]}
    path.write_text(json.dumps(spec))
    assert harness.run(words)[0] == 75
    assert len(results(folder, "p0")) == 1


def test_a_signal_before_the_program_can_catch_it(start):
    folder, words = start({"seed": 0})
    path = folder.job("a-0")
    main = [sys.executable, "-c", "import time; time.sleep(60)"]
    spec = {**json.loads(path.read_text()), "main": main}
    path.write_text(json.dumps(spec))
    process = harness.start(words)
    harness.wait_for(lambda: folder.attempts("p0"), "a start")
    process.terminate()
    assert process.wait(120) == 75
    process.communicate()
    assert results(folder, "p0") == [75]


def test_no_such_job(tmp_path):
    with pytest.raises(FileNotFoundError, match="expected a job"):
        job.Runner(Folder(tmp_path), "none")
