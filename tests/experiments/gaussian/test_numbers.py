"""Numbers of the Gaussian study against formulas, libraries and by hand."""

import numpy as np
import pytest
from scipy import stats

from fdnf.experiments.gaussian import numbers
from fdnf.experiments.gaussian.training import Trained
from tests import floats

SEEDS, ROWS, DIM = 3, 400, 4
DRAW = np.random.default_rng(0)


def gaussians(shift):
    mu = shift + DRAW.normal(size=(SEEDS, DIM))
    return mu, np.eye(DIM) + 0.3 * DRAW.normal(size=(SEEDS, DIM, DIM))


def drawn(mu, R):
    return mu[:, None] + DRAW.normal(size=(SEEDS, ROWS, DIM)) @ np.swapaxes(R, 1, 2)


P, Q = gaussians(2.0), gaussians(1.5)


def trained(student=Q):
    return Trained(
        *(*P, *student, drawn(*P), drawn(*student)),
        steps=np.arange(2),
        loss=np.zeros((1, SEEDS)),
        signal={},
    )


def covariance(R):
    return R @ np.swapaxes(R, 1, 2)


def test_log_density_is_scipys():
    x = drawn(*Q)
    found = numbers.log_density(x, *P)
    for i in range(SEEDS):
        exact = stats.multivariate_normal(P[0][i], covariance(P[1])[i]).logpdf(x[i])
        floats.assert_close(found[i], exact, rtol=1e-9)


def test_kl_is_the_textbooks():
    (mu_q, R_q), (mu_p, R_p) = Q, P
    for i, found in enumerate(numbers.kl(mu_q, R_q, mu_p, R_p)):
        S_q, S_p = covariance(R_q)[i], covariance(R_p)[i]
        inverse, gap = np.linalg.inv(S_p), mu_p[i] - mu_q[i]
        expected = 0.5 * (
            np.trace(inverse @ S_q)
            + gap @ inverse @ gap
            - DIM
            + np.log(np.linalg.det(S_p) / np.linalg.det(S_q))
        )
        assert found == pytest.approx(expected, rel=1e-9)
    np.testing.assert_allclose(numbers.kl(*P, *P), 0, atol=1e-12)


def test_difference_and_kl_and_entropy_fit_together():
    # KL(q || p) = -H(q) - E_q log p, and H(p) = -E_p log p.
    gap = np.linalg.slogdet(Q[1])[1] - np.linalg.slogdet(P[1])[1]
    floats.assert_close(
        numbers.kl(*Q, *P), -gap - numbers.exact_difference(*Q, *P), rtol=1e-9
    )


def measured(cell):
    """Metric to the values of all seeds."""
    results = numbers.measure(cell, "kl")
    assert [r.run.seed for r in results] == list(range(len(results)))
    return {s.metric: [r.get(s.metric).value for r in results] for s in results[0][1]}


def test_measured_samples():
    cell = trained()
    found = measured(cell)
    teacher, student = numbers.likelihoods(cell)
    floats.assert_close(found["teacher_mean"], teacher.mean(1))
    floats.assert_close(found["student_sd"], student.std(1, ddof=1))
    floats.assert_close(
        found["ks"],
        [
            np.max(np.abs(_cdf(a, both) - _cdf(b, both)))
            for a, b in zip(teacher, student, strict=True)
            for both in [np.concatenate([a, b])]
        ],
    )
    error = np.sqrt((teacher.var(1) + student.var(1)) / ROWS)
    off = np.subtract(found["difference"], found["exact_difference"])
    assert np.all(np.abs(off) < 4 * error)
    floats.assert_close(found["condition"], np.linalg.cond(P[1]))


def _cdf(sample, at):
    return np.searchsorted(np.sort(sample), at, side="right") / len(sample)


def test_a_diverged_student_is_counted_and_kept_out():
    mu, R = (part.copy() for part in Q)
    R[1, 0, 0] = np.nan
    cell = trained((mu, R))
    found = measured(cell)
    assert numbers.diverged(cell) == [1]
    for name in ("student_mean", "difference", "ks", "forward_kl", "entropy_gap"):
        assert np.isnan(found[name]).tolist() == [False, True, False]
    assert np.all(np.isfinite(found["condition"]))
    teacher, student = numbers.likelihoods(cell)
    assert np.all(np.isfinite(teacher))
    assert np.all(np.isnan(student[1]))
    assert np.all(np.isfinite(student[[0, 2]]))


def test_all_diverged():
    found = measured(trained((Q[0] * np.inf, Q[1])))
    assert np.all(np.isnan(found["reverse_kl"]))
