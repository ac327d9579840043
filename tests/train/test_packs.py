"""Experiments trained as one program: which go together, and how many."""

import functools

import jax
import pytest
from flax import traverse_util

from fdnf.train import loop, packs, settings
from fdnf.train.settings import ConfigError, Experiment
from launch import bundles
from launch.points import Point
from tests import tiny


def member(workdir, method="nll", teacher=None, **overrides):
    """An experiment; overrides by the last part of their names, as in a function."""
    config = tiny.config(method)
    config.update_from_flattened_dict(overrides)
    if teacher:
        config.teacher.workdir = str(teacher)
    return Experiment(config, workdir, teacher)


def weighted(latents):
    return {"loss.args.weights": (1.0, latents, 0.0)}


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


def alike_teachers(path):
    """Workdirs of two teachers of one architecture."""
    for name in ("t1", "t2"):
        (path / name).mkdir()
        (path / name / "config.json").write_text('{"model": {"name": "maf"}}')
    return path / "t1", path / "t2"


def test_those_that_differ_in_numbers_go_together(tmp_path):
    one, two = alike_teachers(tmp_path)
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


def another(value):
    """Some other value of the same type."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, str):
        return f"{value}x"
    return (0.5, 1.0, 0.0) if isinstance(value, list | tuple | None) else value + 1


def test_the_launcher_and_the_program_have_one_rule(tmp_path):
    """What changes one key goes together in both, or in neither."""
    given = {"loss.method": "lkd", "loss.preset": "official"}
    base = tiny.config("ilkd")
    base.loss.args.weights = (1.0, 0.1, 0.0)
    keys = traverse_util.flatten_dict(settings.to_dict(base), sep=".")
    keys = [k for k in keys if not k.startswith("teacher.config")] + ["label"]
    alike_teachers(tmp_path)
    together = []
    for key in keys:
        config = base.copy_and_resolve_references()
        *path, last = key.split(".")
        section = functools.reduce(getattr, path, config)
        with section.unlocked(), section.ignore_type():
            old = section.get(last, "")
            section[last] = given.get(key, another(old))
        teacher = tmp_path / ("t2" if key == "teacher.workdir" else "t1")
        members = [
            Experiment(base, tmp_path / "a", tmp_path / "t1"),
            Experiment(config, tmp_path / "b", teacher),
        ]
        points = [Point("c.py", {key: value}) for value in (old, section[last])]
        found = len(packs.plan(members, 16)), len(bundles.plan(points, None))
        assert found in ((1, 1), (2, 2)), key
        together += [key] * (found == (1, 1))
    assert {"seed", "optim.lr", "loss.args.weights", "label"} <= set(together)
    assert len(together) < 10 < len(keys)


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
    assert len(list(packs.train(members))) == 5
    assert sizes == [5, 2, 3, 1, 2]


def test_one_that_does_not_fit_is_an_error(tmp_path, monkeypatch):
    out_of_memory(monkeypatch, 0)
    with pytest.raises(jax.errors.JaxRuntimeError, match="RESOURCE_EXHAUSTED"):
        list(packs.train([member(tmp_path / "0")]))
