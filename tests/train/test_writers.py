"""The log: rows, columns, values that JSON lacks, and cutting it back on resume."""

import csv
import json
import math

import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.train import writers


def _csv(workdir):
    with open(workdir / "log.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_rows_and_columns(tmp_path):
    with writers.Writer(tmp_path) as writer:
        writer.write(1, {"loss": jnp.array([0.5, 0.25]), "rate": 3.0})
        writer.write(2, {"loss": np.array([0.1, 0.2], np.float32), "rate": 4})
        writer.write(2, {"val/loss": jnp.array([7.0, 8.0]), "note": "first, best"})
    rows = writers.read_log(tmp_path)
    assert rows[0] == {"step": 1, "loss": [0.5, 0.25], "rate": 3.0}
    assert np.float32(rows[1]["loss"][0]) == np.float32(0.1)
    assert rows[2] == {"step": 2, "val/loss": [7.0, 8.0], "note": "first, best"}
    table = _csv(tmp_path)
    names = ["step", "loss/0", "loss/1", "rate", "val/loss/0", "val/loss/1", "note"]
    assert list(table[0]) == names
    assert table[0]["loss/1"] == "0.25"
    assert table[0]["note"] == ""
    assert table[2]["val/loss/1"] == "8.0"
    assert table[2]["note"] == "first, best"


def test_rows_are_on_disk_before_close(tmp_path):
    writer = writers.Writer(tmp_path)
    for step in range(3):
        writer.write(step, {"loss": step / 2})
        assert [row["step"] for row in writers.read_log(tmp_path)][-1] == step
        assert _csv(tmp_path)[-1]["loss"] == str(step / 2)
    writer.close()


def test_nan_and_infinity_are_valid_json_and_come_back(tmp_path):
    with writers.Writer(tmp_path, tensorboard=False) as writer:
        writer.write(1, {"a/loss": np.array([1.0, math.nan, -math.inf]), "x": math.inf})
    line = json.loads(
        (tmp_path / "log.jsonl").read_text(),
        parse_constant=lambda name: pytest.fail(f"{name} is not JSON"),
    )
    assert line["a/loss"] == [1.0, None, None]
    assert line["nonfinite"] == {"a/loss/1": "nan", "a/loss/2": "-inf", "x": "inf"}
    (row,) = writers.read_log(tmp_path)
    np.testing.assert_array_equal(row["a/loss"], [1.0, math.nan, -math.inf])
    assert row["x"] == math.inf
    assert "nonfinite" not in row
    assert _csv(tmp_path)[0]["a/loss/1"] == "nan"


def test_resume_cuts_later_rows_and_a_half_written_line(tmp_path):
    with writers.Writer(tmp_path) as writer:
        for step in (10, 20, 30):
            writer.write(step, {"loss": step * 1.0})
    with open(tmp_path / "log.jsonl", "a") as file:
        file.write('{"step": 40, "lo')
    with open(tmp_path / "log.csv", "a") as file:
        file.write("40,4")
    with writers.Writer(tmp_path, resume_step=20) as writer:
        assert [row["step"] for row in writers.read_log(tmp_path)] == [10, 20]
        assert [row["step"] for row in _csv(tmp_path)] == ["10", "20"]
        writer.write(30, {"loss": 31.0})
    assert [row["loss"] for row in writers.read_log(tmp_path)] == [10.0, 20.0, 31.0]
    assert [row["loss"] for row in _csv(tmp_path)] == ["10.0", "20.0", "31.0"]


def test_a_whole_last_line_without_newline_is_not_joined(tmp_path):
    (tmp_path / "log.jsonl").write_text('{"step": 1, "loss": 1.0}\n{"step": 2}')
    with writers.Writer(tmp_path, resume_step=5) as writer:
        writer.write(3, {"loss": 3.0})
    assert [row["step"] for row in writers.read_log(tmp_path)] == [1, 3]


def test_new_run_keeps_the_old_log_aside(tmp_path):
    for loss in (1.0, 2.0):
        with writers.Writer(tmp_path) as writer:
            writer.write(1, {"loss": loss})
    assert writers.read_log(tmp_path) == [{"step": 1, "loss": 2.0}]
    assert json.loads((tmp_path / "log.jsonl.old").read_text())["loss"] == 1.0
    assert (tmp_path / "log.csv.old").read_text() == "step,loss\n1,1.0\n"


@pytest.mark.parametrize("line", ['{"st', "", "null", "[1]", '{"loss": 1}', "\xff"])
def test_broken_line_in_the_middle_costs_that_line(line, tmp_path, caplog):
    text = '{"step": 1}\n' + line + '\n{"step": 3}\n'
    (tmp_path / "log.jsonl").write_text(text, encoding="latin-1")
    told = []
    assert writers.read_log(tmp_path, told) == [{"step": 1}, {"step": 3}]
    assert "the first is line 2" in told[0]
    with writers.Writer(tmp_path, resume_step=2) as writer:
        writer.write(4, {"loss": 1.0})
    assert [row["step"] for row in writers.read_log(tmp_path)] == [1, 4]
    assert "log.jsonl: 1 of 3 lines" in caplog.text
    damaged = tmp_path / "log.jsonl.damaged"
    assert damaged.read_text(encoding="latin-1") == text


def test_wrong_scalars_are_named(tmp_path):
    with writers.Writer(tmp_path) as writer:
        with pytest.raises(ValueError, match=r"'loss' has shape \(2, 2\)"):
            writer.write(1, {"loss": np.zeros((2, 2))})
        with pytest.raises(ValueError, match="step"):
            writer.write(1, {"step": 3})
        writer.write(1, {"half": jnp.ones((2,), jnp.bfloat16)})
    assert writers.read_log(tmp_path) == [{"step": 1, "half": [1.0, 1.0]}]


def test_tensorboard_gets_one_curve_a_run(tmp_path):
    pytest.importorskip("tensorboardX")
    with writers.Writer(tmp_path) as writer:
        writer.write(1, {"loss": np.array([0.5, 0.25])})
    (events,) = (tmp_path / "tensorboard").iterdir()
    data = events.read_bytes()
    assert b"loss/0" in data
    assert b"loss/1" in data
    with writers.Writer(tmp_path / "without", tensorboard=False) as writer:
        writer.write(1, {"loss": 0.5})
    assert not (tmp_path / "without" / "tensorboard").exists()


def test_an_absent_log_is_empty(tmp_path):
    assert writers.read_log(tmp_path) == []


def test_progress_without_a_terminal_prints_now_and_then(capsys):
    with writers.Progress(100, start=10, interval=1e9) as bar:
        for step in (20, 30, 100):
            bar.update(step, loss=np.array([1.0, 3.0]))
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("train 100/100  loss 2  ")
    assert "steps/s" in line
    assert "0:00:00 left" in line


def test_progress_on_a_terminal_shows_a_bar(capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with writers.Progress(100, start=10) as bar:
        bar.update(40, loss=np.array([1.0, 3.0]))
    shown = capsys.readouterr().err
    assert "40/100" in shown
    assert "loss 2" in shown
