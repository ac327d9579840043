"""A user's file of rows, as a trained flow is asked about them.

Tables are read by the names of the columns that the flow was trained on, in any order
and among others, in the user's units; of a flow that knows no names, by place: its
columns, then those of its condition. Images are .npy or .npz arrays of grey levels.
"""

import logging
import math
import pathlib
from typing import Any, NamedTuple

import numpy as np

from fdnf.data import frames, npz, tables
from fdnf.data.tabular import DataError
from fdnf.train import teachers, workdirs
from fdnf.train.checkpoint import SUBDIRECTORY
from fdnf.train.settings import ConfigError
from fdnf.train.teachers import Trained

_log = logging.getLogger(__name__)


class Given(NamedTuple):
    """Rows of a file, as a flow is asked about them.

    Attributes:
        x: `[rows, *event]` in the user's units; None where only conditions are there.
        cond: `[rows, ...]`, likewise; None for a flow that takes none.
    """

    x: np.ndarray | None
    cond: np.ndarray | None


def load(workdir: pathlib.Path, evaluation: Any) -> Trained:
    """The flow of a workdir, or of a file that was saved, for an `eval` section.

    Raises:
        ConfigError: the workdir is one of several runs, and none itself.
        CheckpointError: it holds no run that can be read.
    """
    if workdir.is_dir() and not (workdir / SUBDIRECTORY).exists():
        inside = sorted(p.parent for p in workdir.glob(f"*/{SUBDIRECTORY}"))
        if inside:
            raise ConfigError(
                f"{workdir} holds several runs: name one, "
                + " or ".join(f"--workdir={path}" for path in inside)
            )
    trained = teachers.load(workdir)
    if workdir.is_dir() and workdirs.result(workdir) is None:
        _log.warning(
            "%s is not finished: taking its best parameters up to step %d",
            *(workdir, trained.meta["step"]),
        )
    trained.config.eval.update(evaluation)
    return trained


def home(workdir: pathlib.Path) -> pathlib.Path:
    """Where things of a model are put: its workdir, or where its file lies."""
    return workdir.parent if workdir.is_file() else workdir


def names(trained: Trained) -> tuple[list[str], list[str]]:
    """Names of a flow's columns, and of its condition's; [] where it knows none."""

    def of(columns: Any) -> list[str]:
        return [] if columns is None else list(columns.names)

    prepared = trained.preprocess
    return of(getattr(prepared, "columns", None)), of(
        getattr(prepared, "condition_columns", None)
    )


def read(trained: Trained, path: pathlib.Path, *, rows: bool = True) -> Given:
    """The rows of a file, and the conditions in it, as a flow was trained on them.

    Args:
        trained: the flow.
        path: the file.
        rows: whether the rows are there, or conditions only.

    Raises:
        DataError: the file cannot be read, a column is missing, or a value is no finite
            number; with the columns that are expected.
    """
    if len(trained.event) > 1:
        return _images(trained, path, rows)
    own, given = names(trained)
    shape = trained.preprocess.condition_shape(trained.event)
    width = math.prod(trained.event) if rows else 0
    beside = math.prod(shape) if shape else 0
    wanted = [*(own if rows else ()), *given]
    named = len(wanted) == width + beside
    found = tables.read_rows(path, _by_place(path, width, beside, named) or wanted)
    return Given(
        found[:, :width] if rows else None, found[:, width:] if beside else None
    )


def _by_place(
    path: pathlib.Path, width: int, beside: int, named: bool
) -> list[str] | None:
    """The columns of a file that knows none of the flow's names.

    Args:
        path: the file.
        width: columns of rows.
        beside: columns of conditions.
        named: whether the flow's columns have names, by which the rest is found.
    """
    frame = frames.read(path)
    groups = [frame.groups.get(name, ()) for name in ("x", "cond")]
    if [len(group) for group in groups] == [width, beside]:
        return [*groups[0], *groups[1]]
    if named:
        return None
    if len(frame.columns) == width + beside:
        return list(frame.columns)
    expected = [f"{width} columns"] * bool(width)
    expected += [f"{beside} of its condition"] * bool(beside)
    raise DataError(
        f"{path} has {len(frame.columns)} columns: expected "
        f"{', then '.join(expected)}, in the order in which the flow was trained on "
        "them (of an .npz file, arrays x and cond)"
    )


def _images(trained: Trained, path: pathlib.Path, rows: bool) -> Given:
    """Images of `images` in an .npz file, with `labels`, or of an .npy file."""
    check_kind(trained, "a file of rows")
    labelled = trained.preprocess.classes > 0
    wanted = ["images"] * rows + ["labels"] * labelled
    if not path.is_file():
        raise DataError(f"No such data file: {path}.")
    if path.suffix == ".npy" and len(wanted) == 1:
        try:
            arrays = [npz.read_npy(path)]
        except (ValueError, OSError) as error:
            raise DataError(f"{path} cannot be read: {error}") from error
    else:
        arrays = npz.read_arrays(path, *wanted)
    found = dict(zip(wanted, arrays, strict=True))
    bits = getattr(trained.preprocess, "bits", 8)
    if rows and bits < 8 and path.suffix != ".npy" and _reduced(path):
        # As --mode=sample writes them, without the bits that were cut.
        found["images"] = found["images"] << (8 - bits)
    return Given(found.get("images"), found.get("labels"))


def _reduced(path: pathlib.Path) -> bool:
    """Whether an .npz file says that its images have fewer than 256 levels."""
    with np.load(path, allow_pickle=False) as archive:
        return "levels" in archive.files and int(archive["levels"]) < 256


def check_kind(trained: Trained, what: str) -> None:
    """Refuses what has no rows of its own; `what` asks for them."""
    if trained.preprocess.windows:
        raise ConfigError(
            f"{what} is for vectors, tables and images, not for super-resolution and "
            "speech, whose rows are windows"
        )
