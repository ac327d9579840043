"""Two-sample distances against hand values, closed forms and invariants."""

import inspect
import math
import resource
import sys

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from fdnf.metrics import two_sample
from tests import floats

DISTANCES = [
    two_sample.sliced_wasserstein,
    two_sample.mmd,
    two_sample.energy_distance,
]


@pytest.fixture
def samples():
    rng = np.random.default_rng(3)
    return rng.normal(size=(301, 4)), rng.normal(0.5, 1.5, size=(280, 4))


def test_sliced_wasserstein_by_hand():
    # In one dimension every direction is +1 or -1.
    x, y = np.array([[0.0], [2.0]]), np.array([[3.0], [1.0]])
    assert two_sample.sliced_wasserstein(x, y) == pytest.approx(1.0)
    # Unequal sizes: 0 goes half to 1 and half to 2 (and 1 to 2 is nothing new).
    x, y = np.array([[0.0]]), np.array([[1.0], [2.0]])
    assert two_sample.sliced_wasserstein(x, y) == pytest.approx(math.sqrt(5 / 2))
    # Masses 1/2, 1/2 against 1/3, 1/3, 1/3: gaps 0, 1 (1/6 each way), 1.
    x, y = np.array([[0.0], [2.0]]), np.array([[0.0], [1.0], [2.0]])
    assert two_sample.sliced_wasserstein(x, y) == pytest.approx(math.sqrt(1 / 3))


def test_sliced_wasserstein_of_shifted_gaussians(samples):
    x, _ = samples
    shift = np.array([3.0, 0.0, -4.0, 0.0])
    found = two_sample.sliced_wasserstein(x, x + shift, projections=4000)
    # |shift| / sqrt(features), up to the 4000 random directions.
    assert found == pytest.approx(5 / 2, rel=0.03)
    rng = np.random.default_rng(0)
    fresh = rng.normal(size=(20_000, 2)) @ np.diag([2.0, 2.0]) + [6.0, 0.0]
    base = rng.normal(size=(20_000, 2))
    # W2^2 between N(0, 1) and N(u_1 6, 4) along u is 36 u_1^2 + 1.
    found = two_sample.sliced_wasserstein(base, fresh, projections=2000)
    assert found == pytest.approx(math.sqrt(36 / 2 + 1), rel=0.03)


def test_sliced_wasserstein_agrees_with_repeated_rows(samples):
    x, y = samples
    plain = two_sample.sliced_wasserstein(x, y, projections=20)
    repeated = two_sample.sliced_wasserstein(
        np.repeat(x, 3, axis=0), np.repeat(y, 2, axis=0), projections=20
    )
    assert repeated == pytest.approx(plain, rel=1e-9)


def test_sliced_wasserstein_directions_are_fixed_by_the_seed(samples):
    x, y = samples
    first = two_sample.sliced_wasserstein(x, y, projections=8, seed=1)
    again = two_sample.sliced_wasserstein(x, y, projections=8, seed=1)
    assert again == pytest.approx(first, rel=1e-12)
    other = two_sample.sliced_wasserstein(x, y, projections=8, seed=2)
    assert abs(other / first - 1) > 1e-6


def test_mmd_by_hand():
    x, y = np.array([[0.0], [1.0]]), np.array([[0.0], [2.0]])
    k = [math.exp(-(d**2) / 2) for d in range(3)]
    expected = k[1] + k[2] - 2 * (k[0] + k[2] + k[1] + k[1]) / 4
    assert two_sample.mmd(x, y, bandwidth=1.0) == pytest.approx(expected)


def test_mmd_of_gaussians_has_its_closed_form():
    rng = np.random.default_rng(1)
    dim, h, shift = 3, 1.5, np.array([1.0, 1.0, 0.0])
    x, y = rng.normal(size=(4000, dim)), rng.normal(size=(3000, dim)) + shift
    spread = h**2 + 2
    scale = (h**2 / spread) ** (dim / 2)
    expected = 2 * scale * (1 - math.exp(-(shift @ shift) / (2 * spread)))
    assert two_sample.mmd(x, y, bandwidth=h) == pytest.approx(expected, abs=0.01)


