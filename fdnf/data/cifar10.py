"""CIFAR-10: 32x32 photographs in ten classes."""

import pathlib

import numpy as np

from fdnf.data import (
    archives,
    cache,
    decoding,
    download,
    images,
    npz,
    paths,
    prepared,
)
from fdnf.data.images import Images
from fdnf.data.tabular import DataError

EVENT = (32, 32, 3)
COUNTS = (50_000, 10_000)
FILE = "cifar10_jpeg.npz"
# The binary version: the other two are pickles and MATLAB files.
ARCHIVE = "cifar-10-binary.tar.gz"
URLS = (f"https://www.cs.toronto.edu/~kriz/{ARCHIVE}",)
SHA256 = "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
BATCHES = tuple(f"cifar-10-batches-bin/data_batch_{i}.bin" for i in range(1, 6))
TEST_BATCH = "cifar-10-batches-bin/test_batch.bin"
_RECORD = 1 + 32 * 32 * 3
_CLASSES = 10


def cifar10(
    data_dir: str | None = None, rows: int | None = None, subset: bool | None = None
) -> Images:
    """CIFAR-10 (Krizhevsky, 2009).

    The whole set is looked for among prepared TFDS sets, then as the binary archive,
    which is downloaded if it is not there. Validation is a tenth of the training
    images, chosen by their content (`images.hold_out`), whichever copy they are from.

    Args:
        data_dir: Where `cifar10_jpeg.npz` and the archive are looked for.
        rows: Training images to keep; all by default.
        subset: True for that npz file (30,000 training images, as JPEG), False for the
            whole set, None for the file if it is there and the whole set otherwise.

    Returns:
        The data set, 45,000 / 5,000 / 10,000 images if whole.

    Raises:
        DataError: If no copy is at hand or can be downloaded, or the first is damaged.
    """
    file = paths.subset_file(data_dir, FILE, subset)
    data = _from_jpeg(file) if file else _whole(data_dir)
    return images.limit(images.validate(data), rows)


def _from_jpeg(file: pathlib.Path) -> Images:
    def make():
        return images.with_held_out(_jpegs(file, "train"), _jpegs(file, "test"))

    key = f"cifar10-jpeg-{cache.sha256(file)[:16]}"
    pixels, labels = images.kept(key, make, labelled=True)
    count = len(pixels[0]) + len(pixels[1])
    source = (
        f"CIFAR-10, subset and lossy: JPEG copies of {count:,} of {COUNTS[0]:,}"
        f" training and {len(pixels[2]):,} of {COUNTS[1]:,} test images; not comparable"
        " with published figures"
    )
    return Images("cifar10", *pixels, source=source, labels=labels)


def _jpegs(file: pathlib.Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    streams = decoding.packed(file, f"{split}_")
    (labels,) = npz.read_arrays(file, f"{split}_labels")
    if labels.shape != (len(streams),) or labels.dtype.kind not in "iu":
        raise DataError(
            f"{file}, {split}: {len(streams)} images, but labels {labels.dtype}"
            f" {labels.shape}. Copy the file again."
        )
    where = f"{file}, {split}"
    return decoding.decode(streams, len(streams), EVENT, where), labels


def _whole(data_dir: str | None) -> Images:
    if copy := prepared.find("cifar10", data_dir):
        key = f"cifar10-tfds-{prepared.fingerprint(copy)}"

        def make():
            return images.with_held_out(*prepared.read_both(copy, EVENT))

    else:
        key = f"cifar10-binary-{SHA256[:16]}"

        def make():
            return read_archive(_obtain(data_dir))

    pixels, labels = images.kept(key, make, labelled=True)
    source = images.source_line("CIFAR-10", pixels, COUNTS)
    return Images("cifar10", *pixels, source=source, labels=labels)


def _obtain(data_dir: str | None) -> pathlib.Path:
    path = paths.data_dir(data_dir) / ARCHIVE
    if not path.is_file():
        path = paths.manual_dir(data_dir, (ARCHIVE,)) / ARCHIVE
    try:
        return download.fetch(URLS, path, sha256=SHA256)
    except DataError as error:
        raise DataError(
            f"CIFAR-10 is not at hand: no {FILE} or {ARCHIVE} in"
            f" {paths.data_dir(data_dir)}, and none that TFDS prepared. {error}\n"
            "--config=configs/glow_digits.py trains on images that installed packages"
            " carry."
        ) from None


def read_archive(archive: pathlib.Path) -> tuple[cache.Splits, images.Labels]:
    """Reads the binary version's six batches and holds out val.

    Args:
        archive: The tar file. Nothing in it but the six members is looked at.

    Returns:
        Images of train, val and test, and their labels.

    Raises:
        DataError: If the archive is damaged or a batch is.
    """
    wanted = (*BATCHES, TEST_BATCH)
    found = dict(archives.members(archive, wanted.__contains__))
    if missing := sorted(set(wanted) - set(found)):
        raise DataError(f"{archive} has no member '{missing[0]}'.")
    batches = [parse(found[name], f"{name} in {archive}") for name in wanted]
    pixels, labels = zip(*batches[:-1], strict=True)
    return images.with_held_out(
        (np.concatenate(pixels), np.concatenate(labels)), batches[-1]
    )


def parse(batch: bytes, where: str) -> tuple[np.ndarray, np.ndarray]:
    """Reads a batch: a byte of label, then 1,024 bytes each of red, green and blue.

    Args:
        batch: The file.
        where: Its name, for errors.

    Returns:
        Images, uint8 `[images, 32, 32, 3]`, and labels, uint8 `[images]`.

    Raises:
        DataError: If it holds no whole number of records, or a label above 9.
    """
    if not batch or len(batch) % _RECORD:
        raise DataError(
            f"{where} has {len(batch):,} bytes, no multiple of {_RECORD:,} (a label and"
            " 32 x 32 x 3 values). Download it again."
        )
    records = np.frombuffer(batch, np.uint8).reshape(-1, _RECORD)
    labels = records[:, 0].copy()
    if labels.max() >= _CLASSES:
        index = int(labels.argmax())
        raise DataError(
            f"{where}: image {index} has the label {labels[index]}; expected 0 to"
            f" {_CLASSES - 1}. Is it CIFAR-100?"
        )
    planes = records[:, 1:].reshape(-1, 3, 32, 32)
    return np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), labels
