"""Events as sequences of tokens."""

import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.ops import tokens


def numbered(*shape):
    return jnp.arange(np.prod(shape)).reshape(shape)


def test_patches_of_an_image_in_raster_order():
    x = numbered(1, 4, 6, 2)
    found = tokens.split(x, 2, 3)
    assert found.shape == (1, 6, 8)
    # The second patch: columns 2 and 3 of rows 0 and 1, channels last.
    np.testing.assert_array_equal(found[0, 1], x[0, :2, 2:4].reshape(-1))
    np.testing.assert_array_equal(found[0, 3], x[0, 2:, :2].reshape(-1))
    np.testing.assert_array_equal(tokens.join(found, 2, (4, 6, 2)), x)
    assert tokens.grid((4, 6, 2), 2) == (2, 3)
    assert tokens.count((4, 6, 2), 2) == 6


def test_runs_of_a_vector():
    x = numbered(2, 6)
    found = tokens.split(x, 3, 1)
    np.testing.assert_array_equal(found[0], [[0, 1, 2], [3, 4, 5]])
    np.testing.assert_array_equal(tokens.join(found, 3, (6,)), x)
    np.testing.assert_array_equal(tokens.reverse(x, 3, 1)[0], [3, 4, 5, 0, 1, 2])


@pytest.mark.parametrize("event", [(4, 6, 2), (8,)], ids=str)
def test_reversed_tokens_stay_as_they_are(event):
    x, rank = numbered(3, 2, *event), len(event)
    turned = tokens.split(tokens.reverse(x, 2, rank), 2, rank)
    np.testing.assert_array_equal(turned, tokens.split(x, 2, rank)[..., ::-1, :])


@pytest.mark.parametrize(
    ("event", "patch", "message"),
    [
        ((6, 8, 1), 4, "patch=4 on 6 x 8 pixels, .*: expected a patch .* divides"),
        ((7,), 2, "patch=2 on 7 columns: expected a patch"),
        ((8,), 0, "patch=0 on 8 columns"),
        ((8, 2), 2, r"events of shape \(8, 2\): expected a vector \(columns,\) or an"),
    ],
)
def test_what_patches_do_not_fill_is_refused(event, patch, message):
    with pytest.raises(ValueError, match=message):
        tokens.grid(event, patch)
