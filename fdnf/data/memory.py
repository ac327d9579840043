"""Arrays in memory as a data set: looked at, split, transformed column by column."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from fdnf.data import images as of_images
from fdnf.data import tabular, transformed
from fdnf.data.images import Images
from fdnf.data.tabular import DataError, Tabular, told

# What a config names as its data, where they were in memory.
VECTORS, PICTURES = "fdnf.data.memory:vectors", "fdnf.data.memory:pictures"
# Rows that anything can be fitted to.
LEAST = 20
_STANDARD = "standardise"
_GONE = (
    "this was trained on arrays in memory, which are not kept: take"
    " fdnf.load(workdir), and log_prob or sample of what it gives"
)


def vectors() -> Tabular:
    """Vectors that were in the memory of another process.

    Raises:
        DataError: Always.
    """
    raise DataError(_GONE)


def pictures() -> Images:
    """Images that were in the memory of another process.

    Raises:
        DataError: Always.
    """
    raise DataError(_GONE)


class Rows(NamedTuple):
    """Rows from outside.

    Attributes:
        x: float64 `[rows, dim]`, or uint8 `[rows, height, width, channels]`.
        cond: float64 `[rows, c]`, of images int32 `[rows]`; None for none.
        weights: float64 `[rows]`; None where all count alike.
        names: Of the columns of vectors.
        cond_names: Of those of conditions.
    """

    x: np.ndarray
    cond: np.ndarray | None = None
    weights: np.ndarray | None = None
    names: tuple[str, ...] = ()
    cond_names: tuple[str, ...] = ()

    @property
    def pictures(self) -> bool:
        """Whether the rows are images."""
        return self.x.ndim == 4

    def part(self, picked: np.ndarray) -> "Rows":
        """Some of the rows."""
        cond, weights = (a if a is None else a[picked] for a in (self.cond, self[2]))
        return self._replace(x=self.x[picked], cond=cond, weights=weights)


def taken(x: Any, cond: Any = None, weights: Any = None, least: int = LEAST) -> Rows:
    """Looks at arrays from outside.

    Args:
        x: Vectors `[rows, dim]` of real numbers, an array, a list or a data frame; or
            images, uint8 `[rows, height, width, channels]`.
        cond: Conditions of vectors, `[rows, c]` or `[rows]`; labels of images, whole
            numbers from 0.
        weights: Of the rows, `[rows]`.
        least: Rows that there have to be.

    Raises:
        DataError: For what is none of these, by row and column.
    """
    shape = np.shape(x)
    if len(shape) == 4:
        found = Rows(_grey(x))
    elif len(shape) == 2:
        rows, names = _numbers(x, "x")
        found = Rows(rows, names=names)
    else:
        hint = {
            1: "; one column is x[:, None], one row x[None]",
            3: "; grey images have one channel, x[..., None]",
        }.get(len(shape), "")
        raise DataError(
            f"x of shape {shape}: expected vectors [rows, columns], or images of uint8"
            f" [rows, height, width, channels]{hint}"
        )
    count = len(found.x)
    if count < least:
        raise DataError(f"x has {count} rows: expected at least {least}")
    if cond is not None:
        if found.pictures:
            found = found._replace(cond=_labels(cond))
        else:
            one = np.ndim(cond) == 1 and not hasattr(cond, "columns")
            given = np.asarray(cond)[:, None] if one else cond
            rows, names = _numbers(given, "cond", "c")
            found = found._replace(cond=rows, cond_names=names)
        _as_many("cond", found.cond, count)
    if weights is not None:
        mass, _ = _numbers(np.asarray(weights).reshape(-1, 1), "weights")
        found = found._replace(weights=mass[:, 0])
        _as_many("weights", found.weights, count)
    return found


def split(rows: Rows, validation: Any, seed: int) -> tuple[Rows, Rows, np.ndarray]:
    """Rows to train on, rows to validate on, and which of all the former are.

    Args:
        rows: All.
        validation: A fraction from 0 to 1, drawn by `seed`; or the rows themselves:
            x, or (x, cond) or (x, cond, weights).
        seed: Of the draw.

    Raises:
        DataError: For another fraction, or rows of another kind.
    """
    count = len(rows.x)
    if isinstance(validation, int | float | np.number):
        held = round(float(validation) * count)
        if not 0 < validation < 1 or not 0 < held < count:
            raise DataError(
                f"validation={validation!r} of {count} rows: expected a fraction from"
                " 0 to 1, or the rows to validate on"
            )
        order = np.random.default_rng(seed).permutation(count)
        train = np.sort(order[held:])
        return rows.part(train), rows.part(np.sort(order[:held])), train
    given = validation if isinstance(validation, tuple) else (validation,)
    held_out = taken(*given, least=1)
    for what in ("cond", "weights"):
        if (getattr(rows, what) is None) != (getattr(held_out, what) is None):
            raise DataError(
                f"validation {'without' if getattr(rows, what) is not None else 'with'}"
                f" {what}, and training not so: give (x, cond, weights) to validate on"
                " as to train on"
            )
    if held_out.x.shape[1:] != rows.x.shape[1:]:
        raise DataError(
            f"validation rows of shape {held_out.x.shape[1:]}: expected"
            f" {rows.x.shape[1:]}, as those to train on"
        )
    return rows, held_out, np.arange(count)


def table(train: Rows, held_out: Rows, transforms: Any = _STANDARD) -> Tabular:
    """A data set of vectors, transformed column by column.

    Args:
        train: Rows to train on, to which transforms are fitted.
        held_out: Rows to validate on.
        transforms: A kind for all columns; "auto", chosen from the values; a mapping
            {column: kind} for some, by name or place, while others are standardised;
            None for rows as they are. See `transformed.fitted`.

    Raises:
        DataError: With the column's name.
    """
    parts = (train, held_out, held_out)
    weighed = None if train.weights is None else [each.weights for each in parts]
    conds = None if train.cond is None else [each.cond for each in parts]
    if transforms is None:
        return _plain(parts, weighed, conds)
    names = [*train.names, *train.cond_names]
    if isinstance(transforms, Mapping):
        fixed = {_name(train.names, k): v for k, v in transforms.items()}
        chosen = dict.fromkeys(names, _STANDARD) | fixed
    elif transforms == "auto":
        chosen = {}
    else:
        chosen = dict.fromkeys(train.names, transforms)
        chosen |= dict.fromkeys(train.cond_names, _STANDARD)
    return transformed.fitted(
        "x",
        [each.x for each in parts],
        train.names,
        _known(conds),
        train.cond_names,
        _known(weighed),
        chosen,
        source=_source(train, held_out),
        where="x",
    )


def images(train: Rows, held_out: Rows) -> Images:
    """A data set of images."""
    parts = (train, held_out, held_out)
    labels: Any = None
    if train.cond is not None:
        labels = tuple(each.cond for each in parts)
    made = Images(
        "x",
        train.x,
        held_out.x,
        held_out.x,
        source=_source(train, held_out),
        labels=labels,
    )
    return of_images.validate(made)


def as_stored(
    x: Sequence[np.ndarray],
    conds: Sequence[np.ndarray] | None,
    weights: Sequence[np.ndarray | None],
    like: Any,
    source: Rows,
) -> Tabular | Images:
    """A data set of rows that are as another data set stores them.

    Args:
        x: Of training and validation.
        conds: Likewise what stands beside them.
        weights: Likewise.
        like: What is done to them, with `columns` where these are a table's.
        source: The rows in the user's units.
    """
    train, held_out = x
    beside: Any = None if conds is None else (*conds, conds[-1])
    said = f"{len(x[0]):,} of {sum(map(len, x)):,} rows in memory"
    if source.pictures:
        levels = like.levels * 2 ** (8 - like.bits)
        return of_images.validate(
            Images("x", train, held_out, held_out, said, beside, levels)
        )
    mass: Any = None
    if weights[0] is not None:
        mass = tuple(_mean_one(weights[0], each) for each in (*weights, weights[-1]))
    columns = {
        name: getattr(like, name, None) for name in ("columns", "condition_columns")
    }
    made = Tabular("x", train, held_out, held_out, said, beside, mass, **columns)
    return tabular.validate(made)


def _plain(parts: Any, weighed: Any, conds: Any) -> Tabular:
    train, held_out, _ = (tabular.to_float32(each.x, "x") for each in parts)
    given: dict[str, Any] = {}
    if conds is not None:
        given["conditions"] = tuple(tabular.to_float32(c, "cond") for c in conds)
    if weighed is not None:
        given["weights"] = tuple(_mean_one(weighed[0], each) for each in weighed)
    source = _source(*parts[:2])
    made = Tabular("x", train, held_out, held_out, source, **given)
    return tabular.validate(made)


def _mean_one(train: np.ndarray, weights: Any) -> np.ndarray:
    """Weights whose mean over the training rows is 1."""
    low, mean = float(np.min(weights)), float(np.mean(train))
    if low < 0 or not np.any(weights):
        raise DataError(
            f"weights from {low:g} on, of which {np.count_nonzero(weights)} are not 0:"
            " expected numbers from 0 on, some above"
        )
    return np.asarray(weights / mean, np.float32)


def _source(train: Rows, held_out: Rows) -> str:
    return f"{len(train.x):,} and {len(held_out.x):,} rows in memory"


def _known(parts: list[np.ndarray | None] | None) -> list[np.ndarray] | None:
    return None if parts is None else [part for part in parts if part is not None]


def _name(names: Sequence[str], key: Any) -> Any:
    """A column's name, given by that or by its place."""
    place = isinstance(key, int) and -len(names) <= key < len(names)
    return names[key] if place else key


