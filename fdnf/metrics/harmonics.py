"""How much of a sound is harmonics of a given pitch, and how much lies between them.

The pitch is the recording's, so that no pitch need be found in the sound that is
judged: a whisper has none.
"""

import math

import numpy as np
from jaxtyping import Float

from fdnf.metrics import pitch, speech

# Of the Hann window: three periods of a low voice, short enough for pitch to move.
SECONDS = 0.04
# Of the mean correlation below 1: scores end at 63 dB.
LEAST = 1e-6


def harmonicity(
    x: speech.Clip,
    f0: Float[np.ndarray, " frames"],
    rate: int,
    step: float = pitch.STEP,
) -> float:
    """Energy at the multiples of a pitch over energy between them, in decibels.

    H = 10 log10((1 + r) / (1 - r)),  r = mean over voiced frames of
    r_m = sum_k P_mk cos(2 pi f_k / f0_m) / sum_k P_mk / w(1 / f0_m)

    with P the power of a frame of 0.04 s and w the autocorrelation of its window, 1 at
    lag 0, so that r_m is the correlation of the sound with itself one period later.
    (1 + cos) / 2 weighs frequencies at multiples of the pitch by 1 and those in the
    middle between by 0, (1 - cos) / 2 the other way round. Frequencies below half of
    the pitch are left out, such as rumble, and those that fill no last interval.

    White noise has 0 dB, a harmonic tone of that pitch more than 30; a tone in white
    noise of s times less power 10 log10(1 + 2 s). Voices have about 12 dB, as pitch
    moves and breath is noise: read it beside the recording's own, which is what to
    reach. The strongest harmonics decide, which are the lowest. Noise that is loudest
    at multiples of the pitch, as that of a fine mel is, has some dB; a tone at a
    multiple of the pitch, an octave up, as many as one at the pitch.

    Args:
      x: sound to judge.
      f0: pitch in Hz of the recording, of `pitch.track`, 50 or more; 0 where it is not
        voiced. Frame m is centred at m `step`.
      rate: samples a second.
      step: seconds from one frame to the next.

    Returns:
      H, -63 to 63. Frames in which the sound is silent count as noise, r = 0.

    Raises:
      ValueError: for whole numbers, samples or pitch that are not finite, pitch below
        50 Hz or above half the rate, or no voiced frame with its window within the
        sound.

    Reference: Boersma (1993), "Accurate short-term analysis of the fundamental
    frequency and the harmonics-to-noise ratio of a sampled sound", eq. 4 and 9, whose
    ratio is s.
    """
    samples = speech.samples(x)
    length = round(SECONDS * rate)
    starts = np.round(np.arange(len(f0)) * step * rate).astype(int) - length // 2
    voiced = f0 != 0
    _check(f0[voiced], rate)
    whole = voiced & (starts >= 0) & (starts + length <= len(samples))
    if not whole.any():
        raise ValueError(
            f"harmonics of {len(samples) / rate:.2f} s of sound, {voiced.sum()} frames "
            f"of the recording voiced, none with {SECONDS} s around it: such a clip has"
            " no score; leave it out"
        )
    places = starts[whole, None] + np.arange(length)
    found = float(np.mean(_correlation(samples[places], f0[whole], rate)))
    found = min(max(found, LEAST - 1), 1 - LEAST)
    return 10 * math.log10((1 + found) / (1 - found))


def _correlation(frames: np.ndarray, f0: np.ndarray, rate: int) -> np.ndarray:
    """Correlation of frames, `[voiced, time]`, with themselves one period later."""
    length = frames.shape[1]
    # Twice as long, lest a frame is correlated with its own beginning.
    size = 2 ** math.ceil(math.log2(2 * length))
    window = np.sin(np.pi * (np.arange(length) + 0.5) / length) ** 2
    # Or a constant leaks beyond half of a low pitch.
    moving = frames - (frames @ window / window.sum())[:, None]
    power = np.square(np.abs(np.fft.rfft(moving * window, size)))
    own = np.square(np.abs(np.fft.rfft(window, size)))
    # Of all frequencies but the first and the last there are two, of either sign.
    both = np.full(size // 2 + 1, 2.0)
    both[[0, -1]] = 1
    place = np.arange(size // 2 + 1) * rate / size / f0[:, None]
    last = np.floor(rate / 2 / f0 - 0.5)[:, None] + 0.5
    comb = np.cos(2 * np.pi * place)
    power *= both * (place >= 0.5) * (place <= last)
    total = power.sum(1)
    # Of a constant rounding is left, not 0.
    there = (np.ptp(frames, axis=1) > 0) & (total > 0)
    found = np.sum(power * comb, axis=1) / np.where(there, total, 1)
    at_lag = np.sum(own * both * comb, axis=1) / np.sum(own * both)
    return np.where(there, found / at_lag, 0.0)


def _check(f0: np.ndarray, rate: int) -> None:
    # Half a window later there is little left to correlate with.
    low = 2 / SECONDS
    bad = f0[~(np.isfinite(f0) & (f0 >= low) & (f0 <= rate / 2))]
    if len(bad):
        raise ValueError(
            f"pitch of {bad[0]} Hz at {rate} samples a second: expected 0, or {low:g} "
            f"to {rate / 2:g}"
        )
