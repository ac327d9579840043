"""Bicubic resampling as super-resolution benchmarks have it: MATLAB's imresize.

Cubic convolution with a = -0.5; where the image becomes smaller, the kernel widens by
the factor, which keeps frequencies out that the small image cannot hold. Weights of
one output pixel sum to 1. Other libraries take another a or no widening, and figures
of super-resolution differ by that more than methods do.

Beyond its edges an image continues with its outermost pixels ("repeat") or as its
mirror image ("mirror"). MATLAB did the first when the LR images of Set5, Set14 and
BSD100 were made, which `downscale_uint8` gives to the last bit, and does the second
today; the two differ in the outermost two pixels.

Each side is one product with a matrix that numpy makes once for a length and factor.

Reference: Keys (1981), "Cubic convolution interpolation for digital image processing",
eq. 15.
"""

import functools

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

Images = Float[Array | np.ndarray, "*batch height width channels"]
Resized = Float[Array | np.ndarray, "*batch rows columns channels"]
Pixels = UInt8[Array | np.ndarray, "*batch height width channels"]
ResizedPixels = UInt8[np.ndarray, "*batch rows columns channels"]

# Half of the kernel's width, in pixels of the coarser image.
REACH = 2
EDGES = ("repeat", "mirror")


def downscale(x: Images, factor: int, edge: str = "repeat") -> Resized:
    """Antialiased bicubic image of 1 / factor the height and width.

    Args:
      x: images of any range; numpy arrays are answered by numpy, jax's by jax.
      factor: at least 1; divides height and width.
      edge: "repeat" or "mirror", what lies beyond the image.

    Returns:
      Images of the type of `x`, whose range they may overshoot.

    Raises:
      ValueError: for a factor below 1 or one that does not divide the sides, another
        edge, or integers.
    """
    _check_sides(x.shape, factor)
    return _along_columns(_along_rows(x, factor, False, edge), factor, False, edge)


def upscale(x: Images, factor: int, edge: str = "repeat") -> Resized:
    """Bicubic image of `factor` times the height and width: the baseline of tables.

    Args:
      x: images of any range; numpy arrays are answered by numpy, jax's by jax.
      factor: at least 1.
      edge: "repeat" or "mirror", what lies beyond the image.

    Returns:
      Images of the type of `x`, whose range they may overshoot.

    Raises:
      ValueError: for a factor below 1, another edge, or integers.
    """
    _check(factor)
    return _along_columns(_along_rows(x, factor, True, edge), factor, True, edge)


def downscale_uint8(x: Pixels, factor: int, edge: str = "repeat") -> ResizedPixels:
    """`downscale` of 8-bit images as MATLAB does it: the benchmarks' LR images.

    Each of the two passes, rows first, is rounded (halves away from 0) and cut to 0 to
    255. On the host, in float64: a half must not depend on the machine.

    Args:
      x: images.
      factor: at least 1; divides height and width.
      edge: "repeat" or "mirror", what lies beyond the image.

    Raises:
      ValueError: as `downscale`, and for other types than uint8.
    """
    _check_sides(x.shape, factor)
    halfway = _quantised(_along_rows(_float64(x), factor, False, edge))
    return _quantised(_along_columns(_float64(halfway), factor, False, edge))


def upscale_uint8(x: Pixels, factor: int, edge: str = "repeat") -> ResizedPixels:
    """`upscale` of 8-bit images, rounded as `downscale_uint8` rounds.

    Args:
      x: images.
      factor: at least 1.
      edge: "repeat" or "mirror", what lies beyond the image.

    Raises:
      ValueError: as `upscale`, and for other types than uint8.
    """
    _check(factor)
    halfway = _quantised(_along_rows(_float64(x), factor, True, edge))
    return _quantised(_along_columns(_float64(halfway), factor, True, edge))


