"""Files that are there whole or not at all, and strict JSON.

Everything that this project keeps is written by way of this file: beside its place,
under a name that nobody else has, and then moved there. A process that is killed leaves
the old file, or the new one, and at most a hidden `.*.tmp` that nobody reads.
"""

import codecs
import contextlib
import io
import json
import math
import os
import pathlib
import secrets
import sys
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

import numpy as np

Path = str | os.PathLike[str]


class DamagedError(OSError, ValueError):
    """A file that is not what was written there; the text names the way out."""


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A binary file that becomes `path` when the block ends without an error.

    Args:
        path: of the file; its directory is made if absent.

    Yields:
        A new file, open for writing and reading.
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name[:100]}.{secrets.token_hex(8)}.tmp")
    # O_EXCL opens nothing that is there, a link that somebody has laid included.
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
    handle = os.open(temporary, flags, 0o666)
    try:
        with os.fdopen(handle, "w+b") as file:
            yield file
            file.flush()
            # Otherwise a file may be empty under its final name after a power cut.
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Writes UTF-8, line ends as they are."""
    with replacing(path) as file:
        file.write(text.encode("utf-8"))


def write_json(path: Path, content: Any, indent: int | None = 2) -> None:
    """Writes what `dumps` makes of `content`, and a line end."""
    write_text(path, dumps(content, indent=indent) + "\n")


def dumps(content: Any, **options: Any) -> str:
    """Strict JSON: numbers that are not finite, which it does not know, are null."""
    return json.dumps(plain(content), allow_nan=False, **options)


def plain(value: Any) -> Any:
    """What strict JSON can hold: dicts, lists, strings, finite numbers, None.

    Tuples and arrays become lists, numpy's numbers Python's, NaN and infinities None.
    """
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def loads(text: str | bytes, kind: type = dict) -> Any:
    """The content of JSON text.

    Raises:
        ValueError: it is not JSON, or not of that type; the text says which.
    """
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        told = str(error) if text.strip() else "empty"
        raise ValueError(f"not JSON ({told})") from error
    if not isinstance(found, kind):
        given, wanted = type(found).__name__, kind.__name__
        raise ValueError(f"expected one JSON {wanted}, got {given}")
    return found


def read_json(path: Path, way_out: str, kind: type = dict) -> Any:
    """The content of a JSON file.

    Args:
        path: of the file.
        way_out: what to do if it is damaged, the end of a sentence.
        kind: the type that it must have.

    Raises:
        FileNotFoundError: there is none.
        DamagedError: what is there is not JSON, or of another type.
    """
    raw = pathlib.Path(path).read_bytes()
    try:
        return loads(raw, kind)
    except ValueError as error:
        raise DamagedError(f"{path}: {error}; {way_out}") from error


def print_anything() -> None:
    """Lets stdout and stderr take any character, whatever the locale.

    In an ASCII locale text goes out as UTF-8, which terminals read; in another one, a
    character that it lacks is written as an escape.
    """
    for stream in (sys.stdout, sys.stderr):
        if not isinstance(stream, io.TextIOWrapper):  # Of a notebook, or none at all.
            continue
        encoding = codecs.lookup(stream.encoding).name
        if encoding == "ascii":
            encoding = "utf-8"
        stream.reconfigure(encoding=encoding, errors="backslashreplace")
