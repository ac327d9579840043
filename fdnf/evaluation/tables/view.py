"""A table is data: a `View` says what its rows and columns are, `build` makes it.

Every table of the project is a view of the same scores. A new one needs no code.
"""

import itertools
import statistics
from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

from fdnf.evaluation.core import frame, methods, quantities, stats
from fdnf.evaluation.core.frame import Row
from fdnf.evaluation.core.scores import Result
from fdnf.evaluation.tables import cell as cells
from fdnf.evaluation.tables import missing
from fdnf.evaluation.tables.cell import Cell, Number
from fdnf.evaluation.tables.table import Table, transpose


class Column(NamedTuple):
    """What a column shows.

    Attributes:
        metric: a key of `quantities.QUANTITIES`, or the name of a setting or a fact.
        split: of the scores; None makes a column for each that there is.
        given: condition of the scores; likewise.
        features: of the scores; likewise.
        show: how a cell is made of the scores of its row, a key of `SHOWS`.
        label: above it; "" takes the quantity's.
        digits: decimals; None takes the quantity's.
        scale: what values are multiplied by.
        to: of a ratio, the method that is the measure.
        base: of a ratio, that method's metric; "" the same one.
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


class View(NamedTuple):
    """A table of scores.

    Attributes:
        title: may name fields of `each` in braces: "{arch} on {data}".
        columns: what is shown; those without any score are left out.
        index: what makes a row: fields of runs and of scores, settings, facts.
        each: there is a table for each value of these fields.
        spread: a field of whose values each has the columns: the data sets of a table.
        unit: "seed" or "item": what means and intervals are over. Over items, the mean
            over seeds is taken first.
        against: a method to which cells show the difference, paired by unit.
        methods: those that have rows; () for all.
        baselines: whether those have rows.
        needs: metrics of which one must be there; () for one of the columns'.
        ratio: two methods of which the first over the second is a row.
        teacher_last: whether the teacher is the last row, not the first.
        transposed: whether rows stand side by side.
        note: what is to be said of it, a static text.
    """

    title: str
    columns: tuple[Column, ...]
    index: tuple[str, ...] = ("method",)
    each: tuple[str, ...] = ("data",)
    spread: str = ""
    unit: str = "seed"
    against: str = ""
    methods: tuple[str, ...] = ()
    baselines: bool = True
    needs: tuple[str, ...] = ()
    ratio: tuple[str, ...] = ()
    teacher_last: bool = False
    transposed: bool = False
    note: str = ""


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


def build(view: View, results: Sequence[Result]) -> list[Table]:
    """The tables of a view; none where there is nothing to show.

    Settings in which runs of one method differ are columns at the left.
    """
    table = [row for row in frame.rows(results) if _shown(view, row)]
    needed = view.needs or tuple(column.metric for column in view.columns)
    found = []
    keys = [frame.values([r for r in table if r.field(n)], n) for n in view.each]
    for key in itertools.product(*keys):
        fields = dict(zip(view.each, key, strict=True))
        part = frame.where(table, **fields)
        models = [row for row in part if not methods.is_baseline(row.run)]
        if any(row.score.metric in needed for row in models or part):
            runs = {id(row.run) for row in part}
            chosen = [result for result in results if id(result.run) in runs]
            found += _table(view, part, chosen, fields)
    return found


def page(views: Sequence[View], results: Sequence[Result]) -> list[Table]:
    """The tables of several views; what two of them note stands below the first."""
    said: set[str] = set()
    found = []
    for table in (made for view in views for made in build(view, results)):
        notes = tuple(note for note in table.notes if note not in said)
        said |= {*notes}
        found.append(table._replace(notes=notes))
    return found


def _shown(view: View, row: Row) -> bool:
    if methods.is_baseline(row.run):
        # One that is named is shown whatever the rule.
        return view.baselines or row.run.method in view.methods
    wanted = (*view.methods, view.against, *(c.to for c in view.columns))
    return not view.methods or row.run.method in wanted


def _table(
    view: View, table: list[Row], results: Sequence[Result], fields: dict[str, Any]
) -> list[Table]:
    index = (*view.index, *(n for n in frame.differing(results) if n not in view.index))
    columns = list(_expanded(view, table, index))
    rows = []
    for key in _keys(table, index, view.teacher_last):
        where = dict(zip(index, key, strict=True))
        if view.methods and where.get("method") not in (None, *view.methods):
            continue
        if view.against and where.get("method") == view.against:
            continue
        row = _row(view, table, where, columns)
        if any(isinstance(c, Number) and c.value is not None for c in row):
            rows.append((*_heads(table, where), *row))
    rows += _ratios(view, table, index, columns) if rows else []
    if not rows:
        return []
    filled = [
        i
        for i in range(len(columns))
        if any(row[len(index) + i] not in ("", cells.MISSING) for row in rows)
        and any(
            not isinstance(c := row[len(index) + i], Number) or c.value is not None
            for row in rows
        )
    ]
    header = (*(_head(name) for name in index), *(columns[i][0] for i in filled))
    kept = tuple(
        (*row[: len(index)], *(row[len(index) + i] for i in filled)) for row in rows
    )
    shown = [columns[i][1] for i in filled]
    notes = (*_notes(view, kept, shown, table), *missing.notes(results, table))
    made = Table(view.title.format(**fields), header, kept, notes)
    return [transpose(made, len(index)) if view.transposed else made]


# A heading, its column with nothing left open, and further fields of its scores.
_Made = tuple[str, Column, dict[str, Any]]


def _expanded(view: View, table: Sequence[Row], index: Sequence[str]) -> list[_Made]:
    """The columns with one for each split, condition and feature that there is."""
    spreads = frame.values(table, view.spread) if view.spread else [None]
    found = []
    for value in spreads:
        part = frame.where(table, **{view.spread: value}) if view.spread else table
        for column in view.columns:
            scores = [row for row in part if row.score.metric == column.metric]
            for made in _variants(column, scores, index):
                label = _label(column, made, scores, index)
                if view.spread:
                    several = len(view.columns) > 1
                    label = f"{value} {label}" if several else str(value)
                extra = {view.spread: value} if view.spread else {}
                found.append((label, made, extra))
    return found


def _variants(
    column: Column, scores: Sequence[Row], index: Sequence[str]
) -> list[Column]:
    made = [column]
    for name in ("split", "given", "features"):
        if getattr(column, name) is None and name not in index:
            there = frame.values(scores, name) or [None]
            made = [each._replace(**{name: value}) for value in there for each in made]
    return made


def _label(
    column: Column, made: Column, scores: Sequence[Row], index: Sequence[str]
) -> str:
    quantity = quantities.of(column.metric)
    words = [column.label or quantity.label]
    several = len({row.score.split for row in scores}) > 1
    if column.split is None and made.split and several and "split" not in index:
        words.insert(0, quantities.SPLITS.get(made.split, made.split))
    if column.features is None and made.features:
        words.append(quantities.short(r.score.features for r in scores)[made.features])
    if column.given is None and made.given:
        words.append(quantities.condition(made.given))
    text = " ".join(words)
    if quantity.unit and not column.label:
        text += f" ({quantity.unit})"
    plain = column.show in ("setting", "thousands", "millions", "count", "spread")
    return text if plain or column.label else text + quantity.arrow


def _keys(
    table: Sequence[Row], index: Sequence[str], teacher_last: bool
) -> list[tuple[Any, ...]]:
    """The rows that there are, in the order of their fields' values."""
    places = []
    for name in index:
        found = frame.values(table, name, teacher_last and name == "method")
        places.append({value: i for i, value in enumerate(found)})
    there = dict.fromkeys(tuple(row.field(n) for n in index) for row in table)
    return sorted(
        there, key=lambda key: [at[v] for at, v in zip(places, key, strict=True)]
    )