def test_mmd_is_centred_on_zero_under_the_null():
    rng = np.random.default_rng(2)
    values = [
        two_sample.mmd(rng.normal(size=(60, 3)), rng.normal(size=(50, 3)), 1.0)
        for _ in range(200)
    ]
    assert abs(np.mean(values)) < 4 * np.std(values) / math.sqrt(200)
    assert min(values) < 0 < max(values)


def test_median_distance_by_hand():
    x, y = np.array([[0.0], [1.0]]), np.array([[3.0]])
    assert two_sample.median_distance(x, y) == pytest.approx(2.0)
    with pytest.raises(ValueError, match="duplicates"):
        two_sample.mmd(np.ones((5, 2)), np.ones((4, 2)))


def test_energy_distance_by_hand_and_against_scipy(samples):
    x, y = np.array([[0.0], [2.0]]), np.array([[1.0]])
    # 2 * 1 - (0 + 2 + 2 + 0) / 4 - 0.
    assert two_sample.energy_distance(x, y) == pytest.approx(1.0)
    x, y = (sample[:, :1] for sample in samples)
    expected = stats.energy_distance(x[:, 0], y[:, 0]) ** 2
    assert two_sample.energy_distance(x, y) == pytest.approx(expected, rel=1e-6)


def test_identical_sets(samples):
    x, _ = samples
    n = len(x)
    # Sorting the projections of rows in another order, rounded otherwise.
    found = two_sample.sliced_wasserstein(x, x[::-1])
    assert found == pytest.approx(0, abs=1e-12)
    assert two_sample.energy_distance(x, x[::-1]) == pytest.approx(0, abs=1e-8)
    # The unbiased estimate of identical sets is below zero, by a known amount.
    kernel = np.exp(-np.square(x[:, None] - x[None]).sum(-1) / 2)
    off = kernel.sum() - n
    expected = 2 * off / (n * (n - 1)) - 2 * (off + n) / n**2
    assert two_sample.mmd(x, x, bandwidth=1.0) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("distance", DISTANCES)
def test_symmetry_permutation_and_shift(distance, samples):
    x, y = samples
    rng = np.random.default_rng(4)
    value = distance(x, y)
    assert value > 0.01
    assert distance(y, x) == pytest.approx(value, rel=1e-9)
    shuffled = distance(rng.permutation(x), rng.permutation(y))
    assert shuffled == pytest.approx(value, rel=1e-9)
    assert distance(x + 1e3, y + 1e3) == pytest.approx(value, rel=1e-6)


@pytest.mark.parametrize("distance", DISTANCES)
def test_further_apart_is_larger(distance, samples):
    x, _ = samples
    found = [distance(x, x + shift) for shift in (0.1, 0.3, 1.0)]
    assert found == sorted(found)


@pytest.mark.parametrize("distance", DISTANCES)
def test_jax_arrays_are_taken(distance, samples):
    x, y = (sample.astype(np.float32) for sample in samples)
    found = distance(jnp.asarray(x), jnp.asarray(y))
    assert found == pytest.approx(distance(x, y), rel=1e-12)


@pytest.mark.parametrize("distance", DISTANCES)
def test_bad_samples_are_refused(distance, samples):
    x, y = samples
    # The test run's type checker would answer before the function does.
    with pytest.raises(ValueError, match="expected equally many"):
        inspect.unwrap(distance)(x, y[:, :3])
    with pytest.raises(ValueError, match="second sample has 0 rows"):
        distance(x, y[:0])
    y[7, 1] = np.nan
    with pytest.raises(ValueError, match="1 of 280 rows of the second sample are not"):
        distance(x, y)


