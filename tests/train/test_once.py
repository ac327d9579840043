"""Teachers that are asked about each row once, before training: the same training."""

import functools

import jax
import numpy as np
import pytest

from configs import glow_digits, teaching, vectors
from fdnf.train import answers, faults, loop, objectives, pools, program, settings
from fdnf.train import teachers as teachers_of
from fdnf.train.rules import ConfigError
from fdnf.train.settings import Experiment
from tests import floats, tiny


@pytest.fixture(scope="module")
def teachers(tmp_path_factory):
    """Of two runs, unlike each other."""
    place = tmp_path_factory.mktemp("teacher")
    built = tiny.config().copy_and_resolve_references()
    tiny.stored(built, place / "one")
    loop.train_and_evaluate(built.copy_and_resolve_references(), place / "two")
    return place


def config(method, teacher, **keys):
    if method in ("x", "oracle"):
        words = {method, "smoke"}
        built = teaching.pairs(tiny.config(), tiny.config(), words)
        built.model.name = "maf"
        if method == "oracle":
            built.teacher.samples = 90
    else:
        built = tiny.config(method)
    built.teacher.workdir = str(teacher)
    built.teacher.config = None
    with built.unlocked():
        for key, value in keys.items():
            section, name = key.split("_", 1)
            built[section][name] = value
        if method == "ilkd":  # Every other row of what was said of all.
            built.loss.args.every = 2
    return built


def taken(built, teacher, place):
    """What one call of the step and the validation after it say, by name."""
    made = program.build([Experiment(built, place, teacher=teacher)])
    state, scalars = made.take(made.state, np.zeros(jax.local_device_count(), np.int32))
    found = made.validate(state.evaluated, state.constants)
    return {name: np.asarray(value) for name, value in scalars.items()} | {
        "validation": found.loss
    }


CASES = {
    "x": ("x", {}),
    "oracle": ("oracle", {}),
    "of samples too": ("ilkd", {"teacher_samples": 100}),
    "all rows, in parts": ("lkd", {"train_batch_size": 256, "train_accumulate": 2}),
}


TWICE = ("oracle", "all rows, in parts")


# The oracle asks as x does, and of samples as the third case; parts are of any step.
@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, marks=pytest.mark.slow) if case in TWICE else case
        for case in CASES
    ],
)
def test_training_is_that_of_a_teacher_asked_in_every_step(case, teachers, tmp_path):
    method, keys = CASES[case]
    theirs, ours = (
        taken(
            config(method, teachers / "two", teacher_once=once, **keys),
            teachers / "two",
            tmp_path,
        )
        for once in (False, True)
    )
    assert theirs.keys() == ours.keys()
    for name, value in theirs.items():
        floats.assert_close(ours[name], value, 1e-4)


def test_what_is_learned_is_what_was_said_before(teachers, tmp_path, monkeypatch):
    once = answers.once

    def other(*args):
        return jax.tree.map(lambda leaf: leaf + 1.0, once(*args))

    built = config("x", teachers / "two", teacher_once=True)
    theirs = taken(built, teachers / "two", tmp_path)
    monkeypatch.setattr(answers, "once", other)
    ours = taken(built, teachers / "two", tmp_path)
    assert abs(ours["loss"] - theirs["loss"]) > 0.01


def test_each_run_hears_its_own_teacher(teachers, tmp_path):
    built = config("lkd", teachers / "two", teacher_once=True)
    members = [
        Experiment(built, tmp_path / name, teacher=teachers / name)
        for name in ("one", "two")
    ]
    made = program.build(members)
    _, packed = made.take(made.state, np.zeros(jax.local_device_count(), np.int32))
    alone = taken(built, teachers / "two", tmp_path)
    floats.assert_close(packed["lkd"][1], alone["lkd"][0], 1e-5)
    assert abs(packed["lkd"][0] - packed["lkd"][1]) > 1e-3


def test_answers_are_the_teachers_row_by_row(teachers, tmp_path):
    built = config("ilkd", teachers / "two", teacher_once=True, teacher_samples=70)
    member = Experiment(built, tmp_path, teacher=teachers / "two")
    data, prepared, _ = program._given(member)
    source = teachers_of.teachers_of([member], data, prepared)
    drawn = pools.feed(member, data, prepared, source, 4.0)
    said, arrays = drawn.said, drawn.arrays
    assert said is not None
    rows = np.concatenate([arrays["train"], arrays["generated"]])
    numbers = np.concatenate([arrays["row"], arrays["generated_row"]])
    np.testing.assert_array_equal(numbers, np.arange(len(rows)))
    encode = jax.jit(functools.partial(source.trained.flow.apply, method="encode"))
    expected = encode(source.variables, rows)
    floats.assert_close(said.z[0], expected.z[0], 1e-5)
    assert len(said.levels) == len(expected.levels) == 2
    floats.assert_close(said.levels[0], expected.levels[0], 1e-5)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda: tiny.config("skd"), "loss.method='skd' asks the teacher more"),
        (
            lambda: vectors.maf("synthetic", "iaf,guided,smoke"),
            "loss.method='guided' asks the teacher more",
        ),
    ],
    ids=["skd", "guided"],
)
def test_refused_before_training(change, told):
    built = change()
    built.teacher.once = True
    with pytest.raises(ConfigError, match=told):
        settings.check(built)


def test_rows_with_noise_are_refused(teachers, tmp_path):
    pictures = glow_digits.get_config("ilkd,smoke")
    pictures.teacher.once = True
    with pytest.raises(ConfigError, match="other noise in each batch"):
        settings.check(pictures)
    # Of tables whose whole numbers get noise, once the data are there.
    built = config("lkd", teachers / "two", teacher_once=True)
    member = Experiment(built, tmp_path, teacher=teachers / "two")
    data, prepared, _ = program._given(member)

    class Noisy(type(prepared)):
        noisy = True

    source = teachers_of.teachers_of([member], data, prepared)
    with pytest.raises(ConfigError, match="get noise, are cut into windows"):
        pools.feed(member, data, Noisy(), source, 4.0)


def test_configs_of_continuous_teachers_ask_once():
    built = vectors.continuous("synthetic", "pairs,oracle,smoke")
    assert built.teacher.once
    assert objectives.only_encodes(built)
    faults.refuse(faults.of(built))
