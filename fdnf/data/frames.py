"""Tables of named columns from CSV, Parquet, Arrow, .npy and .npz files."""

import csv
import difflib
import os
import pathlib
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from fdnf.data import archives, npz
from fdnf.data.tabular import SPLITS, DataError, is_whole, told

Names = str | int | Sequence[str | int]
_DELIMITERS = ",;\t| "
_KNOWN = "CSV, Parquet, Arrow, .npy or .npz"


class Frame(NamedTuple):
    """Columns of equal length, by name.

    Attributes:
        path: The file they come from.
        columns: By name, each a numpy array `[rows]` or a column of pyarrow.
        groups: Names that stand for several columns, as of a matrix in an .npz file.
        counts: Rows of each of the splits that the file has, in their order, where it
            has the three; None where it does not say.
        rows: How many there are.
    """

    path: pathlib.Path
    columns: dict[str, Any]
    groups: dict[str, tuple[str, ...]]
    counts: tuple[int, int, int] | None
    rows: int

    def find(self, wanted: Names, what: str) -> list[str]:
        """Names of columns, from names, places from 0 on, or text with commas.

        Args:
            wanted: What is asked for.
            what: The option that asks, for errors.

        Raises:
            DataError: For a column that is not there, or named twice.
        """
        if isinstance(wanted, str) and wanted not in (*self.columns, *self.groups):
            wanted = [part.strip() for part in wanted.split(",") if part.strip()]
        elif isinstance(wanted, str | int):
            wanted = [wanted]
        found: list[str] = []
        for each in wanted:
            found.extend(self._one(each, what))
        for name in found:
            if found.count(name) > 1:
                raise DataError(f"{self.path}: {what} names the column {name!r} twice.")
        return found

    def _one(self, wanted: str | int, what: str) -> tuple[str, ...]:
        there = list(self.columns)
        if is_whole(wanted):
            if 0 <= int(wanted) < len(there):
                return (there[int(wanted)],)
            raise DataError(
                f"{self.path}: {what} names column {wanted}, but it has"
                f" {len(there)} columns, 0 to {len(there) - 1}."
            )
        name = str(wanted)
        if name in self.columns:
            return (name,)
        if name in self.groups:
            return self.groups[name]
        near = difflib.get_close_matches(name, there, 1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise DataError(
            f"{self.path} has no column {name!r}, which {what} names.{hint} It has:"
            f" {_listed(there)}."
        )

    def numbers(self, name: str) -> np.ndarray:
        """The numbers of a column, NaN where they are missing.

        Raises:
            DataError: If they are none: text, categories, dates.
        """
        column = self.columns[name]
        if isinstance(column, np.ndarray):
            if column.dtype.kind in "fiub":
                return column
            kind, shown = str(column.dtype), column[:1000].tolist()
        else:
            found = _of_arrow(column)
            if found is not None:
                return found
            kind, shown = str(column.type), column[:1000].to_pylist()
        if kind in ("string", "large_string") or kind.startswith(("<U", "dictionary")):
            kind = "text"
        seen = list(dict.fromkeys(str(value) for value in shown if value is not None))
        odd = [value for value in seen if not _reads_as_number(value)]
        if kind == "text" and 0 < len(odd) < len(seen) / 2:
            raise DataError(
                f"{self.path}, column {name!r}: not all of it are numbers, but"
                f" {', '.join(map(repr, odd[:3]))}. Leave missing ones empty."
            )
        if odd and all(re.fullmatch(r"[+-]?\d+,\d+", value) for value in odd):
            raise DataError(
                f"{self.path}, column {name!r}: it has decimal commas ({odd[0]!r});"
                " write decimal points."
            )
        numeric = [n for n in self.columns if self._is_numeric(n)]
        raise DataError(
            f"{self.path}, column {name!r}: it holds {kind}"
            f" ({', '.join(map(repr, seen[:3]))}{', ...' if len(seen) > 3 else ''}),"
            f" and a flow needs numbers. Leave it out: columns={_listed(numeric, ',')};"
            " or encode it, for a condition as one column of 0 and 1 for each category."
        )

    def words(self, name: str) -> list[str]:
        """A column's values as text, as of one that names splits."""
        column = self.columns[name]
        values = column if isinstance(column, np.ndarray) else column.to_pylist()
        return ["" if value is None else str(value).strip() for value in values]

    def _is_numeric(self, name: str) -> bool:
        column = self.columns[name]
        if isinstance(column, np.ndarray):
            return column.dtype.kind in "fiub"
        return _is_number(column.type)


def read(
    path: str | os.PathLike[str],
    *,
    header: bool = True,
    delimiter: str | None = None,
) -> Frame:
    """Reads a table; what kind of file it is, its first bytes say.

    A matrix has no names: its columns are called "0", "1" and so on. In an .npz file
    arrays `train`, `val` and `test` are the splits of one matrix; else each array
    `[rows]` is a column, and of each `[rows, d]`, say `x`, the columns are `x_0`, `x_1`
    and so on, and `x` names them all.

    Args:
        path: The file; a CSV file may be compressed (.gz, .bz2).
        header: Whether the first line of a CSV file has the columns' names; otherwise
            they are called "0", "1" and so on.
        delimiter: What stands between values of a CSV file, a character or "tab"; None
            to go by its first line.

    Raises:
        DataError: If the file is missing, empty, damaged or no table.
    """
    path = pathlib.Path(path)
    if path.is_dir():
        raise DataError(f"{path} is a directory; expected a file: {_KNOWN}.")
    if not path.is_file():
        near = difflib.get_close_matches(
            path.name, [p.name for p in path.parent.glob("*")], 1
        )
        hint = f" Did you mean {path.parent / near[0]}?" if near else ""
        raise DataError(f"No such data file: {path}.{hint}")
    if not path.stat().st_size:
        raise DataError(f"{path} is empty.")
    try:
        columns, groups, counts = _read(path, header, delimiter)
    except PermissionError:
        raise DataError(f"No permission to read {path}.") from None
    except DataError:
        raise
    # Errors of pyarrow are of these kinds, and so are those of damaged arrays.
    except (ValueError, KeyError, TypeError, *archives.DAMAGE) as error:
        raise DataError(f"{path} does not read as a table: {told(error)}") from None
    rows = len(next(iter(columns.values()))) if columns else 0
    if not columns or not rows:
        raise DataError(
            f"{path} has {len(columns)} columns ({_listed(list(columns)) or 'none'})"
            f" and {rows} rows; expected rows to train on."
        )
    return Frame(path, columns, groups, counts, rows)


_Read = tuple[dict[str, Any], dict[str, tuple[str, ...]], tuple[int, int, int] | None]


def _read(path: pathlib.Path, header: bool, delimiter: str | None) -> _Read:
    with open(path, "rb") as file:
        start = file.read(8)
    if start.startswith(b"\x93NUMPY"):
        return _of_matrix(npz.read_npy(path), path, "it")
    if start.startswith(b"PAR1"):
        from pyarrow import parquet

        return _of_table(parquet.read_table(path), path)
    if start.startswith(b"ARROW1"):
        from pyarrow import feather

        return _of_table(feather.read_table(path), path)
    other = npz.other_format(path)
    named = {*path.suffixes} & {".csv", ".tsv", ".txt"}
    # Packed, or with letters that are no UTF-8.
    if (named and not start.startswith(b"PK")) or (other and other[0] == npz.TEXT):
        return _of_csv(path, header, delimiter)
    if other is not None or not start.startswith(b"PK"):
        what = other[0] if other else f"begins with {start!r}, as no table does"
        code = other[1] if other else None
        how = (
            f" Save its rows in one of them: {code.format(str(path))}." if code else ""
        )
        raise DataError(f"{path} {what}; expected {_KNOWN}.{how}")
    return _of_archive(path)


def _of_matrix(matrix: np.ndarray, path: pathlib.Path, what: str) -> _Read:
    if matrix.dtype.names:
        return {n: matrix[n] for n in matrix.dtype.names}, {}, None
    if matrix.ndim != 2:
        raise DataError(
            f"{path}: {what} has shape {list(matrix.shape)}; expected [rows, columns]."
        )
    return {str(i): matrix[:, i] for i in range(matrix.shape[1])}, {}, None


def _of_archive(path: pathlib.Path) -> _Read:
    names = npz.names(path)
    if {*SPLITS} <= {*names}:
        parts = npz.read_arrays(path, *SPLITS)
        for split, part in zip(SPLITS, parts, strict=True):
            if part.ndim != 2 or part.shape[1] != parts[0].shape[1]:
                raise DataError(
                    f"{path}: {split!r} has shape {list(part.shape)}, 'train'"
                    f" {list(parts[0].shape)}; expected [rows, columns] of one width."
                )
        train, val, test = (len(part) for part in parts)
        columns, _, _ = _of_matrix(np.concatenate(parts), path, "it")
        return columns, {}, (train, val, test)
    # Says what is wrong with a file that has no arrays.
    arrays = dict(zip(names, npz.read_arrays(path, *(names or SPLITS)), strict=True))
    if len(arrays) == 1 and next(iter(arrays.values())).ndim == 2:
        (name, matrix), *_ = arrays.items()
        return _of_matrix(matrix, path, repr(name))
    columns: dict[str, Any] = {}
    groups: dict[str, tuple[str, ...]] = {}
    for name, array in arrays.items():
        if array.ndim not in (1, 2):
            raise DataError(
                f"{path}: {name!r} has shape {list(array.shape)}; expected [rows] or"
                " [rows, columns]."
            )
        if array.ndim == 1:
            columns[name] = array
            continue
        groups[name] = tuple(f"{name}_{i}" for i in range(array.shape[1]))
        columns |= dict(zip(groups[name], array.T, strict=True))
    counts = {name: len(array) for name, array in arrays.items()}
    if len({*counts.values()}) > 1:
        said = ", ".join(f"{name} {count:,}" for name, count in counts.items())
        raise DataError(
            f"{path}: its arrays have different numbers of rows ({said}); expected as"
            " many in each, or arrays train, val and test."
        )
    return columns, groups, None


def _of_csv(path: pathlib.Path, header: bool, delimiter: str | None) -> _Read:
    import pyarrow
    from pyarrow import csv as arrow

    delimiter = "\t" if delimiter in ("tab", "\\t") else delimiter
    if delimiter is not None and len(delimiter) != 1:
        raise DataError(f"delimiter={delimiter!r}: expected a single character.")
    with pyarrow.input_stream(str(path)) as stream:
        first = stream.read(1 << 16).decode("utf-8-sig", errors="replace")
    lines = first.splitlines()
    at = next((i for i, line in enumerate(lines) if line.strip()), 0)
    # numpy writes names as a comment.
    line = lines[at].removeprefix("#").strip(" ") if lines else ""
    delimiter = delimiter or max(_DELIMITERS, key=line.count)
    cells = [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter))]
    if header and all(map(_reads_as_number, cells)):
        raise DataError(
            f"{path} has no header: its first line is {', '.join(cells[:3])}"
            f"{', ...' if len(cells) > 3 else ''}. Put the columns' names there, or"
            " give header=False, which calls them 0, 1 and so on."
        )
    convert = arrow.ConvertOptions(strings_can_be_null=True)
    convert.null_values = [*convert.null_values, "?", "None"]
    table = arrow.read_csv(
        path,
        read_options=arrow.ReadOptions(
            skip_rows=at + 1 if header else at,
            column_names=cells if header else [str(i) for i in range(len(cells))],
        ),
        parse_options=arrow.ParseOptions(delimiter=delimiter),
        convert_options=convert,
    )
    return _of_table(table, path)


def _reads_as_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _of_table(table: Any, path: pathlib.Path) -> _Read:
    names = table.column_names
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(
            f"{path} has several columns of one name: {_listed(twice)}. Rename them."
        )
    return {name: table.column(name) for name in names}, {}, None


def _is_number(kind: Any) -> bool:
    from pyarrow import types

    return (
        types.is_integer(kind)
        or types.is_floating(kind)
        or types.is_boolean(kind)
        or types.is_decimal(kind)
        or types.is_null(kind)
    )


def _of_arrow(column: Any) -> np.ndarray | None:
    """A column of pyarrow as numbers; None where they are none."""
    import pyarrow

    if not _is_number(column.type):
        return None
    if pyarrow.types.is_boolean(column.type):
        column = column.cast(pyarrow.int8())
    elif not (
        pyarrow.types.is_integer(column.type) or pyarrow.types.is_floating(column.type)
    ):
        column = column.cast(pyarrow.float64())
    # Missing ones become NaN, and whole numbers beside them real ones.
    return np.asarray(column.to_numpy())


def _listed(names: Sequence[str], mark: str = ", ") -> str:
    shown = mark.join(names[:12])
    return shown if len(names) <= 12 else f"{shown}{mark}... ({len(names)} of them)"