def _as_many(what: str, found: Any, count: int) -> None:
    if len(found) != count:
        raise DataError(
            f"{what} has {len(found)} rows, x has {count}: give one for each"
        )


def _numbers(
    given: Any, what: str, letter: str = "x"
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Real numbers `[rows, columns]` in float64, and the columns' names."""
    found = np.asarray(given)
    if found.ndim != 2 or not found.size:
        raise DataError(f"{what} of shape {found.shape}: expected [rows, columns]")
    names = tuple(f"{letter}{i}" for i in range(found.shape[1]))
    if hasattr(given, "columns"):
        names = tuple(str(name) for name in given.columns)
    if found.dtype.kind not in "iufb":
        for place, name in enumerate(names):
            try:
                if found.dtype.kind == "c":
                    raise ValueError("complex")
                found[:, place].astype(np.float64)
            except (TypeError, ValueError) as error:
                raise DataError(
                    f"{what}: column {name!r} has no real numbers ({told(error)})"
                ) from None
    found = np.array(found, np.float64)
    bad = ~np.isfinite(found)
    if bad.any():
        row, place = (int(index) for index in np.argwhere(bad)[0])
        raise DataError(
            f"{what}: row {row}, column {names[place]!r} is {found[row, place]}"
            f" ({int(bad.any(1).sum())} of {len(found)} rows hold such values): remove"
            " or fill these rows"
        )
    return found, names


def _grey(given: Any) -> np.ndarray:
    found = np.asarray(given)
    if found.dtype != np.uint8:
        raise DataError(
            f"images of {found.dtype}: expected grey levels, uint8 from 0 to 255"
        )
    return np.ascontiguousarray(found)


def _labels(given: Any) -> np.ndarray:
    found = np.asarray(given)
    if found.ndim != 1 or found.dtype.kind not in "iu":
        raise DataError(
            f"cond of shape {found.shape} and {found.dtype}: of images expected labels,"
            " whole numbers from 0, one an image"
        )
    return found.astype(np.int32)
