"""What is read from SLURM's queue, here a script of its name."""

import pytest

from launch.folder import Folder
from launch.points import Point
from launch.squeue import Queue, QueueError
from launch.status import Queued


@pytest.fixture
def folder(tmp_path):
    folder = Folder(tmp_path / "root")
    for name, points in (("aa-0", "xy"), ("aa-1", "z"), ("bb-0", "w")):
        made = [Point("c.py", name=point) for point in points]
        folder.write_job(name, made, engine="slurm")
    return folder


@pytest.fixture
def squeue(tmp_path, monkeypatch):
    """Has `squeue` print a text, or fail."""

    def says(text, rc=0):
        path = tmp_path / "bin" / "squeue"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\ncat <<'END'\n{text}\nEND\nexit {rc}\n")
        path.chmod(0o755)
        monkeypatch.setenv("PATH", f"{path.parent}:/usr/bin:/bin")

    return says


def test_jobs_of_this_sweep_are_found_by_name_and_index(folder, squeue):
    squeue(
        "7_0|RUNNING|table1.aa|None\n"
        "7_1|PENDING|table1.aa|Dependency\n"
        "8|COMPLETING|table1.bb|None\n"
        "9_0|RUNNING|table1.cc|None\n"
        "10|RUNNING|bash|None"
    )
    assert Queue(folder).ask() == {
        "x": Queued("7_0", True),
        "y": Queued("7_0", True),
        "z": Queued("7_1", False, "Dependency"),
        "w": Queued("8", True),
    }


def test_slurm_is_asked_where_something_was_submitted(folder, squeue):
    squeue("", rc=1)
    queue = Queue(folder)
    assert queue() == {}
    folder.job("aa", ".slurm").touch()
    assert Queue(folder)() is None
    squeue("7_1|REQUEUED|s.aa|BeginTime")
    queue = Queue(folder, interval=3600)
    assert queue() == {"z": Queued("7_1", False, "BeginTime")}
    squeue("")
    assert queue() == {"z": Queued("7_1", False, "BeginTime")}, "the answer is kept"


def test_no_answer(folder, squeue, monkeypatch):
    squeue("", rc=1)
    with pytest.raises(QueueError, match="squeue failed"):
        Queue(folder).ask()
    monkeypatch.setenv("PATH", "")
    with pytest.raises(QueueError, match="not on the PATH"):
        Queue(folder).ask()
