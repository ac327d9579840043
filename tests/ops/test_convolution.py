"""Both ways of a convolution: against each other and against its definition."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.ops import convolutions
from tests import floats

KERNELS = [(1, 1), (3, 3), (5, 5), (1, 3), (3, 1), (5, 3)]
CHANNELS = [(2, 5), (3, 3), (5, 2)]
over_kernels = pytest.mark.parametrize("sides", KERNELS, ids=str)
over_channels = pytest.mark.parametrize("channels", CHANNELS, ids=str)


convolve = jax.jit(convolutions.convolve, static_argnames="method")


def draw(sides, channels, image=(4, 6), dtype=np.float32):
    rng = np.random.default_rng(sum(sides) + 7 * channels[0])
    x = rng.normal(size=(2, *image, channels[0])).astype(dtype)
    return x, rng.normal(size=(*sides, *channels)).astype(dtype)


def defined(x, kernel):
    """out[p] = sum_k x[p + k - centre] kernel[k], zero outside."""
    rows, columns = kernel.shape[:2]
    _, height, width, _ = x.shape
    out = np.zeros((*x.shape[:3], kernel.shape[3]))
    for p in np.ndindex(height, width):
        for k in np.ndindex(rows, columns):
            i, j = p[0] + k[0] - rows // 2, p[1] + k[1] - columns // 2
            if 0 <= i < height and 0 <= j < width:
                out[:, *p] += x[:, i, j] @ kernel[k]
    return out


@pytest.mark.parametrize("method", ["direct", "product"])
@over_channels
@over_kernels
def test_is_what_it_is_defined_as(sides, channels, method):
    x, kernel = draw(sides, channels, image=(3, 4))
    found = convolve(x, kernel, method)
    np.testing.assert_allclose(found, defined(x, kernel), atol=2e-5)


@functools.partial(jax.jit, static_argnums=2)
def value_and_gradients(x, kernel, method):
    def objective(x, kernel):
        out = convolutions.convolve(x, kernel, method)
        return jnp.sum(jnp.sin(out)), out

    gradients, out = jax.grad(objective, (0, 1), has_aux=True)(x, kernel)
    return out, *gradients


@over_channels
@over_kernels
def test_product_equals_direct(sides, channels):
    x, kernel = draw(sides, channels)
    direct = value_and_gradients(x, kernel, "direct")
    product = value_and_gradients(x, kernel, "product")
    for one, two in zip(direct, product, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-4)


@over_channels
def test_images_smaller_than_the_kernel(channels):
    # The top level of a deep flow may be a single pixel.
    for image in ((1, 1), (1, 3), (2, 1)):
        for sides in ((3, 3), (5, 5)):
            x, kernel = draw(sides, channels, image)
            found = convolve(x, kernel, "product")
            np.testing.assert_allclose(found, defined(x, kernel), atol=2e-5)


@over_channels
def test_bfloat16_keeps_its_two_digits(channels):
    x, kernel = draw((3, 3), channels)
    half = (jnp.asarray(x, jnp.bfloat16), jnp.asarray(kernel, jnp.bfloat16))
    exact = defined(*(np.asarray(a, np.float64) for a in half))
    for method in ("direct", "product"):
        found = convolutions.convolve(*half, method)
        assert found.dtype == jnp.bfloat16
        error = np.max(np.abs(np.asarray(found, np.float64) - exact))
        assert error < 0.03 * np.max(np.abs(exact))


@pytest.mark.parametrize("backend", ["cpu", "gpu", "tpu"])
def test_auto_is_the_product_on_cpu_alone(backend, monkeypatch):
    x, kernel = (jnp.asarray(a) for a in draw((3, 3), (2, 5)))
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    # A function of its own, since traces are kept by function.
    program = str(jax.make_jaxpr(lambda x, k: convolutions.convolve(x, k))(x, kernel))
    assert ("conv_general_dilated" in program) == (backend != "cpu")


def plain(x, kernel):
    return convolutions.convolve(x, kernel, "direct")


def test_auto_on_cpu_is_direct_for_large_images_without_gradients(monkeypatch):
    monkeypatch.setattr(convolutions, "_LARGE", 10_000)
    x, kernel = (jnp.asarray(a) for a in draw((3, 3), (2, 5)))
    wide = jnp.asarray(draw((3, 3), (2, 5), image=(12, 10))[0])

    def run(x, k):
        return jnp.sum(jnp.sin(convolutions.convolve(x, k)))

    def direct(function, *args):
        return "conv_general_dilated" in str(jax.make_jaxpr(function)(*args))

    assert direct(run, wide, kernel)
    assert not direct(run, x, kernel)
    assert not direct(run, wide, kernel[:1, :1])
    for wanted in (0, 1, (0, 1)):
        gradient = jax.grad(run, wanted)
        assert not direct(gradient, wide, kernel)
        expected = jax.grad(lambda x, k: jnp.sum(jnp.sin(plain(x, k))), wanted)
        for one, other in zip(
            jax.tree.leaves(gradient(wide, kernel)),
            jax.tree.leaves(expected(wide, kernel)),
            strict=True,
        ):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)
    floats.assert_close(
        jax.jvp(run, (wide, kernel), (wide, kernel))[1],
        jax.jvp(
            lambda x, k: jnp.sum(jnp.sin(plain(x, k))), (wide, kernel), (wide, kernel)
        )[1],
        rtol=1e-4,
    )


def test_auto_of_any_number_of_rows(monkeypatch):
    # As in programs that are exported for all batches.
    monkeypatch.setattr(convolutions, "_LARGE", 5_000)
    convolve = jax.jit(lambda x, k: convolutions.convolve(x, k))
    kernel = jax.ShapeDtypeStruct((3, 3, 2, 5), np.float32)
    for sides, direct in (("4, 6", False), ("12, 10", True), ("h, 10", False)):
        shape = jax.export.symbolic_shape(f"b, {sides}, 2")
        x = jax.ShapeDtypeStruct(shape, np.float32)
        program = jax.export.export(convolve)(x, kernel).mlir_module()
        assert ("stablehlo.convolution" in program) == direct, sides


def test_unknown_methods_and_even_kernels_are_refused():
    x, kernel = (jnp.asarray(a) for a in draw((3, 3), (2, 5)))
    with pytest.raises(ValueError, match="unknown method 'fft'; known: .*product"):
        convolutions.convolve(x, kernel, "fft")
    for even in (kernel[:2], kernel[:, :2]):
        for method in convolutions.METHODS:
            with pytest.raises(ValueError, match="expected odd sides"):
                convolutions.convolve(x, even, method)
