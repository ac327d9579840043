"""PSNR and SSIM by their definitions."""

import jax.numpy as jnp
import numpy as np
import pytest
import skimage.metrics

from fdnf.metrics import image
from fdnf.ops import resize
from tests import floats
from tests.metrics import random_weights

PIXELS = random_weights.pictures(2, 40, 32)
NOISE = np.random.default_rng(0).integers(-20, 20, PIXELS.shape)
CHANGED = np.clip(PIXELS + NOISE, 0, 255).astype(np.uint8)
X, Y = (jnp.asarray(p, jnp.float32) / 255 for p in (PIXELS, CHANGED))


def test_psnr():
    expected = [
        skimage.metrics.peak_signal_noise_ratio(a, b)
        for a, b in zip(PIXELS, CHANGED, strict=True)
    ]
    floats.assert_close(image.psnr(X, Y), expected, rtol=1e-5)
    # An error of a tenth everywhere is 20 dB.
    flat = jnp.full((1, 8, 8, 3), 0.5)
    floats.assert_close(image.psnr(flat, flat + 0.1), 20, rtol=1e-5)
    assert np.all(image.psnr(X, X) == np.inf)


def test_ssim_by_its_formula():
    x, y = (np.asarray(part, np.float64) for part in (X, Y))
    a, b = (
        np.lib.stride_tricks.sliding_window_view(part, (7, 7), (1, 2)).reshape(
            (*part[:, 6:, 6:].shape, 49)
        )
        for part in (x, y)
    )
    means = a.mean(-1), b.mean(-1)
    covariance = (a * b).sum(-1) / 48 - 49 / 48 * means[0] * means[1]
    similar = (2 * means[0] * means[1] + 1e-4) * (2 * covariance + 9e-4)
    spread = a.var(-1, ddof=1) + b.var(-1, ddof=1) + 9e-4
    scale = (means[0] ** 2 + means[1] ** 2 + 1e-4) * spread
    expected = (similar / scale).mean(axis=(1, 2, 3))
    floats.assert_close(image.ssim_uniform7(X, Y), expected, rtol=1e-9)
    floats.assert_close(image.ssim_uniform7(X, X), 1.0, rtol=1e-9)


def test_ssim_of_flat_images():
    # Only the first factor counts: (2 a b + c) / (a^2 + b^2 + c).
    a, b = jnp.full((1, 12, 12, 3), 0.25), jnp.full((1, 12, 12, 3), 0.75)
    expected = (2 * 0.25 * 0.75 + 1e-4) / (0.25**2 + 0.75**2 + 1e-4)
    floats.assert_close(image.ssim_uniform7(a, b), expected, rtol=1e-4)


def test_lr_psnr():
    lr = resize.downscale_uint8(PIXELS, 4)
    assert np.all(image.lr_psnr(PIXELS, lr) == np.inf)
    moved = lr ^ 1  # One grey level off in each pixel.
    floats.assert_close(image.lr_psnr(PIXELS, moved), 20 * np.log10(255))
    one = image.lr_psnr(PIXELS[0], moved[0])
    floats.assert_close(one, image.lr_psnr(PIXELS, moved)[0])
    # What bicubic enlargement gives explains its input well, other images do not.
    enlarged = image.lr_psnr(resize.upscale_uint8(lr, 4), lr)
    assert np.all(enlarged > 30)
    assert np.all(image.lr_psnr(PIXELS[::-1], lr) < 20)


@pytest.mark.parametrize("function", [image.psnr, image.ssim_uniform7])
def test_unlike_shapes_are_refused(function):
    with pytest.raises(ValueError, match="expected equal"):
        function(X, Y[:, 1:])


def test_sizes_are_refused():
    with pytest.raises(ValueError, match="at least 7"):
        image.ssim_uniform7(X[:, :6], Y[:, :6])
    with pytest.raises(ValueError, match="one whole factor"):
        image.lr_psnr(PIXELS, PIXELS[:, :7, :8])
