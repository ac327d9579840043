"""What the builders share: how they are run, blocks of rows, and the archives."""

import abc
import contextlib
import pathlib
import tempfile
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from absl import logging

from fdnf.data import archives, download, npz, paths, published
from fdnf.data.tabular import DataError, told

Splits = tuple[np.ndarray, np.ndarray, np.ndarray]
# TFDS reads some thousand examples a second, whatever their size.
BLOCK = 4096

ARCHIVE = "data.tar.gz"
ARCHIVE_MD5 = "9b9c9b0375315ad270eba4ce80c093ab"
ARCHIVE_URLS = (
    "https://zenodo.org/record/1161203/files/data.tar.gz",
    "https://zenodo.org/api/records/1161203/files/data.tar.gz/content",
)
UCI_BASES = (
    "https://archive.ics.uci.edu/ml/machine-learning-databases",
    "https://archive.ics.uci.edu/machine-learning-databases",
)


class Builder(tfds.core.GeneratorBasedBuilder):
    """A builder of a set whose source files `fdnf.data.download` brings."""

    @classmethod
    @abc.abstractmethod
    def title(cls) -> str:
        """The set's name in the literature."""

    @classmethod
    @abc.abstractmethod
    def files(cls) -> tuple[str, ...]:
        """Paths in a manual directory any of which shows that it is the one meant."""

    @classmethod
    @abc.abstractmethod
    def obtain(cls, manual: pathlib.Path) -> None:
        """Verifies the source files in a directory, downloading those not there.

        Args:
            manual: The directory.

        Raises:
            DataError: If a file cannot be had or is not the expected one.
        """


def prepare(kind: type[Builder], data_dir: str | None, without: str = "") -> Any:
    """Runs a builder once: source files to ArrayRecord files.

    Source files are not brought by TFDS's downloader, which takes minutes to find that
    there is no network.

    Args:
        kind: The builder.
        data_dir: Its `manual/` is where source files are looked for.
        without: How to run without the set, for the error.

    Returns:
        The builder, with its set prepared.

    Raises:
        DataError: If a source file cannot be had or read.
    """
    manual = paths.manual_dir(data_dir, kind.files())
    manual.mkdir(parents=True, exist_ok=True)
    builder = kind(data_dir=paths.cache_dir() / "tfds", file_format="array_record")
    try:
        kind.obtain(manual)
    except DataError as error:
        raise DataError(
            f"{kind.title()} has to be prepared first. {error}{without}"
        ) from None
    logging.info("Preparing %s once from files in %s", kind.title(), manual)
    # Several bars for what is one step here; the line above has said enough.
    tfds.disable_progress_bar()
    config = tfds.download.DownloadConfig(manual_dir=manual)
    builder.download_and_prepare(download_config=config)
    return builder


