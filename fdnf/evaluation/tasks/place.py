"""A place of its own for what is made of a user's rows.

A JSON file beside it says what it is made of. It is written again for the same rows,
and takes the place of nothing else.
"""

import csv
import hashlib
import io
import os
import pathlib
import tempfile
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from fdnf import files
from fdnf.train.settings import ConfigError

# Beyond it a float has digits that nobody gave.
_WHOLE = 2**53


class Place(NamedTuple):
    """Where something made of a file of rows is written.

    Attributes:
        path: the CSV file; what else there is has its name and other endings.
        of: what it is made of, and what it is: by this a place is known again.
    """

    path: pathlib.Path
    made: dict[str, Any]

    @classmethod
    def of(
        cls, out: str | None, folder: pathlib.Path, rows: pathlib.Path, prefix: str = ""
    ) -> "Place":
        """The place, once it is known that it can be written.

        Args:
            out: what the user asked for, a file or directory; None for none.
            folder: where it is otherwise.
            rows: the file of rows.
            prefix: of the file's name, if it is not asked for.

        Raises:
            ConfigError: it cannot be written, or holds something else.
        """
        path = folder / f"{prefix}{rows.stem}.csv"
        if out is not None:
            given = pathlib.Path(os.path.expanduser(out))
            directory = given.is_dir() or out.endswith(os.sep) or not given.suffix
            path = given / path.name if directory else given
        if path.suffix != ".csv":
            raise ConfigError(f"--out={out}: expected a .csv file, or a directory")
        with open(rows, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        made = {"what": prefix or "density", "rows": str(rows.absolute())}
        place = cls(path, made | {"sha256": digest})
        place.check()
        return place

    def check(self) -> None:
        """See `of`."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.path.parent):
                pass
        except OSError as error:
            raise ConfigError(
                f"{self.path.parent} cannot be written ({error}): give another place, "
                "--out=FILE.csv"
            ) from error
        there = [p for p in map(self.path.with_suffix, (".csv", ".npz")) if p.exists()]
        beside = self.path.with_suffix(".json")
        if not there and not beside.exists():
            return
        try:
            found = files.read_json(beside, "it is not needed")
        except (OSError, ValueError):
            found = {}
        if any(found.get(key) != self.made[key] for key in ("what", "sha256")):
            of = f" (of {found['rows']})" if "rows" in found else ""
            raise ConfigError(
                f"{(there or [beside])[0]} is there already and is of something else"
                f"{of}: give another place, --out=FILE.csv, or move it away"
            )

    def write(
        self, contents: dict[str, bytes], about: dict[str, Any]
    ) -> list[pathlib.Path]:
        """Writes all, and beside it what it is.

        Args:
            contents: by what follows the name, "_run_1", or an ending of its own.
            about: more of what it is.

        Returns:
            The files of `contents`.
        """
        # First, since by this the others are known.
        files.write_json(self.path.with_suffix(".json"), {**self.made, **about})
        written = []
        for name, content in contents.items():
            path = self.path.with_name(f"{self.path.stem}{name}{self.path.suffix}")
            if name.startswith("."):
                path = self.path.with_suffix(name)
            with files.replacing(path) as file:
                file.write(content)
            written.append(path)
        return written


def table(heads: Sequence[str], lines: Iterable[Any]) -> bytes:
    """A table; numbers with as many digits as it takes to read them back."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(heads)
    writer.writerows([_plain(value) for value in line] for line in lines)
    return text.getvalue().encode()


def _plain(value: Any) -> Any:
    """Whole numbers without a point."""
    value = value.item() if isinstance(value, np.generic) else value
    whole = isinstance(value, float) and value.is_integer() and abs(value) < _WHOLE
    return int(value) if whole else value


def archive(arrays: dict[str, Any]) -> bytes:
    """Arrays as an .npz file has them."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # pyright: ignore[reportArgumentType]
    return buffer.getvalue()
