"""The state of a point, from what is in its directory."""

import json
import os
import socket

import pytest

from launch import processes, status
from launch.folder import Folder
from launch.points import Point
from launch.status import Queued


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path)


TEACHER = Point("t.py", name="teacher")
STUDENT = Point("s.py", name="student", after=("teacher",))


def of(folder, name="teacher", **more):
    return status.survey(folder, [TEACHER, STUDENT], **{"queue": {}, **more})[name]


def put(folder, name, **files):
    workdir = folder.workdir(name)
    workdir.mkdir(parents=True, exist_ok=True)
    for file, content in files.items():
        lines = content if isinstance(content, list) else [content]
        text = "".join(json.dumps(line) + "\n" for line in lines)
        suffix = "jsonl" if isinstance(content, list) else "json"
        (workdir / f"{file}.{suffix}").write_text(text)


def finish(folder, name):
    put(folder, name, finished={"steps": 9, "best_val_log_prob": [1.0, 3.0]})
    put(folder, f"{name}/results/m/seed_0", result={})
    (folder.workdir(name) / "table.md").touch()


def me(**more):
    return {
        "engine": "local",
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "identity": processes.identity(os.getpid()),
        "event": "start",
        "log": "the.log",
        **more,
    }


GONE = {"pid": 2**22 + 1, "identity": "boot/1"}


def test_waiting(folder):
    assert of(folder).state == "waiting"
    student = of(folder, "student")
    assert (student.state, student.detail) == ("waiting", "for teacher (waiting)")


def test_done(folder):
    finish(folder, "teacher")
    state = of(folder)
    assert (state.state, state.step, state.steps, state.metric) == ("done", 9, 9, 2.0)
    assert of(folder, "student").detail == ""


def test_running_with_its_last_step_and_metric(folder):
    rows = [
        {"step": 1, "val_log_prob": [4.0]},
        {"step": 2, "val_log_prob": [5.0, 7.0]},
        {"step": 3, "loss": [1.0]},
        {"step": 4, "val_log_prob": [None]},
    ]
    put(folder, "teacher", log=rows, config={"train": {"steps": 8}}, attempts=[me()])
    state = of(folder)
    assert (state.state, state.queued) == ("running", True)
    assert (state.step, state.steps, state.metric) == (4, 8, 6.0)


def test_running_while_only_its_child_is_alive(folder):
    child = {"child": os.getpid(), "child_identity": processes.identity(os.getpid())}
    put(folder, "teacher", attempts=[me(**GONE, **child)])
    assert of(folder).state == "running"


@pytest.mark.parametrize(
    "changes",
    [
        GONE,
        # Its number was given to another process since.
        {"identity": "another boot/5"},
        {"pid": None},
    ],
)
def test_gone_without_a_word(folder, changes):
    put(folder, "teacher", attempts=[me(**changes)])
    state = of(folder)
    assert (state.state, state.queued) == ("preempted", False)
    assert state.detail == "its process is gone without a word"


def test_on_another_machine(folder):
    put(folder, "teacher", attempts=[me(host="elsewhere")])
    state = of(folder)
    assert (state.state, state.queued) == ("running", True)
    assert "cannot be asked from here" in state.detail
    assert of(folder, take_over=True).state == "preempted"


@pytest.mark.parametrize(
    ("end", "state", "detail", "final"),
    [
        ({"rc": 75}, "preempted", "", False),
        ({"rc": 2, "error": "fdnf: no data"}, "failed", "fdnf: no data", True),
        ({"rc": -9}, "failed", "killed by SIGKILL", False),
        ({"rc": 1}, "failed", "exit status 1", False),
        ({"rc": 0}, "failed", "ended well, but without a result", True),
    ],
)
def test_ended(folder, end, state, detail, final):
    put(folder, "teacher", attempts=[me(), me(event="end", **end)])
    found = of(folder)
    assert (found.state, found.detail, found.final) == (state, detail, final)
    assert found.log == "the.log"
    # Done counts more than how the last process ended.
    finish(folder, "teacher")
    assert of(folder).state == "done"


def test_not_to_be_trained_further(folder):
    put(folder, "teacher", failed={"error": "300 steps were not finite"})
    put(folder, "teacher", attempts=[me(), me(event="end", rc=2)])
    state = of(folder)
    assert (state.state, state.detail) == ("failed", "300 steps were not finite")
    assert state.final
    student = of(folder, "student")
    assert (student.state, student.detail) == ("waiting", "for teacher (failed)")


def test_in_a_queue(folder):
    queue = {"teacher": Queued("7_1", False, "Resources")}
    state = of(folder, queue=queue)
    assert (state.state, state.queued) == ("waiting", True)
    assert state.detail == "queued as 7_1: Resources"
    put(folder, "teacher", attempts=[me(engine="slurm"), me(event="end", rc=75)])
    assert of(folder, queue=queue).state == "preempted"
    running = {"teacher": Queued("7_1", True)}
    assert of(folder, queue=running).state == "running"


def test_started_by_slurm(folder):
    put(folder, "teacher", attempts=[me(engine="slurm", **GONE)])
    assert of(folder).state == "preempted"
    # SLURM was not asked: no reason to think that it is gone.
    state = of(folder, queue=None)
    assert (state.state, state.queued) == ("running", True)


def test_the_table(folder):
    finish(folder, "teacher")
    put(folder, "student", attempts=[me(), me(event="end", rc=-11)])
    states = list(status.survey(folder, [TEACHER, STUDENT], {}).values())
    assert status.table(states) == (
        "state   step  validation  point\n"
        "done    9/9   2           teacher\n"
        "failed                    student  killed by SIGSEGV (the.log)\n"
        "1 done, 1 failed"
    )
    assert status.as_json(states)[1]["state"] == "failed"
