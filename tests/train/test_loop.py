"""Training from config to checkpoint: resuming, stopping, teachers, the best kept."""

import json
import os
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.data import build as datasets
from fdnf.train import checkpoint, ending, loop, objectives, teachers
from fdnf.train.checkpoint import CheckpointError
from fdnf.train.settings import ConfigError
from fdnf.train.writers import read_log
from tests import floats, tiny


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("unbroken")
    loop.train_and_evaluate(tiny.config(), workdir)
    return workdir


def test_files_and_result(unbroken):
    rows = read_log(unbroken)
    assert [row["step"] for row in rows] == [3, 6, 9, 12]
    assert all(np.isfinite(row["loss"]).all() for row in rows)
    assert ["val_log_prob" in row for row in rows] == [False, True, False, True]
    assert rows[-1]["val_log_prob"][0] > rows[1]["val_log_prob"][0]
    result = json.loads((unbroken / loop.FINISHED).read_text())
    assert (result["steps"], result["skipped_steps"]) == (12, [0])
    assert len((unbroken / "log.csv").read_text().splitlines()) == 5


def test_finished_run_returns_at_once(unbroken, monkeypatch):
    def refuse(config):
        raise AssertionError("a finished run reads no data")

    monkeypatch.setattr(datasets, "build", refuse)
    result = loop.train_and_evaluate(tiny.config(), unbroken)
    assert result == json.loads((unbroken / loop.FINISHED).read_text())


@pytest.mark.parametrize("finished", [True, False])
def test_another_config_is_refused(unbroken, tmp_path, finished):
    if finished:
        workdir = unbroken
    else:
        workdir = tmp_path
        (workdir / "config.json").write_text((unbroken / "config.json").read_text())
    config = tiny.config(batch_size=8)
    config.optim.lr = 1e-4
    says = r"optim.lr \(0.003 there, 0.0001 here\), train.batch_size \(16 there, 8 here"
    with pytest.raises(ConfigError, match=says):
        loop.train_and_evaluate(config, workdir)


def copied(finished, workdir):
    """The same before it was said to be finished."""
    shutil.copytree(finished, workdir)
    (workdir / loop.FINISHED).unlink()
    return workdir


def truncated(files):
    for path in files:
        os.truncate(path, path.stat().st_size // 2)


# In CI the subject is that of `test_resume`, and that of `test_checkpoint`.
@pytest.mark.slow
def test_truncated_newest_checkpoint(unbroken, tmp_path, caplog):
    workdir = copied(unbroken, tmp_path / "run")
    newest = workdir / "checkpoints" / "12"
    truncated([max(newest.rglob("*"), key=lambda path: path.stat().st_size)])
    loop.train_and_evaluate(tiny.config(), workdir)
    warnings = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert any(
        f"checkpoint {newest} is broken" in text and "using step 6 instead" in text
        for text in warnings
    )
    tiny.same_rows(read_log(workdir), read_log(unbroken))
    tiny.same_best(workdir, unbroken)


def test_every_checkpoint_truncated(unbroken, tmp_path):
    workdir = copied(unbroken, tmp_path / "run")
    for step in ("6", "12"):
        found = (workdir / "checkpoints" / step).rglob("*")
        truncated(path for path in found if path.is_file())
    with pytest.raises(CheckpointError, match=r"no checkpoint in .* can be read"):
        loop.train_and_evaluate(tiny.config(), workdir)


def test_killed_while_writing_the_config(unbroken, tmp_path, monkeypatch):
    def dies(path, target):
        raise KeyboardInterrupt

    workdir = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", dies)
        with pytest.raises(KeyboardInterrupt):
            loop.train_and_evaluate(tiny.config(), workdir)
    loop.train_and_evaluate(tiny.config(), workdir)
    tiny.same_rows(read_log(workdir), read_log(unbroken))


# In CI the subject is that of `test_batches.test_a_small_training_set_is_one_batch`.
@pytest.mark.slow
def test_training_set_smaller_than_the_batch_is_one_batch(tmp_path):
    for size in (200, 5000):
        loop.train_and_evaluate(tiny.config(batch_size=size), tmp_path / str(size))
    tiny.same_rows(read_log(tmp_path / "200"), read_log(tmp_path / "5000"))


def test_runs_side_by_side_are_the_seeds_alone(unbroken, tmp_path):
    config = tiny.config()
    config.runs = 2
    loop.train_and_evaluate(config, tmp_path)
    for row, alone in zip(read_log(tmp_path), read_log(unbroken), strict=True):
        floats.assert_close(row["loss"][0], alone["loss"][0], rtol=1e-4)
        assert abs(row["loss"][1] - alone["loss"][0]) > 1e-4


def nan_from(step, monkeypatch):
    build = objectives.build

    def spoiled(*args):
        objective = build(*args)

        def wrapped(variables, teacher, batch, moment):
            loss, terms = objective(variables, teacher, batch, moment)
            return loss + jnp.where(moment.step >= step, jnp.nan, 0.0), terms

        return wrapped

    monkeypatch.setattr(objectives, "build", spoiled)


def test_too_many_bad_steps_stop_and_name_the_checkpoint(tmp_path, monkeypatch):
    nan_from(6, monkeypatch)
    says = rf"step 9: .* run\(s\) \[0\] .* 3 steps in a row.*{tmp_path}/checkpoints/6\."
    with pytest.raises(ending.TrainingStoppedError, match=says):
        loop.train_and_evaluate(tiny.config(max_bad_steps=3), tmp_path)
    params, _, _ = checkpoint.load_best(tmp_path)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(params))
    last = read_log(tmp_path)[-1]
    assert (last["step"], last["skipped_steps"]) == (9, [3])
    assert not (tmp_path / loop.FINISHED).exists()


