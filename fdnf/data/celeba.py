"""CelebA at 64x64: aligned faces, cut and resized."""

import pathlib
import zipfile
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from fdnf.data import archives, cache, decoding, images, paths, prepared
from fdnf.data.images import Images
from fdnf.data.tabular import DataError, told

if TYPE_CHECKING:
    from PIL import Image

EVENT = (64, 64, 3)
COUNTS = (162_770, 19_867, 19_962)
FILE = "celeba10k_jpeg.npz"
ZIP, PARTITION = "img_align_celeba.zip", "list_eval_partition.txt"
# Size of an image (width, height): left, top and side of the square that is kept.
CROPS = {(178, 218): (15, 35, 148), (89, 109): (7, 17, 74)}
# The subset's val and test, from its end; the rest is train.
HELD_OUT = 0.1


def celeba64(
    data_dir: str | None = None, rows: int | None = None, subset: bool | None = None
) -> Images:
    """CelebA (Liu et al., 2015), the centre 148x148 of each image at 64x64.

    The resizing filter is Pillow's `BILINEAR`, a triangle as wide as the reduction
    asks for, hence antialiased. The paper's released code crops 160x160 instead, with
    the same filter, and so shows more around the face; the smaller square is the usual
    one and the one published Glow and VAE figures are for.

    The whole set is looked for among prepared TFDS sets (`celeb_a`), then as the two
    files of its home page, which asks for a login, so that they are never downloaded.
    It is split by its official partition. The subset is split in file order; one
    person may be in two of its splits.

    Args:
        data_dir: Where `celeba10k_jpeg.npz`, or the two files, are looked for.
        rows: Training images to keep; all by default.
        subset: True for that npz file (10,000 images at half size), False for the
            whole set, None for the file if it is there and the whole set otherwise.

    Returns:
        The data set, 162,770 / 19,867 / 19,962 images if whole, 8,000 / 1,000 / 1,000
        of the subset; without labels.

    Raises:
        DataError: If no copy is at hand, or the first is damaged.
    """
    file = paths.subset_file(data_dir, FILE, subset)
    data = _from_jpeg(file) if file else _whole(data_dir)
    return images.limit(images.validate(data), rows)


def face(image: "Image.Image") -> "Image.Image":
    """Cuts out the centre square and resizes it to 64x64.

    Args:
        image: An aligned image, whole (178 wide, 218 high) or half size (89, 109).

    Returns:
        64x64.

    Raises:
        ValueError: If it has another size.
    """
    from PIL import Image

    if image.size not in CROPS:
        raise ValueError(f"it is {image.size} (width, height); expected {list(CROPS)}")
    left, top, side = CROPS[image.size]
    square = image.crop((left, top, left + side, top + side))
    return square.resize((EVENT[1], EVENT[0]), Image.Resampling.BILINEAR)


def _from_jpeg(file: pathlib.Path) -> Images:
    def make():
        streams = decoding.packed(file)
        pixels = decoding.decode(streams, len(streams), EVENT, str(file), face, CROPS)
        count = int(HELD_OUT * len(pixels))
        if count == 0:
            raise DataError(f"{file}: {len(pixels)} images are too few to split.")
        rest = len(pixels) - 2 * count
        return (pixels[:rest], pixels[rest:-count], pixels[-count:]), None

    key = f"celeba64-jpeg-{cache.sha256(file)[:16]}"
    pixels, _ = images.kept(key, make, labelled=False)
    source = (
        f"CelebA 64x64, subset and lossy: {sum(map(len, pixels)):,} of {sum(COUNTS):,}"
        " images, from half-size JPEG copies, split here; not comparable with published"
        " figures"
    )
    return Images("celeba64", *pixels, source=source)


def _whole(data_dir: str | None) -> Images:
    if copy := prepared.find("celeb_a", data_dir):
        key = f"celeba64-tfds-{prepared.fingerprint(copy)}"

        def make():
            first, second, third = (
                prepared.read(
                    copy, split, EVENT, labelled=False, convert=face, sizes=CROPS
                )[0]
                for split in ("train", "validation", "test")
            )
            return (first, second, third), None

    else:
        archive, partition = _files(data_dir)
        # Hashing 1.4 GB would take longer than reading what was made of it.
        facts = archive.stat()
        key = (
            f"celeba64-zip-{facts.st_size}-{facts.st_mtime_ns}"
            f"-{cache.sha256(partition)[:8]}"
        )

        def make():
            return read_archive(archive, partition), None

    pixels, _ = images.kept(key, make, labelled=False)
    source = (
        "CelebA 64x64 (centre 148x148), full, official partition; compares with"
        " published figures of the same crop"
    )
    if tuple(map(len, pixels)) != COUNTS:
        counts = "/".join(f"{len(split):,}" for split in pixels)
        source = (
            f"CelebA 64x64, subset: {counts}; not comparable with published figures"
        )
    return Images("celeba64", *pixels, source=source)


def _files(data_dir: str | None) -> tuple[pathlib.Path, pathlib.Path]:
    given = paths.data_dir(data_dir)
    manual = paths.manual_dir(data_dir, (ZIP,))
    for place in (given, given / "celeba", manual):
        if (place / ZIP).is_file() and (place / PARTITION).is_file():
            return place / ZIP, place / PARTITION
    raise DataError(
        f"CelebA is not at hand: no {FILE} in {given}, and no set 'celeb_a' that TFDS"
        f" prepared. Its files cannot be downloaded without a login: put {ZIP} (1.4 GB,"
        f" 'Align&Cropped Images') and {PARTITION} ('Train/Val/Test Partitions') from"
        " https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html, both as they are, into"
        f" {given / 'celeba'} or {manual}. --config=configs/glow_digits.py trains on"
        " images that installed packages carry."
    )


def read_archive(archive: pathlib.Path, partition: pathlib.Path) -> cache.Splits:
    """Reads the official archive by the official partition.

    Args:
        archive: The zip file; it is read by the partition's names and never unpacked.
        partition: Lines `000001.jpg 0`: 0 is train, 1 validation, 2 test.

    Returns:
        Train, val and test, uint8 `[images, 64, 64, 3]`, in the partition's order.

    Raises:
        DataError: If a file is damaged, or the archive lacks an image.
    """
    names: tuple[list[str], list[str], list[str]] = ([], [], [])
    lines = partition.read_text(encoding="utf-8", errors="replace").splitlines()
    for number, line in enumerate(lines, start=1):
        match line.split():
            case [name, "0" | "1" | "2" as split]:
                names[int(split)].append(f"img_align_celeba/{name}")
            case []:
                pass
            case _:
                raise DataError(
                    f"{partition}, line {number}: expected a file name and 0, 1 or 2,"
                    f" got {line[:80]!r}."
                )
    try:
        with zipfile.ZipFile(archive) as contents:
            train, val, test = (_faces(contents, group) for group in names)
    except archives.DAMAGE as error:
        raise DataError(
            f"{archive} is damaged: {told(error)}. Copy it again."
        ) from None
    return train, val, test


def _faces(contents: zipfile.ZipFile, names: list[str]) -> np.ndarray:
    where = str(contents.filename)

    def streams() -> Iterator[bytes]:
        for name in names:
            try:
                info = contents.getinfo(name)
                archives.packed(
                    info.file_size, info.compress_size, f"'{name}' in {where}"
                )
                yield contents.read(info)
            except KeyError:
                raise DataError(f"{where} has no member '{name}'.") from None

    return decoding.decode(streams(), len(names), EVENT, where, face, CROPS)
