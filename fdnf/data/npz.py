"""Arrays and data sets in .npz files, read without pickle."""

import os
import pathlib
import zipfile

import numpy as np

from fdnf.data import archives, tabular
from fdnf.data.tabular import SPLITS, DataError, Tabular, told


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
        where = f"'{split}' in {path}"
        if rows.dtype.kind not in "fiu":
            raise DataError(f"{where} has type {rows.dtype}; expected real numbers.")
        splits.append(tabular.to_float32(rows, where))
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
    found = pathlib.Path(os.path.expanduser(path))
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
        DataError: If the file is missing, of another format or damaged, announces more
            than it has, holds pickled objects, or lacks one of the arrays; each case
            in its own words.
    """
    path = pathlib.Path(path)
    wanted = "Expected an .npz file with the arrays " + ", ".join(map(repr, names))
    if not path.is_file():
        raise DataError(f"No such data file: {path}. {wanted}.")
    part = "the file"
    try:
        if (other := other_format(path)) is not None:
            raise DataError(_not_npz(path, *other, wanted, names))
        if _is_pickle(path):
            raise DataError(_pickled(path, part))
        with open(path, "rb") as file:
            start = file.read(8)
        if not start.startswith(b"PK"):
            raise ValueError(f"it begins with {start!r}, as no .npz file does")
        arrays = []
        with np.load(path, allow_pickle=False) as archive:
            for part in names:
                if part not in archive.files:
                    raise DataError(
                        f"{path} has no array '{part}'; it has:"
                        f" {', '.join(archive.files) or 'none'}. {wanted}."
                    )
                _check_member(archive.zip, part, path)
                arrays.append(archive[part])
    except PermissionError:
        raise DataError(f"No permission to read {path}.") from None
    except DataError:
        raise
    except (ValueError, KeyError, *archives.DAMAGE) as error:
        # numpy says so for arrays of objects.
        if "pickle" in str(error):
            raise DataError(_pickled(path, part)) from None
        raise DataError(
            f"{path} is damaged or cut short ({part}; {path.stat().st_size:,} bytes):"
            f" {told(error)}. Copy or make it again."
        ) from None
    return arrays


def names(path: str | os.PathLike[str]) -> list[str]:
    """The arrays in an .npz file; none where it is not one, or cannot be read.

    `read_arrays` says what is wrong with it.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return [name.removesuffix(".npy") for name in archive.namelist()]
    except archives.DAMAGE:
        return []


def _pickled(path: pathlib.Path, part: str) -> str:
    return (
        f"{path} holds pickled Python objects ({part}). Reading them can run any code,"
        " so they are not read. Save plain numeric arrays instead: np.savez(path,"
        " train=..., val=..., test=...)."
    )


def read_npy(path: str | os.PathLike[str]) -> np.ndarray:
    """Reads the array of an .npy file, once it is known to have what it announces.

    Raises:
        ValueError: If it is damaged or holds Python objects.
        OSError: If it does not read.
    """
    with open(path, "rb") as file:
        archives.array(file, os.fstat(file.fileno()).st_size)
        file.seek(0)
        return np.load(file, allow_pickle=False)


def _check_member(archive: zipfile.ZipFile, name: str, path: pathlib.Path) -> None:
    info = archive.getinfo(f"{name}.npy")
    archives.packed(info.file_size, info.compress_size, f"'{name}' in {path}")
    with archive.open(info) as stream:
        archives.array(stream, info.file_size)


TEXT = "is text, perhaps comma-separated"
# What a file is that is no .npz, by its first bytes, and what reads its rows.
_FORMATS = (
    (b"\x93NUMPY", "holds a single array, as .npy files do", "np.load({!r})"),
    (b"PAR1", "is a Parquet table", "pandas.read_parquet({!r}).to_numpy()"),
    (b"ARROW1", "is an Arrow table", "pandas.read_feather({!r}).to_numpy()"),
    (b"\x89HDF", "is an HDF5 file", "h5py.File({!r})['rows'][:]"),
    (b"MATLAB", "is a MATLAB file", "scipy.io.loadmat({!r})['rows']"),
    (b"\x1f\x8b", "is a gzip file", "np.loadtxt({!r}, delimiter=',')"),
    (b"SQLite", "is an SQLite data base", None),
)
# Of these, those that data.name=table reads.
_AS_TABLES = (TEXT, *(what for _, what, _ in (*_FORMATS[:3], _FORMATS[5])))
# Members by which zip files of other programs are known.
_MEMBERS = (
    ("[Content_Types].xml", "is a spreadsheet", "pandas.read_excel({!r}).to_numpy()"),
    ("/data.pkl", "is a file of PyTorch", "torch.load({!r}).numpy()"),
)
_READ_TEXT = "np.loadtxt({!r}, delimiter=',', skiprows=1)"


def other_format(path: pathlib.Path) -> tuple[str, str | None] | None:
    """What a file is, and code that reads it; None for zip files and the unknown."""
    with open(path, "rb") as file:
        start = file.read(1 << 12)
    for mark, what, code in _FORMATS:
        if start.startswith(mark):
            return what, code
    if start.startswith(b"PK"):
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
        for end, what, code in _MEMBERS:
            if any(name.endswith(end) for name in names):
                return what, code
        return None
    try:
        # A letter of several bytes may be cut at the end.
        text = start.decode() if len(start) < 1 << 12 else start[:-3].decode("utf-8")
    except UnicodeDecodeError:
        return None
    if not text.strip() or not all(c.isprintable() or c.isspace() for c in text):
        return None
    if text.lstrip("\ufeff \r\n\t").lower().startswith(("<!doctype html", "<html")):
        return "is a web page, as for a login", None
    return TEXT, _READ_TEXT


def _not_npz(
    path: pathlib.Path,
    what: str,
    code: str | None,
    wanted: str,
    names: tuple[str, ...],
) -> str:
    told = f"{path} {what}. {wanted}."
    if code is None or names != SPLITS:
        return f"{told} Copy the right file there."
    made = str(path.with_suffix(".npz"))
    table = (
        " A table of named columns is read as it is, and its columns are scaled, by"
        f" --config=configs/table.py --config.data.path={path}."
    )
    return (
        f"{told}{table if what in _AS_TABLES else ''} Or make one of rows in random"
        " order:\n"
        f"  rows = {code.format(str(path))}\n"
        "  a, b = int(0.8 * len(rows)), int(0.9 * len(rows))\n"
        f"  np.savez({made!r}, train=rows[:a], val=rows[a:b], test=rows[b:])"
    )


def _is_pickle(path: pathlib.Path) -> bool:
    with open(path, "rb") as file:
        return file.read(1) == b"\x80"
