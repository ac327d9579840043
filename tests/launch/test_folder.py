"""The files of a sweep."""

import json
import pathlib
import threading

import pytest

from launch import folder as folders
from launch import status
from launch.folder import Folder
from launch.points import Point, SweepError, workdir_of


@pytest.fixture
def sweep():
    teacher = Point("configs/t.py:teacher", {"seed": 1})
    own = {"seed": 1, "teacher.workdir": workdir_of(teacher), "w": (1.0, 0.1)}
    return [teacher, Point("configs/s.py:ilkd", own, (teacher.name,))]


def test_written_and_read(tmp_path, sweep):
    folder = Folder(tmp_path / "root")
    folder.write("small", {"seeds": 1}, "the command", sweep)
    known = json.loads((tmp_path / "root" / "sweep.json").read_text())
    assert known["sweep"] == "small"
    assert known["arguments"] == {"seeds": 1}
    assert known["created_by"] == "the command"
    assert known["points"][1] == {
        "name": "s-ilkd/seed=1+w=1.0_0.1",
        "workdir": "s-ilkd/seed=1+w=1.0_0.1",
        "config": "configs/s.py:ilkd",
        "overrides": {
            "seed": 1,
            "teacher.workdir": f"{tmp_path}/root/t-teacher/seed=1",
            "w": [1.0, 0.1],
        },
        "after": ["t-teacher/seed=1"],
    }
    point = json.loads((folder.workdir(sweep[1].name) / "point.json").read_text())
    command = point.pop("command")
    assert point == known["points"][1]
    assert command == (
        "python -m fdnf.main --mode=single --config=configs/s.py:ilkd "
        f"--workdir={tmp_path}/root/s-ilkd/seed=1+w=1.0_0.1 --config.seed=1 "
        f"--config.teacher.workdir={tmp_path}/root/t-teacher/seed=1 "
        "'--config.w=(1.0, 0.1)'"
    )
    name, found = folder.read()
    assert name == "small"
    assert [p.name for p in found] == [p.name for p in sweep]
    assert found[1].overrides["w"] == (1.0, 0.1)
    assert folder.command(found[1]) == folder.command(sweep[1])