def test_bad_settings_are_refused(samples):
    x, y = samples
    with pytest.raises(ValueError, match="projections=0"):
        two_sample.sliced_wasserstein(x, y, projections=0)
    with pytest.raises(ValueError, match="bandwidth -1.0"):
        two_sample.mmd(x, y, bandwidth=-1.0)
    with pytest.raises(ValueError, match="at least 2"):
        two_sample.mmd(x[:1], y)


def normal(rows, seed, mean=0.0, std=1.0):
    return np.random.default_rng(seed).normal(mean, std, rows)


@pytest.mark.parametrize(("shift", "std"), [(0.0, 1.0), (0.1, 1.0), (0.0, 1.5)])
@pytest.mark.parametrize("sizes", [(400, 400), (1000, 300)])
def test_kolmogorov_smirnov_is_close_to_exact(sizes, shift, std):
    a, b = normal(sizes[0], 0), normal(sizes[1], 1, shift, std)
    found = two_sample.kolmogorov_smirnov(a, b)
    theirs = stats.ks_2samp(a, b, method="exact")
    floats.assert_close(found.statistic, theirs.statistic, rtol=1e-12)
    np.testing.assert_allclose(found.p_value, theirs.pvalue, atol=0.03)


def test_kolmogorov_smirnov_of_ties_and_infinities():
    a = np.array([0.0, 0.0, 1.0, -np.inf])
    b = np.array([0.0, 1.0, 1.0, 1.0])
    found = two_sample.kolmogorov_smirnov(a, b)
    assert found.statistic == 0.5  # F(0) = 3/4 and G(0) = 1/4.
    same = two_sample.kolmogorov_smirnov(a, a)
    assert same == (0.0, 1.0)
    assert two_sample.kolmogorov_smirnov(a, a + 10).statistic == 0.75


def test_kolmogorov_smirnov_under_the_null_is_uniform():
    pairs = ((normal(300, 2 * k), normal(300, 2 * k + 1)) for k in range(400))
    p = [two_sample.kolmogorov_smirnov(*pair).p_value for pair in pairs]
    for level in (0.1, 0.5):
        # Four standard errors of a share of 400.
        error = 4 * np.sqrt(level * (1 - level) / 400)
        assert abs(np.mean(np.array(p) < level) - level) < error


@pytest.mark.parametrize("level", [0.95, 0.5])
def test_mean_difference_is_welchs(level):
    a, b = normal(50, 0, 0.3), normal(200, 1, 0.0, 3.0)
    found = two_sample.mean_difference(a, b, level)
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
    assert two_sample.mean_difference(a, b) == (-2.0, -2.0, -2.0, 0.0)
    assert two_sample.mean_difference(a, a) == (0.0, 0.0, 0.0, 1.0)
    one = two_sample.mean_difference(a, np.array([1.0, 2.0, 4.0]))
    assert one.low < one.difference < one.high


def test_numbers_that_do_not_do_are_refused():
    good, bad = np.zeros(3), np.array([1.0, np.nan, 2.0])
    with pytest.raises(ValueError, match="1 of 3 values of the second sample are not"):
        two_sample.kolmogorov_smirnov(good, bad)
    with pytest.raises(ValueError, match=r"first sample has shape \(0,\)"):
        two_sample.kolmogorov_smirnov(good[:0], good)
    with pytest.raises(ValueError, match="at least 2"):
        two_sample.mean_difference(good, good[:1])
    with pytest.raises(ValueError, match="1 of 2 values of the second sample are inf"):
        two_sample.mean_difference(good, np.array([1.0, np.inf]))
    with pytest.raises(ValueError, match="level=1"):
        two_sample.mean_difference(good, good, 1.0)


@pytest.mark.slow
def test_ten_thousand_rows_fit_in_modest_memory():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 10_000, 63))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for distance in DISTANCES:
        assert distance(x, y) < 0.5
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    # Kibibytes on Linux, bytes on macOS; all pairs at once would take 800 MB.
    assert grown / (1024 if sys.platform == "linux" else 1024**2) < 300
