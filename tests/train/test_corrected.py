"""Trained students draw samples of their teachers, in the user's units."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import fdnf
from fdnf.train import teachers
from fdnf.train.batches import Prepared
from fdnf.train.settings import ConfigError
from tests import floats, tiny
from tests.evaluation.tasks.test_rows import BESIDE, matrix, stored

ROWS = 2000


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    return teachers.load(
        stored(tmp_path_factory.mktemp("teacher"), "maf", conditional=True)
    )


@pytest.fixture(scope="module")
def student(teacher):
    """The teacher with other numbers, which are close."""
    rng = np.random.default_rng(1)
    off = jax.tree.map(
        lambda leaf: leaf + 0.05 * rng.normal(size=leaf.shape).astype(np.float32),
        teacher.variables,
    )
    return teacher._replace(variables=off, taught=teacher, place=None)


def conditions():
    return np.resize(matrix(BESIDE), (ROWS, 2))


def p_value(teacher, x):
    """Whether these rows, given the conditions, are the teacher's; see its latents."""
    prepared: Prepared = teacher.preprocess
    flow, variables = teacher.of_run()
    rows = jnp.asarray(prepared.stored(x)[0])
    y = prepared.encode(jax.random.key(0), rows)[0]
    beside = jnp.asarray(prepared.stored_condition(conditions()))
    cond = prepared.condition(None, beside)
    encode = jax.jit(lambda *given: flow.apply(*given, method="encode").z[0])
    z = np.asarray(encode(variables, y, cond))
    return 2 * min(stats.kstest(each, "norm").pvalue for each in z.T)


def test_samples_of_a_table_are_the_teachers(student, teacher):
    found = student.corrected(0, ROWS, conditions())
    assert found.told == ()
    assert p_value(teacher, found.x) > 0.01
    assert p_value(teacher, student.sample(0, ROWS, conditions())) < 1e-8
    assert found.x.dtype == np.float64
    assert ((found.x[:, 1] >= 0) & (found.x[:, 1] <= 1)).all()
    exact = student.sample(0, ROWS, conditions(), exact=True)
    np.testing.assert_array_equal(exact, found.x)
    drawn = student.corrected(0, ROWS, conditions(), method="resampling", steps=30)
    assert (drawn.method, drawn.steps) == ("resampling", 30)
    assert p_value(teacher, drawn.x) > 0.01


def test_a_perfect_student_is_accepted_at_once(teacher):
    found = teacher.corrected(3, 50, conditions()[0], teacher=teacher)
    assert (found.steps, found.acceptance) == (1, 1.0)
    assert found.uncorrected < 1e-4
    floats.assert_close(found.ess_share, 1.0)
    found = teacher.corrected(3, 50, conditions()[0], teacher=teacher, method="defects")
    assert (found.method, found.rounds, found.acceptance) == ("defects", 1.0, 1.0)


def test_each_latent_its_sample(student, teacher):
    drawn = student.sample(0, ROWS, conditions(), exact="defects")
    assert p_value(teacher, drawn) > 0.01
    assert drawn.dtype == np.float64


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A teacher and its student side by side, which was trained at another place."""
    root = tmp_path_factory.mktemp("study")
    config = tiny.config("ilkd")
    config.teacher.workdir = "/elsewhere/teacher"
    tiny.stored(tiny.config(), root / "teacher")
    tiny.stored(config, root / "ilkd")
    return root


def test_a_study_that_has_moved(study, tmp_path):
    student = fdnf.load(study / "ilkd")
    found = teachers.teacher_of(student)
    assert found.place == study / "teacher"
    student.save(tmp_path / "student.npz")
    alone = fdnf.load(tmp_path / "student.npz")
    with pytest.raises(ConfigError, match=r"no longer there .*/elsewhere/teacher"):
        alone.sample(0, 5, exact=True)
    for given in (found, study / "teacher"):
        assert alone.sample(0, 5, exact=True, teacher=given).shape == (5, 3)


def test_a_teacher_that_has_changed_is_told(study, caplog):
    student = fdnf.load(study / "ilkd")
    student.meta["rests_on"] = {"teacher": -1}
    assert teachers.teacher_of(student).place == study / "teacher"
    assert "is not as it was when its student learned from it" in caplog.text


def test_what_cannot_be(student, teacher, study):
    with pytest.raises(ValueError, match=r"temperature=0.7 with exact=True"):
        student.sample(0, 5, conditions()[:5], temperature=0.7, exact=True)
    with pytest.raises(ValueError, match="teacher is for exact=True"):
        student.sample(0, 5, conditions()[:5], teacher=teacher)
    with pytest.raises(ConfigError, match="learned from no teacher.*name it: teacher="):
        teacher.sample(0, 5, conditions()[:5], exact=True)
    other = fdnf.load(study / "teacher")
    with pytest.raises(ConfigError, match=r"data of shape \(3,\), .* shape \(2,\)"):
        student.sample(0, 5, conditions()[:5], exact=True, teacher=other)
    unlike = other._replace(meta={**other.meta, "event": [2]})
    with pytest.raises(ConfigError, match="give both the same `data` section"):
        student.sample(0, 5, conditions()[:5], exact=True, teacher=unlike)
    with pytest.raises(ValueError, match="batch=0: expected"):
        student.corrected(0, 5, conditions()[:5], batch_size=0)
    with pytest.raises(ValueError, match="trained with a condition: give cond"):
        student.corrected(0, 5)
    silent = fdnf.students.ResNet(hidden=4, blocks=1)
    with pytest.raises(ValueError, match="ResNet, a feed-forward student, has no den"):
        student._replace(flow=silent).corrected(0, 5, conditions()[:5])
    with pytest.raises(ValueError, match="name a teacher that is a flow"):
        student.corrected(0, 5, conditions()[:5], teacher=teacher._replace(flow=silent))
