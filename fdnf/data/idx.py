"""The idx format of MNIST's files: a magic number, sizes, then bytes."""

import gzip
import math
import os
import pathlib
import struct

import numpy as np

from fdnf.data import archives, limits
from fdnf.data.tabular import DataError, told

_UINT8 = 8


def read(path: str | os.PathLike[str], axes: int) -> np.ndarray:
    """Reads an idx file of bytes.

    Args:
        path: The file, gzipped if its name ends in .gz.
        axes: The number of axes it has to have: 1 for labels, 3 for grey images.

    Returns:
        uint8, with `axes` axes.

    Raises:
        DataError: If the file is missing, damaged, of another kind, or has more or
            less bytes than its head announces.
    """
    path = pathlib.Path(path)
    opener = gzip.open if path.suffix == ".gz" else open
    head = struct.Struct(f">BBBB{axes}I")
    try:
        with opener(path, "rb") as file:
            start = file.read(head.size)
            if len(start) < head.size:
                raise EOFError(f"{len(start)} bytes, the head alone has {head.size}")
            zeros, zeros2, kind, found, *sizes = head.unpack(start)
            if (zeros, zeros2, kind, found) != (0, 0, _UINT8, axes):
                raise DataError(
                    f"{path} begins with {start[:4].hex()}; an idx file of bytes with"
                    f" {axes} axes begins with 0000{_UINT8:02x}{axes:02x}. Is it"
                    " another file under this name?"
                )
            # Sizes are the file's word, and may be any.
            expected = math.prod(sizes)
            held = path.stat().st_size
            limits.packed(expected, held, f"{path}, {' x '.join(map(str, sizes))},")
            # One more, to tell a file that goes on.
            body = file.read(expected + 1)
    except FileNotFoundError:
        raise DataError(f"No such file: {path}.") from None
    except archives.DAMAGE as error:
        raise DataError(
            f"{path} is damaged or cut short: {told(error)}. Copy or download it again."
        ) from None
    if len(body) != expected:
        more = "more" if len(body) > expected else f"{len(body):,}"
        raise DataError(
            f"{path} announces {' x '.join(map(str, sizes))} = {expected:,} bytes and"
            f" has {more}. Copy or download it again."
        )
    return np.frombuffer(body, np.uint8).reshape(sizes)
