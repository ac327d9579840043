"""What builders of pictures and recordings share: files as they are, in ArrayRecord."""

import abc
import pathlib
import tarfile
import zipfile
from collections.abc import Iterator
from typing import Any, NamedTuple

import tensorflow_datasets as tfds
from absl import logging

from fdnf.data import archives, download, limits, paths, prepared
from fdnf.data.tabular import DataError, told

# Of an archive whose size is not known for certain; Flickr2K's has 12 GB.
MOST_BYTES = 32 << 30


class Archive(NamedTuple):
    """A published archive, and what of it is wanted.

    Attributes:
        file: Its name.
        urls: Where it is published.
        folder: The folder in it whose files are wanted, whatever it lies in; unpacked,
            it may stand in for the archive.
        first: Name of the first wanted file.
        suffix: How the wanted files' names end.
        count: How many there are.
        size: Of the archive in bytes, or None if not known for certain.
        sha256: Of the archive, or None if not known for certain.
    """

    file: str
    urls: tuple[str, ...]
    folder: str
    first: str
    suffix: str
    count: int
    size: int | None = None
    sha256: str | None = None


class Encoded(tfds.core.GeneratorBasedBuilder):
    """A builder that keeps the bytes of published files, one file an example.

    Attributes:
        ARCHIVES: The archive of each split.
        TITLE: The set's name in the literature.
        WITHOUT: How to run without the set.
    """

    ARCHIVES: dict[str, Archive]
    TITLE: str
    WITHOUT: str
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Put the archives, or the folders unpacked from them, into manual_dir under"
        " the names they are published under."
    )

    @classmethod
    def files(cls) -> tuple[str, ...]:
        """Paths in a manual directory any of which shows that it is the one meant."""
        wanted = cls.ARCHIVES.values()
        unpacked = (
            f"{folder}/{archive.first}"
            for archive in wanted
            for folder in _folders(archive)
        )
        return (*(archive.file for archive in wanted), *unpacked)

    @classmethod
    def obtain(cls, manual: pathlib.Path) -> None:
        """Verifies the archives in a directory, downloading those not there.

        An unpacked folder is taken as it is; its files are only counted.

        Args:
            manual: The directory.

        Raises:
            DataError: If an archive cannot be had or is not the expected one.
        """
        for archive in cls.ARCHIVES.values():
            path = manual / archive.file
            if not path.is_file() and _unpacked(manual, archive) is not None:
                continue
            if path.is_file() and archive.size not in (None, path.stat().st_size):
                raise DataError(
                    f"{path} has {path.stat().st_size:,} bytes, published are"
                    f" {archive.size:,}. Delete it to download it again from"
                    f" {archive.urls[0]}."
                )
            most = archive.size or MOST_BYTES
            download.fetch(archive.urls, path, sha256=archive.sha256, most=most)

    @classmethod
    @abc.abstractmethod
    def features(cls) -> dict[str, tfds.features.FeatureConnector]:
        """Features of an example, without its name."""

    @abc.abstractmethod
    def example(self, content: bytes) -> dict:
        """One file as an example, without its name.

        Raises:
            ValueError: If it is not of the expected form.
        """

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=f"{self.TITLE}: the published files as they are.",
            features=tfds.features.FeaturesDict(
                {"name": tfds.features.Text(), **self.features()}
            ),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager, *args) -> dict:
        del args
        manual = pathlib.Path(dl_manager.manual_dir)
        return {
            split: self._generate_examples(manual, archive)
            for split, archive in self.ARCHIVES.items()
        }

    def _generate_examples(
        self, manual: pathlib.Path, archive: Archive
    ) -> Iterator[tuple[int, dict]]:
        count = 0
        for name, content in contents(manual, archive):
            try:
                yield count, {"name": name, **self.example(content)}
            except (ValueError, EOFError) as error:
                raise DataError(
                    f"{archive.folder}/{name} of {archive.file} is damaged:"
                    f" {told(error)}."
                ) from None
            count += 1
        if count != archive.count:
            raise DataError(
                f"{manual / archive.file}: {count} files {archive.folder}/*"
                f"{archive.suffix}, published are {archive.count:,}. It is not whole:"
                " delete it, or the unpacked folder, and get it again."
            )


