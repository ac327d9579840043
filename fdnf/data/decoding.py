"""Encoded images to pixels: the one place where image files are opened.

PNG and JPEG files only, since Pillow starts other programs for some formats. They come
out as a viewer shows them: upright by their EXIF orientation, and with what is
transparent over white, so that colours hidden behind it do not appear.
"""

import concurrent.futures
import contextlib
import itertools
import os
import struct
from collections.abc import Callable, Collection, Iterable, Iterator
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np

from fdnf.data import npz
from fdnf.data.tabular import DataError, told

if TYPE_CHECKING:
    from PIL import Image

_CHUNK = 1024
FORMATS = ("PNG", "JPEG")
# Of an image whose size is not known beforehand. A few bytes can announce billions.
MOST_PIXELS = 1 << 26
_ORIENTATION = 0x0112
# One of these is in every PNG file that tells its orientation.
_TELLS_ORIENTATION = (b"eXIf", b"Raw profile type", b"com.adobe.xmp")
# What Pillow raises on hostile bytes, by format.
_HOSTILE = (OSError, ValueError, SyntaxError, EOFError, struct.error)
_TRANSPARENT = ("LA", "PA", "RGBA")


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


def numbered(path: os.PathLike[str] | str, prefix: str = "") -> dict[int, bytes]:
    """The streams of `packed` by the numbers in `{prefix}ids`, in their order.

    Raises:
        DataError: As `packed`, and if there are not as many numbers as streams, or one
            of them twice.
    """
    streams = packed(path, prefix)
    (ids,) = npz.read_arrays(path, f"{prefix}ids")
    if ids.dtype.kind not in "iu" or ids.shape != (len(streams),):
        raise DataError(
            f"{path}: {len(streams)} images, but '{prefix}ids' {ids.dtype} {ids.shape};"
            " expected a whole number each. Copy the file again."
        )
    found = dict(zip(ids.tolist(), streams, strict=True))
    if len(found) < len(streams):
        raise DataError(
            f"{path}: '{prefix}ids' has {len(found)} different numbers for"
            f" {len(streams)} images. Copy the file again."
        )
    return found


def picture(
    content: bytes, where: str, sizes: Collection[tuple[int, int]] | None = None
) -> "Image.Image":
    """Decodes a PNG or JPEG file to 8 bits a channel, upright and opaque.

    Of 16 bits a channel the higher 8 are kept. Palettes become colours; what is
    transparent is laid over white.

    Args:
        content: The file.
        where: What it is, for errors.
        sizes: (width, height) that it may have; by default any of `MOST_PIXELS`
            pixels or fewer. It is compared before anything is decoded.

    Returns:
        An image of mode "L" or "RGB".

    Raises:
        DataError: If it is of another format, does not decode, has another size or is
            in CMYK, whose colours hang on a profile.
    """
    image = _opened(content, where, sizes)
    with _decoding(where):
        image = _upright(image, content)
        if sizes is not None and image.size not in sizes:
            raise DataError(_of_another_size(where, image.size, sizes))
        return _opaque(image)


def size(content: bytes, where: str) -> tuple[int, int]:
    """Width and height that `picture` will have, as a rule from the header alone.

    Raises:
        DataError: As `picture`, but for damage behind the header.
    """
    image = _opened(content, where, None)
    with _decoding(where):
        width, height = image.size
        return (height, width) if _orientation(image, content) > 4 else (width, height)


def decode(
    streams: Iterable[bytes],
    count: int,
    event: tuple[int, int, int],
    where: str,
    convert: Callable[["Image.Image"], "Image.Image"] | None = None,
    sizes: Collection[tuple[int, int]] | None = None,
) -> np.ndarray:
    """Decodes images with Pillow, in threads.

    Args:
        streams: The images' files, JPEG or PNG, one each.
        count: How many there are.
        event: Height, width and channels (1 or 3) of each result.
        where: What the images are of, for errors.
        convert: What is done to each, which is in grey or RGB by then.
        sizes: (width, height) that images may have before that; without `convert`
            that of the event, with it by default as `picture` has it.

    Returns:
        Pixels, uint8 `[count, height, width, channels]`.

    Raises:
        DataError: If an image does not decode, or has another size, naming its index;
            or if there are fewer or more than `count`.
    """
    if convert is None:
        sizes = ((event[1], event[0]),)

    def one(item: tuple[int, bytes]) -> np.ndarray:
        index, stream = item
        what = f"{where}: image {index} ({len(stream)} bytes)"
        image = picture(stream, what, sizes).convert("L" if event[2] == 1 else "RGB")
        pixels = np.asarray(convert(image) if convert else image)
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


