"""A column of a table, and how its cells are made of scores."""

import math
import statistics
from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

from fdnf.evaluation.core import methods, stats
from fdnf.evaluation.core.frame import Row
from fdnf.evaluation.tables import cell as cells
from fdnf.evaluation.tables.cell import Cell, Number


class Column(NamedTuple):
    """What a column shows.

    Attributes:
        metric: a key of `quantities.QUANTITIES`, or the name of a setting or a fact.
        split: of the scores; None makes a column for each that there is.
        given: condition of the scores; likewise, or of those that begin with what
            stands before a "*".
        features: of the scores; likewise.
        show: how a cell is made of the scores of its row, a key of `SHOWS`.
        label: above it; "" takes the quantity's.
        digits: decimals; None takes the quantity's.
        scale: what values are multiplied by.
        to: of a ratio, the method that is the measure.
        base: of a ratio, that method's metric; "" the same one.
        base_given: of a ratio, the condition of that metric; None takes the column's,
            or any where there is a `base`.
        idle: whether it is shown where all its values are 0.
    """

    metric: str
    split: str | None = None
    given: str | None = ""
    features: str | None = None
    show: str = "mean"
    label: str = ""
    digits: int | None = None
    scale: float = 1.0
    to: str = ""
    base: str = ""
    base_given: str | None = None
    idle: bool = True


class Group(NamedTuple):
    """What a cell is made of.

    Attributes:
        rows: scores of the cell.
        base: scores of the method that is the measure, of the same column.
        runs: a row of each run in the table's row, whatever its metric.
        column: the column.
        unit: "seed" or "item".
        digits: decimals.
    """

    rows: Sequence[Row]
    base: Sequence[Row]
    runs: Sequence[Row]
    column: Column
    unit: str
    digits: int


def by_unit(
    rows: Sequence[Row], unit: str, scale: float = 1.0
) -> dict[Hashable, float]:
    """Seed, or item, to value; a seed's value is the mean over its items."""
    return stats.by_unit((row.field(unit), scale * row.score.value) for row in rows)


def _mean(group: Group) -> Cell:
    found = stats.over(by_unit(group.rows, group.unit, group.column.scale).values())
    if found is None:
        return Number(None)
    errors = [r.score.se for r in group.rows if r.score.se is not None]
    # The seeds share their examples, so averaging them does not shrink this error.
    se = statistics.fmean(errors) * group.column.scale if errors else None
    baseline = methods.is_baseline(group.rows[0].run)
    of = found.of
    if group.unit == "item":
        of = max(of, len({row.score.item for row in group.rows}))
    n = None if baseline and found.n == 1 == found.of else found.n
    if group.unit == "item" and found.of == 1:
        n = found.n
    return Number(found.mean, found.half_width, n, of, se, digits=group.digits)


def _signed_mean(group: Group) -> Cell:
    """Of a quantity that is a difference itself, with its sign and a star."""
    found = stats.over(by_unit(group.rows, group.unit, group.column.scale).values())
    return _signed(found, found.of if found else 0, group.digits)


def _above(group: Group) -> Cell:
    """How many of the units are above 0."""
    values = by_unit(group.rows, group.unit).values()
    finite = [value for value in values if math.isfinite(value)]
    return f"{sum(value > 0 for value in finite)} of {len(finite)}"


def difference(group: Group) -> Cell:
    """Mean of the paired differences to the measure."""
    scale = group.column.scale
    first = by_unit(group.rows, group.unit, scale)
    found = stats.paired(first, by_unit(group.base, group.unit, scale))
    return _signed(found, len(first), group.digits)


def _signed(found: stats.Interval | None, of: int, digits: int) -> Number:
    if found is None:
        return Number(None)
    # What the printed digits do not tell from 0 is rounding.
    star = found.excludes_zero() and bool(round(found.mean, digits))
    return Number(*found[:3], of=of, digits=digits, signed=True, star=star)


