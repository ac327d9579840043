"""Latents: their shapes in a multi-scale flow, and how they are drawn."""

import math

import jax
import numpy as np
import pytest

from fdnf.ops import latents
from tests import floats

PARTS = ((2, 3), (4,))


@pytest.mark.parametrize(
    ("levels", "splits", "expected"),
    [
        (1, 0, [(8, 16, 12)]),
        (3, 1, [(8, 16, 6), (2, 4, 96)]),
        (3, 2, [(8, 16, 6), (4, 8, 12), (2, 4, 48)]),
        (2, 2, [(8, 16, 6), (4, 8, 12), (4, 8, 12)]),
    ],
)
def test_what_is_split_off(levels, splits, expected):
    found = latents.split_shapes((16, 32, 3), levels, splits)
    assert found == tuple(expected)
    assert sum(map(math.prod, found)) == 16 * 32 * 3


def test_temperatures_scale_the_same_noise():
    key = jax.random.key(0)
    plain = latents.draw(key, 5, PARTS)
    assert [part.shape for part in plain] == [(5, 2, 3), (5, 4)]
    assert np.abs(plain[0].reshape(-1)[:20] - plain[1].reshape(-1)).max() > 0.1
    for given, each in ((0.5, (0.5, 0.5)), ((0.1, 2.0), (0.1, 2.0))):
        found = latents.draw(key, 5, PARTS, given)
        for part, usual, scale in zip(found, plain, each, strict=True):
            floats.assert_close(part, scale * usual, rtol=1e-6)
    assert latents.draw(key, 5, ()) == ()


def test_one_temperature_a_latent():
    with pytest.raises(ValueError, match="3 temperatures .* for 2 latents"):
        latents.draw(jax.random.key(0), 5, PARTS, (1.0, 1.0, 1.0))
