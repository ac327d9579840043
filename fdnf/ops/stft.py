"""Short-time Fourier transforms: framed, their magnitude and power, and the inverse.

By `jax.scipy.signal` in the conventions of torch.stft and librosa: a window shorter
than the transform stands in its middle, and centred frames come from reflecting the
signal at its ends.
"""

import jax.numpy as jnp
import numpy as np
from jax.scipy import signal
from jaxtyping import Array, Complex, Float

WINDOWS = ("rectangular", "hann")

Spectrum = Float[Array, "*batch frames frequencies"]
Signals = Float[Array, "*batch time"]
Transform = Complex[Array, "*batch frames frequencies"]


def window(name: str, length: int, n_fft: int) -> np.ndarray:
    """A window of `length`, with zeros on both sides up to `n_fft`; static.

    Args:
      name: "rectangular", or "hann", the periodic one, sin^2(pi t / length).
      length: of the window, at most `n_fft`.
      n_fft: of the transform.

    Returns:
      `[n_fft]`, float32.

    Raises:
      ValueError: for another name, or a window that does not fit.
    """
    if name not in WINDOWS:
        raise ValueError(f"window {name!r}: expected one of {WINDOWS}")
    if not 1 <= length <= n_fft:
        raise ValueError(f"window length {length}: expected 1 to n_fft={n_fft}")
    values = np.ones(length)
    if name == "hann":
        values = np.sin(np.pi * np.arange(length) / length) ** 2
    before = (n_fft - length) // 2
    return np.pad(values, (before, n_fft - length - before)).astype(np.float32)


def transform(
    x: Signals,
    *,
    n_fft: int = 1024,
    hop: int = 256,
    length: int | None = None,
    shape: str = "hann",
    centred: bool = False,
) -> Transform:
    """STFT(x), complex; see `power` for arguments and errors."""
    # A window of whole numbers is 0 but for its middle, and the spectrum a sample's.
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise ValueError(
            f"signals of type {x.dtype}: expected floats, in [-1, 1] of sound. Of"
            " 16-bit samples that is x / 32768."
        )
    if n_fft < 1 or hop < 1:
        raise ValueError(f"frames of {n_fft} with hop {hop}: expected both at least 1")
    needed = n_fft // 2 + 1 if centred else n_fft
    if x.shape[-1] < needed:
        raise ValueError(
            f"a signal of {x.shape[-1]} samples is too short for frames of {n_fft}"
            f"{' that are centred' if centred else ''}: expected at least {needed}"
        )
    x = jnp.asarray(x, jnp.promote_types(x.dtype, jnp.float32))
    weights = window(shape, length or n_fft, n_fft)
    if centred:  # Here, as jax.scipy refuses a signal shorter than a frame.
        sides = [(0, 0)] * (x.ndim - 1) + [(n_fft // 2, n_fft // 2)]
        x = jnp.pad(x, sides, mode="reflect")
    # jax.scipy takes an array, and says that it is a name.
    _, _, found = signal.stft(
        x,
        window=jnp.asarray(weights, x.dtype),  # pyright: ignore[reportArgumentType]
        nperseg=n_fft,
        noverlap=n_fft - hop,
        boundary=None,
        padded=False,
    )
    # Without the division by the window's sum.
    return jnp.swapaxes(found, -1, -2) * float(weights.sum())


def power(
    x: Signals,
    *,
    n_fft: int = 1024,
    hop: int = 256,
    length: int | None = None,
    shape: str = "hann",
    centred: bool = False,
) -> Spectrum:
    """|STFT(x)|^2: the power of each frame at each frequency, differentiable.

    X_mk = sum_t w_t x_(m hop + t) exp(-2 pi i k t / n_fft), k = 0 ... n_fft / 2

    Args:
      x: signals, time last.
      n_fft: samples of a transform.
      hop: samples from one frame to the next.
      length: of the window; `n_fft` by default.
      shape: of the window, "hann" (periodic) or "rectangular".
      centred: reflect n_fft / 2 samples at each end, so that frame m is centred at
        m hop; otherwise frame m starts there. What does not fill a last frame is left
        out.

    Returns:
      Frames times n_fft // 2 + 1 frequencies, in squared units of x; nothing is
      divided by the length.

    Raises:
      ValueError: for integers, a signal shorter than a frame (or than what is
        reflected), a hop below 1, or a window that does not fit.
    """
    spectrum = transform(
        x, n_fft=n_fft, hop=hop, length=length, shape=shape, centred=centred
    )
    return jnp.square(spectrum.real) + jnp.square(spectrum.imag)


def magnitude(
    x: Signals,
    *,
    n_fft: int = 1024,
    hop: int = 256,
    length: int | None = None,
    shape: str = "hann",
    centred: bool = False,
) -> Spectrum:
    """|STFT(x)|, the root of `power`, which see for arguments.

    At exactly 0, where the modulus has no derivative, its gradient is 0.
    """
    squared = power(
        x, n_fft=n_fft, hop=hop, length=length, shape=shape, centred=centred
    )
    silent = squared == 0
    # Of both branches of a `where` the gradient is taken: neither may be infinite.
    return jnp.where(silent, 0.0, jnp.sqrt(jnp.where(silent, 1.0, squared)))


def inverse(
    spectrum: Transform,
    *,
    hop: int = 256,
    length: int | None = None,
    shape: str = "hann",
    time: int | None = None,
) -> Signals:
    """The signal whose centred STFT is nearest to `spectrum` in least squares.

    x_t = sum_m w_(t - m hop) y_m,(t - m hop) / sum_m w_(t - m hop)^2

    with y_m the inverse transform of frame m (Griffin and Lim, 1984, eq. 6). It undoes
    `transform` with `centred=True` wherever windows cover the signal.

    Args:
      spectrum: frames times n_fft // 2 + 1 frequencies, n_fft even.
      hop: samples from one frame to the next.
      length: of the window; n_fft by default.
      shape: of the window, "hann" (periodic) or "rectangular".
      time: samples wanted; hop times one less than the frames by default. Where no
        window reaches, the signal is 0.

    Raises:
      ValueError: for frames that do not overlap, or a window that does not fit.
    """
    n_fft = 2 * (spectrum.shape[-1] - 1)
    if not 1 <= hop < n_fft:
        raise ValueError(f"hop {hop}: expected 1 to n_fft - 1 = {n_fft - 1}")
    time = hop * (spectrum.shape[-2] - 1) if time is None else time
    weights = window(shape, length or n_fft, n_fft)
    _, x = signal.istft(
        jnp.swapaxes(spectrum, -1, -2) / float(weights.sum()),
        window=jnp.asarray(weights),  # pyright: ignore[reportArgumentType]
        nperseg=n_fft,
        noverlap=n_fft - hop,
        boundary=False,
    )
    margin = n_fft // 2
    missing = max(0, margin + time - x.shape[-1])
    x = jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, missing)])
    return x[..., margin : margin + time]
