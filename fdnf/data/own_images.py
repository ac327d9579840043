"""The user's own images: a folder of PNG and JPEG files, or an .npz of pixels."""

import functools
import hashlib
import os
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from fdnf.data import decoding, images, npz, tabular
from fdnf.data.images import Images, Labels
from fdnf.data.tabular import SPLITS, DataError

if TYPE_CHECKING:
    from PIL import Image

SUFFIXES = (".png", ".jpg", ".jpeg")
# What is done to images that are not `size` large.
FITS = ("exact", "crop", "resize")
FRACTIONS = (0.8, 0.1, 0.1)


def image_folder(
    path: str,
    data_dir: str | None = None,
    rows: int | None = None,
    size: tuple[int, ...] | int | None = None,
    fit: str = "exact",
    channels: int = 3,
    classes: bool = False,
    fractions: tuple[float, ...] = FRACTIONS,
    seed: int = 0,
) -> Images:
    """PNG and JPEG files in a folder and the folders below it.

    Folders `train`, `val` and `test` in it are the splits; otherwise images are
    drawn into three by their content, so that copies of one image stay together.

    Args:
        path: The folder.
        data_dir: What a relative `path` that does not exist here is relative to.
        rows: Training images to keep; all by default.
        size: Height and width of what is trained on, one number for a square; that of
            the images by default, which then have to be of one size.
        fit: What is done to images of another size: "exact" refuses them; "crop"
            shrinks the shorter side to `size` and cuts out the middle; "resize"
            changes both sides, and with them the shape of what is shown.
        channels: 3 for colours, 1 for grey.
        classes: Whether the folder that a file lies in is its class.
        fractions: Of train, val and test, where the splits are not given.
        seed: Of the draw.

    Returns:
        The data set; `labels` number the names of the classes in their order.

    Raises:
        DataError: If there is no such folder or there are no images in it, if one does
            not decode or is of another size, or if an argument does not fit.
    """
    folder = _found(path, data_dir)
    if not folder.is_dir():
        raise DataError(
            f"No such folder: {folder}. image_folder reads PNG and JPEG files in a"
            " folder; an .npz file of pixels is read by data.name='image_npz'."
        )
    if fit not in FITS or channels not in (1, 3):
        raise DataError(
            f"image_folder: fit={fit!r}, channels={channels!r}; expected fit to be one"
            f" of {FITS} and 1 or 3 channels."
        )
    given = _split_folders(folder)
    files = [_files(place) for place in given or (folder,)]
    streams = [[file.read_bytes() for file in part] for part in files]
    side = _side(size, files[0][0], streams[0][0])
    pixels = [
        _decoded(part, read, side, channels, fit, size)
        for part, read in zip(files, streams, strict=True)
    ]
    labels = _classes(given or (folder,), files) if classes else None
    source = f"{sum(map(len, files)):,} images in {folder}"
    return _made(folder.name, pixels, labels, rows, fractions, seed, source)


