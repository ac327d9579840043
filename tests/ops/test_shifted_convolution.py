"""Convolutions with one-sided windows and strides, against their definition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.ops import convolutions

# Kernel, padding, stride.
WINDOWS = [
    ((2, 3), ((1, 0), (1, 1)), 1),
    ((2, 2), ((1, 0), (1, 0)), 1),
    ((1, 3), ((1, 0), (1, 1)), 1),
    ((2, 3), ((1, 0), (1, 1)), 2),
    ((2, 2), ((1, 0), (1, 0)), 2),
]
over_windows = pytest.mark.parametrize(("sides", "padding", "stride"), WINDOWS, ids=str)
convolve = jax.jit(convolutions.convolve_shifted, static_argnums=(2, 3, 4))


def draw(sides, channels):
    rng = np.random.default_rng(sum(sides) + channels[0])
    x = rng.normal(size=(2, 5, 4, channels[0]))
    kernel = rng.normal(size=(*sides, *channels))
    return jnp.asarray(x, jnp.float32), jnp.asarray(kernel, jnp.float32)


def defined(x, kernel, padding, stride):
    x = np.pad(x, ((0, 0), *padding, (0, 0)))
    rows, columns = kernel.shape[:2]
    height = (x.shape[1] - rows) // stride + 1
    width = (x.shape[2] - columns) // stride + 1
    out = np.zeros((x.shape[0], height, width, kernel.shape[3]))
    for i, j in np.ndindex(height, width):
        window = x[:, stride * i :, stride * j :][:, :rows, :columns]
        out[:, i, j] = np.einsum("bijc,ijcd->bd", window, kernel)
    return out


@pytest.mark.parametrize("channels", [(2, 5), (5, 2)], ids=str)
@pytest.mark.parametrize("method", ["direct", "product"])
@over_windows
def test_is_what_it_is_defined_as(sides, padding, stride, method, channels):
    x, kernel = draw(sides, channels)
    found = convolve(x, kernel, padding, stride, method)
    np.testing.assert_allclose(found, defined(x, kernel, padding, stride), atol=2e-5)


@over_windows
def test_gradients_of_both_ways_agree(sides, padding, stride):
    x, kernel = draw(sides, (5, 2))

    def gradients(method):
        def total(x, kernel):
            y = convolutions.convolve_shifted(x, kernel, padding, stride, method)
            return jnp.sum(jnp.sin(y))

        return jax.jit(jax.grad(total, (0, 1)))(x, kernel)

    pairs = zip(gradients("direct"), gradients("product"), strict=True)
    for one, two in pairs:
        np.testing.assert_allclose(one, two, atol=2e-5)


def test_unknown_method():
    x, kernel = draw((2, 2), (1, 1))
    with pytest.raises(ValueError, match="unknown method 'fft'"):
        convolutions.convolve_shifted(x, kernel, ((1, 0), (1, 0)), 1, "fft")
