"""A table is data: a `View` says what its rows and columns are, `build` makes it.

Every table of the project is a view of the same scores. A new one needs no code.
"""

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

from fdnf.evaluation.core import frame, methods, quantities
from fdnf.evaluation.core.frame import Row
from fdnf.evaluation.core.scores import Result
from fdnf.evaluation.tables import cell as cells
from fdnf.evaluation.tables import columns as shows
from fdnf.evaluation.tables import missing
from fdnf.evaluation.tables.cell import Cell, Number
from fdnf.evaluation.tables.columns import Column, Group
from fdnf.evaluation.tables.table import Table, transpose


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
        items: what items are called.
        least: units that some row has, lest there is no table.
        group: of models that have the fact "group" those have rows that name this in
            it; "" for all.
        against: a method to which means show the difference, paired by unit.
        methods: those that have rows; () for all.
        baselines: whether those have rows, or which of them.
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
    items: str = "items"
    least: int = 1
    group: str = ""
    against: str = ""
    methods: tuple[str, ...] = ()
    baselines: bool | tuple[str, ...] = True
    needs: tuple[str, ...] = ()
    ratio: tuple[str, ...] = ()
    teacher_last: bool = False
    transposed: bool = False
    note: str = ""


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
        chosen = view.baselines
        named = () if isinstance(chosen, bool) else chosen
        return chosen is True or row.run.method in (*named, *view.methods)
    wanted = (*view.methods, view.against, *(c.to for c in view.columns))
    if view.group and view.group not in row.run.facts.get("group", (view.group,)):
        return False
    return not view.methods or row.run.method in wanted


def _table(
    view: View, table: list[Row], results: Sequence[Result], fields: dict[str, Any]
) -> list[Table]:
    index = (*view.index, *(n for n in frame.differing(results) if n not in view.index))
    columns = list(_expanded(view, table, index))
    digits = [_digits(column, table) for _, column, _ in columns]
    rows = []
    for key in _keys(table, index, view.teacher_last):
        where = dict(zip(index, key, strict=True))
        if view.methods and where.get("method") not in (None, *view.methods):
            continue
        if view.against and where.get("method") == view.against:
            continue
        row = _row(view, table, where, columns, digits)
        if any(isinstance(c, Number) and c.value is not None for c in row):
            rows.append((*_heads(table, where), *row))
    rows += _ratios(view, table, index, columns) if rows else []
    counts = [c.n or 0 for row in rows for c in row if isinstance(c, Number)]
    if not rows or max(counts) < view.least > 1:
        return []
    filled = [
        i
        for i in range(len(columns))
        if _is_filled([row[len(index) + i] for row in rows], columns[i][1])
    ]
    header = (*(_head(name) for name in index), *(columns[i][0] for i in filled))
    kept = tuple(
        (*row[: len(index)], *(row[len(index) + i] for i in filled)) for row in rows
    )
    shown = [columns[i][1] for i in filled]
    notes = (*_notes(view, kept, shown, table), *missing.notes(results, table))
    made = Table(view.title.format(**fields), header, kept, notes)
    return [transpose(made, len(index)) if view.transposed else made]


def _is_filled(shown: Sequence[Cell], column: Column) -> bool:
    values = [c.value if isinstance(c, Number) else c for c in shown]
    if not column.idle:
        return any(value not in (None, 0.0, "", cells.MISSING) for value in values)
    return any(value not in (None, "", cells.MISSING) for value in values)


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
                # One that is shown where it is idle, and again where it is not.
                if not any(
                    made._replace(idle=True) == o[1] for o in found if extra == o[2]
                ):
                    found.append((label, made, extra))
    return found


def _variants(
    column: Column, scores: Sequence[Row], index: Sequence[str]
) -> list[Column]:
    made = [column]
    for name in ("split", "given", "features"):
        asked = getattr(column, name)
        if name in index or (asked is not None and not asked.endswith("*")):
            continue
        start = (asked or "*")[:-1]
        there = [v for v in frame.values(scores, name) if v.startswith(start)]
        there = there or [asked]
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
    networks = quantities.short(row.score.features for row in scores)
    if column.features is None and made.features:
        if not column.label or len(networks) > 2:  # "" is one of them.
            words.append(networks[made.features])
    if made.given and made.given != column.given:
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


def _digits(column: Column, table: Sequence[Row]) -> int:
    """Decimals of a column; three digits of the typical value where nobody asks."""
    for asked in (column.digits, quantities.of(column.metric).digits):
        if asked is not None:
            return asked
    sizes = [abs(row.score.value) * column.scale for row in _of(column, table)]
    return cells.decimals(sizes)


def _row(
    view: View,
    table: Sequence[Row],
    where: dict[str, Any],
    columns: Sequence[_Made],
    digits: Sequence[int],
) -> list[Cell]:
    exact = table
    for name, value in where.items():
        exact = [row for row in exact if row.field(name) == value]
    found = []
    for (_, column, extra), decimals in zip(columns, digits, strict=True):
        runs = frame.where(exact, **extra)
        rows = _of(column, runs)
        measure = view.against or column.to
        base = _base(table, where | extra, column, measure) if measure else []
        group = Group(rows, base, runs, column, view.unit, decimals)
        show = shows.SHOWS[column.show]
        if view.against and column.show == "mean":
            show = shows.difference
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
    if column.base or column.base_given is not None:
        column = column._replace(given=column.base_given)
    rows = _of(column, [r for r in table if r.run.method == method], metric)
    # What the measure has not, such as a weight of distillation, sets nothing apart.
    own = {name for name in where if any(row.field(name) is not None for row in rows)}
    for names in (own - {"method"}, where.keys() & {"data", "split", "given"}):
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
                    shows.middle(_of(column, frame.where(part, **extra)))
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
            found.append("" if value is None else shows.setting_text(value))
    return found


def _head(name: str) -> str:
    names = {"arch": "Arch", "method": "Model", "data": "Data", "split": "Split"}
    names["given"] = ""  # What each row says in words.
    return names.get(name, name)


def _notes(
    view: View,
    rows: Sequence[tuple[Cell, ...]],
    columns: Sequence[Column],
    table: Sequence[Row],
) -> list[str]:
    numbers = [c for row in rows for c in row if isinstance(c, Number)]
    found = [view.note] if view.note else []
    most = max((number.of or 0 for number in numbers), default=0)
    unit = "seeds" if view.unit == "seed" else f"{most} {view.items}"
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
        f"{short[i]}: over the features {i}." for i in sorted(ids) if short[i] != i
    ]
    return found
