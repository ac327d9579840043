"""Importance weights against closed forms of Gaussians and of Pareto draws."""

import inspect
import math

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from fdnf.metrics import importance
from tests import floats


def gaussians(scale, shift=0.0, rows=40_000, seed=0):
    """Weights of N(0, 1) over N(shift, scale^2)."""
    x = np.random.default_rng(seed).normal(shift, scale, rows)
    return importance.weights(stats.norm.logpdf(x), stats.norm.logpdf(x, shift, scale))


@pytest.mark.parametrize(
    ("scale", "shift"), [(1.0, 0.3), (1.0, 0.7), (1.3, 0.0), (0.85, 0.0)]
)
def test_effective_sample_size_of_two_gaussians(scale, shift):
    found = gaussians(scale, shift)
    # E_q[w^2] = scale^2 / sqrt(2 scale^2 - 1) exp(shift^2 / (2 scale^2 - 1)).
    width = 2 * scale**2 - 1
    second = scale**2 / math.sqrt(width) * math.exp(shift**2 / width)
    assert abs(found.ess_share - 1 / second) < 4 * found.ess_share_error
    assert found.ess_share_error < 0.02
    assert found.ess == pytest.approx(found.ess_share * found.rows)
    # Both densities are normalised.
    assert abs(found.log_mean) < 4 * found.log_mean_error
    expected = math.sqrt((second - 1) / found.rows)
    assert found.log_mean_error == pytest.approx(expected, rel=0.15)
    assert found.reliable
    assert (found.zero, found.infinite, found.undefined) == (0, 0, 0)


def test_errors_are_those_of_many_repetitions():
    found = [gaussians(1.2, rows=2000, seed=k) for k in range(200)]
    for value, error in (
        ("ess_share", "ess_share_error"),
        ("log_mean", "log_mean_error"),
    ):
        spread = np.std([getattr(f, value) for f in found])
        told = np.mean([getattr(f, error) for f in found])
        assert told == pytest.approx(spread, rel=0.2)


@pytest.mark.parametrize("shape", [-0.3, 0.0, 0.4, 0.9])
def test_shape_of_generalised_pareto_draws(shape):
    draws = [
        stats.genpareto.rvs(shape, scale=3.0, size=2000, random_state=k)
        for k in range(10)
    ]
    found = [importance.pareto_shape(x) for x in draws]
    # The error of one estimate is about (1 + k) / sqrt(n).
    error = (1 + shape) / math.sqrt(2000)
    assert abs(np.mean(found) - shape) < 4 * error / math.sqrt(10)
    assert np.std(found) < 2 * error
    # In any unit.
    floats.assert_close(importance.pareto_shape(1e-5 * draws[0]), found[0], rtol=1e-9)


@pytest.mark.parametrize("shape", [0.2, 0.6, 1.1])
def test_khat_of_weights_with_a_pareto_tail(shape):
    # exp(shape E) of an exponential E is Pareto, above any threshold.
    drawn = np.random.default_rng(1).exponential(size=100_000)
    khat = importance.pareto_khat(shape * drawn - 700)
    assert abs(khat - shape) < 0.15
    # N(0, 1) over N(0, s^2) has P(w > t) of about t^(-1 / (1 - s^2)).
    narrow = gaussians(math.sqrt(1 - shape)) if shape < 1 else None
    assert narrow is None or abs(narrow.khat - shape) < 0.15


def test_wide_weights_are_not_reliable_and_narrow_ones_are():
    assert not gaussians(0.4).reliable
    assert gaussians(0.4).khat > importance.WIDEST
    assert gaussians(1.5).khat < 0
    # Below 1 - 1 / log10(n) too.
    few = gaussians(math.sqrt(0.45), rows=60)
    assert few.reliable == (few.khat < 1 - 1 / math.log10(60))


def test_small_cases_by_hand():
    found = importance.of(np.log([1.0, 1.0, 2.0]))
    assert found.ess == pytest.approx(16 / 6)
    assert found.largest_share == pytest.approx(0.5)
    assert found.log_mean == pytest.approx(math.log(4 / 3))
    assert math.isnan(found.khat)
    assert not found.reliable
    # A constant does not matter but for the mean, also where exp would overflow.
    far = importance.of(np.log([1.0, 1.0, 2.0]) + 5000)
    assert far.ess == pytest.approx(found.ess)
    assert far.log_mean == pytest.approx(5000 + found.log_mean)


