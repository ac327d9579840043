"""Sweeps of a stand-in for the trainer on a real SLURM, with losses on the way."""

import json
import os
import signal

import pytest

from tests.launch import cluster, harness


def on_slurm(sweep, root, *more):
    return harness.command(
        *(sweep, root, "--slurm", "--cpus", "1", "--interval", "0.5", *more)
    )


# A node that is lost takes SLURM itself as long as all the rest.
@pytest.mark.parametrize("of_node", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_losses_on_the_way_change_no_result(slurm, sweep, root, of_node):
    """A signal, two kills -9 and a node that goes down; all cells as without."""
    students = 2 if of_node else 1
    words = on_slurm(sweep, root, "--wait", "--pack", "1", "-s", f"students={students}")
    first, lost = ("student0_0", "student1_0") if of_node else ("student0", "")
    hold = ["teacher0", "teacher1", first] + [lost] * of_node
    process = harness.start(words, hold=hold, **slurm.env)
    down = []

    def take_the_node_down(row):
        # It stops whatever runs there: after the others have had theirs and are done.
        if not all(harness.finished(root / name) for name in hold[:3]):
            return False
        (node,) = slurm.call("squeue", "-h", "-j", row["job"], "-o", "%N").split()
        down.append(node)
        slurm.call(*f"scontrol update nodename={node} state=down reason=test".split())
        return True

    blows = {
        "teacher0": lambda row: slurm.call("scancel", "-s", "USR2", row["job"]),
        "teacher1": lambda row: os.kill(row["child"], signal.SIGKILL),
        first: lambda row: os.kill(row["pid"], signal.SIGKILL),
    }
    harness.disturb(root, blows | ({lost: take_the_node_down} if of_node else {}))
    if of_node:
        update = "scontrol update nodename={} state={} reason=test"
        drained = cluster.NODES[down == [cluster.NODES[0]]]
        slurm.call(*update.format(drained, "drain").split())
        slurm.call(*f"scontrol update nodename={down[0]} state=resume".split())
    told, _ = process.communicate(timeout=240)
    assert process.returncode == 0, told
    undisturbed = harness.undisturbed(students=students)
    assert f"{len(undisturbed)} done" in told
    assert harness.values(root) == undisturbed
    for name in undisturbed:
        assert harness.steps(root, name) == list(range(1, 21)), name

    def ends(name):
        rows = harness.attempts(root, name)
        return [(r["event"], r.get("rc")) for r in rows], {r["job"] for r in rows}

    # Saved at the signal, and requeued under the same id.
    rows, jobs = ends("teacher0")
    assert rows == [("start", None), ("end", 75), ("start", None), ("end", 0)]
    assert len(jobs) == 1
    # Run again in place.
    rows, jobs = ends("teacher1")
    assert rows == [("start", None), ("end", -9), ("start", None), ("end", 0)]
    assert len(jobs) == 1
    # Gone without a word, so submitted again.
    rows, jobs = ends(first)
    assert rows == [("start", None), ("start", None), ("end", 0)]
    assert len(jobs) == 2
    if of_node:
        # Requeued by SLURM itself.
        rows, jobs = ends(lost)
        assert rows[0] == rows[-2] == ("start", None)
        assert len(jobs) == 1


def test_a_second_command_submits_nothing_twice(slurm, sweep, root):
    words = on_slurm(sweep, root)
    held = {"FAKE_HOLD": "teacher0,teacher1", **slurm.env}
    assert harness.run(words, 0.0, **held)[0] == 75
    queued = sorted(slurm.call("squeue", "-h", "-r", "-o", "%i").split())
    assert len(queued) == 2, "one job a method, two seeds in each"
    rc, told = harness.run(words, 0.0, **held)
    assert rc == 75
    assert "submitted" not in told
    assert sorted(slurm.call("squeue", "-h", "-r", "-o", "%i").split()) == queued
    # A local launcher leaves them alone too, and waits for them.
    local = harness.start(harness.command(sweep, root, "--local"), 0.0, **slurm.env)
    for name in ("teacher0", "teacher1"):
        harness.wait_for(lambda name=name: harness.held(root, name), "steps")
        harness.let_go(root, name)
    told, _ = local.communicate(timeout=240)
    assert local.returncode == 0, told
    assert {r["engine"] for r in harness.attempts(root, "student0")} == {"slurm"}


# In CI this is so of a local sweep (`test_engine_local`).
@pytest.mark.slow
def test_a_student_waits_for_a_failed_teacher(slurm, sweep, root):
    keys = ("-s", 'keys={"teacher0": {"fake.diverge_at": 7}}')
    words = on_slurm(sweep, root, "--wait", "--pack", "1", *keys)
    rc, told = harness.run(words, 0.05, **slurm.env)
    assert rc == 1
    assert sorted(harness.values(root)) == ["student1", "teacher1"]
    assert "failed: teacher0: 300 steps were not finite" in told
    # What has just ended may take a moment to leave.
    harness.wait_for(
        lambda: not slurm.call("squeue", "-h", "-t", "PENDING,RUNNING"),
        "its job is not left in the queue",
        timeout=20,
    )
    status = harness.command(sweep, root, "--status", *keys)
    assert "for teacher0 (failed)" in harness.run(status, **slurm.env)[1]
    # Mended, by hand.
    (root / "teacher0" / "failed.json").unlink()
    for point in (root / "teacher0" / "point.json", root / "sweep.json"):
        point.write_text(point.read_text().replace('"fake.diverge_at": 7', '"a": 1'))
    again = [word for word in words if word not in (*keys, str(sweep))]
    rc, told = harness.run(again, 0.0, **slurm.env)
    assert rc == 0, told
    assert len(harness.values(root)) == 4


def test_a_cancelled_job_stays_away(slurm, sweep, root):
    words = on_slurm(sweep, root, "-s", "seeds=1", "-s", "steps=300")
    assert harness.run(words, 0.1, **slurm.env)[0] == 75
    harness.wait_for(lambda: harness.steps(root, "teacher0"), "steps")
    slurm.call("scancel", harness.attempts(root, "teacher0")[-1]["job"])
    harness.wait_for(lambda: not slurm.call("squeue", "-h"), "an empty queue")
    assert harness.attempts(root, "teacher0")[-1]["rc"] == 75
    status = harness.command(sweep, root, "--status", "--json", *words[-4:])
    found = json.loads(harness.run(status, **slurm.env)[1])
    assert [(s["name"], s["state"]) for s in found] == [
        ("teacher0", "preempted"),
        ("student0", "waiting"),
    ]


# In CI `test_train_sbatch` has a job of two nodes that loses a process.
@pytest.mark.slow
def test_points_of_several_processes(slurm, sweep, root):
    """Two nodes; one process of them is killed, and the whole job requeued."""
    words = on_slurm(sweep, root, "--wait", "--nodes", "2", "-s", "seeds=1")
    words += ["-s", "students=0"]
    process = harness.start(words, hold=["teacher0"], **slurm.env)
    harness.disturb(
        root, {"teacher0": lambda row: os.kill(row["child"], signal.SIGKILL)}
    )
    told, _ = process.communicate(timeout=240)
    assert process.returncode == 0, told
    rows = harness.attempts(root, "teacher0")
    assert [r.get("rc") for r in rows] == [None, -9, None, 0]
    assert harness.steps(root, "teacher0") == list(range(1, 21))
