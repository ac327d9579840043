"""Makes mel.npz from librosa. Run by hand, once; fdnf itself never imports librosa.

    pip install librosa==0.11.0
    python tests/ops/golden/make_mel.py

Sounds are drawn by RandomState, whose streams are frozen.
"""

import pathlib

import numpy as np

HERE = pathlib.Path(__file__).parent
# rate, n_fft, hop, mels, lowest, highest
SETTINGS = {
    "ljspeech": (22050, 1024, 256, 80, 0.0, 8000.0),
    "telephone": (8000, 256, 64, 40, 60.0, 4000.0),
}


def sound(samples=3000):
    rng = np.random.RandomState(0)
    t = np.arange(samples)
    tones = np.sin(0.05 * t) + 0.3 * np.sin(0.31 * t * (1 + t / 9000))
    return (0.2 * tones + 0.02 * rng.standard_normal(samples)).astype(np.float32)


def main():
    import librosa

    arrays = {}
    for name, (rate, n_fft, hop, mels, lowest, highest) in SETTINGS.items():
        filters = librosa.filters.mel(
            sr=rate, n_fft=n_fft, n_mels=mels, fmin=lowest, fmax=highest
        )
        spectrum = np.abs(
            librosa.stft(sound(), n_fft=n_fft, hop_length=hop, pad_mode="reflect")
        )
        logs = np.log(np.maximum(filters @ spectrum, 1e-5))
        arrays[f"{name}_filters"] = filters.astype(np.float32)
        arrays[f"{name}_log_mel"] = logs.T.astype(np.float32)
        cepstra = librosa.feature.mfcc(S=logs, n_mfcc=13)
        arrays[f"{name}_cepstrum"] = cepstra.T.astype(np.float32)
    np.savez_compressed(HERE / "mel.npz", **arrays)


if __name__ == "__main__":
    main()
