import itertools

import numpy as np
import pytest
from scipy import special, stats

from fdnf.data import synthetic_images
from fdnf.data.tabular import DataError
from tests import floats


def test_probabilities_of_all_images_sum_to_one():
    values = itertools.product(range(3), repeat=4)
    x = np.array(list(values), np.uint8).reshape(-1, 2, 2, 1)
    nats = synthetic_images.log_prob(x, seed=3, classes=2, levels=3)
    assert np.exp(nats).sum() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("channels", [1, 3])
def test_log_prob_is_the_mixture_of_binomials(channels):
    data = synthetic_images.synthetic_images(
        rows=12, size=4, channels=channels, classes=3, levels=17, seed=5
    )
    truth = synthetic_images.templates((4, 4, channels), 3, 17, 5)
    each = stats.binom.logpmf(data.train[:, None], 16, truth.mean).sum(axis=(2, 3, 4))
    expected = special.logsumexp(each + np.log(truth.weight), axis=1)
    found = synthetic_images.log_prob(data.train, 5, 3, 17)
    floats.assert_close(found, expected, rtol=1e-12)


def test_samples_have_that_probability():
    # With one template the values are independent, so the entropy is known exactly.
    data = synthetic_images.synthetic_images(rows=4_000, size=3, classes=1)
    nats = synthetic_images.log_prob(data.train, classes=1)
    mean = synthetic_images.templates((3, 3, 1), 1).mean
    entropy = stats.binom.entropy(255, mean).sum()
    assert nats.mean() == pytest.approx(-entropy, abs=4 * nats.std() / 4_000**0.5)


def test_labels_are_the_templates():
    data = synthetic_images.synthetic_images(size=8, channels=3, classes=4)
    assert data.event == (8, 8, 3)
    assert data.classes == 4
    truth = synthetic_images.templates((8, 8, 3))
    for label in range(4):
        rows = data.train[data.labels[0] == label]
        np.testing.assert_allclose(
            rows.mean(axis=0) / 255, truth.mean[label], atol=0.02
        )
    weights = np.bincount(data.labels[0]) / 2_000
    np.testing.assert_allclose(weights, truth.weight, atol=0.05)


def test_shape_and_repetition():
    one, two = (synthetic_images.synthetic_images(rows=40, seed=1) for _ in range(2))
    assert [len(part) for part in one[1:4]] == [40, 10, 10]
    np.testing.assert_array_equal(one.train, two.train)
    assert not np.array_equal(one.val, one.test)
    other = synthetic_images.synthetic_images(rows=40, seed=2)
    assert not np.array_equal(one.train, other.train)
    assert "synthetic" in one.source


@pytest.mark.parametrize("wrong", [{"rows": 0}, {"size": 0}, {"classes": 0}])
def test_sizes_below_one(wrong):
    with pytest.raises(DataError, match="at least 1"):
        synthetic_images.synthetic_images(**wrong)


def test_impossible_levels():
    with pytest.raises(DataError, match="levels=257; expected 2 to 256"):
        synthetic_images.synthetic_images(levels=257)


def test_values_beyond_the_levels():
    x = np.array([0, 20], np.uint8).reshape(1, 2, 1, 1)
    with pytest.raises(DataError, match="Values from 0 to 20; 17 levels are 0 to 16"):
        synthetic_images.log_prob(x, levels=17)
