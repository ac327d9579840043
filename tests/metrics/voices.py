"""A sound that measures of speech take for speech."""

import numpy as np

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
