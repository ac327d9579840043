"""PSNR and SSIM of images, and how well a super-resolved one explains its input.

PSNR in decibels and SSIM up to 1: more is more alike. Tables of super-resolution have
both on RGB, of 8-bit images: round with `to_uint8` first, and divide by 255.

Values are looked at where they are at hand, not inside of `jax.jit`: see `ranges`.

SSIM has conventions that differ by hundredths, more than many methods do, so each name
here says its own. `ssim_uniform7` is that of the tables of SRFlow and its students.
"""

import dm_pix
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from fdnf.metrics import ranges
from fdnf.ops import resize

Pictures = Float[Array, "batch height width channels"]
References = Float[Array, "rows high wide bands"]
Pixels = UInt8[Array | np.ndarray, "*batch height width channels"]
LowPixels = UInt8[Array | np.ndarray, "*others rows columns bands"]
Scores = Float[Array, " batch"]

# The constants of the paper, for images in [0, 1].
STABILISERS = (0.01**2, 0.03**2)


def psnr(x: Pictures, y: References) -> Scores:
    """-10 log10(mean (x - y)^2), in decibels, of each image.

    Args:
      x: images in [0, 1].
      y: the same shape.

    Returns:
      Infinite for equal images.

    Raises:
      ValueError: for unlike shapes, integers, or values outside of [0, 1].
    """
    x, y = _checked(x, y, 1)
    return jnp.asarray(dm_pix.psnr(x, y))


def ssim_uniform7(x: Pictures, y: References) -> Scores:
    """SSIM over windows of 7 by 7 pixels that count alike, mean over RGB.

    Variances and the covariance are of samples (divided by 48), and windows that leave
    the image do not count. It is what scikit-image computes by default.

    Args:
      x: images in [0, 1], at least 7 pixels a side.
      y: the same shape.

    Returns:
      At most 1, which equal images have.

    Raises:
      ValueError: for unlike shapes, images that are too small, integers, or values
        outside of [0, 1].

    Reference: Wang et al. (2004), "Image quality assessment", eq. 13, with another
    window.
    """
    x, y = _checked(x, y, 7)
    # Moments about a grey: squares of small numbers lose fewer digits.
    a, b = x - 0.5, y - 0.5
    mean_a, mean_b = _means(a), _means(b)
    unbiased = 49 / 48
    var_a = unbiased * (_means(a * a) - mean_a**2)
    var_b = unbiased * (_means(b * b) - mean_b**2)
    covariance = unbiased * (_means(a * b) - mean_a * mean_b)
    c1, c2 = STABILISERS
    mean_a, mean_b = mean_a + 0.5, mean_b + 0.5
    similar = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    scale = (mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2)
    return jnp.mean(similar / scale, axis=(1, 2, 3))


def ssim_gaussian11(x: Pictures, y: References) -> Scores:
    """SSIM under a Gaussian window of 11 by 11 pixels, sigma 1.5, mean over RGB.

    The window of the SSIM paper, as dm-pix and TensorFlow have it; variances are those
    of the whole window (biased).

    Args:
      x: images in [0, 1], at least 11 pixels a side.
      y: the same shape.

    Returns:
      At most 1, which equal images have.

    Raises:
      ValueError: for unlike shapes, images that are too small, integers, or values
        outside of [0, 1].

    Reference: Wang et al. (2004), "Image quality assessment", eq. 13.
    """
    x, y = _checked(x, y, 11)
    found = dm_pix.ssim(x, y, max_val=1.0, filter_size=11, filter_sigma=1.5)
    return jnp.asarray(found)


def lr_psnr(sr: Pixels, lr: LowPixels, edge: str = "repeat") -> np.ndarray | float:
    """PSNR of the low-resolution image against the super-resolved one, downscaled.

    How well the result agrees with what it was made of: high (above 45 dB) of any
    method that only adds what the input leaves open. On the host; the downscaled image
    is rounded to 8 bits as the input was.

    Args:
      sr: 8-bit images, by a whole number of times larger.
      lr: 8-bit images that they were made of.
      edge: of the downscaling, see `resize`.

    Returns:
      Decibels, of each image of the batch; infinite where they agree to the last bit.

    Raises:
      ValueError: for sides that are no whole multiple, and other types than uint8.
    """
    if lr.dtype != np.uint8:
        raise ValueError(
            f"low-resolution images of {lr.dtype}: expected uint8, 0 to 255, as of"
            " `to_uint8`"
        )
    factor = sr.shape[-2] // lr.shape[-2]
    if sr.shape[-3:-1] != (factor * lr.shape[-3], factor * lr.shape[-2]):
        raise ValueError(
            f"super-resolved images {sr.shape} of inputs {lr.shape}: expected sides"
            " larger by one whole factor"
        )
    back = resize.downscale_uint8(sr, factor, edge).astype(np.float64)
    error = np.mean(np.square(back - np.asarray(lr)), axis=(-3, -2, -1))
    with np.errstate(divide="ignore"):
        return 20 * np.log10(255) - 10 * np.log10(error)


def to_uint8(x: Float[Array | np.ndarray, "*shape"]) -> UInt8[np.ndarray, "*shape"]:
    """8-bit values of images in [0, 1]: cut to that range and rounded; on the host.

    Raises:
      ValueError: for integers, which are 8-bit values already, or would become white.
    """
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise ValueError(f"images of {x.dtype}: expected floats in [0, 1]")
    return np.round(255 * np.clip(np.asarray(x), 0, 1)).astype(np.uint8)


def _means(x: Array) -> Array:
    """Mean of each 7 by 7 window that lies inside."""
    window = (1, 7, 7, 1)
    total = jax.lax.reduce_window(x, 0.0, jax.lax.add, window, (1, 1, 1, 1), "VALID")
    return total / 49


def _checked(x: Array, y: Array, side: int) -> tuple[Array, Array]:
    if x.shape != y.shape:
        raise ValueError(f"images of shapes {x.shape} and {y.shape}: expected equal")
    x, y = ranges.checked(x), ranges.checked(y)
    if min(x.shape[1:3]) < side:
        raise ValueError(
            f"images of {x.shape[1]} x {x.shape[2]} pixels: expected at least {side} on"
            " each side, as the window has"
        )
    return x, y