def image_npz(
    path: str,
    data_dir: str | None = None,
    rows: int | None = None,
    fractions: tuple[float, ...] = FRACTIONS,
    seed: int = 0,
    levels: int = 256,
) -> Images:
    """An .npz file of uint8 pixels `[images, height, width, channels]`.

    Its arrays are `train`, `val` and `test`, or one, `images`, which is drawn into
    three by content. Labels are `labels_train`, ... or `labels`, whole numbers from 0.

    Args:
        path: The file.
        data_dir: What a relative `path` that does not exist here is relative to.
        rows: Training images to keep; all by default.
        fractions: Of train, val and test, where the splits are not given.
        seed: Of the draw.
        levels: Values are whole numbers from 0 to `levels - 1`.

    Returns:
        The data set.

    Raises:
        DataError: If the file is missing, damaged or of another form, or if an argument
            does not fit.
    """
    file = _found(path, data_dir)
    there = npz.names(file)
    whole = "images" in there and "train" not in there
    wanted = ("images",) if whole else SPLITS
    pixels = npz.read_arrays(file, *wanted)
    named = ("labels",) if whole else tuple(f"labels_{split}" for split in SPLITS)
    found = [name for name in named if name in there]
    if found and len(found) < len(named):
        absent = ", ".join(sorted(set(named) - set(found)))
        raise DataError(
            f"{file} has {', '.join(found)}, but no {absent}: give all splits labels,"
            " or none."
        )
    labels = npz.read_arrays(file, *named) if found else None
    for name, part in zip(wanted, pixels, strict=True):
        tabular.check_array(
            part,
            np.uint8,
            "[images, height, width, channels]",
            f"'{name}' in {file}",
            images.STORED,
        )
    if labels is not None:
        labels = [_whole(f"labels in {file}", each) for each in labels]
    source = f"{sum(map(len, pixels)):,} images from {file}"
    return _made(file.stem, pixels, labels, rows, fractions, seed, source, levels)


def _found(path: str, data_dir: str | None) -> pathlib.Path:
    found = pathlib.Path(os.path.expanduser(path))
    if data_dir is not None and not found.exists():
        return pathlib.Path(data_dir) / found
    return found


def _whole(where: str, labels: np.ndarray) -> np.ndarray:
    if labels.dtype.kind not in "iu":
        raise DataError(f"{where}: {labels.dtype}; expected whole numbers from 0.")
    if labels.size and not 0 <= labels.min() <= labels.max() < images.CLASSES:
        raise DataError(
            f"{where}: from {labels.min()} to {labels.max()}; expected whole numbers"
            f" from 0, below {images.CLASSES:,}."
        )
    return labels.astype(np.int32)


def _split_folders(folder: pathlib.Path) -> tuple[pathlib.Path, ...] | None:
    """The folders of the three splits, if the folder has any of them."""
    there = [split for split in SPLITS if (folder / split).is_dir()]
    if not there:
        return None
    if len(there) < len(SPLITS):
        absent = ", ".join(split for split in SPLITS if split not in there)
        raise DataError(
            f"{folder} has the folder(s) {', '.join(there)}, but no {absent}: make all"
            " three, or name one folder of all images to have it split."
        )
    return tuple(folder / split for split in SPLITS)


def _files(folder: pathlib.Path) -> list[pathlib.Path]:
    """Image files below a folder, by name; hidden ones and folders are left out."""
    found = sorted(
        file
        for file in folder.rglob("*")
        if file.suffix.lower() in SUFFIXES
        and file.is_file()
        and not any(p.startswith(".") for p in file.relative_to(folder).parts)
    )
    if not found:
        other = sorted({f.suffix.lower() for f in folder.rglob("*.*") if f.is_file()})
        has = f"; it has files {', '.join(other[:5])}" if other else ""
        raise DataError(
            f"{folder} has no PNG or JPEG files ({', '.join(SUFFIXES)}){has}. Convert"
            " the images, or name another folder."
        )
    return found


def _side(
    size: Sequence[int] | int | None, file: pathlib.Path, stream: bytes
) -> tuple[int, int]:
    """Height and width; of the first image where nothing is said."""
    if size is None:
        width, height = decoding.size(stream, str(file))
        return height, width
    sides = (size, size) if isinstance(size, int) else tuple(size)
    if len(sides) != 2 or not all(tabular.is_whole(n) and n > 0 for n in sides):
        raise DataError(
            f"image_folder: size={size!r}; expected a number of pixels, or (height,"
            " width)."
        )
    return sides[0], sides[1]