def test_a_root_means_the_same_however_it_is_written(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert Folder("runs/a").root == "runs/a"
    assert Folder(tmp_path / "runs" / "a").root == "runs/a"
    assert Folder("/elsewhere").root == "/elsewhere"
    assert Folder(tmp_path).root == str(tmp_path)


def test_points_of_an_extended_sweep_are_added(tmp_path, sweep):
    folder = Folder(tmp_path)
    folder.write("small", {}, "first", sweep)
    more = Point("configs/t.py:teacher", {"seed": 2})
    assert [p.name for p in folder.write("small", {}, "second", [more])] == [
        *(p.name for p in sweep),
        more.name,
    ]
    # The same with its teacher's place written otherwise.
    moved = Point(
        sweep[1].config,
        {**sweep[1].overrides, "teacher.workdir": "elsewhere"},
        sweep[1].after,
    )
    folder.write("small", {}, "third", [moved])
    assert folder.read()[1][1].overrides["teacher.workdir"] == "elsewhere"
    with pytest.raises(SweepError, match="holds the sweep small: give table1"):
        folder.write("table1", {}, "", sweep)
    other = Point("configs/t.py:teacher", {"seed": 2, "label": "x"})
    assert other.name == more.name
    with pytest.raises(SweepError, match="holds another point t-teacher/seed=2"):
        folder.write("small", {}, "", [other])


def test_no_sweep(tmp_path):
    with pytest.raises(SweepError, match=r"no sweep\.json"):
        Folder(tmp_path).read()


def test_done_is_trained_and_evaluated(tmp_path):
    assert not folders.is_done(tmp_path)
    (tmp_path / "finished.json").write_text("{}")
    assert not folders.is_done(tmp_path)
    (tmp_path / "results" / "m" / "seed_0").mkdir(parents=True)
    assert not folders.is_done(tmp_path)
    (tmp_path / "results" / "m" / "seed_0" / "result.json").write_text("{}")
    assert not folders.is_done(tmp_path)
    (tmp_path / "table.md").write_text("")
    assert folders.is_done(tmp_path)


def test_rows_of_many_writers_stay_whole(tmp_path):
    folder = Folder(tmp_path)
    writers = [
        threading.Thread(
            target=lambda i=i: [folder.note(["p"], by=i, k=k) for k in range(50)]
        )
        for i in range(4)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    rows = folder.attempts("p")
    assert {(row["by"], row["k"]) for row in rows} == {
        (i, k) for i in range(4) for k in range(50)
    }


def test_half_written_rows_are_no_rows(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"step": 1}\n[1]\n{"step": 2, "x": "\xc3\xa9"}\n{"step": 3')
    assert [row["step"] for row in folders.read_lines(path)] == [1, 2]
    # Also where the part that is read begins within a row, or a letter.
    for last in range(60):
        found = [row["step"] for row in folders.read_lines(path, last)]
        assert found in ([], [2], [1, 2])
    assert folders.read_lines(pathlib.Path(tmp_path / "none")) == []


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (3, "3"),
        (1e-3, "0.001"),
        (True, "True"),
        ("a b", "a b"),
        ((1.0, 0.1), "(1.0, 0.1)"),
        ([1, [2]], "(1, (2,))"),
    ],
)
def test_values_of_flags(value, text):
    assert folders.flag_text(value) == text


@pytest.mark.parametrize("name", ["super_resolution.json", "speech.json"])
def test_baselines_are_not_all(tmp_path, name):
    (tmp_path / "finished.json").write_text("{}")
    (tmp_path / "results" / "m" / "seed_0").mkdir(parents=True)
    (tmp_path / "results" / "m" / "seed_0" / name).write_text("{}")
    assert not folders.is_done(tmp_path)
    (tmp_path / "table.md").write_text("")
    assert folders.is_done(tmp_path)


DAMAGES = {
    "empty": b"",
    "cut": b'{"steps": 12, "conf',
    "binary": bytes(range(256)),
    "null": b"null",
    "a list": b"[1, 2]",
    "without keys": b"{}",
    "of other types": b'{"steps": "12", "train": 3, "points": 4, "sweep": 5}',
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize(
    "name", ["finished.json", "config.json", "failed.json", "log.jsonl", "point.json"]
)
def test_damaged_files_of_a_point_stop_nobody(name, damage, tmp_path, sweep):
    folder = Folder(tmp_path / "root")
    folder.write("small", {}, "the command", sweep)
    (folder.workdir(sweep[0].name) / name).write_bytes(DAMAGES[damage] + b"\n")
    found = status.survey(folder, sweep)
    assert found[sweep[0].name].state in (status.WAITING, status.FAILED)
    assert status.table(list(found.values()))
    folder.write("small", {}, "the command", sweep)


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_sweep_is_named_with_the_way_out(damage, tmp_path, sweep):
    folder = Folder(tmp_path / "root")
    folder.write("small", {}, "the command", sweep)
    (folder.path / "sweep.json").write_bytes(DAMAGES[damage])
    with pytest.raises(SweepError, match=r"sweep\.json is damaged .* remove it"):
        folder.read()
    with pytest.raises(SweepError, match=r"sweep\.json is damaged .* remove it"):
        folder.write("small", {}, "the command", sweep)
    (folder.path / "sweep.json").unlink()
    folder.write("small", {}, "the command", sweep)
    assert [point.name for point in folder.read()[1]] == [p.name for p in sweep]


def test_states_are_strict_json(tmp_path, sweep):
    folder = Folder(tmp_path / "root")
    folder.write("small", {}, "the command", sweep)
    workdir = folder.workdir(sweep[0].name)
    (workdir / "finished.json").write_text('{"steps": 3, "best_val_log_prob": [NaN]}')
    rows = status.as_json(status.survey(folder, sweep).values())
    assert json.loads(json.dumps(rows, allow_nan=False))[0]["metric"] is None


def test_temporary_files_follow_no_link(tmp_path, monkeypatch):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    monkeypatch.setattr(folders.secrets, "token_hex", lambda size: "known")
    (tmp_path / ".file.known.tmp").symlink_to(victim)
    with pytest.raises(FileExistsError):
        folders.write_json(tmp_path / "file", {})
    assert victim.read_text() == "mine"
