"""Members of archives, and what a file announces before room is made for it.

An archive decides nothing about where bytes are written, so paths, links and modes in
it have no effect: its members are found by name, and read or copied to one file. And a
few bytes of a header can ask for any number of terabytes, a few kilobytes that are
packed can hold gigabytes: what is announced is held against what there is.
"""

import io
import lzma
import math
import os
import pathlib
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO

import numpy as np

from fdnf.data.tabular import DataError, told

# What reading a damaged archive raises; of one with a password RuntimeError.
DAMAGE = (
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError),
    *(EOFError, OSError, NotImplementedError, RuntimeError),
)
# Deflate, of gzip and zip files, packs no more than so many bytes into one.
DEFLATE = 1032
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def extract_member(
    archive: str | os.PathLike[str], member: str, target: str | os.PathLike[str]
) -> pathlib.Path:
    """Copies one regular file out of a tar or zip archive.

    Args:
        archive: A .zip, .tar or compressed tar file.
        member: The member's name in the archive.
        target: The file to write. It appears only when complete.

    Returns:
        The target's path.

    Raises:
        DataError: If the archive is damaged, or has no such member, or the member is
            a link or anything but a regular file, or larger than the disk has room.
    """
    archive, target = pathlib.Path(archive), pathlib.Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=".part-", dir=target.parent)
    try:
        with (
            os.fdopen(handle, "wb") as out,
            _open_member(
                archive, member, shutil.disk_usage(target.parent).free
            ) as source,
        ):
            shutil.copyfileobj(source, out, 1 << 20)
        os.replace(temporary, target)
    except DAMAGE as error:
        raise DataError(
            f"Cannot read '{member}' from {archive}: {told(error)}."
            " If the archive is damaged, delete it and its .sha256 file to download it"
            " again."
        ) from None
    finally:
        pathlib.Path(temporary).unlink(missing_ok=True)
    return target


def members(
    archive: pathlib.Path, wanted: Callable[[str], bool]
) -> Iterator[tuple[str, bytes]]:
    """Reads files of a tar or zip archive one after the other.

    Args:
        archive: A .zip, .tar or compressed tar file.
        wanted: Whether a member of that name is read.

    Yields:
        The members' names and contents, by name from a zip file, as they come from a
        tar file.

    Raises:
        DataError: If the archive is damaged, or a member does not fit into memory.
    """
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as file:
                for name in sorted(filter(wanted, file.namelist())):
                    fits(file.getinfo(name).file_size, f"'{name}' in {archive}")
                    yield name, file.read(name)
            return
        # A stream: seeking in a compressed file starts again from its beginning.
        with tarfile.open(archive, "r|*") as file:
            for info in file:
                name = info.name.removeprefix("./")
                if info.isreg() and wanted(name):
                    fits(info.size, f"'{name}' in {archive}")
                    source = file.extractfile(info)
                    assert source is not None  # isreg() said so
                    yield name, source.read()
    except DAMAGE as error:
        raise DataError(
            f"{archive} is damaged: {told(error)}. Delete it and get it again."
        ) from None


def memory() -> int:
    """Bytes of memory that the machine has."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def fits(announced: int, where: str) -> None:
    """Checks a number of bytes that is to be held in memory.

    Args:
        announced: The number.
        where: What announces it, for errors.

    Raises:
        DataError: If the machine does not have as much.
    """
    if announced > memory():
        raise DataError(
            f"{where} announces {announced:,} bytes; this machine has"
            f" {memory():,} of memory. If it is right, keep a part of it; if not, it"
            " is damaged: copy or make it again."
        )


def packed(announced: int, held: int, where: str) -> None:
    """Checks the size that a deflated stream is said to have, and that it `fits`.

    Args:
        announced: Bytes after unpacking.
        held: Bytes before.
        where: What it is, for errors.

    Raises:
        DataError: If it cannot be, or is more than the machine has.
    """
    if announced > DEFLATE * held + 64:
        raise DataError(
            f"{where} announces {announced:,} bytes in {held:,}, which"
            " cannot hold them: it is damaged. Copy or make it again."
        )
    fits(announced, where)


def array(file: io.BufferedIOBase | IO[bytes], size: int) -> None:
    """Reads the header of an .npy stream and checks the bytes that it announces.

    Args:
        file: The stream, at its start.
        size: Bytes of the stream.

    Raises:
        ValueError: If they are not those that follow; of arrays of Python objects
            nothing is said, which numpy refuses.
    """
    version = np.lib.format.read_magic(file)
    if version not in _HEADERS:
        raise ValueError(f"its .npy version is {version}, expected {list(_HEADERS)}")
    shape, _, dtype = _HEADERS[version](file)
    if dtype.hasobject:
        return
    announced, follow = math.prod(shape) * dtype.itemsize, size - file.tell()
    if announced != follow:
        raise ValueError(
            f"it announces {' x '.join(map(str, shape))} {dtype}, {announced:,} bytes,"
            f" and {follow:,} follow"
        )


@contextmanager
def _open_member(archive: pathlib.Path, member: str, room: int) -> Iterator[IO[bytes]]:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as contents:
            if member not in (names := contents.namelist()):
                raise DataError(_absent(archive, member, names))
            info = contents.getinfo(member)
            _check_room(archive, member, info.file_size, room)
            if info.is_dir() or stat.S_ISLNK(info.external_attr >> 16):
                raise DataError(_irregular(archive, member))
            with contents.open(info) as source:
                yield source
        return
    with tarfile.open(archive) as contents:
        names = []
        for info in contents:
            names.append(info.name)
            if info.name.removeprefix("./") != member:
                continue
            if not info.isreg():
                raise DataError(_irregular(archive, member))
            _check_room(archive, member, info.size, room)
            source = contents.extractfile(info)
            assert source is not None  # isreg() said so
            with source:
                yield source
            return
        raise DataError(_absent(archive, member, names))


def _check_room(archive: pathlib.Path, member: str, size: int, room: int) -> None:
    if size > room:
        raise DataError(
            f"'{member}' in {archive} announces {size:,} bytes; on the disk are"
            f" {room:,} free. Make room, or if it is not so large, get it again."
        )


def _absent(archive: pathlib.Path, member: str, names: list[str]) -> str:
    shown = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
    return f"{archive} has no member '{member}'; it has: {shown or 'none'}."


def _irregular(archive: pathlib.Path, member: str) -> str:
    return f"'{member}' in {archive} is a link or no regular file; not extracted."
