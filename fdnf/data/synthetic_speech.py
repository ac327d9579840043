"""Recordings of known spectrum and entropy: noise through a resonance, for tests.

`x_t = 2 r cos(w) x_{t-1} - r^2 x_{t-2} + s e_t` with Gaussian `e_t`, rounded. Each clip
has a resonance `w` of its own, as a whispered vowel has; it is what a condition can
tell, and given it no model codes a sample in fewer than `0.5 ln(2 pi e s^2)` nats.
"""

import numpy as np

from fdnf.data import speech
from fdnf.data.speech import Clips

RADIUS = 0.97
DEVIATION = 400.0


def synthetic_speech(
    data_dir: str | None = None,
    rows: int | None = None,
    segment: int = 512,
    rate: int = 22_050,
    seed: int = 0,
) -> Clips:
    """Clips from `resonance` and `clip`, a few seconds in all.

    Args:
        data_dir: Not used.
        rows: Training tiles, 64 by default; val has a quarter as many windows.
        segment: Samples in a window; a tile has twice as many.
        rate: Samples a second.
        seed: Of the resonances and of the noise.

    Returns:
        The data set. Its three test clips have 3, 4 and 5 times `segment` samples.

    Raises:
        DataError: If a number is below 1.
    """
    del data_dir
    speech.check_windows("synthetic_speech", segment, rate, rows)
    rows = 64 if rows is None else rows
    rng = np.random.Generator(np.random.PCG64([seed, segment]))
    # A clip of five segments makes four tiles.
    source = [clip(rng, resonance(rng), 5 * segment) for _ in range(-(-rows // 4))]
    train = np.concatenate([speech.cut(samples, segment) for samples in source])[:rows]
    val = np.stack([clip(rng, resonance(rng), segment) for _ in source])
    test = tuple(clip(rng, resonance(rng), length * segment) for length in (3, 4, 5))
    return speech.validate(
        Clips(
            "synthetic_speech",
            *(train, val, test),
            test_names=("short", "middle", "long"),
            source=f"synthetic recordings, seed {seed}: exact entropy known",
            rate=int(rate),
        )
    )


def resonance(rng: np.random.Generator) -> float:
    """Draws `w`, radians a sample: from a twentieth to a quarter of the rate."""
    return 2 * np.pi * rng.uniform(0.05, 0.25)


def clip(rng: np.random.Generator, w: float, length: int) -> np.ndarray:
    """Draws a clip of one resonance.

    Args:
        rng: Source of noise.
        w: Radians a sample.
        length: Samples.

    Returns:
        Samples, int16 `[length]`, from the stationary process.
    """
    # Takes longer to import than all of the data package.
    from scipy import signal

    # The memory of the start is gone after this many samples: 0.97^512 is 2e-7.
    settle = 512
    noise = DEVIATION * rng.standard_normal(settle + length)
    wave = signal.lfilter([1.0], denominator(w), noise)[settle:]
    return np.clip(np.round(wave), -32768, 32767).astype(np.int16)


def denominator(w: float) -> np.ndarray:
    """Coefficients that whiten a clip: `x_t - 2 r cos(w) x_{t-1} + r^2 x_{t-2}`."""
    return np.array([1.0, -2 * RADIUS * np.cos(w), RADIUS**2])


def entropy() -> float:
    """Nats a sample given the resonance, `0.5 ln(2 pi e s^2)`; one level is 1."""
    return float(0.5 * np.log(2 * np.pi * np.e * DEVIATION**2))
