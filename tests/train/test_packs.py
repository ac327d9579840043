"""Experiments trained as one program: which go together, and each as if alone."""

import copy
import json
import os
import shutil
import signal

import jax
import numpy as np
import pytest

from configs import maf_gas_distill
from fdnf.train import checkpoint, interruption, loop, packs
from fdnf.train.interruption import StoppedBySignalError
from fdnf.train.program import Member
from fdnf.train.settings import ConfigError
from fdnf.train.writers import Writer, read_log
from tests import processes, tiny


def member(workdir, method="nll", teacher=None, **overrides):
    """An experiment; overrides by the last part of their names, as in a function."""
    config = tiny.config(method)
    config.update_from_flattened_dict(overrides)
    if teacher:
        config.teacher.workdir = str(teacher)
    return Member(config, workdir, teacher)


@pytest.mark.parametrize(
    ("pack", "images", "most"),
    [("auto", False, 16), ("auto", True, 4), ("1", False, 1), ("12", True, 12)],
)
def test_limit(pack, images, most):
    assert packs.limit(pack, images) == most


@pytest.mark.parametrize("pack", ["0", "-1", "all", "", "1.5"])
def test_wrong_limit(pack):
    with pytest.raises(ConfigError, match=rf"--pack={pack}: expected auto, 1"):
        packs.limit(pack)


def grouped(members, most=16):
    return sorted(
        sorted(m.workdir.name for m in group) for group in packs.plan(members, most)
    )


