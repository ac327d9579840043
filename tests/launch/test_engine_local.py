"""Local sweeps of a stand-in for the trainer: order, stops, kills, failures."""

import json
import os
import signal

from tests.launch import harness


def local(sweep, root, *more):
    return harness.command(sweep, root, "--local", "--interval", "0.1", *more)


UNDISTURBED = harness.undisturbed()


def test_students_run_after_their_teachers(sweep, root):
    words = local(sweep, root, "--jobs", "2", "--pack", "1")
    process = harness.start(words, hold=["teacher0"])
    # Two at a time: the second teacher does not wait for the first.
    harness.wait_for(lambda: harness.attempts(root, "teacher1"), "the second teacher")
    harness.let_go(root, "teacher0")
    told, _ = process.communicate(timeout=240)
    assert process.returncode == 0, told
    assert "4 done" in told
    assert harness.values(root) == UNDISTURBED
    for seed in range(2):
        teacher = harness.attempts(root, f"teacher{seed}")
        student = harness.attempts(root, f"student{seed}")
        assert [row["event"] for row in teacher] == ["start", "end"]
        assert teacher[1]["rc"] == 0
        assert student[0]["time"] >= teacher[1]["time"]


def test_the_same_command_again_starts_nothing(sweep, root):
    assert harness.run(local(sweep, root), 0.0)[0] == 0
    before = harness.attempts(root, "student0")
    rc, told = harness.run(local(sweep, root), 0.0)
    assert rc == 0
    assert "4 done" in told
    assert harness.attempts(root, "student0") == before
    # More seeds: only the new points run.
    assert harness.run(local(sweep, root, "--set", "seeds=3"), 0.0)[0] == 0
    assert harness.attempts(root, "student0") == before
    assert "student2" in harness.values(root)


def test_a_stopped_sweep_goes_on(sweep, root):
    words = local(sweep, root)
    process = harness.start(words, hold=["teacher0"])
    harness.wait_for(lambda: harness.held(root, "teacher0"), "steps")
    # One sweep at a time.
    rc, told = harness.run(words)
    assert rc == 2
    assert "another launcher" in told
    process.send_signal(signal.SIGINT)
    told, _ = process.communicate(timeout=120)
    assert process.returncode == 75, told
    last = harness.attempts(root, "teacher0")[-1]
    assert (last["event"], last["rc"]) == ("end", 75)
    assert "preempted" in told
    # Saved where it was stopped, not at the last regular save.
    reached = harness.steps(root, "teacher0")[-1]
    assert harness.run(words, 0.0)[0] == 0
    steps = harness.steps(root, "teacher0")
    assert steps == list(range(1, 21))
    assert 0 < reached < 20


def test_what_nohup_starts_outlives_its_terminal(sweep, root):
    words = ["nohup", *local(sweep, root, "-s", "seeds=1")]
    process = harness.start(words, 0.0, hold=["teacher0"])
    harness.wait_for(lambda: harness.held(root, "teacher0"), "steps")
    process.send_signal(signal.SIGHUP)
    harness.let_go(root, "teacher0")
    told, _ = process.communicate(timeout=240)
    assert process.returncode == 0, told


def test_disturbances_change_no_result(sweep, root):
    """Child and wrapper killed, child and wrapper signalled: all ends as without."""
    words = local(sweep, root, "--jobs", "4", "--pack", "1")
    process = harness.start(words, hold=UNDISTURBED)
    harness.disturb(
        root,
        {
            "teacher0": lambda row: os.kill(row["child"], signal.SIGKILL),
            "teacher1": lambda row: os.kill(row["pid"], signal.SIGKILL),
            "student0": lambda row: os.kill(row["child"], signal.SIGTERM),
            "student1": lambda row: os.kill(row["pid"], signal.SIGUSR1),
        },
    )
    told, _ = process.communicate(timeout=240)
    assert process.returncode == 0, told
    assert harness.values(root) == UNDISTURBED
    for name in UNDISTURBED:
        assert harness.steps(root, name) == list(range(1, 21))
        starts = [r for r in harness.attempts(root, name) if r["event"] == "start"]
        assert len(starts) == 2, name
    ends = {
        name: [r["rc"] for r in harness.attempts(root, name) if r["event"] == "end"]
        for name in UNDISTURBED
    }
    assert ends["teacher0"] == [-9, 0]
    assert ends["teacher1"] == [0]
    assert ends["student0"] == ends["student1"] == [75, 0]