class Rows(Builder):
    """A builder of a published set; a subclass says how to make its three splits.

    Attributes:
        UCI_NUMBER: UCI's number of the set, or None if it is not from there.
        UCI_FILES: The files of it that are needed.
        ARCHIVED: Whether the archive of all five sets can stand in for them.
    """

    UCI_NUMBER: str | None = None
    UCI_FILES: tuple[str, ...] = ()
    ARCHIVED = True
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Put the files into manual_dir under the names they are published under."
    )

    @classmethod
    def title(cls) -> str:
        """As published."""
        return published.PUBLISHED[cls.name].title

    @classmethod
    def files(cls) -> tuple[str, ...]:
        """Names of files that it is made from."""
        return (*cls.UCI_FILES, *([ARCHIVE] if cls.ARCHIVED else []))

    @classmethod
    def obtain(cls, manual: pathlib.Path) -> None:
        """Takes the archive of all five sets if it is there, else UCI's files.

        Its rows are the published ones to the last bit.
        """
        if cls.ARCHIVED and (has_archive(manual) or not cls.UCI_FILES):
            download.fetch(ARCHIVE_URLS, manual / ARCHIVE, md5=ARCHIVE_MD5)
            return
        for name in cls.UCI_FILES:
            # UCI publishes no checksums.
            urls = [f"{base}/{cls.UCI_NUMBER}/{name}" for base in UCI_BASES]
            download.fetch(urls, manual / name)

    @abc.abstractmethod
    def splits(self, manual: pathlib.Path) -> Splits:
        """Makes train, val and test, float32 `[rows, dim]`.

        Args:
            manual: The directory with the source files.
        """

    def _info(self) -> tfds.core.DatasetInfo:
        facts = published.PUBLISHED[self.name]
        return tfds.core.DatasetInfo(
            builder=self,
            description=f"{facts.title}, preprocessed as for MAF.",
            features=tfds.features.FeaturesDict(
                {
                    "start": tfds.features.Scalar(np.int64),
                    "rows": tfds.features.Tensor(
                        shape=(None, facts.dim), dtype=np.float32
                    ),
                }
            ),
            disable_shuffling=True,
            citation="Papamakarios, Pavlakou and Murray (2017), arXiv:1705.07057.",
        )

    def _split_generators(self, dl_manager, *args) -> dict:
        del args
        splits = self.splits(pathlib.Path(dl_manager.manual_dir))
        dim = published.PUBLISHED[self.name].dim
        for split in splits:
            if split.ndim != 2 or split.shape[1] != dim:
                raise DataError(
                    f"{self.name}: preprocessing left shape {split.shape}, published"
                    f" are {dim} columns. The source is not the published one."
                )
        return {
            name: self._generate_examples(rows)
            for name, rows in zip(("train", "val", "test"), splits, strict=True)
        }

    def _generate_examples(self, rows: np.ndarray) -> Iterator[tuple[int, dict]]:
        for start in range(0, len(rows), BLOCK):
            yield start, {"start": start, "rows": rows[start : start + BLOCK]}


@contextlib.contextmanager
def scratch() -> Iterator[pathlib.Path]:
    """A directory for extracted files, which may need gigabytes, then removed."""
    paths.cache_dir().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".scratch-", dir=paths.cache_dir()) as path:
        yield pathlib.Path(path)


def has_archive(manual: pathlib.Path) -> bool:
    """Whether the archive of all five sets is there, so that no other is needed."""
    return (manual / ARCHIVE).is_file()


def from_archive(
    manual: pathlib.Path, member: str, directory: pathlib.Path
) -> pathlib.Path:
    """Extracts a member of the archive of all five sets into a directory."""
    target = directory / pathlib.PurePosixPath(member).name
    return archives.extract_member(manual / ARCHIVE, member, target)


def read_table(path: pathlib.Path, what: str, skip: int = 0, **options) -> np.ndarray:
    """Reads a table of numbers.

    Args:
        path: A text file, compressed if its name ends in .gz.
        what: What it should be, for errors.
        skip: Lines before the first row.
        **options: As of `np.loadtxt`.

    Returns:
        The rows, float64 `[rows, columns]`.

    Raises:
        DataError: If it does not read.
    """
    try:
        return np.loadtxt(path, skiprows=skip, ndmin=2, **options)
    except (ValueError, *archives.DAMAGE) as error:
        raise DataError(f"{path} is not {what}: {told(error)}.") from None


def read_array(path: pathlib.Path, columns: int) -> np.ndarray:
    """Reads an array `[rows, columns]` from an .npy file, never a pickle.

    Raises:
        DataError: If it does not read or has another form.
    """
    try:
        rows = npz.read_npy(path)
    except (ValueError, OSError, EOFError) as error:
        raise DataError(f"{path} is no plain array: {told(error)}.") from None
    if rows.ndim != 2 or rows.shape[1] != columns or rows.dtype.kind != "f":
        raise DataError(
            f"{path}: expected real numbers [rows, {columns}], got {rows.dtype}"
            f" {rows.shape}."
        )
    return rows


def repeats_smallest(rows: np.ndarray, limit: int = 5) -> np.ndarray:
    """Columns whose smallest value occurs more than `limit` times, bool `[dim]`.

    The published recipe means to count any value, but looks only at the first after
    sorting, which is the smallest. The columns it drops follow from what it does.
    """
    return (rows == rows.min(axis=0)).sum(axis=0) > limit


def to_float32(splits: Iterable[np.ndarray]) -> Splits:
    """Three splits as contiguous float32."""
    train, val, test = (np.ascontiguousarray(rows, np.float32) for rows in splits)
    return train, val, test
