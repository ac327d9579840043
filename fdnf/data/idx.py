"""The idx format of MNIST's files: a magic number, sizes, then bytes."""

import gzip
import os
import pathlib
import struct
import zlib

import numpy as np

from fdnf.data.tabular import DataError

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
            # Sizes are the file's word; what is read is bounded by what there is.
            body = file.read()
    except FileNotFoundError:
        raise DataError(f"No such file: {path}.") from None
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(
            f"{path} is damaged or cut short: {error}. Copy or download it again."
        ) from None
    expected = int(np.prod([int(size) for size in sizes], dtype=object))
    if len(body) != expected:
        raise DataError(
            f"{path} announces {' x '.join(map(str, sizes))} = {expected:,} bytes and"
            f" has {len(body):,}. Copy or download it again."
        )
    return np.frombuffer(body, np.uint8).reshape(sizes)
