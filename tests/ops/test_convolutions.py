"""Convolutions of every kind, by products and by XLA, against their definitions."""

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


# Kernel, padding, stride.
WINDOWS = [
    ((2, 3), ((1, 0), (1, 1)), 1),
    ((2, 2), ((1, 0), (1, 0)), 1),
    ((1, 3), ((1, 0), (1, 1)), 1),
    ((2, 3), ((1, 0), (1, 1)), 2),
    ((2, 2), ((1, 0), (1, 0)), 2),
]
over_windows = pytest.mark.parametrize(("sides", "padding", "stride"), WINDOWS, ids=str)
shifted = jax.jit(convolutions.convolve_shifted, static_argnums=(2, 3, 4))


def shifted_case(sides, channels):
    rng = np.random.default_rng(sum(sides) + channels[0])
    x = rng.normal(size=(2, 5, 4, channels[0]))
    kernel = rng.normal(size=(*sides, *channels))
    return jnp.asarray(x, jnp.float32), jnp.asarray(kernel, jnp.float32)


def defined_shifted(x, kernel, padding, stride):
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
def test_shifted_by_its_definition(sides, padding, stride, method, channels):
    x, kernel = shifted_case(sides, channels)
    found = shifted(x, kernel, padding, stride, method)
    np.testing.assert_allclose(
        found, defined_shifted(x, kernel, padding, stride), atol=2e-5
    )


@over_windows
def test_gradients_of_shifted_agree(sides, padding, stride):
    x, kernel = shifted_case(sides, (5, 2))

    def gradients(method):
        def total(x, kernel):
            y = convolutions.convolve_shifted(x, kernel, padding, stride, method)
            return jnp.sum(jnp.sin(y))

        return jax.jit(jax.grad(total, (0, 1)))(x, kernel)

    pairs = zip(gradients("direct"), gradients("product"), strict=True)
    for one, two in pairs:
        np.testing.assert_allclose(one, two, atol=2e-5)


def test_unknown_method_of_shifted():
    x, kernel = shifted_case((2, 2), (1, 1))
    with pytest.raises(ValueError, match="unknown method 'fft'"):
        convolutions.convolve_shifted(x, kernel, ((1, 0), (1, 0)), 1, "fft")


dilated = jax.jit(convolutions.convolve_dilated, static_argnums=(2, 3))


def drawn(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def defined_dilated(x, kernel, dilation):
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
def test_dilated_by_its_definition(taps, dilation, time, method):
    # The last case: taps that are beyond the ends everywhere.
    x, kernel = drawn(2, time, 3), drawn(taps, 3, 4, seed=1)
    found = dilated(x, kernel, dilation, method)
    np.testing.assert_allclose(found, defined_dilated(x, kernel, dilation), atol=1e-5)


@pytest.mark.parametrize("method", ["direct", "product"])
@pytest.mark.parametrize(("taps", "dilation"), [(1, 1), (2, 1), (2, 4), (3, 2)])
def test_a_causal_one_by_its_definition(taps, dilation, method):
    x, kernel = drawn(2, 7, 3), drawn(taps, 3, 4, seed=1)
    expected = np.zeros((2, 7, 4))
    for t in range(7):
        for k in range(taps):
            seen = t - dilation * (taps - 1 - k)
            if seen >= 0:
                expected[:, t] += x[:, seen] @ kernel[k]
    found = convolutions.convolve_dilated(x, kernel, dilation, method, causal=True)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_gradients_of_dilated_agree_in_a_loop():
    x, kernels = drawn(2, 7, 3), drawn(2, 3, 3, 3, seed=1)

    def gradients(method):
        def total(x, kernels):
            def body(h, kernel):
                return jnp.tanh(dilated(h, kernel, 2, method)), None

            return jnp.sum(jax.lax.scan(body, x, kernels)[0] ** 2)

        return jax.jit(jax.grad(total, (0, 1)))(x, kernels)

    for one, two in zip(gradients("direct"), gradients("product"), strict=True):
        np.testing.assert_allclose(one, two, atol=1e-5)


def test_the_product_has_no_convolution():
    x, kernel = drawn(2, 7, 3), drawn(3, 3, 4)
    text = {
        method: str(jax.make_jaxpr(dilated, (2, 3))(x, kernel, 2, method))
        for method in ("direct", "product")
    }
    assert "conv_general_dilated" in text["direct"]
    assert "conv_general_dilated" not in text["product"]
    assert text["product"].count("dot_general") == 1


def test_refusals_of_dilated():
    x, kernel = drawn(1, 4, 2), drawn(3, 2, 2)
    with pytest.raises(ValueError, match="unknown method 'fast'"):
        convolutions.convolve_dilated(x, kernel, 1, "fast")
    with pytest.raises(ValueError, match="expected an odd number of taps"):
        convolutions.convolve_dilated(x, kernel[:2])
    with pytest.raises(ValueError, match="dilation of at least 1"):
        convolutions.convolve_dilated(x, kernel, 0)


upsample = jax.jit(convolutions.upsample, static_argnums=2)


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
    x, kernel = drawn(2, 4, 3), drawn(taps, 3, 2, seed=1)
    found = upsample(x, kernel, stride)
    assert found.shape == (2, 4 * stride, 2)
    expected = whole(x, kernel, stride)
    # Taps fewer than the stride leave a gap after the last frame.
    missing = max(0, found.shape[1] - expected.shape[1])
    expected = np.pad(expected, ((0, 0), (0, missing), (0, 0)))
    np.testing.assert_allclose(found, expected[:, : 4 * stride], atol=1e-5)


def test_is_jax_own_convolution():
    x, kernel = drawn(2, 5, 3), drawn(8, 3, 2, seed=1)
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
        convolutions.upsample(drawn(1, 2, 1), drawn(2, 1, 1), 0)
