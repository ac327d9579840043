"""Directories of sweeps, made by hand."""

import json

import pytest

from fdnf.evaluation.report import sweeps

ERROR = "500 steps in a row were not finite"


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    text = content if isinstance(content, str) else json.dumps(content)
    path.write_text(text, encoding="utf-8")


def rows(*ends):
    """Attempts: a start before every end; None leaves the last one open."""
    found = []
    for rc in ends:
        found.append({"event": "start"})
        found += [] if rc is None else [{"event": "end", "rc": rc}]
    return "".join(json.dumps(row) + "\n" for row in found)


def entry(name, **changes):
    fields = {"name": name, "workdir": name, "config": "configs/maf_bsds300.py:teacher"}
    return {**fields, "overrides": {"seed": 1}, "after": [], **changes}


def state(folder, **kwargs):
    point = sweeps.Point("a", folder)
    return sweeps.states([point])["a"]


def test_points_of_a_sweep(tmp_path):
    points = [entry("a"), entry("b/c", after=["a"])]
    write(
        tmp_path / "sweep.json",
        {"sweep": "t1", "arguments": {"n": 2}, "created_by": "go", "points": points},
    )
    write(tmp_path / "b/c/point.json", {**points[1], "command": "python -m fdnf.main"})
    sweep, problems = sweeps.read(tmp_path)
    assert problems == []
    assert (sweep.name, sweep.command, sweep.arguments) == ("t1", "go", {"n": 2})
    assert [point.name for point in sweep.points] == ["a", "b/c"]
    second = sweep.points[1]
    assert second.folder == tmp_path / "b/c"
    assert second.after == ("a",)
    assert second.command == "python -m fdnf.main"


def test_points_without_a_sweep(tmp_path):
    write(tmp_path / "x/point.json", entry("x"))
    # Checkpoints hold many files and no points.
    write(tmp_path / "x/checkpoints/1/point.json", entry("y"))
    sweep, problems = sweeps.read(tmp_path)
    assert [point.name for point in sweep.points] == ["x"]
    assert sweep.name == tmp_path.name
    assert problems == []


@pytest.mark.parametrize(
    ("text", "said"),
    [('{"sweep": "t', "cannot be read"), ("[1]", "expected an object, got list")],
)
def test_a_broken_sweep_is_named_and_its_points_found(tmp_path, text, said):
    write(tmp_path / "sweep.json", text)
    write(tmp_path / "x/point.json", entry("x"))
    sweep, problems = sweeps.read(tmp_path)
    assert [point.name for point in sweep.points] == ["x"]
    assert len(problems) == 1
    assert problems[0].startswith("sweep.json: ")
    assert said in problems[0]


def test_entries_of_another_form_are_named(tmp_path):
    write(tmp_path / "sweep.json", {"points": [{"workdir": "a"}, entry("b")]})
    sweep, problems = sweeps.read(tmp_path)
    assert [point.name for point in sweep.points] == ["b"]
    assert problems == ["a: a point without a name"]


def test_done_wants_training_and_results(tmp_path):
    assert state(tmp_path).kind == "waiting"
    write(tmp_path / "config.json", {})
    assert state(tmp_path).kind == "running"
    write(tmp_path / "finished.json", {})
    assert state(tmp_path) == sweeps.State("preempted", "trained, not evaluated")
    write(tmp_path / "results/lkd/seed_0/result.json", {})
    assert state(tmp_path) == sweeps.State("preempted", "trained, not evaluated")
    write(tmp_path / "table.md", "")
    assert state(tmp_path).kind == "done"


@pytest.mark.parametrize(
    ("attempts", "expected"),
    [
        ((75, 75), ("preempted", "saved and stopped", 2)),
        ((75, None), ("running", "no end was noted: running, or killed", 2)),
        ((-9,), ("failed", "killed by signal 9", 1)),
        ((1,), ("failed", "exit status 1", 1)),
        ((0,), ("failed", "ended without a result", 1)),
    ],
)
def test_attempts_tell_the_state(tmp_path, attempts, expected):
    # The last row is being written.
    write(tmp_path / "attempts.jsonl", rows(*attempts) + '{"event": "st')
    assert state(tmp_path) == expected


def test_a_failure_gives_its_reason_until_it_is_started_again(tmp_path):
    write(tmp_path / "failed.json", {"error": ERROR})
    write(tmp_path / "attempts.jsonl", rows(2))
    assert state(tmp_path) == ("failed", ERROR, 1)
    write(tmp_path / "attempts.jsonl", rows(2, None))
    assert state(tmp_path).kind == "running"


def test_waiting_names_what_it_waits_for(tmp_path):
    teacher = sweeps.Point("teacher", tmp_path / "teacher")
    other = sweeps.Point("other", tmp_path / "other")
    student = sweeps.Point("s", tmp_path / "s", after=("other", "teacher"))
    write(tmp_path / "teacher/failed.json", {"error": ERROR})
    found = sweeps.states([teacher, other, student])
    assert found["s"].reason == "waits for teacher, which is failed and 1 more"


@pytest.mark.parametrize("name", ["super_resolution.json", "speech.json"])
def test_results_with_a_condition_are_whole_with_their_table(tmp_path, name):
    folder = tmp_path / "results" / "bicubic" / "seed_0"
    folder.mkdir(parents=True)
    (folder / name).write_text("{}")
    assert not sweeps.evaluated(tmp_path)
    (tmp_path / "table.md").write_text("")
    assert sweeps.evaluated(tmp_path)