def _decoded(
    files: Sequence[pathlib.Path],
    streams: Sequence[bytes],
    side: tuple[int, int],
    channels: int,
    fit: str,
    size: object,
) -> np.ndarray:
    height, width = side
    if fit == "exact":
        for file, stream in zip(files, streams, strict=True):
            if (found := decoding.size(stream, str(file))) != (width, height):
                first = "size asks for" if size is not None else "the first image has"
                raise DataError(
                    f"{file} is {found[0]} wide and {found[1]} high, {first}"
                    f" {width} and {height}. Give --config.data.fit=crop (the middle)"
                    " or fit=resize, with --config.data.size."
                )
    convert = functools.partial(_fitted, side=side, fit=fit)
    where = str(files[0].parent)
    try:
        return decoding.decode(
            streams, len(files), (height, width, channels), where, convert
        )
    except DataError as error:
        raise DataError(f"{error} {_named(error, files)}") from None


def _named(error: DataError, files: Sequence[pathlib.Path]) -> str:
    """Which file it was; the error counts."""
    for index, file in enumerate(files):
        if f": image {index} " in str(error):
            return f"That is {file}."
    return ""


def _fitted(image: "Image.Image", side: tuple[int, int], fit: str) -> "Image.Image":
    from PIL import Image, ImageOps

    height, width = side
    if image.size == (width, height):
        return image
    if fit == "crop":
        return ImageOps.fit(image, (width, height), Image.Resampling.LANCZOS)
    return image.resize((width, height), Image.Resampling.LANCZOS)


def _classes(
    folders: Sequence[pathlib.Path], files: Sequence[Sequence[pathlib.Path]]
) -> list[np.ndarray]:
    """The number of the folder, right below that of the split, that each lies in."""
    names = [
        [file.relative_to(folder).parts[0] for file in part]
        for folder, part in zip(folders, files, strict=True)
    ]
    for folder, part, own in zip(folders, files, names, strict=True):
        for file, name in zip(part, own, strict=True):
            if file.parent == folder:
                raise DataError(
                    f"classes=True: {name} lies in {folder} itself; expected each image"
                    " in the folder of its class."
                )
    known = sorted({name for part in names for name in part})
    number = {name: index for index, name in enumerate(known)}
    return [np.array([number[name] for name in part], np.int32) for part in names]


def _made(
    name: str,
    pixels: Sequence[np.ndarray],
    labels: Sequence[np.ndarray] | None,
    rows: int | None,
    fractions: Sequence[float],
    seed: int,
    source: str,
    levels: int = 256,
) -> Images:
    if len(pixels) == 1:
        parts = _drawn(pixels[0], fractions, seed)
        pixels = [pixels[0][part] for part in parts]
        labels = labels and [labels[0][part] for part in parts]
        source += ", split by content"
    train, val, test = pixels
    own: Labels | None = (labels[0], labels[1], labels[2]) if labels else None
    data = Images(name, train, val, test, f"{source}; comparable with nothing", own)
    return images.limit(images.validate(data._replace(levels=levels)), rows)


def _drawn(
    pixels: np.ndarray, fractions: Sequence[float], seed: int
) -> list[np.ndarray]:
    """Indices of three splits, in the order of a hash of each image.

    As good as a shuffle from a seed; the same for other copies and names, and equal
    images fall into one split but for those at its end.
    """
    sums = len(fractions) == 3 and abs(sum(fractions) - 1) < 1e-6
    if not sums or min(fractions) <= 0:
        raise DataError(
            f"fractions={tuple(fractions)}: expected three shares above 0, of train,"
            " val and test, that add up to 1."
        )
    key = f"fdnf {seed}".encode()
    order = sorted(
        range(len(pixels)),
        key=lambda i: hashlib.blake2b(pixels[i].tobytes(), key=key).digest(),
    )
    first = round(fractions[0] * len(order))
    second = first + round(fractions[1] * len(order))
    parts = np.split(np.array(order), [first, second])
    if not all(map(len, parts)):
        raise DataError(
            f"{len(order)} images are too few to split {tuple(fractions)}: give more,"
            " or put them into folders or arrays train, val and test."
        )
    return parts
