"""Training on images: conditions, inheritance, refusals, resume."""

import jax
import numpy as np
import pytest

from configs import common, glow_digits, teaching
from fdnf.flows import surgery
from fdnf.flows.glow import Glow
from fdnf.train import (
    loop,
    objectives,
    pools,
    program,
    settings,
    teachers,
)
from fdnf.train.preprocess import Preprocess
from fdnf.train.settings import ConfigError
from fdnf.train.writers import read_log
from tests import floats, tiny


def config(arg="student", **overrides):
    """Two levels of one step (the teacher: two), width 4, on 4x4 images."""
    if arg in common.METHODS:
        built = teaching.distill(_flow("student"), _flow("teacher"), {arg})
        built.teacher.config.update_from_flattened_dict(overrides)
    else:
        built = _flow(arg)
    built.update_from_flattened_dict(overrides)
    return built


def _flow(arg):
    built = glow_digits.get_config(f"{arg},smoke")
    teacher = built.role == "teacher"
    built.model.args.update(steps=2 if teacher else 1, hidden=4)
    built.data.args.update(size=4, rows=100, classes=3)
    built.train.update(
        steps=6, batch_size=8, steps_per_call=2, log_every=2, eval_every=4, init_rows=16
    )
    built.eval.update(batch_size=50)
    return built


ONE_LEVEL = {"model.args.levels": 1}


def bits(workdir):
    return [
        row["val_bits_per_dim"]
        for row in read_log(workdir)
        if "val_bits_per_dim" in row
    ]


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("teacher")
    loop.train_and_evaluate(config("teacher", **ONE_LEVEL), workdir)
    return workdir


def test_log_has_bits_per_dim(teacher):
    rows = [row for row in read_log(teacher) if "val_bits_per_dim" in row]
    assert [row["step"] for row in rows] == [4, 6]
    for row in rows:
        nats = np.asarray(row["val_log_prob"])
        expected = -nats / (16 * np.log(2))
        floats.assert_close(row["val_bits_per_dim"], expected, rtol=1e-6)
        # Grey images of 256 levels that nobody compressed have at most 8 bits.
        assert 1 < expected[0] < 12


def test_loaded_teacher_knows_its_data(teacher):
    trained = teachers.load(teacher)
    assert trained.event == (4, 4, 1)
    assert trained.preprocess == Preprocess(256)
    made = pools.generate(trained, 300, seed=0)
    assert made["generated"].shape == (300, 4, 4, 1)
    assert made["generated"].dtype == np.uint8
    assert set(made) == {"generated"}


def test_resumed_run_equals_an_unbroken_one(teacher, tmp_path):
    resumed = tmp_path / "resumed"
    tiny.undone(teacher, resumed, 4)
    loop.train_and_evaluate(config("teacher", **ONE_LEVEL), resumed)
    tiny.same_rows(read_log(teacher), read_log(resumed))
    tiny.same_best(teacher, resumed)


def test_student_inherits_permutations(teacher, tmp_path):
    built = config("ilkd", **ONE_LEVEL)
    built.teacher.workdir = str(teacher)
    built.teacher.config = None
    built.teacher.inherit_permutations = True
    made = program.build([settings.Experiment(built, tmp_path, teacher=teacher)])
    state = made.state
    student = {"params": state.params, "constants": state.constants}
    student = jax.tree.map(lambda leaf: leaf[0], student)
    theirs = teachers.run_of(teachers.load(teacher))[1]
    heir = surgery.inherit_permutations(student, theirs)
    same = jax.tree.map(np.array_equal, student["constants"], heir["constants"])
    assert all(jax.tree.leaves(same))


# The study of images in `experiments.test_image_study` has such a pair too.
@pytest.mark.slow
def test_conditional_student_of_a_conditional_teacher(tmp_path):
    few = ONE_LEVEL | {"model.args.steps": 1}
    built = config("skd", **few, **{"data.conditional": True})
    built.loss.skd.start = 0.0
    built.loss.skd.batch = 6
    built.train.accumulate = 2  # parts of 4 / 2 rows a device, fewer than SKD's
    built.teacher.samples = 20
    built.teacher.config.seed = 1
    loop.train_and_evaluate(built, tmp_path)
    trained = teachers.load(tmp_path)
    assert trained.preprocess.classes == 3
    made = pools.generate(trained, 30, seed=0)
    assert made["generated_beside"].shape == (30,)
    assert set(np.unique(made["generated_beside"])) <= {0, 1, 2}
    assert np.isfinite(bits(tmp_path)).all()
    # Of as many steps, and another seed, it has permutations of its own unless asked.
    both = (trained, teachers.load(tmp_path / "teacher"))
    equal = jax.tree.map(np.array_equal, *(t.variables["constants"] for t in both))
    assert not all(jax.tree.leaves(equal))


def test_teacher_of_other_bits_is_refused(teacher, tmp_path):
    built = config("ilkd")
    built.teacher.workdir = str(teacher)
    built.data.n_bits = 5
    with pytest.raises(ConfigError, match=r"n_bits.*8.*5"):
        loop.train_and_evaluate(built, tmp_path)


@pytest.mark.parametrize(
    ("key", "value", "match"),
    [
        ("model.args.levels", 3, r"cannot take synthetic_images.*8 divides"),
        ("data.n_bits", 0, r"data.n_bits=0: expected a whole number from 1"),
        ("train.accumulate", 0, r"train.accumulate=0: expected a whole number from 1"),
        ("loss.units", "bits", r"loss.units='bits': expected one of 'nats'"),
        ("model.args.dtype", "float16", r"dtype='float16'.*expected one of"),
    ],
)
def test_wrong_value_is_named(tmp_path, key, value, match):
    with pytest.raises(ConfigError, match=match):
        loop.train_and_evaluate(config("student", **{key: value}), tmp_path)


def test_flow_on_vectors_refuses_images(tmp_path):
    built = config("student")
    built.model = {"name": "maf", "args": {"steps": 1}}
    with pytest.raises(ConfigError, match=r"MAF cannot take synthetic_images, rows of"):
        loop.train_and_evaluate(built, tmp_path)


def test_teacher_of_other_scales_is_refused():
    one, two = Glow(1, 1, 4), Glow(2, 1, 4)
    built = config("ilkd")
    with pytest.raises(ValueError, match="student has 2 levels, more than .* 1"):
        objectives.check_levels(built, two, one, (4, 4, 1))
    with pytest.raises(ValueError, match="student has shapes"):
        objectives.check_levels(built, one, two, (4, 4, 1))
    objectives.check_levels(built, two, two.clone(steps=3), (4, 4, 1))


def test_a_wrong_pairing_is_refused_before_anything_is_trained(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("training started")

    monkeypatch.setattr(loop.program.step, "make_train_step", refuse)
    distilled = tiny.config("ilkd")
    distilled.loss.args.pairs = "index"
    with pytest.raises(ConfigError, match="student has 1 levels, teacher 2"):
        loop.train_and_evaluate(distilled, tmp_path / "run")
    assert not (tmp_path / "run" / "teacher").exists()
    # One that names its teacher, as a point of a sweep does.
    workdir = tiny.stored(distilled.teacher.config, tmp_path / "taught")
    distilled.teacher.workdir = str(workdir)
    with pytest.raises(ConfigError, match="student has 1 levels, teacher 2"):
        loop.train_and_evaluate(distilled, tmp_path / "run")
