"""Experiments trained as one program: each as if it had been trained alone."""

import json
import os
import shutil
import signal

import jax
import numpy as np
import pytest

from configs import maf_gas
from fdnf.train import checkpoint, interruption, loop, packs, settings
from fdnf.train.interruption import StoppedBySignalError
from fdnf.train.writers import Writer, read_log
from tests import floats, processes, tiny
from tests.train.test_packs import member

# The points of most tests here.
POINTS = {"a": {}, "b": {"seed": 1, "optim.lr": 1e-2}}


def points(root, **train):
    """A checkpoint at each of the steps 3, 6, 9 and 12."""
    train = {"train.eval_every": 3, **{f"train.{k}": v for k, v in train.items()}}
    return [member(root / name, **train, **own) for name, own in POINTS.items()]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    root = tmp_path_factory.mktemp("alone")
    for config, workdir, *_ in points(root):
        loop.train_and_evaluate(config, workdir)
    return root


def close(ours, theirs):
    """Asserts the same log, best parameters and result, within float error."""
    rows, expected = read_log(ours), read_log(theirs)
    assert [row["step"] for row in rows] == [row["step"] for row in expected]
    for row, other in zip(rows, expected, strict=True):
        # A first call, which compiles, has no speed.
        names, same = (set(each) - {"steps_per_second"} for each in (row, other))
        assert names == same
        for name in names - {"step"}:
            assert np.shape(row[name]) == np.shape(other[name]) == (1,)
            np.testing.assert_allclose(row[name], other[name], rtol=1e-4, atol=1e-6)
    a, b = (checkpoint.load_best(path) for path in (ours, theirs))
    jax.tree.map(
        lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-3, atol=1e-5),
        a[:2],
        b[:2],
    )
    assert a[2]["best"]["step"] == b[2]["best"]["step"]
    results = [
        json.loads((path / loop.FINISHED).read_text()) for path in (ours, theirs)
    ]
    assert results[0]["config"] == results[1]["config"]
    assert results[0]["best_step"] == results[1]["best_step"]


def trained(members, pack="auto"):
    """Directories by name: finished, and those that came to nothing."""
    done = list(packs.train(members, pack))
    assert sorted(m.workdir for m, _ in done) == sorted(m.workdir for m in members)
    return {m.workdir.name: result for m, result in done}


def groups_of(monkeypatch):
    """The sizes of the groups that are trained from here on."""
    sizes, together = [], loop.train_together

    def counted(members, label):
        sizes.append(len(members))
        return together(members, label)

    monkeypatch.setattr(loop, "train_together", counted)
    return sizes


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    root = tmp_path_factory.mktemp("packed")
    with pytest.MonkeyPatch.context() as patch:
        sizes = groups_of(patch)
        results = trained(points(root))
    assert sizes == [2]
    return root, results


def test_packed_equals_alone(alone, packed, monkeypatch):
    root, results = packed
    for name, result in results.items():
        assert result is not None
        close(root / name, alone / name)
    losses = {str(read_log(root / name)[-1]["loss"]) for name in POINTS}
    assert len(losses) == 2
    # Finished ones come back at once.
    sizes = groups_of(monkeypatch)
    assert trained(points(root)) == results
    assert sizes == []


# In CI a teacher is asked once in `test_step`, for those that `test_program` has.
@pytest.mark.slow
def test_students_on_one_device_equal_those_alone_on_two(alone, tmp_path):
    """One device asks a teacher once for all of its students of a seed."""
    file, shared = "ilkd,smoke", {"model.args.steps": 1, "model.args.hidden": (8,)}
    shared |= {"data.args.dim": 3, "data.args.rows": 200}  # Those of the teachers.
    points = {
        f"{seed} {weight}": {
            "seed": seed,
            "loss.args.weights": (1.0, weight, 0.0),
            "teacher.workdir": str(alone / teacher),
        }
        for seed, teacher in enumerate("ab")
        for weight in (0.1, 0.5)
    }
    entries = [
        {"workdir": str(tmp_path / name), "overrides": own}
        for name, own in points.items()
    ]
    (tmp_path / "points.json").write_text(json.dumps(entries))
    with processes.started(
        f"--points={tmp_path / 'points.json'}",
        messages=tmp_path / "stderr",
        config=f"configs/maf_gas.py:{file}",
        overrides=shared,
    ) as run:
        last = tmp_path / "1 0.5" / loop.FINISHED
        processes.until(last.exists, [run])
        run.signal(signal.SIGKILL)
    # The other teacher's first.
    name, config = "1 0.1", maf_gas.get_config(file)
    for given in (shared, points[name]):
        settings.override(config, given)
    loop.train_and_evaluate(config, tmp_path / "alone" / name)
    close(tmp_path / name, tmp_path / "alone" / name)
    losses = {str(read_log(tmp_path / name)[-1]["loss"]) for name in points}
    assert len(losses) == 4