def _row(
    view: View, table: Sequence[Row], where: dict[str, Any], columns: Sequence[_Made]
) -> list[Cell]:
    exact = [r for r in table if all(r.field(k) == v for k, v in where.items())]
    found = []
    for _, column, extra in columns:
        runs = frame.where(exact, **extra)
        rows = _of(column, runs)
        measure = view.against or column.to
        base = _base(table, where | extra, column, measure) if measure else []
        scale = [abs(row.score.value) * column.scale for row in _of(column, table)]
        digits = column.digits
        if digits is None:
            digits = quantities.of(column.metric).digits
        if digits is None:
            digits = cells.decimals(scale)
        group = Group(rows, base, runs, column, view.unit, digits)
        show = _difference if view.against else SHOWS[column.show]
        found.append(show(group))
    return found


def _of(column: Column, table: Sequence[Row], metric: str = "") -> list[Row]:
    open_ = {
        name: value
        for name in ("split", "given", "features")
        if (value := getattr(column, name)) is not None
    }
    return frame.where(table, metric=metric or column.metric, **open_)


def _base(
    table: Sequence[Row], where: dict[str, Any], column: Column, method: str
) -> list[Row]:
    """Scores of the measure: of the same row, or else of all of that method."""
    metric = column.base or column.metric
    column = column._replace(given=None) if column.base else column
    rows = _of(column, [r for r in table if r.run.method == method], metric)
    for names in (where.keys() - {"method"}, where.keys() & {"data", "split", "given"}):
        near = frame.where(rows, **{name: where[name] for name in names})
        if near:
            return near
    return []


