"""Maps of a table's columns to numbers that a flow takes well, and back, exactly.

A column x in the user's units becomes y with mean about 0 and spread about 1:

    t = (x - origin) / unit          in float64; of a periodic column modulo its period
    s = (t + u + shift) / width      u uniform on [0, 1) where x is whole, on
                                     [0, 1 - gap) where a sparse x is 0, else 0
    w = s, log s, logit(margin + (1 - 2 margin) s) or asinh s
    y = (w - mean) / std

All but the noise is done once, before training, in float64, so that a column of
1e9 +- 1 keeps its digits. What is kept and fed to the step is float32: y, or t of
whole numbers and of sparse ones. Densities are those of x (x + u, a step of noise
added, where x is whole): log p(x) = log p(y) + log |dy/dx|, in nats. A sparse column,
as of calorimeter cells, is 0 or at least its unit; its 0 has a probability and no
density, of which the mean over the noise, log p(y) + log |dy/du|, is a lower bound.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

Stored = Float[Array | np.ndarray, "rows columns"]

# The map to w of each kind; that of whole numbers is chosen beside.
SHAPES = {
    "none": "linear",
    "standardise": "linear",
    "log": "log",
    "box": "box",
    "asinh": "asinh",
    "periodic": "box",
    "sparse": "log",
}
KINDS = (*SHAPES, "integer")
# What may follow the noise on whole numbers.
THEN = ("standardise", "log", "box", "asinh")
# Whole numbers from an origin that float32 tells apart.
MOST_STEPS = 2**24
# A multiple of a step other than 1 may be off by so much of the step, and by so much
# of itself: decimals are no binary fractions, and some were float32 before.
_OFF, _OFF_RELATIVE = 1e-4, 2e-7


@dataclasses.dataclass(frozen=True)
class Column:
    """One column's map; `choose` fits it. Letters as in the head of this file.

    Attributes:
      name: as the table has it.
      kind: one of `KINDS`.
      then: of whole numbers, what follows the noise, one of `THEN`; "" of others.
      origin: of t, in the user's units. Of a periodic column where it is cut.
      unit: of t, in the user's units. Of whole numbers their step, of a periodic
        column the period, of a sparse one its least value that is not 0.
      shift: of s, in steps; whole numbers and sparse columns only.
      width: of s, in steps; whole numbers only.
      margin: kept from both ends of a box, as a fraction of it.
      gap: of a sparse column, between the noise on 0 and the unit, as a fraction of it.
        Samples in its lower half are 0, those in its upper are mirrored at the unit.
      mean: of w.
      std: of w.
      low: least value of a sample, None for no bound.
      high: largest value of a sample, None for no bound. Samples of a periodic column
        are below it.
    """

    name: str
    kind: str = "standardise"
    then: str = ""
    origin: float = 0.0
    unit: float = 1.0
    shift: float = 0.0
    width: float = 1.0
    margin: float = 0.0
    gap: float = 0.0
    mean: float = 0.0
    std: float = 1.0
    low: float | None = None
    high: float | None = None

    def __post_init__(self):
        if self.kind not in KINDS:
            raise ValueError(
                f"column {self.name!r}: unknown kind {self.kind!r}; known:"
                f" {', '.join(KINDS)}"
            )
        if (self.then in THEN) != self.whole or (self.then and not self.whole):
            raise ValueError(
                f"column {self.name!r}: then={self.then!r} of kind {self.kind!r}; whole"
                f" numbers take one of {', '.join(THEN)}, others none"
            )
        for part in ("unit", "width", "std"):
            if not 0 < getattr(self, part) < math.inf:
                raise ValueError(
                    f"column {self.name!r}: {part}={getattr(self, part)}; expected a"
                    " positive number"
                )
        if not 0 <= self.gap < 1:
            raise ValueError(
                f"column {self.name!r}: gap={self.gap}; expected from 0 to below 1"
            )

    @property
    def noisy(self) -> bool:
        """Whether noise is added in the step."""
        return self.whole or self.kind == "sparse"

    @property
    def whole(self) -> bool:
        """Whether values are whole numbers, or multiples of a step."""
        return self.kind == "integer"

    @property
    def shape(self) -> str:
        """The map from s to w: linear, log, box or asinh."""
        return SHAPES[self.then if self.whole else self.kind]

    @property
    def log_factor(self) -> float:
        """Log of the constant part of |dy/dx|."""
        log = -math.log(self.unit) - math.log(self.width) - math.log(self.std)
        return log + math.log1p(-2 * self.margin)

    def steps(self, x: Any, xp: Any = np) -> Any:
        """The number t of each value, of whole numbers rounded; by numpy in float64."""
        x = np.asarray(x, np.float64) if xp is np else x
        if self.kind == "periodic":
            # The remainder of a value just below the cut may round up to the period.
            return xp.minimum(xp.mod(x - self.origin, self.unit) / self.unit, 1.0)
        t = (x - self.origin) / self.unit
        return xp.round(t) if self.whole else t

    def fault(self, x: Any) -> tuple[np.ndarray, str]:
        """Which values have no place in this column, and what was expected.

        Args:
          x: values in the user's units, `[rows]`.

        Returns:
          A flag a value, and the expectation of the first kind of fault found.
        """
        x = np.asarray(x, np.float64)
        bad = ~np.isfinite(x)
        if bad.any():
            return bad, "a finite number"
        if self.kind == "log":
            # What was shifted away from 0 may be 0.
            low, open_end = self.low or 0.0, self.origin == self.low
            bad = x <= low if open_end else x < low
            word = "above" if open_end else "of at least"
            return bad, f"a value {word} {low:.10g}"
        if self.kind == "box":
            bad = (x < self.low) | (x > self.high)
            return bad, f"a value from {self.low:.10g} to {self.high:.10g}"
        if self.kind == "sparse":
            bad = (x != 0) & (x < self.unit * (1 - 1e-6))  # As float32 keeps it.
            return bad, f"0, or a value of at least {self.unit:.10g}"
        if not self.whole:
            return bad, ""
        t = (x - self.origin) / self.unit
        off = np.abs(t - np.round(t))
        allowed = 0.0
        if self.unit != 1:
            allowed = np.minimum(_OFF + _OFF_RELATIVE * np.abs(t), 0.01)
        bad = off > allowed
        if bad.any():
            named = "a whole number"
            if self.unit != 1 or self.origin != round(self.origin):
                named = f"{self.origin:.10g} and a multiple of {self.unit:.10g}"
            return bad, named
        slack = 0.25 * self.unit
        if self.low is not None:
            bad = bad | (x < self.low - slack)
        if self.high is not None:
            bad = bad | (x > self.high + slack)
        far = np.abs(t) > MOST_STEPS
        if far.any() and not bad.any():
            return far, f"less than {MOST_STEPS:,} steps from {self.origin:.10g}"
        high = "up" if self.high is None else f"to {self.high:.10g}"
        low = -math.inf if self.low is None else self.low
        return bad, f"a number from {low:.10g} {high}"

    def to_line(self, s: Any, xp: Any = np) -> Any:
        """The map from s to w, by numpy or jax.numpy."""
        return _to_line(self.shape, s, self.margin, xp)

    def from_line(self, w: Any, xp: Any = np) -> Any:
        """Undoes `to_line`; of a box cut to it."""
        return _from_line(self.shape, w, self.margin, xp)

    def store(self, x: Any, xp: Any = np) -> Any:
        """Values in the user's units as they are kept: y, or t; by numpy in float64."""
        t = self.steps(x, xp)
        if self.noisy:
            return t
        return (self.to_line(t, xp) - self.mean) / self.std

    def decode(self, y: Any, xp: Any = np) -> Any:
        """The flow's values y in the user's units."""
        s = self.from_line(self.mean + self.std * y, xp)
        if self.whole:
            x = self.origin + self.unit * xp.floor(self.width * s - self.shift)
        elif self.kind == "sparse":
            t = s - self.shift
            # A sample in the gap goes to the nearer side, or what is blurred is lost.
            x = xp.where(t < 1 - 0.5 * self.gap, 0.0, self.unit * (1 + xp.abs(t - 1)))
        else:
            x = self.origin + self.unit * s
        if self.kind == "periodic":
            low = self.low or 0.0
            x = low + xp.mod(x - low, self.unit)
            # The remainder may round up to the period itself.
            return xp.where(x >= low + self.unit, low, x)
        if self.low is None and self.high is None:
            return x
        return xp.clip(x, self.low, self.high)


