"""From grey levels to the flow's data and back."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from fdnf.data import build as datasets
from fdnf.data.tabular import Tabular
from fdnf.train import preprocess
from fdnf.train.preprocess import Preprocess
from tests import floats

KEY = jax.random.key(0)
X = jnp.asarray(np.random.default_rng(0).integers(0, 256, (6, 4, 4, 3)), jnp.uint8)

KINDS = [
    Preprocess(256),
    Preprocess(32, bits=5),
    Preprocess(256, margin=0.05),
    Preprocess(32, bits=5, margin=1e-4),
]


@pytest.mark.parametrize("made", KINDS)
def test_pixels_come_back(made):
    y, _ = made.encode(KEY, X)
    expected = np.asarray(X) // 2 ** (8 - made.bits)
    np.testing.assert_array_equal(made.to_pixels(y), expected)
    np.testing.assert_array_equal(made.to_stored(y), expected * 2 ** (8 - made.bits))
    assert np.abs(y).max() <= made.reach(np.asarray(X)) + 1e-5


@pytest.mark.parametrize("made", KINDS)
def test_log_det_is_that_of_the_map(made):
    y, log_det = made.encode(KEY, X)
    # The same noise gives the same y, so neighbouring levels tell the slope.
    noise = np.asarray(jax.random.uniform(KEY, X.shape), np.float64)
    real = np.asarray(X // 2 ** (8 - made.bits), np.float64) + noise
    if made.margin:
        p = made.margin + (1 - 2 * made.margin) * real / made.levels
        expected = np.log((1 - 2 * made.margin) / made.levels / (p * (1 - p)))
        np.testing.assert_allclose(y, np.log(p / (1 - p)), rtol=2e-3, atol=2e-4)
    else:
        expected = np.full(X.shape, -math.log(made.levels))
        np.testing.assert_allclose(y, real / made.levels - 0.5, atol=1e-6)
    floats.assert_close(log_det, expected.sum((1, 2, 3)), rtol=1e-4)


def test_training_batches_are_mirrored_by_halves():
    made = Preprocess(256, flip=True)
    x = jnp.concatenate([X] * 50)
    drawn = made.train(KEY, {"x": x})["x"]
    pixels = np.asarray(made.to_pixels(drawn))
    kept = np.all(pixels == np.asarray(x), axis=(1, 2, 3))
    mirrored = np.all(pixels == np.asarray(x)[:, :, ::-1], axis=(1, 2, 3))
    assert np.all(kept | mirrored)
    assert 0.35 < kept.mean() < 0.65
    # Without flips, and where densities are measured, nothing is mirrored.
    still = made.encode(KEY, x)[0]
    np.testing.assert_array_equal(made.to_pixels(still), x)


def test_labels_become_the_condition():
    labels = jnp.asarray([2, 0, 1, 2, 2, 0])
    batch = Preprocess(256, classes=3).train(KEY, {"x": X, "beside": labels})
    np.testing.assert_array_equal(batch["cond"], np.eye(3)[np.asarray(labels)])
    assert "beside" not in batch
    assert "cond" not in Preprocess(256).train(KEY, {"x": X, "beside": labels})


def test_vectors_pass_as_they_are():
    made, x = Preprocess(), jnp.arange(6.0).reshape(2, 3)
    assert made.train(KEY, {"x": x})["x"] is x
    y, log_det = made.encode(KEY, x)
    np.testing.assert_array_equal(y, x)
    np.testing.assert_array_equal(log_det, 0.0)
    assert made.to_stored(x) is x
    assert made.reach(np.asarray(-x)) == 5.0


def test_made_from_a_config():
    images = datasets.build(ConfigDict({"name": "synthetic_images", "args": {}}))
    section = {"n_bits": 5, "logit": 0.05, "flip": True, "conditional": True}
    made = preprocess.make(ConfigDict(section), images)
    assert made == Preprocess(32, 5, True, 0.05, images.classes)
    hash(made)
    rows = np.zeros((2, 3), np.float32)
    vectors = Tabular("rows", rows, rows, rows, "")
    assert preprocess.make(ConfigDict({}), vectors) == Preprocess()


def test_a_condition_needs_labels():
    images = datasets.build(ConfigDict({"name": "synthetic_images", "args": {}}))
    with pytest.raises(ValueError, match=r"data.conditional: .* has no labels"):
        preprocess.make(ConfigDict({"conditional": True}), images._replace(labels=None))


def test_few_levels_have_no_bits_to_cut():
    images = datasets.build(ConfigDict({"name": "synthetic_images", "args": {}}))
    with pytest.raises(ValueError, match="has 17 levels, not 256"):
        preprocess.make(ConfigDict({"n_bits": 5}), images._replace(levels=17))
