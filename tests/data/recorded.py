"""Tiny recordings in the forms the real ones come in."""

import io
import wave

import numpy as np


def encode(samples, rate=22_050, channels=1, width=2):
    """Samples as a WAV file's bytes."""
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(channels)
        out.setsampwidth(width)
        out.setframerate(rate)
        out.writeframes(np.asarray(samples).astype(f"<i{width}").tobytes())
    return file.getvalue()


def write(path, samples, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode(samples, **options))
    return path


def clip(index, length):
    """Samples that tell which clip they are of, and where in it they lie."""
    return (1_000 * index + np.arange(length)).astype(np.int16)
