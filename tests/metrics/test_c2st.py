"""Calibrated where nothing can be told, and near Bayes where it is known."""

import inspect
import math
import time

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from fdnf.metrics import c2st as module
from fdnf.metrics.c2st import c2st
from tests import floats

# One number of them, and of rows, where it is no matter: one program.
EPOCHS = 10


def normal(rows, dim, seed, shift=0.0):
    x = np.random.default_rng(seed).standard_normal((rows, dim))
    x[:, 0] += shift
    return x


def test_one_distribution_cannot_be_told_apart():
    found = [
        c2st(normal(200, 3, 2 * k), normal(200, 3, 2 * k + 1), epochs=5, seed=k)
        for k in range(20)
    ]
    accuracies = np.array([f.accuracy for f in found])
    error = math.sqrt(0.25 / 400)
    areas = np.array([f.auc for f in found])
    assert abs(areas.mean() - 0.5) < 4 * areas.std() / math.sqrt(20)
    # The folds share rows, so the spread is somewhat above the binomial one.
    assert abs(accuracies.mean() - 0.5) < 4 * error / math.sqrt(20)
    assert 0.7 < accuracies.std() / error < 1.6
    assert np.mean([f.p_value < 0.01 for f in found]) <= 0.1
    assert 0.3 < np.mean([f.p_value for f in found]) < 0.7


@pytest.mark.parametrize("shift", [1.0, 2.0])
def test_shifted_normals_give_the_bayes_accuracy(shift):
    found = c2st(normal(2000, 3, 0), normal(2000, 3, 1, shift))
    bayes = special.ndtr(shift / 2)
    assert found.rows == 4000
    assert abs(found.accuracy - bayes) < 4 * found.standard_error
    area = special.ndtr(shift / math.sqrt(2))
    assert abs(found.auc - area) < 4 * found.auc_error
    assert 0.5 < found.auc_error / found.standard_error < 1.2
    expected = math.sqrt(found.accuracy * (1 - found.accuracy) / 4000)
    floats.assert_close(found.standard_error, expected)
    assert found.p_value < 1e-6


def test_what_only_pairs_of_features_show_is_found():
    x, y = normal(1000, 2, 0), normal(1000, 2, 1)
    y[:, 1] = np.abs(y[:, 1]) * np.sign(y[:, 0])
    # Half of y's plane is empty, where all rows are x's: 3/4 are named rightly.
    assert abs(c2st(x, y).accuracy - 0.75) < 0.04


def test_units_and_far_rows_do_not_matter():
    x, y = normal(1000, 2, 0), normal(1000, 2, 1, 2.0)
    plain = c2st(x, y).accuracy
    scaled = c2st(1e-6 * x + 5, 1e-6 * y + 5).accuracy
    x[0] = 1e12
    far = c2st(x, y).accuracy
    np.testing.assert_allclose([scaled, far], plain, atol=0.01)


def test_constant_columns_and_jax_arrays():
    x = np.concatenate([normal(100, 1, 0), np.zeros((100, 1))], axis=1)
    y = np.concatenate([normal(120, 1, 1, 20.0), np.zeros((120, 1))], axis=1)
    found = c2st(jnp.asarray(x), jnp.asarray(y), epochs=EPOCHS)
    assert found.accuracy > 0.95
    assert found.rows == 200


def test_the_seed_decides():
    x, y = normal(100, 2, 0), normal(100, 2, 1, 0.5)
    assert c2st(x, y, epochs=EPOCHS) == c2st(x, y, epochs=EPOCHS)
    assert c2st(x, y, epochs=EPOCHS, seed=1) != c2st(x, y, epochs=EPOCHS, seed=2)


def test_the_p_value_is_the_binomial_tail():
    _, _, p_value = module._accuracy(60, 100)
    tail = sum(math.comb(100, k) for k in range(60, 101)) / 2**100
    floats.assert_close(p_value, tail, rtol=1e-9)
    assert module._accuracy(0, 100)[2] == 1.0


def test_area_by_hand_and_against_all_pairs():
    # 1 is above 0 only, 3 above all; a tie counts half.
    assert module.auc(np.array([0.0, 2.0]), np.array([1.0, 3.0])).value == 0.75
    assert module.auc(np.array([1.0]), np.array([1.0])).value == 0.5
    assert module.auc(np.array([1.0, 2.0]), np.array([3.0])) == (1.0, 0.0)
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 9, (3, 40)), rng.integers(2, 11, (3, 30))
    pairs = second[:, None, :] - first[:, :, None]
    expected = (pairs > 0).mean() + (pairs == 0).mean() / 2
    assert module.auc(first, second).value == pytest.approx(expected)
    # Scores of folds need not be on one scale.
    moved = np.array([[0.0], [1e3], [-1e3]])
    found = module.auc(first + moved, second + moved)
    assert found.value == pytest.approx(expected)


def test_the_error_of_an_area_is_that_of_many_repetitions():
    rng = np.random.default_rng(1)
    found = [
        module.auc(rng.normal(size=(5, 40)), rng.normal(1.0, 1.0, (5, 40)))
        for _ in range(300)
    ]
    values = np.array([f.value for f in found])
    # Normal scores a distance of 1 apart: Phi(1 / sqrt 2).
    bayes = special.ndtr(1 / math.sqrt(2))
    assert abs(values.mean() - bayes) < 4 * values.std() / math.sqrt(300)
    errors = np.mean([f.standard_error for f in found])
    assert errors == pytest.approx(values.std(), rel=0.15)


def test_areas_need_scores_of_as_many_folds():
    with pytest.raises(ValueError, match="as many folds"):
        module.auc(np.zeros((2, 3)), np.zeros((3, 3)))
    with pytest.raises(ValueError, match="not numbers"):
        module.auc(np.array([np.nan]), np.array([0.0]))


def test_errors_say_what_is_wrong():
    x = normal(100, 2, 0)
    bad = x.copy()
    bad[3] = np.nan
    with pytest.raises(ValueError, match="1 of 100 rows of the second sample"):
        c2st(x, bad)
    with pytest.raises(ValueError, match="the first sample has 20 rows"):
        c2st(x[:20], x)
    with pytest.raises(ValueError, match="2 and 1 features"):
        inspect.unwrap(c2st)(x, x[:, :1])
    with pytest.raises(ValueError, match="folds=1"):
        c2st(x, x, folds=1)


def test_a_loss_that_is_not_finite_is_an_error(monkeypatch):
    monkeypatch.setattr(module, "LEARNING_RATE", math.nan)
    with pytest.raises(module.UntrainableError, match="loss is nan in fold 0"):
        c2st(normal(70, 2, 0), normal(70, 2, 1), epochs=2)


@pytest.mark.slow
def test_ten_thousand_rows_of_63_features_take_seconds():
    start = time.perf_counter()
    c2st(normal(5000, 63, 0), normal(5000, 63, 1))
    assert time.perf_counter() - start < 15
