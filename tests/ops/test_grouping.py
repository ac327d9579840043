"""Time to channels and back."""

import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.ops import squeeze


def test_runs_become_channels_in_order():
    x = jnp.arange(2 * 6 * 2, dtype=jnp.float32).reshape(2, 6, 2)
    y = squeeze.group(x, 3)
    assert y.shape == (2, 2, 6)
    # Channel c of position p of a run: p * 2 + c.
    for p, c in np.ndindex(3, 2):
        np.testing.assert_array_equal(y[..., p * 2 + c], x[:, p::3, c])
    np.testing.assert_array_equal(squeeze.ungroup(y, 3), x)


def test_refuses_sizes_that_do_not_fit():
    with pytest.raises(ValueError, match="7 samples in groups of 3: the size"):
        squeeze.group(jnp.zeros((1, 7, 1)), 3)
    with pytest.raises(ValueError, match="4 channels are no 3 positions"):
        squeeze.ungroup(jnp.zeros((1, 2, 4)), 3)
