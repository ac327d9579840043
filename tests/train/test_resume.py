"""Where training goes on: a whole checkpoint, the best kept, any order of resumes."""

import json
import os
import shutil

import numpy as np
import pytest

from fdnf.train import checkpoint, loop
from fdnf.train.checkpoint import Checkpointer, CheckpointError
from fdnf.train.writers import Writer, read_log
from tests import tiny


class Killed(BaseException):
    """What no program expects."""


def killed_at(config, workdir, step, monkeypatch):
    """Trains until this row is in the log; its checkpoint is not written."""
    write = Writer.write

    def dies(self, now, scalars):
        write(self, now, scalars)
        if now == step:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Writer, "write", dies)
        with pytest.raises(Killed):
            loop.train_and_evaluate(config, workdir)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("unbroken")
    loop.train_and_evaluate(tiny.config(eval_every=3), workdir)
    return workdir


def temporary(path):
    """As orbax leaves it when it is killed before the last file is there."""
    path.rename(path.with_name(f"{path.name}.orbax-checkpoint-tmp"))


def without_meta(path):
    shutil.rmtree(path / "meta")


def without_state(path):
    shutil.rmtree(path / "state")


def empty(path):
    shutil.rmtree(path)
    path.mkdir()


def cut(path):
    for file in (path / "best").rglob("*"):
        if file.is_file():
            os.truncate(file, file.stat().st_size // 2)


def flipped(path):
    """One bit of the largest file."""
    files = [file for file in (path / "state").rglob("*") if file.is_file()]
    largest = max(files, key=lambda file: file.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 1
    largest.write_bytes(content)


# What is damaged in such ways, too, is passed over in `test_checkpoint`.
@pytest.mark.parametrize(
    "damage",
    [
        *(temporary, without_state),
        *(
            pytest.param(damage, marks=pytest.mark.slow)
            for damage in (without_meta, empty, cut, flipped)
        ),
    ],
)
def test_a_half_written_checkpoint_is_never_chosen(
    damage, unbroken, tmp_path, monkeypatch
):
    workdir = tmp_path / "run"
    tiny.undone(unbroken, workdir, 9)
    damage(workdir / "checkpoints" / "9")
    restored, restore = [], loop.checkpoint.restore

    def restores(*args):
        found = restore(*args)
        restored.append(found[0])
        return found

    monkeypatch.setattr(loop.checkpoint, "restore", restores)
    loop.train_and_evaluate(tiny.config(eval_every=3), workdir)
    assert restored == [6]
    tiny.same_rows(read_log(workdir), read_log(unbroken))
    tiny.same_best(workdir, unbroken)


def test_nothing_to_read_is_not_a_fresh_start(unbroken, tmp_path):
    workdir = tmp_path / "run"
    shutil.copytree(unbroken, workdir)
    (workdir / loop.FINISHED).unlink()
    for path in (workdir / "checkpoints").iterdir():
        flipped(path)
    with pytest.raises(CheckpointError, match="no checkpoint in .* can be read"):
        loop.train_and_evaluate(tiny.config(eval_every=3), workdir)


def worse():
    """Best at an early step: the rate is much too high for what follows."""
    config = tiny.config(steps=27, eval_every=3)
    config.train.keep = 2
    config.optim.update(lr=0.5, schedule="constant", warmup=0.0, clip=0.0)
    return config


def test_the_best_outlives_the_newest_checkpoints_in_any_order(tmp_path, monkeypatch):
    workdir, unbroken = tmp_path / "run", tmp_path / "unbroken"
    expected = loop.train_and_evaluate(worse(), unbroken)
    kept = Checkpointer(unbroken).steps()
    assert len(kept) == 2
    assert expected["best_step"][0] < min(kept) - 12
    for step in (12, 21):
        killed_at(worse(), workdir, step, monkeypatch)
        assert len(Checkpointer(workdir).steps()) <= 2
        # The newest is lost: go back to the one before.
        if step == 21:
            flipped(workdir / "checkpoints" / str(Checkpointer(workdir).steps()[0]))
        _, _, meta = checkpoint.load_best(workdir)
        rows = [r for r in read_log(unbroken) if r["step"] <= meta["step"]]
        values = [row["val_log_prob"][0] for row in rows]
        assert meta["best"]["step"] == [rows[int(np.argmax(values))]["step"]]
    assert loop.train_and_evaluate(worse(), workdir) == expected
    tiny.same_rows(read_log(workdir), read_log(unbroken))
    tiny.same_best(workdir, unbroken)


def test_killed_before_the_first_checkpoint_begins_again(unbroken, tmp_path):
    workdir = tmp_path / "run"
    tiny.undone(unbroken, workdir, 0)
    assert Checkpointer(workdir).steps() == []
    loop.train_and_evaluate(tiny.config(eval_every=3), workdir)
    tiny.same_rows(read_log(workdir), read_log(unbroken))


def test_killed_after_the_last_step_trains_nothing_more(
    unbroken, tmp_path, monkeypatch
):
    def dies(path, content):
        if path.name == loop.FINISHED:
            raise Killed
        path.write_text(json.dumps(content))

    config = tiny.config(eval_every=3)
    with monkeypatch.context() as patch:
        patch.setattr(loop.files, "write_json", dies)
        with pytest.raises(Killed):
            loop.train_and_evaluate(config, tmp_path)
    rows = read_log(tmp_path)
    assert rows[-1]["step"] == 12
    loop.train_and_evaluate(config, tmp_path)
    assert read_log(tmp_path) == rows
    tiny.same_best(tmp_path, unbroken)
    ours, theirs = (
        json.loads((path / loop.FINISHED).read_text()) for path in (tmp_path, unbroken)
    )
    assert ours == theirs


def saved_rows(path, seed):
    rng = np.random.default_rng(seed)
    parts = {"train": 400, "val": 100, "test": 100}
    np.savez(path, **{k: rng.normal(size=(n, 3)) for k, n in parts.items()})


def test_replaced_data_are_not_gone_on_with(tmp_path, monkeypatch, caplog):
    def config(**train):
        built = tiny.config(eval_every=3, **train)
        built.data = {"name": "npz", "args": {"path": str(tmp_path / "rows.npz")}}
        return built

    saved_rows(tmp_path / "rows.npz", 0)
    killed_at(config(), tmp_path / "run", 9, monkeypatch)
    saved_rows(tmp_path / "rows.npz", 1)
    with pytest.raises(CheckpointError, match="the data changed since step 6"):
        loop.train_and_evaluate(config(), tmp_path / "run")
    loop.train_and_evaluate(config(accept_changes=True), tmp_path / "run")
    assert "the data changed since step 6: going on" in caplog.text
    # From then on these are its data.
    (tmp_path / "run" / loop.FINISHED).unlink()
    loop.train_and_evaluate(config(), tmp_path / "run")


@pytest.fixture(scope="module")
def teachers(unbroken, tmp_path_factory):
    """Two of the same config, one of which is not trained."""
    root = tmp_path_factory.mktemp("teachers")
    shutil.copytree(unbroken, root / "0")
    tiny.stored(tiny.config(eval_every=3), root / "1")
    return root


def test_retrained_teacher_is_not_gone_on_with(teachers, tmp_path):
    def config(**train):
        built = tiny.config("lkd", eval_every=3, **train)
        built.teacher.workdir = str(tmp_path / "teacher")
        return built

    def teach(number):
        shutil.rmtree(tmp_path / "teacher", ignore_errors=True)
        shutil.copytree(teachers / str(number), tmp_path / "teacher")

    finished, killed = tmp_path / "finished", tmp_path / "killed"
    teach(0)
    loop.train_and_evaluate(config(), finished)
    tiny.undone(finished, killed, 6)
    teach(1)
    for workdir in (finished, killed):
        says = "its teacher model changed since step"
        with pytest.raises(CheckpointError, match=says):
            loop.train_and_evaluate(config(), workdir)
    teach(0)  # The same to the bit.
    for workdir in (finished, killed):
        loop.train_and_evaluate(config(), workdir)
    teach(1)
    for workdir in (finished, killed):
        loop.train_and_evaluate(config(accept_changes=True), workdir)


# Of checkpoints that an early version of fdnf wrote.
@pytest.mark.slow
def test_checkpoint_that_says_nothing_of_its_data_is_gone_on_with(
    tmp_path, monkeypatch
):
    config = tiny.config(eval_every=3)
    with monkeypatch.context() as patch:
        patch.setattr(loop.checkpoint, "foundations", lambda members, data: [{}])
        killed_at(config, tmp_path, 9, monkeypatch)
    loop.train_and_evaluate(config, tmp_path)
