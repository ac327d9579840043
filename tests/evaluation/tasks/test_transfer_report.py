"""Scores of whole studies: files, runs that belong together, and the command."""

import dataclasses

import numpy as np
import pytest

from fdnf.evaluation.core import transfer_records
from fdnf.evaluation.scorers.transfer_scores import Settings
from fdnf.evaluation.tasks import transfer_report
from fdnf.train import loop
from fdnf.train.settings import ConfigError
from tests import floats
from tests.evaluation import transfer_pair

SETTINGS = Settings(samples=300, density=200, judged=60, c2st=False, time_batch=10)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("transfer")
    teacher = transfer_pair.trained([(0.0, 1.0), (5.0, 1.0)], "nll")
    students = {
        "kl": transfer_pair.trained([(0.0, 0.5), (5.0, 0.5)], "kl"),
        "x": transfer_pair.trained([(0.0, 1.0), (5.0, 1.0)], "x"),
    }
    text = transfer_report.write(
        folder, teacher, students, transfer_pair.data(), SETTINGS
    )
    return folder, text


def test_files(written):
    folder, text = written
    assert (folder / "transfer.md").read_text() == text
    assert (folder / "transfer.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    found = transfer_report.read(folder)
    assert sorted((r.method, r.seed) for r in found) == [
        (method, seed) for method in ("data", "kl", "teacher", "x") for seed in (0, 1)
    ]
    assert {r.source for r in found} == {"rows of a standard normal"}


def test_runs_are_held_against_the_teachers_run(written):
    found = {(r.method, r.seed): r.scores for r in transfer_report.read(written[0])}
    expected = transfer_pair.divergence((0.0, 0.5), (0.0, 1.0))
    for seed in (0, 1):
        kl = found["kl", seed].reverse_kl
        assert abs(kl.mean - expected) < 5 * kl.standard_error
        assert found["kl", seed].shift.low > 0
        np.testing.assert_allclose(found["x", seed].reverse_kl.mean, 0, atol=1e-4)
    # The data are the first teacher's.
    assert found["data", 0].ks.p_value > 1e-3 > found["data", 1].ks.p_value


def test_speed_is_taken_once(written):
    found = {(r.method, r.seed): r.speed for r in transfer_report.read(written[0])}
    assert found["kl", 0] == found["x", 0]
    assert found["kl", 0].sampling_ms[0] > 0
    assert {found[m, 1] for m in ("kl", "x", "teacher")} == {None}
    assert found["teacher", 0].naive_ms is None  # An affine flow has no such way.


def test_one_teacher_of_several_students(tmp_path):
    teacher = transfer_pair.trained([(0.0, 1.0)], "nll")
    student = transfer_pair.trained([(0.0, 0.5), (1.0, 1.0)], "kl", seed=3)
    settings = dataclasses.replace(SETTINGS, time_batch=0, judged=0)
    args = (teacher, {"kl": student}, transfer_pair.data(), settings)
    text = transfer_report.write(tmp_path, *args)
    found = transfer_report.read(tmp_path)
    assert [(r.method, r.seed) for r in found] == [
        *(("data", 0), ("kl", 3), ("kl", 4), ("teacher", 0))
    ]
    assert "speed" not in text
    assert "over seeds (3, 4)" in text


def test_settings_follow_the_config():
    trained, data = transfer_pair.trained([(0.0, 1.0)], "nll"), transfer_pair.data()
    found = transfer_report.settings_of(trained, data)
    assert (found.samples, found.density, found.judged) == (400, 400, 400)
    assert (found.batch_size, found.time_batch) == (200, 20)
    floats.assert_close(found.reach, 3 * np.abs(data.train).max())
    trained.config.eval.density_rows = 7
    assert transfer_report.settings_of(trained, data).density == 7


def test_errors_say_what_is_wrong(tmp_path):
    teacher = transfer_pair.trained([(0.0, 1.0)] * 2, "nll")
    student, data = transfer_pair.trained([(0.0, 1.0)], "kl"), transfer_pair.data()
    with pytest.raises(ConfigError, match="2 runs, the student 1"):
        transfer_report.write(tmp_path, teacher, {"kl": student}, data)
    with pytest.raises(ConfigError, match="names of the floors"):
        transfer_report.write(tmp_path, teacher, {"data": student}, data)
    teacher.meta["preprocess"]["classes"] = 3
    with pytest.raises(ConfigError, match="conditional"):
        transfer_report.write(tmp_path, teacher, {"kl": student}, data)
    with pytest.raises(FileNotFoundError, match="transfer.json"):
        transfer_report.read(tmp_path)
    path = tmp_path / "transfer" / "kl" / transfer_records.FILENAME
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    with pytest.raises(ValueError, match="kl/transfer.json: record is"):
        transfer_report.read(tmp_path)


def test_again_from_a_workdir(tmp_path, capsys, monkeypatch):
    teacher = transfer_pair.trained([(0.0, 1.0)], "nll")
    student = transfer_pair.trained([(0.0, 0.5)], "kl")
    for config in (teacher.config, student.config):
        config.data = {"name": "synthetic", "args": {"dim": 3, "rows": 300}}
        config.eval.update(samples=60, time_batch=8)
    # The study has moved since.
    student.config.teacher = {"workdir": "/elsewhere/teacher"}
    saved = {tmp_path / "teacher": teacher, tmp_path / "kl": student}
    for path in (*saved, tmp_path / "figures", tmp_path / "x"):
        path.mkdir()
        if path in saved:
            (path / loop.FINISHED).write_text("{}")
    monkeypatch.setattr(transfer_report.teachers, "load", saved.__getitem__)
    assert transfer_report.main([str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert out == (tmp_path / "transfer.md").read_text() + "\n"
    assert "Teacher, as it samples here" in out
    found = transfer_report.read(tmp_path)
    assert [r.method for r in found] == ["data", "kl", "teacher"]
    assert found[1].scores.forward_kl.rows == 60


def test_a_workdir_without_students(tmp_path, capsys):
    assert transfer_report.main([str(tmp_path)]) == 2
    assert "holds no finished student" in capsys.readouterr().err
