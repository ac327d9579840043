"""WAV files of one channel and 16 bits, and their resampling."""

import math
import pathlib
import wave
from io import BytesIO

import numpy as np

from fdnf.data.tabular import DataError

LJSPEECH_RATE = 22_050
_BYTES = 2


def read(path: pathlib.Path, rate: int) -> np.ndarray:
    """Reads a file that has to have a given rate.

    Args:
        path: The file.
        rate: Samples a second.

    Returns:
        Samples, int16 `[time]`.

    Raises:
        DataError: If it is missing or damaged, or is not one channel of 16 bits at
            that rate.
    """
    if not path.is_file():
        raise DataError(f"No such file: {path}.")
    samples, found = decode(path.read_bytes(), str(path))
    if found != rate:
        raise DataError(
            f"{path} has {found:,} samples a second; expected {rate:,}, as the set's"
            f" other clips. Convert it: sox {path.name} -r {rate} out.wav."
        )
    return samples


def decode(content: bytes, where: str) -> tuple[np.ndarray, int]:
    """Decodes a file's bytes.

    Args:
        content: The bytes.
        where: What they are, for errors.

    Returns:
        Samples, int16 `[time]`, and how many make a second.

    Raises:
        DataError: If it is damaged, or is not one channel of 16 bits.
    """
    try:
        with wave.open(BytesIO(content)) as file:
            channels, width, rate, count, *_ = file.getparams()
            raw = file.readframes(count)
    # The module divides by what a broken header says, too.
    except (wave.Error, EOFError, ValueError, ZeroDivisionError) as error:
        raise DataError(
            f"{where} is no WAV file of plain samples:"
            f" {error or type(error).__name__}. Copy it again, or convert it: sox IN -b"
            " 16 -c 1 OUT.wav."
        ) from None
    if channels != 1 or width != _BYTES:
        raise DataError(
            f"{where} has {channels} channels of {8 * width} bits; expected 1 of 16."
            " Convert it: sox IN -b 16 -c 1 OUT.wav."
        )
    if len(raw) != _BYTES * count or not count:
        raise DataError(
            f"{where} is cut short: {len(raw) // _BYTES:,} of {count:,} samples. Copy"
            " it again."
        )
    return np.frombuffer(raw, "<i2").astype(np.int16), rate


def resampled_length(length: int, given: int, wanted: int) -> int:
    """Number of samples that `resample` makes of `length`."""
    common = math.gcd(given, wanted)
    return -(-length * (wanted // common) // (given // common))


def resample(samples: np.ndarray, given: int, wanted: int) -> np.ndarray:
    """Changes the rate by a polyphase filter against what the lower rate cannot hold.

    Args:
        samples: int16 `[time]`.
        given: Their rate.
        wanted: The rate to bring them to.

    Returns:
        Samples, int16 `[time wanted / given]`, rounded up in number; unchanged if the
        rates are equal. Overshoots are clipped.
    """
    if given == wanted:
        return samples
    # Takes longer to import than all of the data package.
    from scipy import signal

    common = math.gcd(given, wanted)
    wave_ = signal.resample_poly(
        samples.astype(np.float64), wanted // common, given // common
    )
    return np.clip(np.round(wave_), -32768, 32767).astype(np.int16)
