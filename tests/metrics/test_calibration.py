import numpy as np
import pytest
from scipy import stats

from fdnf.metrics import calibration
from tests.floats import assert_close

DRAW = np.random.default_rng(0)
MEAN, STD = DRAW.normal(size=4000), np.exp(0.3 * DRAW.normal(size=4000))
X = MEAN + STD * DRAW.normal(size=4000)
DRAWS = MEAN[:, None] + STD[:, None] * DRAW.normal(size=(4000, 50))


def test_pit_is_uniform_where_the_density_is_right():
    found = calibration.pit(DRAWS, X)
    assert 0 < found.min() < found.max() < 1
    told = calibration.uniformity(found)
    assert min(told.ks_p, told.chi2_p) > 0.01
    assert told.ks < 1.7 / np.sqrt(len(X))
    np.testing.assert_allclose(told.density.mean(), 1, atol=1e-12)
    assert np.abs(told.density - 1).max() < 4 * told.error
    for level in (0.5, 0.9):
        assert abs(calibration.coverage(found, level) - level) < 0.03
    # As the flow's own distribution function, up to noise of the draws.
    exact = calibration.pit_of_latents((X - MEAN) / STD)
    assert_close(exact, stats.norm.cdf(X, MEAN, STD), 1e-12)
    assert np.abs(found - exact).mean() < 0.1


@pytest.mark.parametrize(
    ("draws", "sign"),
    [(MEAN[:, None] + 2 * (DRAWS - MEAN[:, None]), 1), (DRAWS + 0.5, 0)],
)
def test_pit_tells_of_what_is_too_wide_or_beside(draws, sign):
    found = calibration.pit(draws, X)
    told = calibration.uniformity(found)
    assert max(told.ks_p, told.chi2_p) < 1e-6
    if sign:
        assert told.density[10] > 1.3 > 0.7 > told.density[0]
        assert calibration.coverage(found, 0.5) > 0.7
    else:
        assert found.mean() < 0.45


def test_pit_of_values_that_repeat_is_uniform_too():
    x = DRAW.poisson(1.0, 3000)
    draws = DRAW.poisson(1.0, (3000, 30))
    assert calibration.uniformity(calibration.pit(draws, x)).ks_p > 0.01
    # A rank among four places.
    assert 0.5 < calibration.pit(np.array([[1.0, 2, 4]]), np.array([3.0]))[0] < 0.75
    again = calibration.pit(draws, x)
    assert (again == calibration.pit(draws, x)).all()
    assert (again != calibration.pit(draws, x, seed=1)).any()


def test_crps_is_that_of_a_normal_density():
    exact = calibration.crps_of_normal(MEAN, STD, X)
    found = calibration.crps(DRAWS, X)
    error = (found - exact).std() / np.sqrt(len(X))
    assert abs(found.mean() - exact.mean()) < 4 * error
    # Against the integral of (F(t) - [t >= x])^2 over t.
    t = np.linspace(-12, 12, 40_001)
    step = (stats.norm.cdf(t, 0.3, 1.5) - (t >= 1.0)) ** 2
    found = calibration.crps_of_normal(*(np.array([v]) for v in (0.3, 1.5, 1.0)))
    np.testing.assert_allclose(found, step.sum() * (t[1] - t[0]), atol=1e-3)


def test_crps_does_not_depend_on_the_number_of_draws():
    few = np.mean([calibration.crps(DRAWS[:, [i, i + 1]], X) for i in range(0, 50, 2)])
    np.testing.assert_allclose(few, calibration.crps(DRAWS, X).mean(), atol=2e-3)
    # By hand: |1-2|, |3-2| in the mean, and half of the one pair's 2.
    assert_close(
        calibration.crps(np.array([[1.0, 3.0]]), np.array([2.0])), [0.0], 1e-12
    )
    assert_close(
        calibration.crps(np.array([[1.0, 1.0]]), np.array([4.0])), [3.0], 1e-12
    )
    # A proper score: the truth is best.
    for other in (DRAWS + 0.3, MEAN[:, None] + 0.5 * (DRAWS - MEAN[:, None])):
        assert calibration.crps(other, X).mean() > calibration.crps(DRAWS, X).mean()


def test_redshifts_by_hand():
    z = np.array([0.0, 1.0, 1.0, 3.0])
    found = calibration.redshifts(np.array([0.1, 1.2, 1.0, 4.0]), z)
    # Errors 0.1, 0.1, 0, 0.25: median 0.1, distances 0, 0, 0.1, 0.15.
    assert_close(found.bias, 0.1, 1e-12)
    assert_close(found.sigma_mad, 1.4826022 * 0.05, 1e-6)
    assert found.outliers == 0.25


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: calibration.crps(DRAWS, X[:5]), "expected .rows, draws. and .rows."),
        (lambda: calibration.pit(X, X), "expected .rows, draws. and .rows."),
        (lambda: calibration.crps(DRAWS[:, :1], X), "1 draws of each row"),
        (lambda: calibration.uniformity(X), "PIT values beyond"),
        (lambda: calibration.uniformity(np.full(30, np.nan)), "PIT values beyond"),
        (lambda: calibration.uniformity(np.ones(5)), "at least as many values as bins"),
        (lambda: calibration.coverage(X, 90.0), "expected a probability, such as 0.9"),
        (lambda: calibration.redshifts(X, X[:3]), "4000,. estimates of .3"),
    ],
)
def test_what_cannot_be_is_refused(call, said):
    with pytest.raises(ValueError, match=said):
        call()
