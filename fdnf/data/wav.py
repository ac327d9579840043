"""WAV files of one channel and 16 bits, and their resampling.

Not by `scipy.io.wavfile`, which gives what there is of a file that is cut short, and
nothing of a stream whose writer put 0 for its size.
"""

import math
import pathlib
import struct
import wave
from io import BytesIO

import numpy as np

from fdnf.data.tabular import DataError, told

LJSPEECH_RATE = 22_050
_BYTES = 2
# What programs write for the number of bytes when it will not be known: 0 and all ones
# by GStreamer and ffmpeg; as much as can be, by arecord and sox.
_UNKNOWN = (0, 0xFFFFFFFF, 0x7FFFFFFF, 0x80000000, 0x7FFFF000, 0xFFFFF000)


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

    A program that writes into a pipe does not know how much it will write, and leaves
    sizes that mean so in the header: such a file's samples go to its end.

    Args:
        content: The bytes.
        where: What they are, for errors.

    Returns:
        Samples, int16 `[time]`, and how many make a second.

    Raises:
        DataError: If it is damaged, or is not one channel of 16 bits.
    """
    if not content:
        raise DataError(f"{where} is empty. Copy it again.")
    if content[:4] != b"RIFF" or content[8:12] != b"WAVE":
        raise DataError(
            f"{where} is no WAV file: it begins with {content[:12]!r}. Convert it: sox"
            " IN -b 16 -c 1 OUT.wav."
        )
    try:
        with wave.open(BytesIO(_with_sizes(content))) as file:
            channels, width, rate, count, *_ = file.getparams()
            raw = file.readframes(count)
    # The module divides by what a broken header says, too.
    except (wave.Error, EOFError, ValueError, ZeroDivisionError) as error:
        announced = int.from_bytes(content[4:8], "little") + 8
        if announced > len(content):
            raise DataError(
                f"{where} is cut short in its header: {len(content):,} of"
                f" {announced:,} bytes. Copy it again."
            ) from None
        raise DataError(
            f"{where} is no WAV file of plain samples:"
            f" {told(error)}. Convert it: sox IN -b 16 -c 1"
            " OUT.wav."
        ) from None
    if channels != 1 or width != _BYTES:
        raise DataError(
            f"{where} has {channels} channels of {8 * width} bits; expected 1 of 16."
            " Convert it: sox IN -b 16 -c 1 OUT.wav."
        )
    if not count:
        raise DataError(f"{where} has no samples: it is a header and nothing more.")
    if len(raw) != _BYTES * count:
        raise DataError(
            f"{where} is cut short: {len(raw) // _BYTES:,} of {count:,} samples. Copy"
            " it again."
        )
    return np.frombuffer(raw, "<i2").astype(np.int16), rate


def _with_sizes(content: bytes) -> bytes:
    """The file with the sizes that it has, where its writer did not know them."""
    size, end = len(content), int.from_bytes(content[4:8], "little") + 8
    at = 12
    while at + 8 <= size and content[at : at + 4] != b"data":
        length = int.from_bytes(content[at + 4 : at + 8], "little")
        at += 8 + length + length % 2
    said = int.from_bytes(content[at + 4 : at + 8], "little")
    if at + 8 > size or end == size:
        return content
    length = size - at - 8
    if said not in _UNKNOWN:
        if said > length:  # Not a stream, but the beginning of a file.
            return content
        length = said
    # An odd byte is half of a sample whose other half was never written.
    length -= length % _BYTES
    parts = (size - 8, content[8 : at + 4], length, content[at + 8 : at + 8 + length])
    return b"RIFF" + b"".join(
        part if isinstance(part, bytes) else struct.pack("<I", part) for part in parts
    )


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
