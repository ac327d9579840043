"""Masks of causal convolutions, by the sparsity of the convolution's Jacobian."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.ops import conditioners, convolutions

HEIGHT, WIDTH = 4, 3


def rank(channels, order):
    """Place of every (row, column, channel) in the order, flat as the image is."""
    shape = (HEIGHT, WIDTH, channels)
    places = np.arange(np.prod(shape))
    if order == "raster":
        return places
    # Channels first: the place in an array [channel, row, column].
    return places.reshape(channels, HEIGHT, WIDTH).transpose(1, 2, 0).reshape(-1)


def sees(mask):
    """[out, in] booleans: which outputs of a convolution with this kernel see what."""
    inputs = mask.shape[2]
    image = jnp.zeros((1, HEIGHT, WIDTH, inputs))
    slopes = jax.jacfwd(lambda x: convolutions.convolve(x, jnp.asarray(mask)))(image)
    return np.asarray(slopes).reshape(HEIGHT * WIDTH * mask.shape[3], -1) != 0


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("order", conditioners.ORDERS)
def test_a_window_sees_what_comes_before_and_all_of_it(order, channels, mirrored):
    rows, columns, channel = np.indices((HEIGHT, WIDTH, channels)).reshape(3, -1)
    near = np.abs(rows[:, None] - rows) <= 1
    near &= np.abs(columns[:, None] - columns) <= 1
    place = rank(channels, order) * (-1 if mirrored else 1)
    for centre in (False, True):
        mask = conditioners.conv_mask(
            channels, order=order, mirrored=mirrored, centre=centre
        )
        before = place[:, None] >= place if centre else place[:, None] > place
        np.testing.assert_array_equal(sees(mask), near & before)
    assert channel.max() == channels - 1


@pytest.mark.parametrize("order", conditioners.ORDERS)
def test_copies_see_what_their_channel_sees(order):
    single = conditioners.conv_mask(2, order=order)
    several = conditioners.conv_mask(2, copies=(3, 2), order=order)
    assert several.shape == (3, 3, 6, 4)
    for i, j in itertools.product(range(6), range(4)):
        np.testing.assert_array_equal(several[:, :, i, j], single[:, :, i // 3, j // 2])


def test_known_masks():
    first = conditioners.conv_mask(1)[:, :, 0, 0]
    np.testing.assert_array_equal(first, [[1, 1, 1], [1, 1, 0], [0, 0, 0]])
    assert first.dtype == np.float32
    later = conditioners.conv_mask(2, centre=False)
    np.testing.assert_array_equal(later[:, :, 0, 1], np.ones((3, 3)))
    assert not later[:, :, 1, 0].any()
    wide = conditioners.conv_mask(1, size=5, mirrored=True)[:, :, 0, 0]
    np.testing.assert_array_equal(wide.sum(1), [0, 0, 3, 5, 5])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"channels": 0}, "channels is 0"),
        ({"channels": 1, "size": 4}, "size 4"),
        ({"channels": 1, "copies": (0, 1)}, r"copies \(0, 1\)"),
        ({"channels": 1, "order": "columns"}, "'columns'"),
    ],
)
def test_errors_name_what_was_given(settings, message):
    with pytest.raises(ValueError, match=message):
        conditioners.conv_mask(settings.pop("channels"), **settings)
