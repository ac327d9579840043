"""Short-time Fourier transforms: framed, their magnitude and power, and the inverse.

The conventions of torch.stft and librosa: a window shorter than the transform stands
in its middle, and centred frames come from reflecting the signal at its ends.
"""

import jax.numpy as jnp
import numpy as np
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
    x = jnp.asarray(x, jnp.promote_types(x.dtype, jnp.float32))
    weights = jnp.asarray(window(shape, length or n_fft, n_fft), x.dtype)
    return jnp.fft.rfft(frames(x, n_fft, hop, centred) * weights, axis=-1)


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


def frames(
    x: Signals, size: int, hop: int, centred: bool = False
) -> Float[Array, "*batch frames size"]:
    """Overlapping pieces of a signal.

    Args:
      x: signals, time last.
      size: samples of a frame.
      hop: samples from one frame to the next.
      centred: reflect size / 2 samples at each end first.

    Returns:
      `[..., frames, size]`, 1 + (time - size) // hop frames of the (reflected) signal.

    Raises:
      ValueError: for a signal that is too short, or a size or hop below 1.
    """
    if size < 1 or hop < 1:
        raise ValueError(f"frames of {size} with hop {hop}: expected both at least 1")
    time, margin = x.shape[-1], size // 2
    needed = margin + 1 if centred else size
    if time < needed:
        raise ValueError(
            f"a signal of {time} samples is too short for frames of {size}"
            f"{' that are centred' if centred else ''}: expected at least {needed}"
        )
    if centred:
        sides = [(0, 0)] * (x.ndim - 1) + [(margin, margin)]
        x = jnp.pad(x, sides, mode="reflect")
    count = 1 + (x.shape[-1] - size) // hop
    at = hop * np.arange(count)[:, None] + np.arange(size)
    return x[..., at]


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
      ValueError: for a hop below 1, or a window that does not fit.
    """
    n_fft = 2 * (spectrum.shape[-1] - 1)
    if hop < 1:
        raise ValueError(f"hop {hop}: expected at least 1")
    count = spectrum.shape[-2]
    time = hop * (count - 1) if time is None else time
    weights = window(shape, length or n_fft, n_fft)
    pieces = jnp.fft.irfft(spectrum, n_fft, axis=-1) * weights
    covered = np.asarray(_overlapped(np.tile(weights**2, (count, 1)), hop, np))
    covered = np.where(covered > 1e-8, covered, np.inf).astype(np.float32)
    x = _overlapped(pieces, hop, jnp) / covered
    margin = n_fft // 2
    missing = max(0, margin + time - x.shape[-1])
    x = jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, missing)])
    return x[..., margin : margin + time]


def _overlapped(pieces, hop: int, xp):
    """Sum of `[..., frames, size]` laid `hop` apart: `[..., (frames - 1) hop + size]`.

    By adding rows of blocks of `hop`, as a scatter would be slow on a CPU.
    """
    *lead, count, size = pieces.shape
    blocks = -(-size // hop)
    sides = [(0, 0)] * len(lead)
    pieces = xp.pad(pieces, [*sides, (0, 0), (0, blocks * hop - size)])
    pieces = pieces.reshape(*lead, count, blocks, hop)
    total = xp.zeros((*lead, count + blocks - 1, hop), pieces.dtype)
    for b in range(blocks):
        total += xp.pad(pieces[..., b, :], [*sides, (b, blocks - 1 - b), (0, 0)])
    return total.reshape(*lead, -1)[..., : (count - 1) * hop + size]
