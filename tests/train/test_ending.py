"""Runs that end before their steps are done, and runs that are made longer."""

import json
import shutil

import numpy as np
import pytest

from fdnf.train import (
    ending,
    loop,
    packs,
    settings,
    stored,
    teachers,
    validation,
    workdirs,
)
from fdnf.train.settings import ConfigError, Experiment
from fdnf.train.writers import read_log
from tests import tiny

# It gets worse at this rate, the one of seed 1 later than that of seed 0.
HOT = {"lr": 0.5, "schedule": "constant", "warmup": 0.0, "clip": 0.0}


def hot(steps=24, **train):
    config = tiny.config(steps=steps, eval_every=3, **train)
    config.optim.update(HOT)
    return config


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that goes on to its end."""
    workdir = tmp_path_factory.mktemp("whole")
    loop.train_and_evaluate(hot(), workdir)
    return workdir


def first_stand(workdir, patience):
    """Where a run would end by its log: step of the end, and of the best until then."""
    best, at = -np.inf, 0
    for row in read_log(workdir):
        if row["val_log_prob"][0] > best:
            best, at = row["val_log_prob"][0], row["step"]
        if row["step"] - at >= 3 * patience:
            return row["step"], at
    raise AssertionError("it should have got worse")


def test_which_are_over():
    train = hot(early_stop=2).train
    best = validation.Best(
        None, None, np.array([1.0, 1.0, np.inf, -3.0]), np.array([3, 6, 9, 12])
    )
    assert ending.over(best, 9, train).tolist() == [True, False, False, False]
    assert ending.over(best, 12, train).tolist() == [True, True, False, False]
    assert ending.over(best, 30, train).tolist() == [True, True, False, True]
    train.early_stop = 0
    assert not ending.over(best, 30, train).any()


def test_a_run_stops_early_and_can_go_on(whole, tmp_path, caplog):
    config = hot(early_stop=2)
    result = loop.train_and_evaluate(config, tmp_path)
    end, best = first_stand(whole, 2)
    assert end < 24
    assert (result["steps"], result["best_step"]) == (end, [best])
    assert result["stopped_early"]
    assert json.loads((tmp_path / "finished.json").read_text()) == result
    rows = read_log(tmp_path)
    waited = [row.pop("validations_since_best") for row in rows]
    assert waited[-1] == [2]
    tiny.same_rows(rows, read_log(whole)[: end // 3])
    assert teachers.load(tmp_path).meta["best"]["step"] == [best]
    # The same command has nothing to do; without its last word it finds the end anew.
    assert loop.train_and_evaluate(config, tmp_path) == result
    (tmp_path / "finished.json").unlink()
    assert loop.train_and_evaluate(config, tmp_path) == result
    assert [row["step"] for row in read_log(tmp_path)][-1] == end
    # With as much patience as there is, it is the run that never stopped.
    config.train.early_stop = 0
    result = loop.train_and_evaluate(config, tmp_path)
    assert result["steps"] == 24
    assert "stopped_early" not in result
    tiny.same_best(tmp_path, whole)
    rows = read_log(tmp_path)
    for row in rows:
        row.pop("validations_since_best", None)
    tiny.same_rows(rows, read_log(whole))


# In CI `test_which_are_over` has several runs.
@pytest.mark.slow
def test_what_comes_after_a_runs_patience_does_not_count(tmp_path):
    """Of runs side by side: the third is over at 9, and at 12 better than ever."""
    config = hot(early_stop=1)
    config.runs = 3
    result = loop.train_and_evaluate(config, tmp_path)
    assert (result["steps"], result["best_step"]) == (12, [9, 3, 6])
    rows = read_log(tmp_path)
    values = np.array([row["val_log_prob"] for row in rows])
    assert values[3, 2] > values[:3, 2].max()
    assert result["best_val_log_prob"] == [
        pytest.approx(value, abs=1e-5)
        for value in (values[2, 0], values[0, 1], values[1, 2])
    ]
    assert rows[-1]["validations_since_best"] == [1, 3, 2]


def test_a_pack_goes_on_until_all_have_stopped(whole, tmp_path, monkeypatch):
    """Each member stops where it would alone, and its directory says so at once."""
    members = []
    for name, lr in (("a", 0.5), ("b", 0.2)):
        config = hot(early_stop=2)
        config.optim.lr = lr
        members.append(Experiment(config, tmp_path / name))
    seen = []
    finish = ending.finish

    def noted(done, *args):
        finish(done, *args)
        seen.append(
            [m.workdir.name for m in members if (m.workdir / "finished.json").exists()]
        )

    monkeypatch.setattr(ending, "finish", noted)
    results = {m.workdir.name: r for m, r in packs.train(members)}
    assert seen == [["b"], ["a", "b"], ["a", "b"]]
    found = {name: (r["steps"], r["best_step"]) for name, r in results.items()}
    assert found == {"a": (15, [9]), "b": (12, [6])}
    assert found["a"] == (first_stand(whole, 2)[0], [first_stand(whole, 2)[1]])
    for name, (end, best) in found.items():
        assert read_log(tmp_path / name)[-1]["step"] == end
        assert stored.steps(tmp_path / name / "checkpoints")[0] == end
        assert teachers.load(tmp_path / name).meta["best"]["step"] == best


def test_one_that_fails_takes_none_along_that_stopped(tmp_path, monkeypatch):
    members = []
    for name, lr in (("a", 0.5), ("b", 0.2)):
        config = hot(early_stop=2, max_bad_steps=3)
        config.optim.lr = lr
        members.append(Experiment(config, tmp_path / name))
    build = ending.without

    def all_fail(lost, alive, *args):
        now = args[3]
        return build(alive if now == 15 else lost, alive, *args)

    monkeypatch.setattr(ending, "without", all_fail)
    results = {m.workdir.name: r for m, r in packs.train(members)}
    assert results["a"] is None
    assert results["b"]["steps"] == 12
    assert (tmp_path / "a" / "failed.json").exists()
    assert not (tmp_path / "b" / "failed.json").exists()


@pytest.mark.parametrize("method", ["kl", "x", "z"])
def test_where_the_newest_counts_nothing_stops_early(method):
    config = tiny.config("ilkd", early_stop=2)
    config.loss.method = method
    with pytest.raises(ConfigError, match=r"early_stop=2: .* keeps the newest param"):
        settings.check(config)


def test_a_run_can_be_made_longer_and_not_shorter(whole, tmp_path, caplog):
    workdir = tmp_path / "run"
    shutil.copytree(whole, workdir)
    says = "holds a run of 24 steps, which train.steps=9 cannot make shorter"
    with pytest.raises(ConfigError, match=says):
        loop.train_and_evaluate(hot(steps=9), workdir)
    loop.train_and_evaluate(hot(steps=36), workdir)
    assert "made longer, from 24 to 36 steps" in caplog.text
    result = workdirs.result(workdir)
    assert result["steps"] == result["config"]["train"]["steps"] == 36
    rows = read_log(workdir)
    tiny.same_rows(rows[:8], read_log(whole))
    assert [row["step"] for row in rows] == [*range(3, 37, 3)]
    # What else differs makes it another run, whatever its steps.
    other = hot(steps=48)
    other.optim.lr *= 2
    with pytest.raises(ConfigError, match=r"another config; different: optim\.lr"):
        workdirs.finished(other, workdir)
    other = hot(steps=24)
    other.optim.lr *= 2
    with pytest.raises(ConfigError, match=r"optim\.lr .*, train\.steps"):
        workdirs.finished(other, workdir)