def test_a_killed_launcher_leaves_nothing_running(sweep, root):
    words = local(sweep, root)
    process = harness.start(words, hold=["teacher0"])
    harness.wait_for(lambda: harness.held(root, "teacher0"), "steps")
    started = harness.attempts(root, "teacher0")[-1]
    process.kill()
    process.communicate()
    # The wrapper and its child end with it, and have saved.
    rc, told = harness.run(words, 0.0)
    assert rc == 0, told
    assert not os.path.exists(f"/proc/{started['child']}")
    assert harness.values(root) == UNDISTURBED
    assert harness.attempts(root, "teacher0")[1]["rc"] == 75


FAULTS = {
    "teacher1": ({"fake.refuse": "no such data"}, "fdnf: ConfigError: no such data"),
    "teacher2": ({"fake.diverge_at": 7}, "300 steps were not finite"),
    "teacher3": ({"fake.crash_always_at": 7}, "killed by SIGSEGV"),
}


def test_a_failed_teacher_stops_its_own_student_only(sweep, root):
    keys = json.dumps({name: keys for name, (keys, _) in FAULTS.items()})
    words = ("-s", "seeds=4", "-s", f"keys={keys}", "--retries", "1", "--pack", "1")
    rc, told = harness.run(local(sweep, root, *words, "--jobs", "4"), 0.0)
    assert rc == 1
    assert sorted(harness.values(root)) == ["student0", "teacher0"]
    for name, (_, reason) in FAULTS.items():
        assert f"failed: {name}: {reason}" in told
        starts = [r for r in harness.attempts(root, name) if r["event"] == "start"]
        assert len(starts) == (2 if name == "teacher3" else 1)
        assert not harness.attempts(root, name.replace("teacher", "student"))
    status = harness.command(sweep, root, *words, "--status")
    rc, told = harness.run(status)
    assert rc == 1
    for name in FAULTS:
        assert f"for {name} (failed)" in told
    assert "2 done" in told
    assert "3 failed" in told
    assert "3 waiting" in told


def test_a_repaired_teacher_is_taken_up_again(sweep, root):
    words = ("-s", 'keys={"teacher0": {"fake.crash_at": 12}}')
    rc, _ = harness.run(local(sweep, root, *words, "--retries", "0"), 0.0)
    assert rc == 1
    assert sorted(harness.values(root)) in (["student1", "teacher1"], [])
    # The stand-in crashes once; the command again then gets through.
    rc, told = harness.run(local(sweep, root, *words, "--retries", "0"), 0.0)
    assert rc == 0, told
    assert len(harness.values(root)) == 4


def test_points_on_another_machine_are_left_alone(sweep, root):
    harness.run(local(sweep, root, "-s", "seeds=1"), 0.0)
    row = harness.attempts(root, "student0")[0]
    for name in ("finished.json", "attempts.jsonl"):
        (root / "student0" / name).unlink()
    row["host"] = "elsewhere"
    with open(root / "student0" / "attempts.jsonl", "w") as file:
        file.write(json.dumps(row) + "\n")
    status = harness.command(sweep, root, "-s", "seeds=1", "--status")
    assert "on elsewhere, which cannot be asked" in harness.run(status)[1]
    words = local(sweep, root, "-s", "seeds=1")
    process = harness.start(words, 0.0)
    # It says so once it has looked at all points, and goes on waiting.
    assert "on elsewhere" in next(line for line in process.stdout if "student0" in line)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=120)
    assert len(harness.attempts(root, "student0")) == 1
    rc, told = harness.run([*words, "--take-over"], 0.0)
    assert rc == 0, told
