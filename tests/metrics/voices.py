"""A sound that measures of speech take for speech."""

import numpy as np
from scipy import signal

RATE = 8000


def voice(seconds, seed=0, rate=RATE):
    """Syllables of a buzzing voice whose pitch and formants wander."""
    rng = np.random.default_rng(seed)
    t = np.arange(int(seconds * rate)) / rate
    pitch = 120 + 20 * np.sin(2 * np.pi * 0.7 * t)
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    sound = np.zeros_like(t)
    for k in range(1, 25):
        formant = 700 + 400 * np.sin(2 * np.pi * 1.3 * t + seed)
        loudness = np.exp(-(((k * pitch - formant) / 500) ** 2)) + 0.02
        sound += loudness * np.sin(k * phase)
    syllables = np.clip(np.sin(2 * np.pi * 2.5 * t), 0, None)
    sound = 0.1 * sound * syllables + 1e-4 * rng.standard_normal(len(t))
    return sound.astype(np.float32)


def vowel(rate, source, formants=((700, 80), (1200, 90), (2600, 120))):
    """A source through the resonances of a vowel: Hz and widths; power 0.01."""
    for frequency, width in formants:
        radius = np.exp(-np.pi * width / rate)
        turn = 2 * np.cos(2 * np.pi * frequency / rate)
        source = signal.lfilter([1.0], [1.0, -radius * turn, radius**2], source)
    return 0.1 * source / np.std(source)


def buzz(seconds, rate, f0):
    """All harmonics of a pitch, as loud as each other and out of phase."""
    t = np.arange(round(seconds * rate)) / rate
    count = int(0.45 * rate / f0)
    return sum(np.sin(2 * np.pi * k * f0 * t + k**2) for k in range(1, count + 1))


def hiss(seconds, rate, seed=0):
    """White noise, which is what a whisper is made of."""
    return np.random.default_rng(seed).standard_normal(round(seconds * rate))