def _ratios(
    view: View, table: Sequence[Row], index: Sequence[str], columns: Sequence[_Made]
) -> list[tuple[Cell, ...]]:
    """A row of ratios for each place at which both methods stand."""
    if not view.ratio:
        return []
    label = " / ".join(map(methods.label, view.ratio))
    others = [name for name in view.index if name != "method"]
    found = []
    for key in _keys(
        [r for r in table if not methods.is_baseline(r.run)], others, False
    ):
        place = dict(zip(others, key, strict=True))
        sides = []
        for method in view.ratio:
            part = frame.where(table, **place, method=method)
            sides.append(
                [
                    _middle(_of(column, frame.where(part, **extra)))
                    if column.show != "setting"
                    else None
                    for _, column, extra in columns
                ]
            )
        ratios = [cells.ratio(*pair) for pair in zip(*sides, strict=True)]
        if any(ratio.value is not None for ratio in ratios):
            heads = [label if n == "method" else str(place.get(n, "")) for n in index]
            blank = [r if r.value is not None else "" for r in ratios]
            found.append((*heads, *blank))
    return found


def _heads(table: Sequence[Row], where: dict[str, Any]) -> list[str]:
    found = []
    for name, value in where.items():
        if name == "method":
            runs = [row.run for row in table if row.run.method == value]
            found.append(methods.label(runs[0]))
        elif name == "given":
            found.append(quantities.condition(value))
        elif name == "split":
            found.append(quantities.SPLITS.get(value, value))
        else:
            found.append("" if value is None else _setting_text(value))
    return found


def _head(name: str) -> str:
    names = {"arch": "Arch", "method": "Model", "data": "Data", "split": "Split"}
    return names.get(name, name)


def _setting_text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


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


def _difference(group: Group) -> Cell:
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


def _middle(rows: Sequence[Row]) -> float | None:
    """Median over the seeds that have it; of a time the median of medians."""
    found = [row.score.value for row in rows]
    return statistics.median(found) if found else None


def _as(form: str) -> Callable[[Group], Cell]:
    def show(group: Group) -> Cell:
        value = _middle(group.rows)
        scaled = None if value is None else value * group.column.scale
        return Number(scaled, digits=group.digits, form=form)

    return show


def _spread(group: Group) -> Cell:
    rows, scale = group.rows, group.column.scale
    ends = []
    for end in ("low", "high"):
        found = [getattr(row.score, end) for row in rows]
        found = [value * scale for value in found if value is not None]
        ends.append(statistics.median(found) if found else None)
    value = _middle(rows)
    value = None if value is None else value * scale
    return Number(value, low=ends[0], high=ends[1], form="spread")


def _range(group: Group) -> Cell:
    found = list(by_unit(group.rows, group.unit, group.column.scale).values())
    if not found:
        return Number(None)
    middle = statistics.median(found)
    return Number(middle, low=min(found), high=max(found), form="range")


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
        if name in row.run.settings or name in row.run.facts:
            return _setting_text(row.run.settings.get(name, row.run.facts.get(name)))
    return cells.MISSING


SHOWS: dict[str, Callable[[Group], Cell]] = {
    "mean": _mean,
    "count": _as("count"),
    "thousands": _as("thousands"),
    "millions": _as("millions"),
    "number": _as("number"),
    "spread": _spread,
    "range": _range,
    "interval": _interval,
    "rate": _per_second,
    "faster": _faster,
    "times": _times,
    "percent": _percent,
    "setting": _setting,
}


def _notes(
    view: View,
    rows: Sequence[tuple[Cell, ...]],
    columns: Sequence[Column],
    table: Sequence[Row],
) -> list[str]:
    numbers = [c for row in rows for c in row if isinstance(c, Number)]
    found = [view.note] if view.note else []
    unit = "seeds" if view.unit == "seed" else "items"
    if view.against:
        found.append(
            f"Difference to {methods.label(view.against)}, paired by {view.unit}; * "
            "marks an interval without zero."
        )
    if any(number.half_width is not None or number.n == 1 for number in numbers):
        found.append(
            f"± is the half-width of the 95 % Student-t interval over {unit}, n=1 a "
            "single one."
        )
    if any(number.se is not None for number in numbers):
        found.append("se is the standard error over examples, the mean over seeds.")
    arrows = {quantities.of(c.metric).arrow for c in columns if c.show != "setting"}
    words = {" ↑": "↑ higher is better", " ↓": "↓ lower is better"}
    said = [words[arrow] for arrow in sorted(arrows - {""})]
    if said and not all(c.label for c in columns):
        found.append(f"{', '.join(said)}.".capitalize())
    legends = (quantities.of(column.metric).legend for column in columns)
    found += [legend for legend in dict.fromkeys(legends) if legend]
    ids = {c.features for c in columns if c.features}
    short = quantities.short(row.score.features for row in table)
    found += [
        f"{short[i]}: over the features {i}. Its Frechet distance (FD) is not FID and "
        "compares with no published FID."
        for i in sorted(ids)
    ]
    return found
