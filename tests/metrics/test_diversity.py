"""Diversity by its definition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.metrics import diversity, lpips
from tests.metrics.tiny_lpips import tiny_params

RNG = np.random.default_rng(0)
SAMPLES = jnp.asarray(RNG.random((3, 31, 33, 3)), jnp.float32)


def test_mean_over_ordered_pairs():
    params = tiny_params()
    found = diversity.lpips_diversity(params, SAMPLES)
    ordered = [(i, j) for i in range(3) for j in range(3) if i != j]
    x, y = (jnp.stack([SAMPLES[pair[side]] for pair in ordered]) for side in (0, 1))
    rows = jax.jit(lpips.lpips, static_argnames="net")(params, x, y, net="alexnet")
    assert float(found) == pytest.approx(float(rows.mean()), rel=1e-4)


def test_equal_samples_have_none():
    same = jnp.stack([SAMPLES[0]] * 3)
    found = diversity.lpips_diversity(tiny_params(), same)
    assert float(found) == pytest.approx(0, abs=1e-6)


def test_one_sample_is_refused():
    with pytest.raises(ValueError, match="diversity of 1 samples"):
        diversity.lpips_diversity(tiny_params(), SAMPLES[:1])
