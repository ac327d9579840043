"""Bicubic resampling: known weights, invariants, and the benchmarks' own LR images."""

import jax
import jax.numpy as jnp
import numpy as np
import PIL.Image
import pytest

from fdnf.ops import resize
from tests import floats

RNG = np.random.default_rng(0)


def taps(weights):
    """Non-zero weights of a row and where the first of them stands."""
    at = np.flatnonzero(weights)
    return at[0], weights[at]


def test_kernel_is_keys():
    # a = -0.5 at 0, 1/2, 1, 3/2 and 2: 1, 9/16, 0, -1/16, 0.
    found = resize.kernel(np.array([0, 0.5, -0.5, 1, 1.5, -1.5, 2, 3]))
    expected = [1, 9 / 16, 9 / 16, 0, -1 / 16, -1 / 16, 0, 0]
    np.testing.assert_allclose(found, expected, atol=1e-15)


def test_weights_of_halving_and_doubling():
    # Distances of 8 pixels to a centre between them, halved: 1/4, 3/4, 5/4, 7/4.
    side = np.array([0.8671875, 0.2265625, -0.0703125, -0.0234375])
    start, found = taps(resize.matrix(20, 2, False, "repeat")[5])
    assert start == 7
    floats.assert_close(found, np.r_[side[::-1], side] / (2 * side.sum()))
    # Output 10 of doubling lies at 4.75.
    start, found = taps(resize.matrix(20, 2, True, "repeat")[10])
    assert start == 3
    np.testing.assert_allclose(found, side[[3, 1, 0, 2]], atol=1e-12)


@pytest.mark.parametrize("edge", resize.EDGES)
@pytest.mark.parametrize("enlarge", [False, True])
@pytest.mark.parametrize("factor", [1, 2, 3, 4, 8])
def test_rows_sum_to_one_and_mirror(edge, enlarge, factor):
    weights = resize.matrix(48, factor, enlarge, edge)
    assert weights.shape == (48 * factor if enlarge else 48 // factor, 48)
    np.testing.assert_allclose(weights.sum(1), 1.0, atol=1e-12)
    np.testing.assert_allclose(weights, weights[::-1, ::-1], atol=1e-12)
    if factor == 1:
        np.testing.assert_allclose(weights, np.eye(48), atol=1e-12)


@pytest.mark.parametrize("enlarge", [False, True])
def test_a_slope_stays_a_slope_inside(enlarge):
    weights = resize.matrix(64, 4, enlarge, "mirror")
    found = weights @ np.arange(64.0)
    inside = slice(3, -3) if not enlarge else slice(12, -12)
    steps = np.diff(found[inside])
    np.testing.assert_allclose(steps, 0.25 if enlarge else 4.0, atol=1e-10)


def test_edges():
    ramp = np.arange(16.0)[None, :, None] * np.ones((16, 1, 3))
    assert resize.downscale(ramp, 4, "mirror").shape == (4, 4, 3)
    mirrored = np.concatenate([ramp[:, ::-1], ramp, ramp[:, ::-1]], 1)
    repeated = np.pad(ramp, ((0, 0), (16, 16), (0, 0)), mode="edge")
    for edge, x in (("mirror", mirrored), ("repeat", repeated)):
        found = resize.downscale(x, 4)[:, 4:8]
        np.testing.assert_allclose(resize.downscale(ramp, 4, edge), found, atol=1e-12)


@pytest.mark.parametrize("function", [resize.downscale, resize.upscale])
def test_numpy_and_jax_agree(function):
    x = RNG.random((2, 3, 16, 8, 3)).astype(np.float32)
    plain = function(x, 4)
    assert isinstance(plain, np.ndarray)
    assert plain.dtype == np.float32
    traced = jax.jit(lambda x: function(x, 4))(jnp.asarray(x))
    np.testing.assert_allclose(traced, plain, atol=1e-6)
    np.testing.assert_allclose(function(x[1, 2], 4), plain[1, 2], atol=1e-6)


def test_gradient_is_the_transpose():
    x = jnp.asarray(RNG.random((1, 8, 8, 1)), jnp.float32)
    slope = jax.grad(lambda x: resize.downscale(x, 4)[0, 1, 0, 0])(x)[0, :, :, 0]
    weights = resize.matrix(8, 4, False, "repeat")
    np.testing.assert_allclose(slope, np.outer(weights[1], weights[0]), atol=1e-6)


def test_eight_bits():
    flat = np.full((4, 8, 3), 7, np.uint8)
    np.testing.assert_array_equal(resize.downscale_uint8(flat, 4), flat[:1, :2])
    np.testing.assert_array_equal(
        resize.upscale_uint8(flat, 2), np.full((8, 16, 3), 7, np.uint8)
    )
    # Overshoot is cut, not wrapped around.
    step = np.zeros((16, 16, 1), np.uint8)
    step[:, 8:] = 255
    for image in (resize.downscale_uint8(step, 2), resize.upscale_uint8(step, 2)):
        assert image.dtype == np.uint8
        middle = image.shape[1] // 2
        assert image[:, : middle - 1].max() < 30
        assert image[:, middle + 1 :].min() > 220
    # A column of 0 and 1 averages to 1/2, which MATLAB rounds up.
    halves = np.tile(np.array([[0], [1]], np.uint8), (8, 4))[:, :, None]
    middle = resize.downscale(halves.astype(float), 2)[4, 1, 0]
    assert middle == pytest.approx(0.5, abs=1e-12)
    assert resize.downscale_uint8(halves, 2)[4, 1, 0] == 1


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda x: resize.downscale(x, 4), "12 x 10 .* crop them to 12 x 8"),
        (lambda x: resize.downscale(x, 0), "factor 0"),
        (lambda x: resize.upscale(x, -1), "factor -1"),
        (lambda x: resize.upscale(x, 2, "zero"), "edge 'zero'.*repeat"),
    ],
)
def test_refusals(call, told):
    with pytest.raises(ValueError, match=told):
        call(np.zeros((12, 10, 3)))


def test_types_are_refused():
    # Annotations are checked in tests, and nowhere else.
    with pytest.raises(ValueError, match="uint8: expected floats; .*downscale_uint8"):
        resize._check_floats(np.dtype(np.uint8))
    with pytest.raises(ValueError, match="float32: expected uint8"):
        resize._check_bytes(np.dtype(np.float32))


@pytest.mark.parametrize("name", ["Set5", "Set14"])
def test_the_given_low_resolution_images(data_dir, name):
    files = sorted((data_dir / "sr" / name).glob("*_HR.png"))
    if not files:
        pytest.skip(f"no pairs of {name} below {data_dir}")
    for file in files:
        hr, lr = (
            np.asarray(PIL.Image.open(path).convert("RGB"))
            for path in (file, file.with_name(file.name.replace("_HR", "_LR")))
        )
        np.testing.assert_array_equal(resize.downscale_uint8(hr, 4), lr)
        # Without the rounding between the passes, and with today's edges.
        smooth = resize.downscale(hr.astype(np.float32), 4, "mirror")
        rmse = np.sqrt(np.mean(np.square(smooth.clip(0, 255) - lr)))
        assert rmse < 1.0