def test_bad_from_the_start(tmp_path, monkeypatch):
    nan_from(0, monkeypatch)
    with pytest.raises(ending.TrainingStoppedError, match="none was saved yet"):
        loop.train_and_evaluate(tiny.config(max_bad_steps=3), tmp_path)


# In CI steps are skipped and trained past in `test_step`.
@pytest.mark.slow
def test_few_bad_steps_are_counted_and_trained_past(tmp_path, monkeypatch):
    nan_from(10, monkeypatch)
    result = loop.train_and_evaluate(tiny.config(max_bad_steps=3), tmp_path)
    assert result["skipped_steps"] == [2]


def test_best_is_by_validation(tmp_path):
    config = tiny.config(steps=18, eval_every=3)
    config.optim.update(lr=0.5, schedule="constant", warmup=0.0, clip=0.0)
    result = loop.train_and_evaluate(config, tmp_path)
    rows = [row for row in read_log(tmp_path) if "val_log_prob" in row]
    values = [row["val_log_prob"][0] for row in rows]
    best = int(np.argmax(values))
    assert best < len(rows) - 1, "it should have got worse at this learning rate"
    assert result["best_step"] == [rows[best]["step"]]
    floats.assert_close(result["best_val_log_prob"], values[best], rtol=1e-6)
    trained = teachers.load(tmp_path)
    flow, variables = teachers.run_of(trained)
    val = jnp.asarray(datasets.build(config.data).val)
    found = flow.apply(variables, val, method="log_prob").mean()
    floats.assert_close(found, values[best], rtol=1e-5)


def test_teacher_is_trained_first_and_only_once(unbroken, tmp_path):
    config = tiny.config("ilkd")
    loop.train_and_evaluate(config, tmp_path)
    taught = tmp_path / "teacher"
    assert [row["step"] for row in read_log(taught)] == [3, 6, 9, 12]
    before = (taught / loop.FINISHED).stat().st_mtime_ns
    (tmp_path / loop.FINISHED).unlink()
    loop.train_and_evaluate(config, tmp_path)
    assert (taught / loop.FINISHED).stat().st_mtime_ns == before
    assert not (taught / "log.jsonl.old").exists()
    # Named by its workdir, the same teacher gives the same student.
    tiny.same_best(taught, unbroken)
    config.teacher.workdir = str(unbroken)
    config.teacher.config = None
    loop.train_and_evaluate(config, tmp_path / "again")
    tiny.same_rows(read_log(tmp_path / "again"), read_log(tmp_path))
    # Its samples as further data.
    config.teacher.update(samples=100, share=0.5)
    loop.train_and_evaluate(config, tmp_path / "with")
    ours, theirs = read_log(tmp_path / "with"), read_log(tmp_path / "again")
    assert np.isfinite([row["loss"] for row in ours]).all()
    assert ours[0]["loss"] != theirs[0]["loss"]


def test_a_saved_file_is_no_workdir_of_a_teacher(tmp_path, unbroken):
    teachers.load(unbroken).save(tmp_path / "teacher.npz")
    config = tiny.config("lkd")
    config.teacher.workdir = str(tmp_path / "teacher.npz")
    with pytest.raises(ConfigError, match="teacher.npz: expected the directory of its"):
        loop.train_and_evaluate(config, tmp_path / "student")
    assert not (tmp_path / "student" / "checkpoints").exists()


def test_the_home_directory_is_meant_wherever_a_workdir_enters(tmp_path, monkeypatch):
    """Of a run, of a teacher, and of what is pretrained; no directory is named ~."""
    home, here = tmp_path / "home", tmp_path / "here"
    home.mkdir()
    here.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(here)
    tiny.stored(tiny.config(), home / "teacher")
    config = tiny.config("lkd")
    config.teacher.workdir = "~/teacher"
    loop.train_and_evaluate(config, "~/student")
    saved = json.loads((home / "student" / "config.json").read_text())
    assert saved["teacher"]["workdir"] == str(home / "teacher")
    assert sorted(path.name for path in home.iterdir()) == ["student", "teacher"]
    assert not list(here.iterdir())
