"""From the stored rows of a table to what a flow sees, inside the step, and back.

Columns stand before the flow: each is standardised, or mapped by its logarithm, from
its box and so on (`transforms.columns`), which counts in the log-determinant. So
likelihoods, in training and after it, are those of the rows in the user's units. The
columns travel in the checkpoint.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from fdnf.data.tabular import Tabular
from fdnf.train import batches
from fdnf.train.batches import Prepared, Share
from fdnf.transforms.columns import Columns

# Rows at once where all of a split are looked at.
_ROWS = 65536


@dataclasses.dataclass(frozen=True)
class Table(Prepared):
    """What is done to the rows of a table, and to the conditions beside them.

    Attributes:
      columns: transforms of the rows' columns; None for rows as they are.
      condition_columns: likewise of the conditions'; no noise is added to them.
      conditions: number of columns of the condition, 0 for none.
      levels: 0: not an image.
      classes: none; the condition is a vector.
    """

    columns: Columns | None = None
    condition_columns: Columns | None = None
    conditions: int = 0
    levels: int = 0
    classes: int = 0

    @property
    def noisy(self) -> bool:
        """Whether there are columns of whole numbers."""
        return self.columns is not None and self.columns.noisy > 0

    def beside(self, data: Any, split: int) -> np.ndarray | None:
        """The conditions."""
        return data.conditions[split] if self.conditions else None

    def condition(self, x: Array | None, beside: Array | None) -> Array | None:
        """As the flow takes it, standardised or as the columns say."""
        if not self.conditions:
            return None
        if beside is None:
            raise ValueError("the flow is conditional: it needs conditions beside rows")
        return _middle(self.condition_columns, beside)

    def condition_shape(self, event: tuple[int, ...]) -> tuple[int, ...] | None:
        """One number a column."""
        return (self.conditions,) if self.conditions else None

    def train(
        self, key: Array, batch: dict[str, Array], share: Share = batches.WHOLE
    ) -> dict[str, Array]:
        """Rows and conditions by their columns."""
        batch = dict(batch)
        x, beside = batch["x"], batch.pop("beside", None)
        cond = self.condition(x, beside)
        if cond is not None:
            batch["cond"] = cond
        batch["x"], _ = self.encode(key, x, share)
        return batch

    def encode(
        self, key: Array, x: Array, share: Share = batches.WHOLE
    ) -> tuple[Array, Array]:
        """Densities are of rows in the user's units; of whole numbers, of x + u."""
        columns = self.columns
        if columns is None:
            return x, jnp.zeros(x.shape[:1])

        def noise(rows: int) -> Array:
            return jax.random.uniform(key, (rows, columns.noisy))

        return columns.dequantise(batches.draw(share, x.shape[0], noise), x)

    def to_stored(self, y: Array) -> Array:
        """In the user's units, float32; `given_back` keeps more digits."""
        return y if self.columns is None else self.columns.decode(y, jnp)

    def reach(self, train: np.ndarray) -> float:
        """Largest |y| of the rows, without noise."""
        parts = (train[i : i + _ROWS] for i in range(0, len(train), _ROWS))
        return max(float(jnp.abs(self.plain_rows(part)).max()) for part in parts)

    def plain_rows(self, stored: np.ndarray) -> Array:
        """The flow's data, with whole numbers in the middle of their noise."""
        return _middle(self.columns, stored)

    def stored(self, x: Any) -> tuple[np.ndarray, np.ndarray]:
        """By the columns; rows beyond them have no density."""
        if self.columns is None:
            return rows(x, ()), np.zeros(len(x), bool)
        found = rows(x, self.columns.names, np.float64)
        inside = self.columns.supports(found)
        # In the place of others any row that can be: the middle of each column.
        kept = np.zeros(found.shape, np.float32)
        kept[inside] = self.columns.store(found[inside])
        return kept, ~inside

    def stored_condition(self, cond: Any) -> np.ndarray:
        """`[rows, conditions]`."""
        names = () if self.condition_columns is None else self.condition_columns.names
        cond = _named(cond, names)
        found = np.asarray(cond)
        if found.ndim == 1 and found.size == self.conditions:
            found = found[None]
        elif found.ndim == 0 or (found.ndim == 1 and self.conditions == 1):
            found = found.reshape(-1, 1)
        if found.ndim != 2 or found.shape[1] != self.conditions:
            raise ValueError(
                f"conditions of shape {np.shape(cond)}: expected [rows, "
                f"{self.conditions}], or one row for all{_listed(names)}"
            )
        found = rows(found, names, np.float64, "conditions")
        if self.condition_columns is None:
            return found.astype(np.float32)
        return self.condition_columns.store(found)

    def given_back(self, y: Array) -> np.ndarray:
        """In float64, by the columns."""
        found = np.asarray(y)
        return found if self.columns is None else self.columns.decode(found)

    def restored(self, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Through the user's units, where whole numbers are whole again."""
        if self.columns is None:
            return y, np.ones(len(y), bool)
        found = self.columns.decode(y)
        kept = self.columns.supports(found)
        return self.columns.store(found[kept]), kept

    @property
    def made(self) -> "Table":
        """The conditions alone."""
        return dataclasses.replace(self, columns=None)

    def differences(self, other: Prepared) -> str:
        """Names the first column that differs."""
        if not isinstance(other, Table):
            return super().differences(other)
        for part in ("columns", "condition_columns"):
            ours, theirs = getattr(self, part), getattr(other, part)
            if ours is None or theirs is None:
                continue
            what = part.replace("_", " ")
            if ours.names != theirs.names:
                return (
                    f"the teacher's {what} are {', '.join(theirs.names)}, the student's"
                    f" {', '.join(ours.names)}"
                )
            for mine, other_column in zip(ours.columns, theirs.columns, strict=True):
                if mine != other_column:
                    return (
                        f"of the {what}, the teacher saw {other_column}, the student "
                        f"sees {mine}"
                    )
        if self.conditions != other.conditions:
            return (
                f"the teacher was given {other.conditions} conditions, the student is "
                f"given {self.conditions}"
            )
        return super().differences(other)


def _middle(columns: Columns | None, stored: Any) -> Array:
    """The flow's data without noise: whole numbers in its middle."""
    found = jnp.asarray(stored, jnp.float32)
    if columns is None:
        return found
    return columns.dequantise(jnp.full((found.shape[0], columns.noisy), 0.5), found)[0]


def of(data: Tabular) -> Table | None:
    """What is done to a table's rows; None where they pass as they are."""
    if data.columns is None and data.conditions is None:
        return None
    width = 0 if data.conditions is None else data.conditions[0].shape[1]
    return Table(data.columns, data.condition_columns, width)


def rows(
    given: Any, names: Sequence[str], dtype: Any = np.float32, what: str = "rows"
) -> np.ndarray:
    """Vectors from outside, `[rows, dim]`, finite.

    Args:
      given: an array, a list, or a data frame, whose columns are taken by name.
      names: of the columns, () where they have none.
      dtype: of the result.
      what: what they are, for errors.

    Raises:
      ValueError: for other shapes, and values that are not finite, by row and column.
    """
    found = np.asarray(_named(given, names))
    if found.dtype.kind not in "iufb":
        raise ValueError(f"{what} of {found.dtype}: expected numbers")
    if found.ndim != 2:
        alone = "; give one row as a batch of one, x[None]" if found.ndim == 1 else ""
        raise ValueError(
            f"{what} of shape {found.shape}: expected [rows, columns]{alone}"
        )
    if names and found.shape[1] != len(names):
        raise ValueError(
            f"{what} of shape {found.shape}: expected {len(names)} columns"
            f"{_listed(names)}"
        )
    bad = ~np.isfinite(found)
    if bad.any():
        row, column = (int(index) for index in np.argwhere(bad)[0])
        named = repr(names[column]) if names else column
        raise ValueError(
            f"{what}: row {row}, column {named} is {found[row, column]} "
            f"({int(bad.any(1).sum())} of {len(found)} rows hold such values): remove "
            "or fill these rows"
        )
    return np.ascontiguousarray(found, dtype)


def _named(given: Any, names: Sequence[str]) -> Any:
    """Of a data frame the columns of these names."""
    if not names or not hasattr(given, "columns"):
        return given
    if lost := [name for name in names if name not in list(given.columns)]:
        raise ValueError(f"columns {lost} are missing; there are {list(given.columns)}")
    return given[list(names)]


def _listed(names: Sequence[str], most: int = 8) -> str:
    if not names:
        return ""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f", {', '.join(names[:most])}{more}"


def describe(table: Table) -> dict[str, Any]:
    """What a checkpoint keeps of it, as JSON holds it."""
    kept: dict[str, Any] = {"conditions": table.conditions}
    for name in ("columns", "condition_columns"):
        columns = getattr(table, name)
        kept[name] = None if columns is None else columns.to_json()
    return kept


def restore(described: dict[str, Any]) -> Table:
    """What `describe` wrote."""
    fields = dict(described)
    for name in ("columns", "condition_columns"):
        if fields.get(name) is not None:
            fields[name] = Columns.from_json(fields[name])
    return Table(**fields)
