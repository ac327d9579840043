"""Arrays and data sets in .npz files, read without pickle."""

import os
import pathlib
import zipfile
import zlib

import numpy as np

from fdnf.data import tabular
from fdnf.data.tabular import SPLITS, DataError, Tabular

_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError)


def read_npz(
    path: str | os.PathLike[str], *, name: str | None = None, source: str | None = None
) -> Tabular:
    """Reads a data set: numeric arrays `train`, `val` and `test`, each `[rows, dim]`.

    Args:
        path: The file. Further arrays in it are left alone.
        name: The data set's name; the file's by default.
        source: The line that says what the rows are; the path by default.

    Returns:
        The data set, cast to float32 and validated.

    Raises:
        DataError: If the file is missing, damaged, holds pickled objects, lacks a
            split, or its rows do not pass `tabular.validate`.
    """
    path = pathlib.Path(path)
    splits = []
    for split, rows in zip(SPLITS, read_arrays(path, *SPLITS), strict=True):
        if rows.dtype.kind not in "fiu":
            raise DataError(
                f"'{split}' in {path} has type {rows.dtype}; expected real numbers."
            )
        with np.errstate(over="ignore"):
            splits.append(np.ascontiguousarray(rows, np.float32))
    return tabular.validate(
        Tabular(name or path.stem, *splits, source=source or f"from {path}")
    )


def npz(path: str, data_dir: str | None = None, rows: int | None = None) -> Tabular:
    """The user's own data, as `read_npz` reads them.

    Args:
        path: The file.
        data_dir: What a relative `path` that does not exist here is relative to.
        rows: Training rows to keep; all by default.

    Returns:
        The data set.
    """
    found = pathlib.Path(path).expanduser()
    if data_dir is not None and not found.exists():
        found = pathlib.Path(data_dir) / found
    return tabular.limit(read_npz(found), rows)


def read_arrays(path: str | os.PathLike[str], *names: str) -> list[np.ndarray]:
    """Reads named arrays from an .npz file.

    Args:
        path: The file.
        *names: The arrays, in the order they are wanted in.

    Returns:
        The arrays.

    Raises:
        DataError: If the file is missing or damaged, holds pickled objects, or lacks
            one of the arrays; each case in its own words.
    """
    path = pathlib.Path(path)
    wanted = "Expected an .npz file with the arrays " + ", ".join(map(repr, names))
    if not path.is_file():
        raise DataError(f"No such data file: {path}. {wanted}.")
    part = "the file"
    try:
        archive = np.load(path, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise DataError(f"{path} holds a single array. {wanted}.")
        arrays = []
        with archive:
            for part in names:
                if part not in archive.files:
                    raise DataError(
                        f"{path} has no array '{part}'; it has:"
                        f" {', '.join(archive.files) or 'none'}. {wanted}."
                    )
                arrays.append(archive[part])
    except PermissionError:
        raise DataError(f"No permission to read {path}.") from None
    except DataError:
        raise
    except (ValueError, *_DAMAGE) as error:
        # numpy says so for object arrays, and guesses it of any bytes it cannot place;
        # a real pickle starts with its protocol mark.
        if "pickle" in str(error) and (part != "the file" or _is_pickle(path)):
            raise DataError(
                f"{path} holds pickled Python objects ({part}). Reading them can run"
                " any code, so they are not read. Save plain numeric arrays instead:"
                " np.savez(path, train=..., val=..., test=...)."
            ) from None
        raise DataError(
            f"{path} is damaged or cut short ({part}; {path.stat().st_size:,} bytes):"
            f" {error or type(error).__name__}. Copy or make it again."
        ) from None
    return arrays


def _is_pickle(path: pathlib.Path) -> bool:
    with open(path, "rb") as file:
        return file.read(1) == b"\x80"
