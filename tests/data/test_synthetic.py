import numpy as np
import pytest
from scipy import stats

from fdnf.data import synthetic
from fdnf.data.tabular import DataError
from tests import floats


def test_density_integrates_to_one_in_one_dimension():
    grid = np.sinh(np.linspace(-12, 12, 20_001))[:, None]
    density = np.exp(synthetic.log_prob(grid, seed=3))
    assert np.trapezoid(density, grid[:, 0]) == pytest.approx(1, abs=1e-6)


def test_unwarped_is_the_gaussian():
    truth = synthetic.distribution(3, seed=1)
    plain = truth._replace(skew=np.zeros(3), tail=np.ones(3))
    x = np.random.default_rng(0).normal(size=(20, 3))
    normal = stats.multivariate_normal(truth.mean, truth.scale @ truth.scale.T)
    floats.assert_close(plain.log_prob(x), normal.logpdf(x), rtol=1e-10)


def test_samples_have_the_density_by_importance():
    # E_p[q(x)/p(x)] is 1 for any density q that p covers; a wrong log_prob or sampler
    # moves it.
    truth = synthetic.distribution(2, seed=5)
    x = truth.sample(np.random.default_rng(0), 40_000)
    other = stats.multivariate_normal(np.median(x, axis=0), 0.2 * np.eye(2))
    ratio = np.exp(other.logpdf(x) - truth.log_prob(x))
    assert ratio.mean() == pytest.approx(1, abs=4 * ratio.std() / 200)
    assert ratio.std() < 3


def test_same_seed_same_rows_and_other_seed_other_rows():
    one, two = synthetic.synthetic(seed=1), synthetic.synthetic(seed=1)
    np.testing.assert_array_equal(one.train, two.train)
    assert not np.array_equal(one.train, synthetic.synthetic(seed=2).train)
    assert not np.array_equal(one.val, one.test)


def test_shape():
    data = synthetic.synthetic(rows=40, dim=7)
    assert data.train.shape == (40, 7)
    assert data.val.shape == data.test.shape == (10, 7)


def test_sizes_below_one():
    with pytest.raises(DataError, match="rows=0, dim=4"):
        synthetic.synthetic(rows=0)