def _percent(group: Group) -> Cell:
    """Paired difference to the measure, in percent of its mean."""
    first = by_unit(group.rows, group.unit)
    base = by_unit(group.base, group.unit)
    whole = stats.over(base.values())
    if whole is None or not whole.mean:
        return Number(None)
    percent = 100 / whole.mean
    found = stats.paired(
        {unit: percent * value for unit, value in first.items()},
        {unit: percent * value for unit, value in base.items()},
    )
    digits = 1 if group.column.digits is None else group.column.digits
    return _signed(found, len(first), digits)


def middle(rows: Sequence[Row]) -> float | None:
    """Median over the seeds that have it; of a time the median of medians."""
    found = [row.score.value for row in rows]
    return statistics.median(found) if found else None


def _as(form: str) -> Callable[[Group], Cell]:
    def show(group: Group) -> Cell:
        value = middle(group.rows)
        scaled = None if value is None else value * group.column.scale
        return Number(scaled, digits=group.digits, form=form)

    return show


def _fault(group: Group) -> Cell:
    """The most of a run; no cell where there is none, which needs no column."""
    most = max((row.score.value for row in group.rows), default=0.0)
    return Number(most if round(most, group.digits) else None, digits=group.digits)


def _spread(group: Group) -> Cell:
    rows, scale = group.rows, group.column.scale
    ends = []
    for end in ("low", "high"):
        found = [getattr(row.score, end) for row in rows]
        found = [value * scale for value in found if value is not None]
        ends.append(statistics.median(found) if found else None)
    value = middle(rows)
    value = None if value is None else value * scale
    return Number(value, low=ends[0], high=ends[1], form="spread")


def _range(group: Group) -> Cell:
    values = by_unit(group.rows, group.unit, group.column.scale).values()
    found = [value for value in values if math.isfinite(value)]
    if not found:
        return Number(None)
    middle = statistics.median(found)
    return Number(middle, low=min(found), high=max(found), form="range")


def _largest(group: Group) -> Cell:
    found = by_unit(group.rows, group.unit, group.column.scale).values()
    return Number(max(found, default=None), digits=group.digits)


def _examples(group: Group) -> Cell:
    """How many examples are behind a value, or in the batch that was timed."""
    sizes = [float(r.score.n) for r in group.rows if r.score.n is not None]
    return Number(max(sizes, default=None), form="count")


def _interval(group: Group) -> Cell:
    """Of a single seed the ends that came with it, of several their own interval."""
    if len(group.rows) != 1:
        return _mean(group)
    score = group.rows[0].score
    made = _mean(group)
    assert isinstance(made, Number)
    return made._replace(low=score.low, high=score.high, form="interval")


def _rate(rows: Sequence[Row]) -> float | None:
    """Examples a second of a time in ms, by the median of those that were timed."""
    found = [1e3 * (row.score.n or 1) / row.score.value for row in rows]
    return statistics.median(found) if found else None


def _per_second(group: Group) -> Cell:
    rate = _rate(group.rows)
    return Number(None if rate is None else rate * group.column.scale, form="count")


def _faster(group: Group) -> Cell:
    return cells.ratio(_rate(group.rows), _rate(group.base))


def _times(group: Group) -> Cell:
    first, second = (
        stats.over(by_unit(rows, group.unit).values())
        for rows in (group.rows, group.base)
    )
    return cells.ratio(first and first.mean, second and second.mean)


def _setting(group: Group) -> Cell:
    name = group.column.metric
    for row in group.runs:
        value = row.run.settings.get(name)
        # A fact that is a number is another thing: steps of a Glow, or of its training.
        if value is None and isinstance(row.run.facts.get(name), str):
            value = row.run.facts[name]
        if value is not None:
            return setting_text(value)
    return cells.MISSING


SHOWS: dict[str, Callable[[Group], Cell]] = {
    "mean": _mean,
    "signed": _signed_mean,
    "above": _above,
    "count": _as("count"),
    "thousands": _as("thousands"),
    "millions": _as("millions"),
    "number": _as("number"),
    "median": _as("spread"),
    "fault": _fault,
    "spread": _spread,
    "range": _range,
    "interval": _interval,
    "largest": _largest,
    "examples": _examples,
    "rate": _per_second,
    "faster": _faster,
    "times": _times,
    "percent": _percent,
    "setting": _setting,
}


def setting_text(value: Any) -> str:
    """A setting as printed."""
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
