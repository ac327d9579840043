"""Scores of affine Gaussian students, whose divergences have closed forms."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from fdnf.evaluation.models.sampler import Sampler
from fdnf.evaluation.scorers import transfer_scores, transfer_speed
from fdnf.evaluation.scorers.transfer_scores import Settings
from fdnf.flows.affine import Affine
from fdnf.flows.maf import IAF, MAF
from fdnf.students.base import Student
from tests import floats
from tests.evaluation import transfer_pair

TEACHER, STUDENT = (0.0, 1.0), (0.4, 0.8)
SETTINGS = Settings(samples=2000, density=1500, judged=600, batch_size=700)


@pytest.fixture(scope="module")
def against():
    held_out = np.random.default_rng(1).standard_normal((1000, 3)).astype(np.float32)
    return transfer_scores.reference(
        transfer_pair.model(*TEACHER), held_out, SETTINGS, seed=3
    )


@pytest.fixture(scope="module")
def scored(against):
    student = transfer_pair.model(*STUDENT)
    return transfer_scores.score(against, student, SETTINGS)


def test_divergences_are_the_closed_forms(scored):
    scores = scored.scores
    for found, expected in (
        (scores.reverse_kl, transfer_pair.divergence(STUDENT, TEACHER)),
        (scores.forward_kl, transfer_pair.divergence(TEACHER, STUDENT)),
    ):
        assert abs(found.mean - expected) < 4 * found.standard_error
        assert 0 < found.standard_error < 0.1
        assert found.left_out == 0
    assert (scores.reverse_kl.rows, scores.forward_kl.rows) == (2000, 1500)


def test_likelihoods_are_the_closed_forms(scored, against):
    own = -transfer_pair.DIM / 2 * math.log(2 * math.pi)
    expected = own - 0.5 * transfer_pair.DIM * (0.8**2 + 0.4**2)
    found = scored.scores.teacher_log_prob
    assert abs(found.mean - expected) < 4 * found.standard_error
    floats.assert_close(found.median, np.median(scored.teacher_log_prob), 1e-2)
    entropy = own - 0.5 * transfer_pair.DIM
    shift = scored.scores.shift
    assert shift.low < expected - entropy < shift.high
    assert abs(against.log_prob.mean() - entropy) < 0.15
    # Of held-out rows of a standard normal, under N(0.4, 0.8^2).
    fit = scored.scores.data_log_prob
    cross = -0.5 * transfer_pair.DIM * (1 + 0.4**2) / 0.8**2
    expected = own - transfer_pair.DIM * math.log(0.8) + cross
    assert abs(fit.mean - expected) < 4 * fit.standard_error
    assert fit.rows == 1000


def test_distances_see_the_difference_and_only_it(scored, against):
    same = transfer_scores.score(against, transfer_pair.model(*TEACHER), SETTINGS)
    other = scored.scores
    assert same.scores.ks.p_value > 1e-3 > other.ks.p_value
    # Along the diagonal the means are 0.69 apart, seen by two in three at the most.
    assert 0.55 < other.c2st_teacher.accuracy < 0.75
    assert abs(same.scores.c2st_teacher.accuracy - 0.5) < 0.06
    assert abs(same.scores.c2st_data.accuracy - 0.5) < 0.06
    assert same.scores.c2st_teacher.rows == 1200
    assert other.sliced_wasserstein > 2 * same.scores.sliced_wasserstein
    assert other.mmd > 4 * abs(same.scores.mmd)
    assert other.judged == 600
    # log q as decoded and as encoded are the same density.
    assert abs(same.scores.reverse_kl.mean) < 1e-5


def test_students_of_one_teacher_share_their_latents(against):
    a, b = (
        transfer_scores.score(against, transfer_pair.model(0.0, std), SETTINGS)
        for std in (0.5, 1.0)
    )
    # log p_T falls with |x|, which is |z| times the scale.
    order = np.argsort(a.teacher_log_prob), np.argsort(b.teacher_log_prob)
    assert np.mean(order[0] == order[1]) > 0.9
    own = np.argsort(against.log_prob)
    assert np.mean(own == order[0]) < 0.1


def test_a_student_without_a_density_has_no_divergence(against, scored):
    student = transfer_pair.generator(*STUDENT)
    found = transfer_scores.score(against, student, SETTINGS)
    scores, dense = found.scores, scored.scores
    assert (scores.reverse_kl, scores.forward_kl) == (None, None)
    assert scores.data_log_prob is None
    error = math.hypot(*(s.teacher_log_prob.standard_error for s in (scores, dense)))
    gap = scores.teacher_log_prob.mean - dense.teacher_log_prob.mean
    assert abs(gap) < 4 * error
    assert abs(scores.ks.statistic - dense.ks.statistic) < 0.06
    assert scores.c2st_teacher.accuracy > 0.55


def test_a_feed_forward_student(against):
    class Shifted(Student):
        def __call__(self, z, cond=None):
            return z[0] + 1.0

    student = Sampler(Shifted(), {})
    found = transfer_scores.score(against, student, SETTINGS).scores
    assert (found.reverse_kl, found.forward_kl) == (None, None)
    assert found.shift.high < 0
    x = against.samples[:8]
    assert transfer_speed.measure(student, x, by_dimension=True).density_ms is None


def test_parts_are_optional(against):
    settings = dataclasses.replace(SETTINGS, density=0, judged=0)
    student = transfer_pair.model(*STUDENT)
    found = transfer_scores.score(against, student, settings).scores
    assert found.reverse_kl is not None
    assert (found.forward_kl, found.data_log_prob, found.judged) == (None, None, 0)
    assert (found.c2st_teacher, found.sliced_wasserstein) == (None, None)
    settings = dataclasses.replace(SETTINGS, c2st=False)
    found = transfer_scores.score(against, student, settings).scores
    assert found.c2st_data is None
    assert found.mmd > 0


def test_exploded_samples_are_counted_and_left_out(against, scored):
    x, _ = transfer_pair.model(*STUDENT).weighed(jax.random.key(0), (2000, 3))
    x = x.copy()
    x[:20], x[20:30], x[30:40] = np.nan, np.inf, 1e6
    settings = dataclasses.replace(SETTINGS, reach=100.0)
    found = transfer_scores.score_rows(against, x, settings).scores
    assert found.exploded_percent == 2.0
    assert found.teacher_log_prob.left_out == 40
    assert abs(found.teacher_log_prob.mean - scored.scores.teacher_log_prob.mean) < 0.2
    assert abs(found.teacher_log_prob.median) < 10
    assert math.isfinite(found.sliced_wasserstein)
    assert abs(found.ks.statistic - scored.scores.ks.statistic) < 0.06


def test_nothing_but_exploded_samples(against):
    x = np.full((100, 3), np.nan, np.float32)
    found = transfer_scores.score_rows(against, x, SETTINGS).scores
    assert found.exploded_percent == 100.0
    assert found.ks.statistic == 1.0
    assert (found.shift, found.c2st_teacher, found.judged) == (None, None, 0)
    assert found.teacher_log_prob.median == -math.inf


def test_settings_that_make_no_sense_are_refused():
    for wrong in ({"samples": 1}, {"judged": -1}, {"reach": 0.0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Settings(**wrong)
    teacher = transfer_pair.generator()
    with pytest.raises(ValueError, match="ExternalFlow has no encode"):
        transfer_scores.reference(teacher, np.zeros((5, 3), np.float32), SETTINGS)


@pytest.fixture(scope="module")
def maf():
    flow = MAF(steps=2, hidden=(8,))
    x = jax.random.normal(jax.random.key(0), (64, 4))
    return Sampler(flow, flow.init(jax.random.key(1), x)), np.asarray(x)


def test_naive_sampling_gives_the_same_samples(maf):
    model, x = maf
    slow = transfer_speed.naive(model.flow)
    assert slow.inverse == "passes"
    fast, plain = (
        flow.apply(model.variables, (jnp.asarray(x),), method="decode").x
        for flow in (model.flow, slow)
    )
    np.testing.assert_allclose(fast, plain, atol=1e-4)
    assert transfer_speed.naive(Affine()) is None
    assert transfer_speed.naive(transfer_pair.generator().flow) is None


def test_speed(maf, monkeypatch):
    model, x = maf
    found = transfer_speed.measure(model, x, by_dimension=True)
    assert (found.batch, found.naive_batch) == (64, 64)
    for times in (found.sampling_ms, found.density_ms, found.naive_ms):
        assert 0 < times[1] <= times[0] <= times[2]
    # What would take too long is timed on fewer rows.
    monkeypatch.setattr(transfer_speed, "LONGEST", 0.0)
    assert transfer_speed.measure(model, x, by_dimension=True).naive_batch == 1
    flow = IAF(steps=1, hidden=(8,))
    student = Sampler(flow, flow.init(jax.random.key(0), jnp.asarray(x)))
    assert transfer_speed.measure(student, x, density=False).density_ms is None
    x = x[:, : transfer_pair.DIM]
    assert transfer_speed.measure(transfer_pair.generator(), x).density_ms is None


def test_bayes_accuracy_of_a_shifted_student(against):
    student = transfer_pair.model(1.0, 1.0)
    settings = dataclasses.replace(SETTINGS, judged=2000)
    found = transfer_scores.score(against, student, settings).scores.c2st_teacher
    bayes = special.ndtr(math.sqrt(transfer_pair.DIM) / 2)
    assert abs(found.accuracy - bayes) < 4 * found.standard_error
