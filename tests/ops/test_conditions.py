"""Conditions: kinds, one for many rows, images in the size of each level."""

import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.ops import conditions, squeeze

DRAW = np.random.default_rng(0)


def images(*shape):
    return jnp.asarray(DRAW.normal(size=shape), jnp.float32)


def test_larger_images_are_squeezed_and_of_smaller_ones_pixels_repeated():
    cond = images(2, 8, 4, 3)
    np.testing.assert_array_equal(conditions.fitted(cond, 8, 4), cond)
    once = squeeze.squeeze(cond)
    np.testing.assert_array_equal(conditions.fitted(cond, 4, 2), once)
    twice = squeeze.squeeze(once)
    np.testing.assert_array_equal(conditions.fitted(cond, 2, 1), twice)
    wide = conditions.fitted(cond, 32, 16)
    assert wide.shape == (2, 32, 16, 3)
    for i in range(4):
        np.testing.assert_array_equal(wide[:, i::4, i::4], cond)


@pytest.mark.parametrize("sides", [(8, 8), (3, 4), (4, 4), (16, 4), (24, 12), (7, 3)])
def test_sizes_that_do_not_fit(sides):
    with pytest.raises(ValueError, match="one power of 2"):
        conditions.fitted(images(2, 8, 4, 3), *sides)


def test_images_must_fit_every_level():
    sides = [(8, 8), (4, 4)]
    for side, channels, made in ((16, 1, [4, 16]), (8, 4, [4, 16]), (4, 2, [2, 2])):
        conditions.check_images("Glow", (3, side, side, channels), sides, made)
    wrong = [
        ((3, 8, 8, 3), [4, 16], r"Glow .*\[3, 12\] channels.*\[4, 16\]"),
        # As many channels at the first level, in another size.
        ((3, 8, 8, 2), [2, 2], r"\[2, 8\] channels"),
        ((3, 2, 2, 2), [2, 2], r"Glow .*at least \(4, 4\)"),
        ((3, 6, 6, 2), None, "Glow: .*one power of 2"),
    ]
    for shape, made, match in wrong:
        with pytest.raises(ValueError, match=match):
            conditions.check_images("Glow", shape, sides, made)


def test_one_condition_gets_a_batch_axis():
    both = (conditions.VECTOR, conditions.IMAGE)
    for shape in ((5,), (4, 4, 3)):
        assert conditions.one_batch("Glow", both, jnp.zeros(shape)).shape == (1, *shape)
        whole = jnp.zeros((7, *shape))
        assert conditions.one_batch("Glow", both, whole) is whole
    wanted = r"expected \[batch, features\] or \[batch, height, width, channels\]"
    for shape in ((), (2, 4, 4, 3, 1)):
        with pytest.raises(ValueError, match=f"Glow with a condition of .*{wanted}"):
            conditions.one_batch("Glow", both, jnp.zeros(shape))
    with pytest.raises(ValueError, match="Affine takes no condition: leave cond"):
        conditions.one_batch("Affine", (), jnp.zeros((2, 3)))
