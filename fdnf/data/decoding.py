"""Many encoded images to one array, saying which one is broken."""

import concurrent.futures
import itertools
import os
import struct
from collections.abc import Callable, Iterable, Iterator
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np

from fdnf.data import npz
from fdnf.data.tabular import DataError

if TYPE_CHECKING:
    from PIL import Image

_CHUNK = 1024


def packed(path: os.PathLike[str] | str, prefix: str = "") -> list[bytes]:
    """Reads streams laid end to end in an .npz file.

    Args:
        path: The file: `{prefix}jpeg_bytes` uint8, and `{prefix}offsets`, where stream
            i is `jpeg_bytes[offsets[i]:offsets[i + 1]]`.
        prefix: Of the arrays' names.

    Returns:
        One encoded image each.

    Raises:
        DataError: If the file does not read or its offsets do not fit its bytes.
    """
    content, offsets = npz.read_arrays(path, f"{prefix}jpeg_bytes", f"{prefix}offsets")
    sound = (
        content.ndim == offsets.ndim == 1
        and content.dtype == np.uint8
        and offsets.dtype.kind in "iu"
        and len(offsets) > 1
        and offsets[0] == 0
        and offsets[-1] == len(content)
        and bool((offsets[1:] >= offsets[:-1]).all())
    )
    if not sound:
        raise DataError(
            f"{path}: '{prefix}offsets' {offsets.dtype} {offsets.shape} does not cut"
            f" '{prefix}jpeg_bytes' {content.dtype} {content.shape}; expected rising"
            " whole numbers from 0 to the number of bytes. Copy the file again."
        )
    return [content[a:b].tobytes() for a, b in itertools.pairwise(offsets.tolist())]


def decode(
    streams: Iterable[bytes],
    count: int,
    event: tuple[int, int, int],
    where: str,
    convert: Callable[["Image.Image"], "Image.Image"] | None = None,
) -> np.ndarray:
    """Decodes images with Pillow, in threads.

    Args:
        streams: The images' files, JPEG or PNG, one each.
        count: How many there are.
        event: Height, width and channels (1 or 3) of each result.
        where: What the images are of, for errors.
        convert: What is done to each, which is in grey or RGB by then.

    Returns:
        Pixels, uint8 `[count, height, width, channels]`.

    Raises:
        DataError: If an image does not decode, or comes out in another size, naming
            its index; or if there are fewer or more than `count`.
    """
    from PIL import Image

    def one(item: tuple[int, bytes]) -> np.ndarray:
        index, stream = item
        try:
            image = Image.open(BytesIO(stream)).convert("L" if event[2] == 1 else "RGB")
            pixels = np.asarray(convert(image) if convert else image)
        # What Pillow raises on hostile bytes, by format.
        except (
            *(OSError, ValueError, SyntaxError, EOFError, struct.error),
            Image.DecompressionBombError,
        ) as error:
            raise DataError(
                f"{where}: image {index} ({len(stream)} bytes) does not decode:"
                f" {error}. Copy the file again."
            ) from None
        if pixels.shape[:2] != event[:2]:
            raise DataError(
                f"{where}: image {index} is {pixels.shape[1]} wide and"
                f" {pixels.shape[0]} high; expected {event[1]} and {event[0]}."
            )
        return pixels.reshape(event)

    result = np.empty((count, *event), np.uint8)
    done = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for chunk in _chunks(enumerate(streams)):
            if done + len(chunk) > count:
                raise DataError(f"{where}: more than the expected {count} images.")
            for pixels in pool.map(one, chunk):
                result[done] = pixels
                done += 1
    if done != count:
        raise DataError(f"{where}: {done} images, expected {count}.")
    return result


def _chunks(items: Iterable[tuple[int, bytes]]) -> Iterator[list[tuple[int, bytes]]]:
    # The pool takes all it is given at once, which may be more than memory holds.
    iterator = iter(items)
    while chunk := list(itertools.islice(iterator, _CHUNK)):
        yield chunk