def test_broken_off_together_and_resumed_alone(alone, packed, tmp_path, monkeypatch):
    for name in POINTS:
        tiny.undone(packed[0] / name, tmp_path / name, 6)
    sizes = groups_of(monkeypatch)
    trained(points(tmp_path), "1")
    assert sizes == [1, 1]
    for name in POINTS:
        close(tmp_path / name, alone / name)


def test_uneven_ones_go_on_from_the_last_step_in_common(alone, tmp_path, monkeypatch):
    for name, step in zip(POINTS, (9, 6), strict=True):
        tiny.undone(alone / name, tmp_path / name, step)
    sizes, seen = groups_of(monkeypatch), []
    restore = loop.checkpoint.restore

    def restores(*args):
        found = restore(*args)
        seen.append(found[0])
        return found

    monkeypatch.setattr(loop.checkpoint, "restore", restores)
    trained(points(tmp_path))
    assert (sizes, seen) == ([2], [6])
    for name in POINTS:
        close(tmp_path / name, alone / name)


def test_stopped_by_a_signal_all_are_saved(alone, tmp_path, monkeypatch):
    write = Writer.write

    def signals(self, now, scalars):
        write(self, now, scalars)
        # Once: a second one would not wait.
        if now == 6 and not interruption.requested():
            os.kill(os.getpid(), signal.SIGUSR2)

    with monkeypatch.context() as patch, interruption.handled():
        patch.setattr(Writer, "write", signals)
        with pytest.raises(StoppedBySignalError):
            list(packs.train(points(tmp_path, eval_every=12)))
    for name in POINTS:
        assert checkpoint.Checkpointer(tmp_path / name).steps() == [6]
    trained(points(tmp_path, eval_every=12))
    for name in POINTS:
        ours, theirs = read_log(tmp_path / name), read_log(alone / name)
        floats.assert_close(
            [row["loss"] for row in ours], [row["loss"] for row in theirs], rtol=1e-4
        )


def test_one_that_diverges_fails_and_the_others_finish(alone, tmp_path):
    members = points(tmp_path, max_bad_steps=3)
    lost = member(
        tmp_path / "lost",
        **{"optim.lr": 1e30, "train.eval_every": 3, "train.max_bad_steps": 3},
    )
    results = trained([members[0], lost, *members[1:]])
    assert results.pop("lost") is None
    failed = json.loads((tmp_path / "lost" / "failed.json").read_text())
    assert "not finite for 3 steps in a row" in failed["error"]
    assert not (tmp_path / "lost" / loop.FINISHED).exists()
    for name, result in results.items():
        assert result["skipped_steps"] == [0]
        assert not (tmp_path / name / "failed.json").exists()
        rows, expected = read_log(tmp_path / name), read_log(alone / name)
        floats.assert_close(
            [row["loss"] for row in rows], [row["loss"] for row in expected], rtol=1e-4
        )


def test_one_that_is_refused_does_not_stop_the_others(tmp_path, monkeypatch):
    """Before data are loaded; when they do not fit; and as a directory."""
    sizes = groups_of(monkeypatch)
    good = [member(tmp_path / f"good{i}", seed=i) for i in range(2)]
    seedless = member(tmp_path / "seedless")
    seedless.config.seed = -1
    # Of a teacher that is not there, which is found out once all are loaded.
    taught = [tiny.config("lkd") for _ in range(2)]
    orphans = [
        packs.Experiment(config, tmp_path / f"orphan{i}", teacher=tmp_path / "none")
        for i, config in enumerate(taught)
    ]
    patterned = packs.Experiment(tiny.config(), tmp_path / "[a]")
    results = trained([seedless, *good, *orphans, patterned])
    lost = {name for name, result in results.items() if result is None}
    assert lost == {"seedless", "orphan0", "orphan1", "[a]"}
    assert sizes == [2, 2, 1, 1]
    for name in ("good0", "good1"):
        assert (tmp_path / name / loop.FINISHED).exists()
        assert not (tmp_path / name / "failed.json").exists()
    for name, says in (("seedless", "seed"), ("orphan0", "none")):
        failed = json.loads((tmp_path / name / "failed.json").read_text())
        assert says in failed["error"]


def test_an_only_one_is_refused_as_ever(tmp_path):
    only = member(tmp_path / "only")
    only.config.seed = -1
    with pytest.raises(packs.ConfigError, match="seed"):
        list(packs.train([only]))


def test_all_that_diverge_fail(tmp_path):
    own = {"optim.lr": 1e30, "train.max_bad_steps": 3}
    members = [member(tmp_path / str(i), seed=i, **own) for i in range(2)]
    assert trained(members) == {"0": None, "1": None}
    for i in range(2):
        assert (tmp_path / str(i) / "failed.json").exists()


def test_a_broken_checkpoint_of_one_takes_all_to_the_one_before(
    alone, packed, tmp_path
):
    for name in POINTS:
        tiny.undone(packed[0] / name, tmp_path / name, 9)
    shutil.rmtree(tmp_path / "b" / "checkpoints" / "9" / "state")
    trained(points(tmp_path))
    for name in POINTS:
        close(tmp_path / name, alone / name)
