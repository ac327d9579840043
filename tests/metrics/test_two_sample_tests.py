"""What the tests must say of known distributions."""

import numpy as np
import pytest
from scipy import special, stats

from fdnf.metrics import two_sample_tests as tests_of
from tests import floats


def normal(rows, seed, mean=0.0, std=1.0):
    return np.random.default_rng(seed).normal(mean, std, rows)


@pytest.mark.parametrize(("shift", "std"), [(0.0, 1.0), (0.1, 1.0), (0.0, 1.5)])
@pytest.mark.parametrize("sizes", [(400, 400), (1000, 300)])
def test_kolmogorov_smirnov_is_close_to_exact(sizes, shift, std):
    a, b = normal(sizes[0], 0), normal(sizes[1], 1, shift, std)
    found = tests_of.kolmogorov_smirnov(a, b)
    theirs = stats.ks_2samp(a, b, method="exact")
    floats.assert_close(found.statistic, theirs.statistic, rtol=1e-12)
    np.testing.assert_allclose(found.p_value, theirs.pvalue, atol=0.03)


def test_kolmogorov_smirnov_of_ties_and_infinities():
    a = np.array([0.0, 0.0, 1.0, -np.inf])
    b = np.array([0.0, 1.0, 1.0, 1.0])
    found = tests_of.kolmogorov_smirnov(a, b)
    assert found.statistic == 0.5  # F(0) = 3/4 and G(0) = 1/4.
    same = tests_of.kolmogorov_smirnov(a, a)
    assert same == (0.0, 1.0)
    assert tests_of.kolmogorov_smirnov(a, a + 10).statistic == 0.75


def test_kolmogorov_smirnov_under_the_null_is_uniform():
    p = [
        tests_of.kolmogorov_smirnov(normal(300, 2 * k), normal(300, 2 * k + 1)).p_value
        for k in range(400)
    ]
    for level in (0.1, 0.5):
        # Four standard errors of a share of 400.
        error = 4 * np.sqrt(level * (1 - level) / 400)
        assert abs(np.mean(np.array(p) < level) - level) < error


@pytest.mark.parametrize("level", [0.95, 0.5])
def test_mean_difference_is_welchs(level):
    a, b = normal(50, 0, 0.3), normal(200, 1, 0.0, 3.0)
    found = tests_of.mean_difference(a, b, level)
    # Satterthwaite's degrees of freedom, by hand.
    parts = a.var(ddof=1) / 50, b.var(ddof=1) / 200
    free = sum(parts) ** 2 / (parts[0] ** 2 / 49 + parts[1] ** 2 / 199)
    half = special.stdtrit(free, (1 + level) / 2) * np.sqrt(sum(parts))
    gap = a.mean() - b.mean()
    p_value = 2 * special.stdtr(free, -abs(gap) / np.sqrt(sum(parts)))
    floats.assert_close(found, (gap, gap - half, gap + half, p_value), rtol=1e-9)


@pytest.mark.filterwarnings("error")
def test_constant_samples_have_no_spread():
    a, b = np.ones(3), np.full(4, 3.0)
    assert tests_of.mean_difference(a, b) == (-2.0, -2.0, -2.0, 0.0)
    assert tests_of.mean_difference(a, a) == (0.0, 0.0, 0.0, 1.0)
    one = tests_of.mean_difference(a, np.array([1.0, 2.0, 4.0]))
    assert one.low < one.difference < one.high


def test_errors_say_what_is_wrong():
    good, bad = np.zeros(3), np.array([1.0, np.nan, 2.0])
    with pytest.raises(ValueError, match="1 of 3 values of the second sample are not"):
        tests_of.kolmogorov_smirnov(good, bad)
    with pytest.raises(ValueError, match=r"first sample has shape \(0,\)"):
        tests_of.kolmogorov_smirnov(good[:0], good)
    with pytest.raises(ValueError, match="at least 2"):
        tests_of.mean_difference(good, good[:1])
    with pytest.raises(ValueError, match="1 of 2 values of the second sample are inf"):
        tests_of.mean_difference(good, np.array([1.0, np.inf]))
    with pytest.raises(ValueError, match="level=1"):
        tests_of.mean_difference(good, good, 1.0)