def contents(manual: pathlib.Path, archive: Archive) -> Iterator[tuple[str, bytes]]:
    """Reads the wanted files of an archive, or of the folder unpacked from it.

    Nothing is unpacked to disk, so paths, links and modes in an archive have no effect.

    Args:
        manual: Where the archive or the folder lies.
        archive: Which.

    Yields:
        The files' names, without folders, and their bytes, in the order of names from
        a folder or zip file, as they come from a tar file.

    Raises:
        DataError: If the archive is damaged.
    """
    path = manual / archive.file
    folder = _unpacked(manual, archive)
    if not path.is_file() and folder is not None:
        for file in sorted(folder.glob(f"*{archive.suffix}")):
            yield file.name, file.read_bytes()
        return
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as file:
                for name in sorted(file.namelist()):
                    if _wanted(name, archive):
                        size = file.getinfo(name).file_size
                        limits.fits(size, f"'{name}' in {path}")
                        yield pathlib.PurePosixPath(name).name, file.read(name)
            return
        # A stream: seeking in a compressed file starts again from its beginning.
        with tarfile.open(path, "r|*") as file:
            for info in file:
                if info.isreg() and _wanted(info.name, archive):
                    member = file.extractfile(info)
                    assert member is not None  # isreg() said so
                    limits.fits(info.size, f"'{info.name}' in {path}")
                    yield pathlib.PurePosixPath(info.name).name, member.read()
    except archives.DAMAGE as error:
        raise DataError(
            f"{path} is damaged: {told(error)}. Delete it and get it again."
        ) from None


def prepare(kind: type[Encoded], data_dir: str | None = None) -> pathlib.Path:
    """Finds a prepared set, or prepares it once.

    Args:
        kind: Its builder.
        data_dir: Where prepared sets, and `manual/`, are looked for.

    Returns:
        The prepared set's directory.

    Raises:
        DataError: If an archive cannot be had or read.
    """
    if found := prepared.find(kind.name, data_dir):
        return found
    manual = paths.manual_dir(data_dir, kind.files())
    manual.mkdir(parents=True, exist_ok=True)
    builder = kind(data_dir=paths.cache_dir() / "tfds", file_format="array_record")
    try:
        kind.obtain(manual)
    except DataError as error:
        raise DataError(
            f"{kind.TITLE} has to be prepared first. {error}\n{kind.WITHOUT}"
        ) from None
    logging.info("Preparing %s once from files in %s", kind.TITLE, manual)
    tfds.disable_progress_bar()
    config = tfds.download.DownloadConfig(manual_dir=manual)
    builder.download_and_prepare(download_config=config)
    return pathlib.Path(builder.data_dir)


def source(directory: pathlib.Path, split: str) -> Any:
    """Opens a split of a prepared set: examples by index, images as encoded bytes.

    Raises:
        DataError: If it does not open.
    """
    try:
        # Its decorators hide the method's parameters from the type checker.
        builder: Any = tfds.builder_from_directory(str(directory))
        skip = {"image": tfds.decode.SkipDecoding()}
        decoders = skip if "image" in builder.info.features else None
        return builder.as_data_source(split=split, decoders=decoders)
    # Records, protocol buffers and features each have errors of their own.
    except Exception as error:
        raise DataError(
            f"{directory}, split '{split}', does not read: {type(error).__name__}:"
            f" {error}. Delete the directory and prepare the set again."
        ) from None


def _folders(archive: Archive) -> tuple[str, str]:
    stem = archive.file
    for suffix in (".bz2", ".gz", ".tar", ".zip"):
        stem = stem.removesuffix(suffix)
    return archive.folder, f"{stem}/{archive.folder}"


def _unpacked(manual: pathlib.Path, archive: Archive) -> pathlib.Path | None:
    for folder in _folders(archive):
        if (manual / folder / archive.first).is_file():
            return manual / folder
    return None


def _wanted(name: str, archive: Archive) -> bool:
    path = pathlib.PurePosixPath(name)
    folder = pathlib.PurePosixPath(archive.folder).parts
    inside = path.parent.parts[-len(folder) :] == folder
    return inside and path.suffix == archive.suffix and not path.name.startswith(".")
