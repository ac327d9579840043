"""Dilated convolutions, against their definition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.ops import convolutions

convolve = jax.jit(convolutions.convolve_dilated, static_argnums=(2, 3))


def draw(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def defined(x, kernel, dilation):
    taps, centre = len(kernel), len(kernel) // 2
    out = np.zeros((*x.shape[:2], kernel.shape[-1]))
    for t in range(x.shape[1]):
        for k in range(taps):
            seen = t + dilation * (k - centre)
            if 0 <= seen < x.shape[1]:
                out[:, t] += x[:, seen] @ kernel[k]
    return out


@pytest.mark.parametrize("method", ["direct", "product"])
@pytest.mark.parametrize(
    ("taps", "dilation", "time"),
    [(1, 1, 4), (3, 1, 6), (3, 4, 9), (5, 2, 9), (3, 8, 5)],
)
def test_is_what_it_is_defined_as(taps, dilation, time, method):
    # The last case: taps that are beyond the ends everywhere.
    x, kernel = draw(2, time, 3), draw(taps, 3, 4, seed=1)
    found = convolve(x, kernel, dilation, method)
    np.testing.assert_allclose(found, defined(x, kernel, dilation), atol=1e-5)


def test_gradients_of_both_ways_agree_in_a_loop():
    x, kernels = draw(2, 7, 3), draw(2, 3, 3, 3, seed=1)

    def gradients(method):
        def total(x, kernels):
            def body(h, kernel):
                return jnp.tanh(convolve(h, kernel, 2, method)), None

            return jnp.sum(jax.lax.scan(body, x, kernels)[0] ** 2)

        return jax.jit(jax.grad(total, (0, 1)))(x, kernels)

    for one, two in zip(gradients("direct"), gradients("product"), strict=True):
        np.testing.assert_allclose(one, two, atol=1e-5)


def test_the_product_has_no_convolution():
    x, kernel = draw(2, 7, 3), draw(3, 3, 4)
    text = {
        method: str(jax.make_jaxpr(lambda x: convolve(x, kernel, 2, method))(x))  # noqa: B023
        for method in ("direct", "product")
    }
    assert "conv_general_dilated" in text["direct"]
    assert "conv_general_dilated" not in text["product"]
    assert text["product"].count("dot_general") == 1


def test_refuses_what_it_cannot_do():
    x, kernel = draw(1, 4, 2), draw(3, 2, 2)
    with pytest.raises(ValueError, match="unknown method 'fast'"):
        convolutions.convolve_dilated(x, kernel, 1, "fast")
    with pytest.raises(ValueError, match="expected an odd number of taps"):
        convolutions.convolve_dilated(x, kernel[:2])
    with pytest.raises(ValueError, match="dilation of at least 1"):
        convolutions.convolve_dilated(x, kernel, 0)