def test_those_that_differ_in_numbers_go_together(tmp_path):
    for name in ("t1", "t2"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text('{"model": {"name": "maf"}}')
    one, two = tmp_path / "t1", tmp_path / "t2"
    found = grouped(
        [
            member(
                tmp_path / "a", "ilkd", one, **{"loss.args.weights": (1.0, 0.1, 0.0)}
            ),
            member(
                tmp_path / "b", "ilkd", two, **{"loss.args.weights": (1.0, 0.5, 0.0)}
            ),
            member(tmp_path / "c", "ilkd", one, **{"seed": 3, "optim.lr": 0.1}),
            member(tmp_path / "d", "ilkd", one, label="fourth"),
        ]
    )
    assert found == [["a", "b", "c", "d"]]


@pytest.mark.parametrize(
    "overrides",
    [
        {"train.steps": 24},
        {"model.args.hidden": (9,)},
        {"train.batch_size": 8},
        {"optim.warmup": 0.5},
        {"data.args.seed": 1},
        {"loss.args.weights": (0.0, 1.0, 0.0)},
        {"runs": 2},
    ],
)
def test_another_program_goes_apart(overrides, tmp_path):
    members = [
        member(
            tmp_path / "a", "ilkd", tmp_path, **{"loss.args.weights": (1.0, 1.0, 0.0)}
        ),
        member(tmp_path / "b", "ilkd", tmp_path, **overrides),
    ]
    assert grouped(members) == [["a"], ["b"]]


def test_teachers_of_another_architecture_go_apart(tmp_path):
    members = []
    for i, name in enumerate(("a", "b", "c")):
        teacher = tmp_path / f"teacher{name}"
        teacher.mkdir()
        model = f'{{"model": {{"name": "maf", "args": {{"steps": {i // 2}}}}}}}'
        (teacher / "config.json").write_text(model)
        members.append(member(tmp_path / name, "ilkd", teacher))
    assert grouped(members) == [["a", "b"], ["c"]]


def test_samples_of_a_teacher_are_one_pool(tmp_path):
    def sampled(name, **overrides):
        overrides |= {"teacher.samples": 10}
        return member(tmp_path / name, "ilkd", tmp_path, **overrides)

    members = [sampled("a"), sampled("b", seed=1), sampled("c", **{"optim.lr": 0.1})]
    assert grouped(members) == [["a", "c"], ["b"]]


def test_groups_are_as_large_as_allowed(tmp_path):
    members = [member(tmp_path / name, seed=i) for i, name in enumerate("abcde")]
    assert grouped(members, 2) == [["a", "b"], ["c", "d"], ["e"]]
    assert grouped(members, 1) == [[name] for name in "abcde"]


def test_those_without_a_step_in_common_go_apart(tmp_path):
    for name, steps in {"a": (3, 6), "b": (6, 9), "c": (9, 12), "d": ()}.items():
        for step in steps:
            (tmp_path / name / "checkpoints" / str(step)).mkdir(parents=True)
    members = [member(tmp_path / name) for name in "abcd"]
    assert grouped(members) == [["a", "b"], ["c"], ["d"]]


# The points of most tests here: two seeds, of one two learning rates.
POINTS = {"a": {}, "b": {"seed": 1}, "c": {"seed": 1, "optim.lr": 1e-2}}


def points(root, **train):
    """A checkpoint at each of the steps 3, 6, 9 and 12."""
    train = {"train.eval_every": 3, **{f"train.{k}": v for k, v in train.items()}}
    return [member(root / name, **train, **own) for name, own in POINTS.items()]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    root = tmp_path_factory.mktemp("alone")
    for config, workdir, _ in points(root):
        loop.train_and_evaluate(config, workdir)
    return root


def close(ours, theirs):
    """Asserts the same log, best parameters and result, within float error."""
    rows, expected = read_log(ours), read_log(theirs)
    assert [row["step"] for row in rows] == [row["step"] for row in expected]
    for row, other in zip(rows, expected, strict=True):
        assert row.keys() == other.keys()
        for name in row.keys() - {"steps_per_second", "step"}:
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


def test_packed_equals_alone(alone, tmp_path, monkeypatch):
    sizes = groups_of(monkeypatch)
    results = trained(points(tmp_path))
    assert sizes == [3]
    for name, result in results.items():
        assert result is not None
        close(tmp_path / name, alone / name)
    losses = {str(read_log(tmp_path / name)[-1]["loss"]) for name in POINTS}
    assert len(losses) == 3
    # Finished ones come back at once.
    assert trained(points(tmp_path)) == results
    assert sizes == [3]


def test_packed_students_equal_students_alone(alone, tmp_path, monkeypatch):
    points = {
        "one": (alone / "a", {}),
        "weight": (alone / "a", {"loss.args.weights": (1.0, 0.5, 0.0)}),
        "seed": (alone / "a", {"seed": 2}),
        "teacher": (alone / "b", {"optim.lr": 1e-2}),
    }
    sizes = groups_of(monkeypatch)
    for where in ("packed", "alone"):
        (tmp_path / where).mkdir()
        members = [
            member(
                tmp_path / where / name,
                "ilkd",
                teacher,
                **{"loss.args.weights": (1.0, 0.1, 0.0), **own},
            )
            for name, (teacher, own) in points.items()
        ]
        trained(members, "auto" if where == "packed" else "1")
    assert sizes == [4, 1, 1, 1, 1]
    for name in points:
        close(tmp_path / "packed" / name, tmp_path / "alone" / name)
    losses = {str(read_log(tmp_path / "packed" / n)[-1]["loss"]) for n in points}
    assert len(losses) == 4


def test_students_on_one_device_equal_those_alone_on_two(alone, tmp_path):
    """One device asks a teacher once for all students of a seed."""
    arg, overrides = "ilkd,smoke", {"model.args.steps": 1, "train.log_every": 5}
    entries = [
        {
            "workdir": str(tmp_path / f"packed{i}"),
            "overrides": {"seed": i // 2, "loss.args.weights": [1.0, weight, 0.0]},
        }
        for i, weight in enumerate((0.1, 0.5, 0.1, 0.5))
    ]
    (tmp_path / "points.json").write_text(json.dumps(entries))
    overrides |= {
        "teacher.workdir": alone / "a",
        "data.args.dim": 3,
        "loss.args.weights": (1.0, 1.0, 0.0),
    }
    with processes.started(
        f"--points={tmp_path / 'points.json'}",
        messages=tmp_path / "stderr",
        config=f"configs/maf_gas_distill.py:{arg}",
        overrides=overrides,
        devices=1,
    ) as run:
        last = tmp_path / "packed3" / loop.FINISHED
        processes.until(last.exists, [run])
        run.signal(signal.SIGKILL)
    config = maf_gas_distill.get_config(arg)
    overrides["teacher.workdir"] = str(alone / "a")
    config.update_from_flattened_dict(overrides)
    for i in (1, 2):
        own = copy.deepcopy(config)
        own.seed = i // 2
        own.loss.args.weights = tuple(entries[i]["overrides"]["loss.args.weights"])
        workdir = tmp_path / f"alone{i}"
        loop.train_and_evaluate(own, workdir)
        close(tmp_path / f"packed{i}", workdir)


class Killed(BaseException):
    """What no program expects."""


def broken_off(members, step, pack, monkeypatch):
    """Trains until the first of them has written this row of its log."""
    write = Writer.write

    def dies(self, now, scalars):
        write(self, now, scalars)
        if now == step:
            raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Writer, "write", dies)
        list(packs.train(members, pack))


@pytest.mark.parametrize("packed_first", [True, False])
def test_broken_off_together_or_alone_and_resumed_the_other_way(
    packed_first, alone, tmp_path, monkeypatch
):
    before, after = ("auto", "1") if packed_first else ("1", "auto")
    if packed_first:
        broken_off(points(tmp_path), 9, before, monkeypatch)
    else:
        for one in points(tmp_path):
            broken_off([one], 9, before, monkeypatch)
    sizes = groups_of(monkeypatch)
    trained(points(tmp_path), after)
    assert sizes == ([1, 1, 1] if packed_first else [3])
    for name in POINTS:
        close(tmp_path / name, alone / name)


def test_uneven_ones_go_on_from_the_last_step_in_common(alone, tmp_path, monkeypatch):
    for one, step in zip(points(tmp_path), (12, 9, 12), strict=True):
        broken_off([one], step, "1", monkeypatch)
    saved = [checkpoint.Checkpointer(p.workdir).steps() for p in points(tmp_path)]
    assert saved[0][0] > saved[1][0] == 6
    sizes, seen = groups_of(monkeypatch), []
    restore = loop.resume.restore

    def restores(*args):
        found = restore(*args)
        seen.append(found[0])
        return found

    monkeypatch.setattr(loop.resume, "restore", restores)
    trained(points(tmp_path))
    assert (sizes, seen) == ([3], [6])
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
        np.testing.assert_allclose(
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
        np.testing.assert_allclose(
            [row["loss"] for row in rows], [row["loss"] for row in expected], rtol=1e-4
        )


def test_all_that_diverge_fail(tmp_path):
    own = {"optim.lr": 1e30, "train.max_bad_steps": 3}
    members = [member(tmp_path / str(i), seed=i, **own) for i in range(2)]
    assert trained(members) == {"0": None, "1": None}
    for i in range(2):
        assert (tmp_path / str(i) / "failed.json").exists()


def out_of_memory(monkeypatch, above):
    """Training more than so many at once does not fit; the sizes that were tried."""
    sizes = []

    def limited(members, label):
        sizes.append(len(members))
        if len(members) > above:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")
        return [{"steps": 12} for _ in members]

    monkeypatch.setattr(loop, "train_together", limited)
    return sizes


def test_what_does_not_fit_is_halved(tmp_path, monkeypatch):
    members = [member(tmp_path / str(i), seed=i) for i in range(5)]
    sizes = out_of_memory(monkeypatch, 2)
    assert set(trained(members)) == {"0", "1", "2", "3", "4"}
    assert sizes == [5, 2, 3, 1, 2]


def test_one_that_does_not_fit_is_an_error(tmp_path, monkeypatch):
    out_of_memory(monkeypatch, 0)
    with pytest.raises(jax.errors.JaxRuntimeError, match="RESOURCE_EXHAUSTED"):
        trained([member(tmp_path / "0")])


def test_a_broken_checkpoint_of_one_takes_all_to_the_one_before(
    alone, tmp_path, monkeypatch
):
    broken_off(points(tmp_path), 12, "auto", monkeypatch)
    newest = checkpoint.Checkpointer(tmp_path / "b").steps()[0]
    shutil.rmtree(tmp_path / "b" / "checkpoints" / str(newest) / "state")
    trained(points(tmp_path))
    for name in POINTS:
        close(tmp_path / name, alone / name)
