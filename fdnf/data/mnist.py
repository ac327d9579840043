"""MNIST and Fashion-MNIST: 28x28 grey images in ten classes, and their idx files."""

import gzip
import math
import os
import pathlib
import struct
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from absl import logging

from fdnf.data import archives, cache, download, images, npz, paths, prepared
from fdnf.data.images import Images
from fdnf.data.tabular import DataError, told

# The type of bytes, in an idx file's magic number.
UINT8 = 8
EVENT = (28, 28, 1)
COUNTS = (60_000, 10_000)
# Images and labels of train, then of test.
FILES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)


class Set(NamedTuple):
    """What tells one of the two sets from the other.

    Attributes:
        name: As configs and TFDS spell it.
        title: As the literature does.
        urls: Directories its files are downloaded from.
        sha256: Published hashes of `FILES`.
        first: The first training labels.
        system: Directories that packages of operating systems install it in.
    """

    name: str
    title: str
    urls: tuple[str, ...]
    sha256: tuple[str, str, str, str]
    first: tuple[int, ...]
    system: tuple[str, ...] = ()


MNIST = Set(
    name="mnist",
    title="MNIST",
    urls=(
        "https://storage.googleapis.com/cvdf-datasets/mnist",
        "https://ossci-datasets.s3.amazonaws.com/mnist",
    ),
    sha256=(
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    ),
    first=(5, 0, 4, 1, 9, 2, 1, 3, 1, 4),
)
FASHION_MNIST = Set(
    name="fashion_mnist",
    title="Fashion-MNIST",
    urls=(
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
        "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion",
    ),
    sha256=(
        "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    ),
    first=(9, 0, 0, 3, 0, 2, 7, 2, 5, 5),
    # Of the Debian package dataset-fashion-mnist.
    system=("/usr/share/datasets/fashion-mnist",),
)


def mnist(
    data_dir: str | None = None, rows: int | None = None, size: int = 28
) -> Images:
    """MNIST: handwritten digits (LeCun et al., 1998).

    It is looked for as `mnist.npz` and as idx files, then among prepared TFDS sets,
    then downloaded. Copies are as good as one another: validation is a tenth of the
    published training images, chosen by their content (`images.hold_out`).

    Args:
        data_dir: Where the npz file is looked for; idx files there and in `mnist/`.
        rows: Training images to keep; all by default.
        size: Height and width, 28, or 14, 7, ...: each grey level is then the mean
            over a square, rounded. The splits stay the same.

    Returns:
        The data set, 54,000 / 6,000 / 10,000 images.

    Raises:
        DataError: If no copy is at hand or can be downloaded, the first is damaged, or
            28 is no multiple of `size`.
    """
    return _load(MNIST, data_dir, rows, size)


def fashion_mnist(
    data_dir: str | None = None, rows: int | None = None, size: int = 28
) -> Images:
    """Fashion-MNIST: articles of clothing (Xiao et al., 2017).

    Found and split as `mnist` is, with `fashion_mnist` for its name; Debian's package
    `dataset-fashion-mnist` is one of the places.

    Args:
        data_dir: Where the npz file is looked for; idx files there and in
            `fashion_mnist/`.
        rows: Training images to keep; all by default.
        size: As of `mnist`.

    Returns:
        The data set, 54,000 / 6,000 / 10,000 images.

    Raises:
        DataError: As `mnist`.
    """
    return _load(FASHION_MNIST, data_dir, rows, size)


def _load(which: Set, data_dir: str | None, rows: int | None, size: int) -> Images:
    if size < 1 or EVENT[0] % size:
        raise DataError(f"size={size}: expected 28, 14, 7, 4, 2 or 1.")
    file = paths.data_dir(data_dir) / f"{which.name}.npz"
    if file.is_file():
        key = f"npz-{cache.sha256(file)[:16]}"
        arrays = ("train_images", "train_labels", "test_images", "test_labels")

        def make():
            return _split(npz.read_arrays(file, *arrays), file)

    elif place := _place(which, data_dir):
        found = [place / name for name in FILES]
        key = f"idx-{cache.sha256(*found)[:16]}"

        def make():
            return _split(_read(place), place)

    elif copy := prepared.find(which.name, data_dir):
        key = f"tfds-{prepared.fingerprint(copy)}"

        def make():
            return images.with_held_out(*prepared.read_both(copy, EVENT))

    else:
        key = f"idx-{which.sha256[0][:8]}{which.sha256[1][:8]}"

        def make():
            target = _download(which, data_dir)
            return _split(_read(target), target)

    pixels, labels = images.kept(f"{which.name}-{key}", make, labelled=True)
    data = Images(
        which.name,
        *pixels,
        source=images.source_line(which.title, pixels, COUNTS),
        labels=labels,
    )
    return images.limit(_resized(images.validate(data), size), rows)


def _resized(data: Images, size: int) -> Images:
    """Each grey level the mean over a square of them, rounded."""
    side = EVENT[0] // size
    if side == 1:
        return data

    def shrunk(pixels: np.ndarray) -> np.ndarray:
        squares = pixels.reshape(len(pixels), size, side, size, side, 1)
        total = squares.sum(axis=(2, 4), dtype=np.uint32)
        return ((total + side * side // 2) // (side * side)).astype(np.uint8)

    return data._replace(
        name=f"{data.name}_{size}x{size}",
        train=shrunk(data.train),
        val=shrunk(data.val),
        test=shrunk(data.test),
        source=f"{data.source.split(';')[0]}; averaged to {size}x{size}, which "
        "compares with no published figure",
    )


def _place(which: Set, data_dir: str | None) -> pathlib.Path | None:
    """The first directory with all four files of the set."""
    given = paths.data_dir(data_dir)
    for place in (given / which.name, given, *map(pathlib.Path, which.system)):
        have = [name for name in FILES if (place / name).is_file()]
        if have and len(have) < len(FILES):
            missing = ", ".join(name for name in FILES if name not in have)
            logging.warning("Passing over %s, which lacks %s.", place, missing)
        # Both sets use these names, so in a shared directory the labels decide.
        elif have and not _is_other(which, place):
            return place
    return None


def _is_other(which: Set, place: pathlib.Path) -> bool:
    other = FASHION_MNIST if which is MNIST else MNIST
    return tuple(read_idx(place / FILES[1], 1)[:10].tolist()) == other.first


def _download(which: Set, data_dir: str | None) -> pathlib.Path:
    inside = tuple(f"{which.name}/{name}" for name in FILES)
    directory = paths.manual_dir(data_dir, inside) / which.name
    try:
        for name, sha256 in zip(FILES, which.sha256, strict=True):
            urls = [f"{base}/{name}" for base in which.urls]
            download.fetch(urls, directory / name, sha256=sha256)
    except DataError as error:
        given = paths.data_dir(data_dir)
        raise DataError(
            f"{which.title} is not at hand: no {which.name}.npz or idx files in"
            f" {given} or {given / which.name}, and none that TFDS prepared. {error}\n"
            "--config=configs/glow_digits.py trains on images that installed packages"
            " carry."
        ) from None
    return directory


def _read(place: pathlib.Path) -> list[np.ndarray]:
    return [read_idx(place / name, 3 if "images" in name else 1) for name in FILES]


def read_idx(path: str | os.PathLike[str], axes: int) -> np.ndarray:
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
            if (zeros, zeros2, kind, found) != (0, 0, UINT8, axes):
                raise DataError(
                    f"{path} begins with {start[:4].hex()}; an idx file of bytes with"
                    f" {axes} axes begins with 0000{UINT8:02x}{axes:02x}. Is it"
                    " another file under this name?"
                )
            # Sizes are the file's word, and may be any.
            expected = math.prod(sizes)
            held = path.stat().st_size
            archives.packed(expected, held, f"{path}, {' x '.join(map(str, sizes))},")
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


def _split(arrays: Sequence[np.ndarray], where: pathlib.Path):
    """Checks images and labels of train and test, and holds out val."""
    pairs = []
    for split, pixels, labels in zip(
        ("train", "test"), arrays[::2], arrays[1::2], strict=True
    ):
        if pixels.dtype != np.uint8 or pixels.shape[1:] != EVENT[:2]:
            raise DataError(
                f"{where}, {split}: expected uint8 images [images, 28, 28], got"
                f" {pixels.dtype} {pixels.shape}."
            )
        if labels.shape != (len(pixels),) or labels.dtype.kind not in "iu":
            raise DataError(
                f"{where}, {split}: {len(pixels)} images, but labels {labels.dtype}"
                f" {labels.shape}; they are not of one set, copy both again."
            )
        pairs.append((pixels[..., None], labels))
    return images.with_held_out(*pairs)
