"""Transposed convolutions over time, against their definition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.ops import convolutions

upsample = jax.jit(convolutions.upsample, static_argnums=2)


def draw(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def whole(x, kernel, stride):
    """All (frames - 1) stride + taps outputs: every frame adds its kernel."""
    batch, frames, _ = x.shape
    taps, _, outputs = kernel.shape
    out = np.zeros((batch, (frames - 1) * stride + taps, outputs))
    for f in range(frames):
        added = np.einsum("bi,kio->bko", x[:, f], kernel)
        out[:, f * stride : f * stride + taps] += added
    return out


@pytest.mark.parametrize(("taps", "stride"), [(8, 2), (4, 4), (5, 2), (3, 1), (2, 3)])
def test_is_the_start_of_the_whole(taps, stride):
    x, kernel = draw(2, 4, 3), draw(taps, 3, 2, seed=1)
    found = upsample(x, kernel, stride)
    assert found.shape == (2, 4 * stride, 2)
    expected = whole(x, kernel, stride)
    # Taps fewer than the stride leave a gap after the last frame.
    missing = max(0, found.shape[1] - expected.shape[1])
    expected = np.pad(expected, ((0, 0), (0, missing), (0, 0)))
    np.testing.assert_allclose(found, expected[:, : 4 * stride], atol=1e-5)


def test_is_jax_own_convolution():
    x, kernel = draw(2, 5, 3), draw(8, 3, 2, seed=1)
    other = jax.lax.conv_general_dilated(
        x,
        kernel[::-1],
        (1,),
        ((7, 7),),
        lhs_dilation=(4,),
        dimension_numbers=("NTC", "TIO", "NTC"),
    )
    found = upsample(x, kernel, 4)
    np.testing.assert_allclose(found, other[:, :20], atol=1e-5)


def test_refuses_no_stride():
    with pytest.raises(ValueError, match="stride 0: expected at least 1"):
        convolutions.upsample(draw(1, 2, 1), draw(2, 1, 1), 0)