@dataclasses.dataclass(frozen=True)
class Columns:
    """The columns of a table, in its order; hashable, so that programs close over it.

    Attributes:
      columns: one each.
    """

    columns: tuple[Column, ...]

    def __post_init__(self):
        object.__setattr__(self, "columns", tuple(self.columns))
        twice = {name for name in self.names if self.names.count(name) > 1}
        if twice:
            raise ValueError(f"columns of one name: {', '.join(sorted(twice))}")

    def __len__(self) -> int:
        return len(self.columns)

    @property
    def names(self) -> tuple[str, ...]:
        """The names, in the order of the columns."""
        return tuple(column.name for column in self.columns)

    @property
    def noisy(self) -> int:
        """How many columns get noise in the step: whole numbers and sparse ones."""
        return len(self._of("noisy", True))

    def supports(self, rows: Any) -> np.ndarray:
        """Whether each row can have a density: finite, in the bounds, whole.

        Args:
          rows: `[rows, columns]`, in the user's units.

        Returns:
          bool `[rows]`.
        """
        rows = self._matrix(rows)
        good = np.isfinite(rows).all(axis=1)
        for index, column in enumerate(self.columns):
            # Some faults are only looked for where there are no grosser ones.
            for _ in range(3):
                bad, _ = column.fault(rows[good, index])
                if not bad.any():
                    break
                good[np.flatnonzero(good)[bad]] = False
        return good

    def store(self, rows: Any) -> np.ndarray:
        """Rows in the user's units as they are kept for the step.

        Args:
          rows: real numbers, `[rows, columns]`.

        Returns:
          float32 `[rows, columns]`: of whole numbers the steps from the origin, else
          y.

        Raises:
          ValueError: for another number of columns; for a value that has no place in
            its column, with the column's name, the row and what was expected.
        """
        rows = self._matrix(rows)
        out = np.empty(rows.shape, np.float32)
        for index, column in enumerate(self.columns):
            bad, expected = column.fault(rows[:, index])
            if bad.any():
                first = int(np.argmax(bad))
                raise ValueError(
                    f"column {column.name!r} ({column.kind}): row {first} is"
                    f" {rows[first, index]:.10g}, expected {expected}"
                    f" ({int(bad.sum()):,} of {len(rows):,} rows)"
                )
            out[:, index] = column.store(rows[:, index])
        return out

    def encode(
        self, key: PRNGKeyArray | None, stored: Stored
    ) -> tuple[Float[Array, "rows columns"], Float[Array, " rows"]]:
        """Stored rows to the flow's data, in the step.

        Args:
          key: of the noise; None where no column gets any.
          stored: as `store` gives them.

        Returns:
          y, and log |dy/dx| in nats, x in the user's units.
        """
        shape = (len(stored), self.noisy)
        if key is None and self.noisy:
            raise ValueError("whole numbers and sparse columns get noise: give a key")
        noise = jnp.zeros(shape) if key is None else jax.random.uniform(key, shape)
        return self.dequantise(noise, stored)

    def dequantise(
        self, noise: Float[Array | np.ndarray, "rows noisy"], stored: Stored
    ) -> tuple[Float[Array, "rows columns"], Float[Array, " rows"]]:
        """As `encode`, given the noise: on [0, 1), a column for each that gets some."""
        y = jnp.asarray(stored)
        if y.shape[1] != len(self):
            raise ValueError(f"{y.shape[1]} columns, expected {len(self)}")
        log_det = jnp.full(
            y.shape[:1], sum(c.log_factor for c in self.columns), y.dtype
        )
        noisy = self._of("noisy", True)
        for shape in ("linear", "log", "box", "asinh"):
            own = self._of("shape", shape)
            drawn = [index for index in own if index in noisy]
            if drawn:
                t = y[:, np.asarray(drawn)]
                columns = noise[:, np.asarray([noisy.index(i) for i in drawn])]
                if any(self.columns[i].kind == "sparse" for i in drawn):
                    columns, mass = self._on_zeros(t, columns, drawn)
                    log_det += mass
                # First what is exact, so that noise is not lost beside large numbers.
                s = (t + self._vector("shift", drawn) + columns) / self._vector(
                    "width", drawn
                )
                w = _to_line(shape, s, self._vector("margin", drawn), jnp)
                w = (w - self._vector("mean", drawn)) / self._vector("std", drawn)
                y = y.at[:, np.asarray(drawn)].set(w)
            if own and shape != "linear":
                w = self._vector("std", own) * y[:, np.asarray(own)]
                w = self._vector("mean", own) + w
                log_det += jnp.sum(_log_slope(shape, w), axis=1)
        return y, log_det

    def decode(self, y: Any, xp: Any = np) -> Any:
        """The flow's data to the user's units.

        Args:
          y: `[rows, columns]`.
          xp: numpy, in float64; or jax.numpy, within programs, in the type of y, which
            may keep fewer digits than the table has.

        Returns:
          float64 `[rows, columns]`; whole numbers where they were, within the bounds.
        """
        y = np.asarray(y, np.float64) if xp is np else y
        if y.ndim != 2 or y.shape[1] != len(self):
            raise ValueError(f"expected [rows, {len(self)}], got {list(y.shape)}")
        # A sample far out may leave float64: it is infinite, without a warning.
        with np.errstate(over="ignore", invalid="ignore"):
            return xp.stack(
                [column.decode(y[:, i], xp) for i, column in enumerate(self.columns)],
                axis=1,
            )

    def to_json(self) -> dict[str, Any]:
        """Plain values, for JSON; what is as by default is left out."""
        plain = {field.name: field.default for field in dataclasses.fields(Column)}
        return {
            "columns": [
                {k: v for k, v in dataclasses.asdict(c).items() if v != plain[k]}
                for c in self.columns
            ]
        }

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> "Columns":
        """Undoes `to_json`.

        Raises:
          ValueError: for what is no such mapping.
        """
        try:
            return cls(tuple(Column(**column) for column in given["columns"]))
        except (KeyError, TypeError) as error:
            raise ValueError(f"no description of columns: {error}") from None

    def _on_zeros(self, t: Any, noise: Any, drawn: list[int]) -> tuple[Array, Array]:
        """Noise of sparse columns on zeros alone, and the log of how wide it is."""
        sparse = np.asarray([self.columns[i].kind == "sparse" for i in drawn])
        within = 1 - self._vector("gap", drawn)
        zero, wide = sparse & (t <= 0), jnp.log(within * self._vector("unit", drawn))
        mass = jnp.sum(jnp.where(zero, wide, 0), axis=1)
        return jnp.where(sparse & ~zero, 0, within * noise), mass

    def _matrix(self, rows: Any) -> np.ndarray:
        rows = np.asarray(rows, np.float64)
        if rows.ndim != 2 or rows.shape[1] != len(self):
            raise ValueError(
                f"expected [rows, {len(self)}] with the columns"
                f" {', '.join(self.names)}; got {list(rows.shape)}"
            )
        return rows

    def _of(self, part: str, value: Any) -> list[int]:
        return [i for i, c in enumerate(self.columns) if getattr(c, part) == value]

    def _vector(self, part: str, indices: list[int]) -> np.ndarray:
        return np.asarray([getattr(self.columns[i], part) for i in indices], np.float32)


def _to_line(shape: str, s: Any, margin: Any, xp: Any) -> Any:
    if shape == "linear":
        return s
    if shape == "log":
        return xp.log(s)
    if shape == "asinh":
        return xp.arcsinh(s)
    within = 1 - 2 * margin
    return xp.log(margin + within * s) - xp.log(margin + within * (1 - s))


def _from_line(shape: str, w: Any, margin: Any, xp: Any) -> Any:
    if shape == "linear":
        return w
    if shape == "log":
        return xp.exp(w)
    if shape == "asinh":
        return xp.sinh(w)
    p = 0.5 * (1 + xp.tanh(0.5 * w))
    return xp.clip((p - margin) / (1 - 2 * margin), 0, 1)


def _log_slope(shape: str, w: Any) -> Array:
    """Log dw/ds, without the constants of `Column.log_factor`."""
    if shape == "log":
        return -w
    if shape == "asinh":
        size = jnp.abs(w)
        return math.log(2) - size - jnp.log1p(jnp.exp(-2 * size))
    return jax.nn.softplus(w) + jax.nn.softplus(-w)
