"""PSNR and SSIM of images, and how well a super-resolved one explains its input.

PSNR in decibels and SSIM up to 1: more is more alike. Tables of super-resolution have
both on RGB, of 8-bit images divided by 255.

Values are looked at where they are at hand, not inside of `jax.jit`: see `ranges`.

SSIM has conventions that differ by hundredths, more than many methods do, so the name
says its own: `ssim_uniform7` is that of the tables of SRFlow and its students.
"""

import dm_pix
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


def ssim_uniform7(x: Pictures, y: References) -> Float[np.ndarray, " batch"]:
    """SSIM over windows of 7 by 7 pixels that count alike, mean over RGB.

    Variances and the covariance are of samples (divided by 48), and windows that leave
    the image do not count. It is what scikit-image computes by default, and computed by
    it: on the host, in float64.

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
    # Of all of metrics only this needs it.
    from skimage import metrics

    pairs = zip(*(np.asarray(z, np.float64) for z in _checked(x, y, 7)), strict=True)
    return np.array(
        [
            metrics.structural_similarity(a, b, data_range=1, channel_axis=-1)
            for a, b in pairs
        ]
    )


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
            f"low-resolution images of {lr.dtype}: expected uint8, 0 to 255"
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
