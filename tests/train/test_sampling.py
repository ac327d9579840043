"""Batches: which rows, how many, and the same whatever the devices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.train import batches
from fdnf.train.settings import ConfigError

DATA = {
    "train": jnp.arange(10.0)[:, None],
    "generated": 100.0 + jnp.arange(7.0)[:, None],
}


def _drawn(sample, key, devices):
    rows = [sample(key, DATA, jnp.asarray(i))["x"] for i in range(devices)]
    return np.concatenate(rows)[:, 0]


def test_rows_of_a_batch_are_training_rows_and_differ_by_device_and_key():
    sample = batches.uniform(10, 8, devices=2)
    first = _drawn(sample, jax.random.key(0), 2)
    assert first.shape == (8,)
    assert set(first) <= set(range(10))
    assert not np.array_equal(first[:4], first[4:])
    assert not np.array_equal(first, _drawn(sample, jax.random.key(1), 2))
    np.testing.assert_array_equal(first, _drawn(sample, jax.random.key(0), 2))


def test_every_row_is_as_likely():
    sample = batches.uniform(10, 8, devices=1)
    keys = jax.random.split(jax.random.key(0), 500)
    drawn = jax.vmap(lambda key: sample(key, DATA, jnp.asarray(0))["x"])(keys)
    counts = np.bincount(np.asarray(drawn, int).ravel(), minlength=10)
    assert counts.min() > 330  # 400 expected, standard deviation 19
    assert counts.max() < 470


@pytest.mark.parametrize("devices", [1, 2])
@pytest.mark.parametrize("batch_size", [10, 64])
def test_a_small_training_set_is_one_batch(devices, batch_size):
    sample = batches.uniform(10, batch_size, devices)
    for seed in range(3):
        drawn = _drawn(sample, jax.random.key(seed), devices)
        np.testing.assert_array_equal(np.sort(drawn), np.arange(10))


def test_an_odd_row_sits_a_step_out_and_not_always_the_same():
    sample = batches.uniform(9, 64, devices=2)
    missing = set()
    for seed in range(20):
        drawn = set(_drawn(sample, jax.random.key(seed), 2))
        assert len(drawn) == 8
        missing |= set(range(9)) - drawn
    assert len(missing) > 3


def test_fewer_rows_than_devices_still_fill_a_batch():
    drawn = _drawn(batches.uniform(1, 4, devices=2), jax.random.key(0), 2)
    np.testing.assert_array_equal(drawn, np.zeros(4))


@pytest.mark.parametrize("rows", [10, 8])
def test_share_of_generated_rows(rows):
    # With as few rows as the batch holds, the batch is no longer the whole set.
    sample = batches.uniform(rows, 8, devices=2, generated=0.25)
    for seed in range(5):
        drawn = _drawn(sample, jax.random.key(seed), 2)
        assert drawn.shape == (8,)
        assert np.sum(drawn >= 100) == 2


def test_batch_that_does_not_divide():
    with pytest.raises(ConfigError, match=r"train.batch_size=7 .* 2 devices"):
        batches.uniform(10, 7, devices=2)


def test_share_out_of_range():
    with pytest.raises(ConfigError, match=r"teacher.share=1.5"):
        batches.uniform(10, 8, devices=2, generated=1.5)
