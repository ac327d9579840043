"""What a file announces, held against what there is before room is made for it.

A few bytes of a header can ask for any number of terabytes, and a few kilobytes that
are packed can hold gigabytes.
"""

import io
import math
import os
from typing import IO

import numpy as np

from fdnf.data.tabular import DataError

# Deflate, of gzip and zip files, packs no more than so many bytes into one.
DEFLATE = 1032
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def memory() -> int:
    """Bytes of memory that the machine has."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def fits(announced: int, where: str) -> None:
    """Checks a number of bytes that is to be held in memory.

    Args:
        announced: The number.
        where: What announces it, for errors.

    Raises:
        DataError: If the machine does not have as much.
    """
    if announced > memory():
        raise DataError(
            f"{where} announces {announced:,} bytes; this machine has"
            f" {memory():,} of memory. If it is right, keep a part of it; if not, it"
            " is damaged: copy or make it again."
        )


def packed(announced: int, held: int, where: str) -> None:
    """Checks the size that a deflated stream is said to have, and that it `fits`.

    Args:
        announced: Bytes after unpacking.
        held: Bytes before.
        where: What it is, for errors.

    Raises:
        DataError: If it cannot be, or is more than the machine has.
    """
    if announced > DEFLATE * held + 64:
        raise DataError(
            f"{where} announces {announced:,} bytes in {held:,}, which"
            " cannot hold them: it is damaged. Copy or make it again."
        )
    fits(announced, where)


def array(file: io.BufferedIOBase | IO[bytes], size: int) -> None:
    """Reads the header of an .npy stream and checks the bytes that it announces.

    Args:
        file: The stream, at its start.
        size: Bytes of the stream.

    Raises:
        ValueError: If they are not those that follow; of arrays of Python objects
            nothing is said, which numpy refuses.
    """
    version = np.lib.format.read_magic(file)
    if version not in _HEADERS:
        raise ValueError(f"its .npy version is {version}, expected {list(_HEADERS)}")
    shape, _, dtype = _HEADERS[version](file)
    if dtype.hasobject:
        return
    announced, follow = math.prod(shape) * dtype.itemsize, size - file.tell()
    if announced != follow:
        raise ValueError(
            f"it announces {' x '.join(map(str, shape))} {dtype}, {announced:,} bytes,"
            f" and {follow:,} follow"
        )