@functools.lru_cache(maxsize=64)
def matrix(length: int, factor: int, enlarge: bool, edge: str) -> np.ndarray:
    """Weights of one side: `resized = matrix @ pixels`.

    Args:
      length: pixels before.
      factor: by which their number is multiplied or divided.
      enlarge: whether it is multiplied.
      edge: "repeat" or "mirror".

    Returns:
      `[pixels after, length]`, float64, not to be written to. Its rows sum to 1.

    Raises:
      ValueError: for another edge.
    """
    if edge not in EDGES:
        raise ValueError(f"edge {edge!r}: expected one of {EDGES}")
    count = length * factor if enlarge else length // factor
    ratio = 1 / factor if enlarge else float(factor)
    stretch = max(ratio, 1.0)
    # Centres of output pixels, in pixels of the input, whose centres are 0, 1, 2 ...
    centres = (np.arange(count) + 0.5) * ratio - 0.5
    taps = int(np.ceil(2 * REACH * stretch)) + 2
    first = np.floor(centres - REACH * stretch).astype(int)
    at = first[:, None] + np.arange(taps)
    weights = kernel((centres[:, None] - at) / stretch)
    weights /= weights.sum(axis=1, keepdims=True)
    if edge == "repeat":
        at = np.clip(at, 0, length - 1)
    else:  # The outermost pixel counts twice: 1 0 | 0 1 2 ... n-1 | n-1 n-2
        at = at % (2 * length)
        at = np.where(at < length, at, 2 * length - 1 - at)
    found = np.zeros((count, length))
    np.add.at(found, (np.arange(count)[:, None], at), weights)
    found.setflags(write=False)
    return found


def kernel(t: np.ndarray) -> np.ndarray:
    """Keys's cubic convolution kernel with a = -0.5 at distances `t`, in pixels."""
    t = np.abs(t)
    near = 1.5 * t**3 - 2.5 * t**2 + 1
    far = -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2
    return np.where(t <= 1, near, np.where(t <= REACH, far, 0.0))


def _along_rows(x: Images, factor: int, enlarge: bool, edge: str) -> Resized:
    _check_floats(x.dtype)
    weights = matrix(x.shape[-3], factor, enlarge, edge).astype(x.dtype)
    if isinstance(x, np.ndarray):
        flat = x.reshape(*x.shape[:-2], -1)
        return (weights @ flat).reshape(*x.shape[:-3], -1, *x.shape[-2:])
    return jnp.einsum("rh,...hwc->...rwc", weights, x, precision="highest")


def _along_columns(x: Images, factor: int, enlarge: bool, edge: str) -> Resized:
    weights = matrix(x.shape[-2], factor, enlarge, edge).astype(x.dtype)
    if isinstance(x, np.ndarray):
        return weights @ x
    return jnp.einsum("sw,...hwc->...hsc", weights, x, precision="highest")


def _float64(x: Pixels) -> np.ndarray:
    _check_bytes(x.dtype)
    return np.asarray(x).astype(np.float64)


def _quantised(x: Resized) -> np.ndarray:
    # Weighted sums of integers that are halves come out a few ulps off them.
    return np.floor(np.clip(np.asarray(x), 0, 255) + 0.5 + 1e-9).astype(np.uint8)


def _check_floats(dtype: np.dtype) -> None:
    # Weights of another type would be 0.
    if not jnp.issubdtype(dtype, jnp.floating):
        raise ValueError(
            f"images of {dtype}: expected floats; of 8-bit images there are"
            " downscale_uint8 and upscale_uint8"
        )


def _check_bytes(dtype: np.dtype) -> None:
    if dtype != np.uint8:
        raise ValueError(
            f"images of {dtype}: expected uint8, 0 to 255; floats are for downscale"
            " and upscale"
        )


def _check(factor: int) -> None:
    if factor < 1:
        raise ValueError(f"factor {factor}: expected a whole number of at least 1")


def _check_sides(shape: tuple[int, ...], factor: int) -> None:
    _check(factor)
    height, width = shape[-3:-1]
    if height % factor or width % factor:
        raise ValueError(
            f"images of {height} x {width} pixels cannot be reduced by {factor}: crop"
            f" them to {height - height % factor} x {width - width % factor} first"
        )