def _opened(
    content: bytes, where: str, sizes: Collection[tuple[int, int]] | None
) -> "Image.Image":
    """A file whose header alone was read, of a size that may be decoded."""
    from PIL import Image, UnidentifiedImageError

    try:
        image = Image.open(BytesIO(content), formats=FORMATS)
    except UnidentifiedImageError:
        start = f"it begins with {content[:8]!r}" if content else "it is empty"
        raise DataError(
            f"{where} does not decode: no PNG or JPEG file, {start}. Copy it again, or"
            " convert it to PNG."
        ) from None
    # The warning where warnings are errors.
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(
            f"{where} announces too much in {len(content):,} bytes: {error}. Make it"
            " smaller or cut it into parts."
        ) from None
    except _HOSTILE as error:
        raise DataError(_damaged(where, error)) from None
    # Either side may be the width until the orientation is known.
    if sizes is not None:
        if not {image.size, image.size[::-1]} & set(sizes):
            raise DataError(_of_another_size(where, image.size, sizes))
    elif image.width * image.height > MOST_PIXELS:
        raise DataError(
            f"{where} announces {image.width:,} by {image.height:,} pixels in"
            f" {len(content):,} bytes; expected at most {MOST_PIXELS:,}. Make it"
            " smaller or cut it into parts."
        )
    return image


@contextlib.contextmanager
def _decoding(where: str) -> Iterator[None]:
    try:
        yield
    except DataError:
        raise
    except _Unfit as error:
        raise DataError(
            f"{where} does not decode: {error}. Convert it to RGB of 8 bits."
        ) from None
    except _HOSTILE as error:
        raise DataError(_damaged(where, error)) from None


class _Unfit(ValueError):
    """An image that is whole and of a kind that is not taken."""


def _of_another_size(
    where: str, found: tuple[int, int], sizes: Collection[tuple[int, int]]
) -> str:
    expected = " or ".join(f"{width} and {height}" for width, height in sizes)
    return f"{where} is {found[0]} wide and {found[1]} high; expected {expected}."


def _damaged(where: str, error: Exception) -> str:
    return f"{where} does not decode: {told(error)}. Copy the file again."


def _orientation(image: "Image.Image", content: bytes) -> int:
    """1 to 8 as EXIF counts; from 5 on width and height change places."""
    # Asking Pillow decodes a PNG file, which may tell it after its pixels.
    may_tell = any(mark in content for mark in _TELLS_ORIENTATION)
    if image.format == "PNG" and not may_tell:
        return 1
    try:
        found = image.getexif().get(_ORIENTATION, 1)
    # Cameras and programs leave tables that do not read; viewers pass over them.
    except _HOSTILE:
        return 1
    return found if found in range(1, 9) else 1


def _upright(image: "Image.Image", content: bytes) -> "Image.Image":
    from PIL import ImageOps

    if _orientation(image, content) == 1:
        image.load()
        return image
    turned = ImageOps.exif_transpose(image)
    assert turned is not None  # It is None only in place.
    return turned


def _opaque(image: "Image.Image") -> "Image.Image":
    """Any mode that PNG and JPEG files have, as "L" or "RGB"."""
    from PIL import Image

    if image.mode.startswith("I;16") or image.mode == "I":
        if "transparency" in image.info:
            raise _Unfit("one of its 65,536 greys is transparent")
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in _TRANSPARENT or "transparency" in image.info:
        paper = Image.new("RGBA", image.size, "white")
        flat = Image.alpha_composite(paper, image.convert("RGBA")).convert("RGB")
        grey = image.mode in ("1", "L", "LA")
        return flat.convert("L") if grey else flat
    if image.mode in ("1", "L"):
        return image.convert("L")
    if image.mode in ("P", "RGB"):
        return image.convert("RGB")
    raise _Unfit(f"its mode is {image.mode}")
