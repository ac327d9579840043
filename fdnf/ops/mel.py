"""Mel spectrograms of sound by the recipe of published vocoders, and their cepstra.

Slaney's mel scale (linear below 1 kHz, logarithmic above) and triangles of equal area,
which is what librosa.filters.mel gives by default; magnitudes, not powers; the natural
logarithm. Another choice of any of these gives another set of features, to which a
vocoder trained on these is deaf.

References: Slaney (1998), "Auditory toolbox", version 2; Prenger et al. (2018),
"WaveGlow", section 3.2.
"""

import dataclasses
import functools

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fdnf.ops import stft

Sound = Float[Array, "*batch time"]
Mel = Float[Array, "*batch frames mels"]
Numbers = float | np.ndarray

# Slaney's scale: 200/3 Hz a mel up to 1 kHz, then 27 mels for each factor of 6.4.
HERTZ_PER_MEL = 200 / 3
BREAK_HERTZ = 1000.0
LOG_STEP = np.log(6.4) / 27


@dataclasses.dataclass(frozen=True)
class Settings:
    """How sound becomes mel features; static. Defaults: LJSpeech, as published.

    Attributes:
      rate: samples a second.
      n_fft: samples of a transform.
      hop: samples from one frame to the next.
      window: samples of the Hann window, at most `n_fft`.
      mels: filters.
      low: Hz, where the first filter begins.
      high: Hz, where the last filter ends; at most half the rate.
      floor: least magnitude whose logarithm is taken.
    """

    rate: int = 22050
    n_fft: int = 1024
    hop: int = 256
    window: int = 1024
    mels: int = 80
    low: float = 0.0
    high: float = 8000.0
    floor: float = 1e-5


DEFAULT = Settings()


def log_mel(x: Sound, settings: Settings = DEFAULT) -> Mel:
    """log(max(F |STFT(x)|, floor)), the condition of a vocoder.

    Args:
      x: sound in [-1, 1], time last.
      settings: of the features; static.

    Returns:
      1 + time // hop frames of `settings.mels` natural logarithms. Frame m is centred
      at sample m hop, the sound being reflected at its ends.

    Raises:
      ValueError: for sound of n_fft / 2 samples or fewer, or settings that
        `filterbank` refuses.
    """
    return jnp.log(jnp.maximum(mel(x, settings), settings.floor))


def mel(x: Sound, settings: Settings = DEFAULT) -> Mel:
    """F |STFT(x)|, mel magnitudes; see `log_mel`."""
    magnitude = stft.magnitude(
        x,
        n_fft=settings.n_fft,
        hop=settings.hop,
        length=settings.window,
        centred=True,
    )
    filters = jnp.asarray(filterbank(settings).T, magnitude.dtype)
    # A GPU may otherwise use TF32, and features would depend on the machine.
    return jnp.matmul(magnitude, filters, precision="highest")


def cepstrum(log_mels: Mel, count: int) -> Float[Array, "*batch frames count"]:
    """Mel cepstra: the first coefficients of an orthonormal DCT-II over mels.

    Args:
      log_mels: as `log_mel` gives them.
      count: coefficients, the mean's (index 0) included.

    Raises:
      ValueError: for a count below 1 or above the number of mels.
    """
    mels = log_mels.shape[-1]
    if not 1 <= count <= mels:
        raise ValueError(f"{count} coefficients of {mels} mels: expected 1 to {mels}")
    basis = jnp.asarray(cosines(mels)[:count].T, log_mels.dtype)
    return jnp.matmul(log_mels, basis, precision="highest")


@functools.lru_cache(maxsize=16)
def filterbank(settings: Settings = DEFAULT) -> np.ndarray:
    """The filters F as a matrix; static.

    Args:
      settings: of the features.

    Returns:
      `[mels, n_fft // 2 + 1]`, float64, not to be written to: triangles over
      frequency, each of area 1 in Hz.

    Raises:
      ValueError: for a range of frequencies that is empty or ends above half the
        rate, or filters so narrow that one of them meets no frequency at all.
    """
    rate, n_fft, mels = settings.rate, settings.n_fft, settings.mels
    low, high = settings.low, settings.high
    if not 0 <= low < high <= rate / 2:
        raise ValueError(
            f"mel filters from {low} to {high} Hz at {rate} samples a second: expected"
            f" 0 <= low < high <= {rate / 2}"
        )
    if mels < 1:
        raise ValueError(f"{mels} mel filters: expected at least 1")
    corners = np.asarray(to_hertz(np.linspace(to_mel(low), to_mel(high), mels + 2)))
    frequencies = np.arange(n_fft // 2 + 1) * rate / n_fft
    begin, peak, end = (corners[i : mels + i, None] for i in range(3))
    rising = (frequencies - begin) / (peak - begin)
    falling = (end - frequencies) / (end - peak)
    filters = np.maximum(0, np.minimum(rising, falling)) * 2 / (end - begin)
    empty = np.flatnonzero(filters.sum(1) == 0)
    if len(empty):
        raise ValueError(
            f"{len(empty)} of {mels} mel filters, the first number {empty[0]}, meet no"
            f" frequency of a transform of {n_fft} samples: take fewer mels or a"
            " longer transform"
        )
    filters.setflags(write=False)
    return filters


def to_mel(hertz: Numbers) -> Numbers:
    """Slaney's mels of frequencies in Hz."""
    hertz = np.asarray(hertz, np.float64)
    above = np.log(np.maximum(hertz, BREAK_HERTZ) / BREAK_HERTZ) / LOG_STEP
    return np.minimum(hertz, BREAK_HERTZ) / HERTZ_PER_MEL + above


def to_hertz(mels: Numbers) -> Numbers:
    """Frequencies in Hz of Slaney's mels."""
    mels = np.asarray(mels, np.float64)
    knee = BREAK_HERTZ / HERTZ_PER_MEL
    growth = np.exp(LOG_STEP * (np.maximum(mels, knee) - knee))
    return np.minimum(mels, knee) * HERTZ_PER_MEL * growth


def cosines(size: int) -> np.ndarray:
    """The orthonormal DCT-II as a matrix, `[size, size]`, one row a coefficient."""
    k, n = np.arange(size)[:, None], np.arange(size)
    basis = np.sqrt(2 / size) * np.cos(np.pi * k * (n + 0.5) / size)
    basis[0] /= np.sqrt(2)
    return basis
