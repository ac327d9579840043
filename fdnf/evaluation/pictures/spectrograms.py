"""Sounds as WAV files, and side by side as spectrograms."""

import pathlib
import re
from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np
from scipy.io import wavfile

from fdnf import files
from fdnf.evaluation.models import vocoder as vocoders
from fdnf.evaluation.pictures import plotting
from fdnf.ops import mel, stft
from fdnf.train.preprocess import FULL

# Below the loudest, in dB, nothing is told apart.
RANGE = 80.0
WIDTH, HEIGHT = 9.0, 1.7


def write_wav(path: pathlib.Path, samples: np.ndarray, rate: int) -> pathlib.Path:
    """Writes a waveform, int16 `[time]`, as one channel of 16 bits.

    Raises:
        ValueError: for samples of another kind.
    """
    if samples.dtype != np.int16 or samples.ndim != 1:
        raise ValueError(
            f"samples of {samples.dtype} and shape {samples.shape}: expected int16 "
            "[time]"
        )
    with files.replacing(path) as file:
        wavfile.write(file, rate, samples)
    return path


def stem(name: str) -> str:
    """A name as a part of a file's name."""
    return re.sub(r"[^\w.-]+", "_", name).strip("_.") or "clip"


def draw(
    path: pathlib.Path,
    sounds: Mapping[str, np.ndarray],
    settings: mel.Settings,
    title: str,
) -> pathlib.Path:
    """One line a sound: its log-mel, on one scale for all, and its spectrum in dB.

    Args:
        path: of the PNG file.
        sounds: what is said of each, to int16 `[time]`; the first is the recording,
            whose extremes bound the scales.
        settings: of the mel, those of the models.
        title: above.

    Returns:
        The path.
    """
    mels, spectra = {}, {}
    for name, samples in sounds.items():
        mels[name] = vocoders.log_mel(samples, settings)
        spectra[name] = _decibels(samples, settings)
    first = next(iter(sounds))
    low, high = float(mels[first].min()), float(mels[first].max())
    top = float(spectra[first].max())
    with plotting.saved(path, WIDTH, 0.8 + HEIGHT * len(sounds)) as figure:
        figure.suptitle(title, x=0.01, ha="left", weight="bold")
        axes = figure.subplots(len(sounds), 2, squeeze=False, sharex=True)
        for line, (name, samples) in zip(axes, sounds.items(), strict=True):
            end = len(samples) / settings.rate
            for ax, values, edge, bounds in (
                (line[0], mels[name], settings.mels, (low, max(high, low + 1))),
                (line[1], spectra[name], settings.rate / 2000, (top - RANGE, top)),
            ):
                ax.imshow(
                    values.T,
                    origin="lower",
                    aspect="auto",
                    extent=(0, end, 0, edge),
                    vmin=bounds[0],
                    vmax=bounds[1],
                    cmap="magma",
                    interpolation="nearest",
                )
                ax.grid(False)
            line[0].set_title(name)
            line[0].set_ylabel("mel filter")
            line[1].set_ylabel("kHz")
        for ax in axes[-1]:
            ax.set_xlabel("seconds")
    return path


def _decibels(samples: np.ndarray, settings: mel.Settings) -> np.ndarray:
    """`[frames, frequencies]`, 0 dB being a magnitude of 1; silence far below."""
    scaled = np.asarray(samples, np.float32) / np.float32(FULL)
    # The window of the mel, so that both columns resolve alike.
    magnitude = np.asarray(
        stft.magnitude(
            jnp.asarray(scaled),
            n_fft=settings.n_fft,
            hop=settings.hop,
            length=settings.window,
            centred=True,
        )
    )
    return 20 * np.log10(np.maximum(magnitude, 1e-6))
