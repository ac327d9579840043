"""Squares and groups to channels and back."""

import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.ops import squeeze


def images(height, width, channels, batch=2):
    size = batch * height * width * channels
    return jnp.arange(size, dtype=jnp.float32).reshape(batch, height, width, channels)


def test_channel_c_of_pixel_dy_dx_becomes_4c_2dy_dx():
    x = images(4, 6, 3)
    y = squeeze.squeeze(x)
    assert y.shape == (2, 2, 3, 12)
    for c in range(3):
        for dy in (0, 1):
            for dx in (0, 1):
                np.testing.assert_array_equal(
                    y[..., 4 * c + 2 * dy + dx], x[:, dy::2, dx::2, c]
                )


def test_one_block_by_hand():
    x = jnp.asarray([[[[1.0], [2.0]], [[3.0], [4.0]]]])
    np.testing.assert_array_equal(squeeze.squeeze(x), [[[[1.0, 2.0, 3.0, 4.0]]]])


@pytest.mark.parametrize("shape", [(2, 2, 1), (4, 6, 3), (8, 2, 2)])
def test_both_directions_are_exact(shape):
    x = images(*shape)
    np.testing.assert_array_equal(squeeze.unsqueeze(squeeze.squeeze(x)), x)
    y = images(shape[0], shape[1], 4 * shape[2])
    np.testing.assert_array_equal(squeeze.squeeze(squeeze.unsqueeze(y)), y)


@pytest.mark.parametrize("shape", [(3, 4), (4, 3), (1, 1)])
def test_odd_sides_are_refused(shape):
    with pytest.raises(ValueError, match=f"{shape[0]} x {shape[1]}.*must be even"):
        squeeze.squeeze(images(*shape, 1))


def test_channels_that_4_does_not_divide_are_refused():
    with pytest.raises(ValueError, match="6 channels: 4 must divide"):
        squeeze.unsqueeze(images(2, 2, 6))


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
