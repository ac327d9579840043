"""What builders of pictures and recordings share: files as they are, in ArrayRecord."""

import abc
import pathlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import tensorflow_datasets as tfds

from fdnf.data import archives, download, prepared
from fdnf.data.builders import common
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


class Encoded(common.Builder):
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
    def title(cls) -> str:
        """As published."""
        return cls.TITLE

    @classmethod
    def files(cls) -> tuple[str, ...]:
        """The archives, and the first file of each unpacked."""
        wanted = cls.ARCHIVES.values()
        unpacked = (
            f"{folder}/{archive.first}"
            for archive in wanted
            for folder in _folders(archive)
        )
        return (*(archive.file for archive in wanted), *unpacked)

    @classmethod
    def obtain(cls, manual: pathlib.Path) -> None:
        """Verifies the archives, downloading those not there.

        An unpacked folder is taken as it is; its files are only counted.
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

    Nothing is unpacked to disk.

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
    for name, content in archives.members(path, lambda name: _wanted(name, archive)):
        yield pathlib.PurePosixPath(name).name, content


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
    return pathlib.Path(common.prepare(kind, data_dir, f"\n{kind.WITHOUT}").data_dir)


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
