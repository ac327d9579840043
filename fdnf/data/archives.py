"""One named member out of an archive, and nothing else of it."""

import lzma
import os
import pathlib
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from fdnf.data.tabular import DataError, told

# What reading a damaged archive raises; of one with a password RuntimeError.
DAMAGE = (
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError),
    *(EOFError, OSError, NotImplementedError, RuntimeError),
)


def extract_member(
    archive: str | os.PathLike[str], member: str, target: str | os.PathLike[str]
) -> pathlib.Path:
    """Extracts one regular file from a tar or zip archive.

    The archive decides nothing about where bytes are written: the member is found by
    its exact name and copied to `target`, so paths, links and modes in the archive
    have no effect.

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
