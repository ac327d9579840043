"""What is no image in the range that a metric has is refused, not scored."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.metrics import backbones, image, inception, lpips, ranges
from tests import floats
from tests.metrics.tiny_lpips import tiny_params

RNG = np.random.default_rng(0)
# Of sizes that every metric takes.
PIXELS = RNG.integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
UNIT = jnp.asarray(PIXELS, jnp.float32) / 255
METRICS = {
    "psnr": image.psnr,
    "ssim_uniform7": image.ssim_uniform7,
    "lpips": lambda x, y: lpips.lpips(tiny_params(), x, y),
    "metric": lambda x, y: lpips.Metric("m", "alexnet", "", tiny_params())(x, y),
    "features": lambda x, y: lpips.features(tiny_params(), y, "alexnet"),
    "diversity": lambda x, y: lpips.diversity(tiny_params(), y),
}
WRONG = {
    "bytes": (255 * UNIT, "from 0 to 255"),
    "centred": (2 * UNIT - 1, "from -1 to"),
    "nan": (UNIT.at[1, 0, 0, 0].set(jnp.nan), "to nan"),
    "infinite": (UNIT.at[1, 0, 0, 0].set(-jnp.inf), "from -inf"),
}


@pytest.mark.parametrize("kind", WRONG)
@pytest.mark.parametrize("metric", METRICS)
def test_values_out_of_range_are_refused(metric, kind):
    wrong, text = WRONG[kind]
    with pytest.raises(ValueError, match=rf"{text}.*expected \[0, 1\].*x / 255"):
        METRICS[metric](UNIT, wrong)


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, bool, np.complex64])
def test_other_types_are_refused(dtype):
    x = jnp.asarray(PIXELS).astype(dtype)
    for checked in (ranges.checked, jax.jit(ranges.checked)):
        with pytest.raises(ValueError, match=r"floats in \[0, 1\].*x / 255"):
            checked(x)


def test_a_single_image_is_no_batch():
    with pytest.raises(ValueError, match=r"a single image is x\[None\]"):
        ranges.checked(UNIT[0])


def test_the_networks_have_another_range():
    narrow = backbones.Convolution(jnp.zeros((3, 3, 3, 64)), jnp.zeros(64))
    for network in (
        lambda x: backbones.alexnet((), x),
        lambda x: backbones.vgg16((narrow,), x),
        lambda x: inception.inception_v3({}, x),
    ):
        with pytest.raises(ValueError, match=r"expected \[-1, 1\].*2 \* x / 255 - 1"):
            network(255 * UNIT)


def test_rounding_is_let_through_and_half_precision_widened():
    assert ranges.checked(UNIT + 1e-6) is not None
    half = ranges.checked(UNIT.astype(jnp.bfloat16))
    assert half.dtype == jnp.float32
    try:
        near = UNIT.astype(jnp.float16)
    except jax.errors.JaxRuntimeError:
        pytest.skip("XLA converts no float16 on this processor (F16C is missing)")
    wide = image.psnr(near.astype(jnp.float32), UNIT)
    floats.assert_close(image.psnr(near, UNIT), wide, rtol=1e-6)


def test_values_that_are_not_at_hand_are_not_looked_at():
    # Training compares what a student makes before it makes images.
    found = jax.jit(image.psnr)(3 * UNIT, UNIT)
    assert np.all(np.isfinite(found))
    slope = jax.grad(lambda x: image.psnr(x, UNIT).sum())(3 * UNIT)
    assert np.all(np.isfinite(slope))


def test_eight_bit_functions_want_eight_bits():
    with pytest.raises((ValueError, TypeError), match="uint8|UInt8"):
        image.lr_psnr(PIXELS, PIXELS[:, ::4, ::4].astype(np.float32))