def test_equal_weights_are_as_good_as_can_be():
    found = importance.of(np.full(100, 0.1))
    assert (found.ess, found.ess_share, found.ess_share_error) == (100, 1, 0)
    assert found.largest_share == pytest.approx(0.01)
    assert math.isnan(found.khat)
    assert found.reliable
    assert not importance.of(np.zeros(20)).reliable  # Too few to know.


def test_one_weight_that_carries_all():
    found = importance.of(np.r_[np.zeros(999), 800.0])
    assert found.ess == pytest.approx(1.0)
    assert found.largest_share == pytest.approx(1.0)
    assert not found.reliable


def test_weights_without_a_value_are_counted():
    p = np.array([0.0, -np.inf, np.nan, 0.0])
    found = importance.weights(p, np.zeros(4))
    assert (found.zero, found.undefined, found.infinite) == (1, 1, 0)
    # They are draws of weight 0.
    assert found.ess == pytest.approx(2.0)
    assert found.log_mean == pytest.approx(math.log(0.5))
    both = importance.weights(np.array([-np.inf, 0.0]), np.array([-np.inf, 0.0]))
    assert both.undefined == 1
    lost = importance.weights(np.zeros(30), np.r_[np.zeros(28), -np.inf, -np.inf])
    assert (lost.infinite, lost.ess, lost.largest_share) == (2, 2.0, 0.5)
    assert lost.khat == math.inf == lost.log_mean
    assert not lost.reliable
    none = importance.of(np.full(50, -np.inf))
    assert (none.ess, none.zero, none.khat) == (0.0, 50, math.inf)
    assert not none.reliable


def test_reverse_kl_of_two_gaussians():
    shift, scale = 0.7, 1.2
    x = np.random.default_rng(3).normal(shift, scale, 40_000)
    log_w = stats.norm.logpdf(x) - stats.norm.logpdf(x, shift, scale)
    exact = -math.log(scale) + (scale**2 + shift**2) / 2 - 0.5
    found = importance.divergence(log_w)
    assert found.rows == 40_000
    assert 0 < found.error < 0.01
    assert abs(found.mean - exact) < 4 * found.error
    # A draw that the target finds impossible is in no mean.
    lost = np.array([-1e19, -1000.5, np.nan, np.inf, -np.inf])
    assert importance.divergence(np.append(log_w, lost)) == found
    assert importance.impossible(np.append(log_w, lost)).sum() == 5


def test_impossible_draws_by_hand():
    log_w = np.array([-1.0, -3.0, 1.0, -1000.0, 2000.0, -1000.1, np.nan, np.inf])
    told = importance.impossible(log_w)
    assert told.tolist() == [False] * 5 + [True] * 3
    found = importance.divergence(log_w[[0, 1, 2, 5]])
    # The mean of 1, 3 and -1; its error from their variance of 4.
    assert (found.mean, found.rows) == (1.0, 3)
    assert found.error == pytest.approx(2 / math.sqrt(3))
    one, none = (importance.divergence(v) for v in (log_w[:1], log_w[5:]))
    assert (one.mean, one.rows) == (1.0, 1)
    assert math.isnan(one.error)
    assert none.rows == 0
    assert math.isnan(none.mean)


def test_arrays_of_jax_and_errors():
    found = importance.weights(jnp.zeros(5), jnp.zeros(5))
    assert found.ess == 5
    with pytest.raises(ValueError, match=r"log_p has shape \(3,\), log_q \(1,\)"):
        inspect.unwrap(importance.weights)(np.zeros(3), np.zeros(1))
    with pytest.raises(ValueError, match="at least one draw"):
        importance.of(np.zeros(0))
    with pytest.raises(ValueError, match="at least one draw"):
        importance.divergence(np.zeros(0))
    with pytest.raises(ValueError, match="expected positive, finite ones"):
        importance.pareto_shape(np.array([0.0, 1.0]))
