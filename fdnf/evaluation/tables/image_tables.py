"""The paper's tables of flows on images, from run records.

Reference: Walton et al. (2023), Distilling Normalizing Flows, Tables 4, 5 and 6.
"""

from collections.abc import Callable, Sequence

from fdnf.evaluation.core.records import Record
from fdnf.evaluation.tables import cells, markup, quantities
from fdnf.evaluation.tables.markup import Table
from fdnf.evaluation.tables.quantities import Column

# What the paper ran on images; a table says where one of them is missing.
METHODS = ("student", "ilkd", "teacher")
FLOOR = "Real images"


def papers_tables(runs: Sequence[Record]) -> list[Table]:
    """Tables 4, 5 and, where interpolations were scored, 6."""
    if not runs:
        return []
    found = [quality_table(runs), size_table(runs)]
    scored = [c for c in quantities.metrics(runs) if _is_interpolation(c)]
    return [*found, interpolation_table(runs)] if scored else found


def quality_table(runs: Sequence[Record], split: str = "test") -> Table:
    """Table 4: bits per dimension and Frechet distance, by method and data set.

    Args:
        runs: records of images.
        split: of the bits per dimension.

    Returns:
        Mean and 95 % interval over seeds, lower is better, and a row of the distance
        between two sets of real images.
    """
    fit = Column("bits/dim", cells.bits(split))
    usual = [c for c in _frechet(runs) if not quantities.parse(c.metric).condition]
    title = f"{cells.SPLITS.get(split, split)} bits per dimension and Frechet distance"
    lead = (
        "Lower is better; ± is the half-width of the 95 % Student-t interval over "
        "seeds, n=1 a single seed."
    )
    return _by_method(runs, [fit, *usual], title, [lead, *cells.taken(runs)], split)


def interpolation_table(runs: Sequence[Record]) -> Table:
    """Table 6: Frechet distance of decoded interpolations, by temperature."""
    found = [c for c in _frechet(runs) if _is_interpolation(c)]
    lead = (
        "Frechet distance of images decoded between the top latents of two real "
        "images (eq. 16), the other latents drawn at the temperature; lower is "
        "better; ± is the half-width of the 95 % interval over seeds."
    )
    title = "Frechet distance of interpolations in the latent space"
    return _by_method(runs, found, title, [lead], "test")


def size_table(runs: Sequence[Record]) -> Table:
    """Table 5: levels, steps, width and size, with time and memory of one batch."""
    archs, datasets = cells.axes(runs)
    rows, absent = [], []
    for arch in archs:
        for data in datasets:
            sizes = {
                method: cells.select(runs, arch, data, method)
                for method in ("student", "teacher")
            }
            for method, group in sizes.items():
                name = cells.METHODS[method]
                if group:
                    rows.append((arch, data, name, *(f(group) for f in _SIZE.values())))
                else:
                    absent.append(f"{arch} {data} {name}")
            if all(sizes.values()):
                rows.append((arch, data, "Teacher / Student", *_ratios(sizes)))
    batches = {r.time_batch for r in runs if r.time_batch}
    notes = [
        "L levels of K steps each; the paper's Table 5 prints K under Levels and L "
        "under Depth. Distilled students have the plain one's size.",
        "Times and memory of one batch"
        + (f" of {cells.listed(batches)} images" if batches else "")
        + ": median (10th-90th percentile), and the peak of arguments, results and "
        "temporaries in XLA's plan. Density is x to z, sampling z to x. Only numbers "
        "of one machine compare.",
    ]
    notes += ["Missing: " + "; ".join(absent) + "."] if absent else []
    header = ("Arch", "Data", "Model", *_SIZE)
    return Table("Architecture, size and cost", header, tuple(rows), tuple(notes))


def sample_table(runs: Sequence[Record]) -> Table:
    """Scores of samples alone, of models with and without a likelihood.

    Args:
        runs: records of one data set, of any architectures; those of the teacher
            first.
    """
    columns = quantities.metrics(runs)
    order = dict.fromkeys(run.method for run in runs)
    rows = []
    for method in sorted(order, key=lambda name: name != "teacher"):
        group = [run for run in runs if run.method == method]
        found = (cells.over_seeds(group, c.read, c.digits, c.spread) for c in columns)
        name = cells.METHODS.get(method, method)
        rows.append((group[0].arch, name, f"{group[0].parameters:,}", *found))
    floors = [_floor(runs, column) for column in columns]
    rows.append(("", FLOOR, "", *floors))
    notes = [
        quantities.directions(columns),
        "± is the half-width of the 95 % interval over seeds, n=1 a single seed.",
        f"{FLOOR}: what further real images score in place of samples.",
        *quantities.features(runs, columns),
        *cells.skipped(runs),
        *cells.sources(runs),
    ]
    header = ("Arch", "Model", "Params", *(column.name for column in columns))
    return Table("Samples against images", header, tuple(rows), tuple(notes))


def beside_floor(
    table: Table, runs: Sequence[Record], columns: Sequence[Column]
) -> Table:
    """A comparison on its side, with the scores of real images as its last column."""
    if not any(run.floors for run in runs):
        return markup.transpose(table)
    cells_of = {column.name: _floor(runs, column) for column in columns}
    row = (FLOOR, *(cells_of.get(name, cells.MISSING) for name in table.header[1:]))
    note = f"{FLOOR}: what further real images score in place of samples."
    table = table._replace(rows=(*table.rows, row), notes=(*table.notes, note))
    return markup.transpose(table)


def _by_method(
    runs: Sequence[Record],
    columns: Sequence[Column],
    title: str,
    leads: Sequence[str],
    split: str,
) -> Table:
    archs, datasets = cells.axes(runs)
    places = [
        (data, column)
        for data in datasets
        for column in columns
        if any(column.read(run) is not None for run in runs if run.data == data)
    ]
    ran = {run.method for run in runs}
    wanted = [m for m in cells.methods(runs) if m in ran or m in METHODS]
    rows = [
        (
            arch,
            cells.METHODS.get(method, method),
            *(
                cells.over_seeds(
                    cells.select(runs, arch, data, method), column.read, column.digits
                )
                for data, column in places
            ),
        )
        for arch in archs
        for method in wanted
    ]
    if any(run.floors for run in runs):
        floors = (
            _floor([r for r in runs if r.data == data], column)
            for data, column in places
        )
        rows.append(("", FLOOR, *floors))
    notes = [*leads, *quantities.features(runs, columns)]
    notes += cells.missing(runs, archs, datasets, split, wanted)
    notes += cells.skipped(runs) + cells.sources(runs)
    header = ("Arch", "Model", *(f"{data} {column.name}" for data, column in places))
    return Table(title, header, tuple(rows), tuple(notes))


def _floor(runs: Sequence[Record], column: Column) -> str:
    if not column.metric:
        return cells.MISSING
    found = {run.floors[column.metric] for run in runs if column.metric in run.floors}
    if not found:
        return cells.MISSING
    # All runs of a workdir have one floor; those of several may differ.
    ends = dict.fromkeys(f"{end(found):.{column.digits}f}" for end in (min, max))
    return "-".join(ends)


def _frechet(runs: Sequence[Record]) -> list[Column]:
    return [
        column
        for column in quantities.metrics(runs)
        if quantities.parse(column.metric).kind in quantities.FRECHET
    ]


def _is_interpolation(column: Column) -> bool:
    return quantities.parse(column.metric).condition.startswith(
        quantities.INTERPOLATION
    )


def _setting(name: str) -> Callable[[Sequence[Record]], str]:
    def read(group: Sequence[Record]) -> str:
        value = group[0].settings.get(name, cells.MISSING)
        return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)

    return read


def _millions(group: Sequence[Record]) -> str:
    count = group[0].parameters
    return f"{count / 1e6:.1f} M" if count >= 1e6 else f"{count / 1e3:.1f} K"


def _mib(name: str) -> Callable[[Sequence[Record]], str]:
    def read(group: Sequence[Record]) -> str:
        value = cells.first(group, name)
        return cells.MISSING if value is None else f"{value:,.1f}"

    return read


_SIZE: dict[str, Callable[[Sequence[Record]], str]] = {
    "Levels (L)": _setting("levels"),
    "Steps (K)": _setting("steps"),
    "Hidden": _setting("hidden"),
    "Params": _millions,
    "Density (ms)": lambda group: cells.milliseconds(cells.density(group)),
    "Sampling (ms)": lambda group: cells.milliseconds(cells.sampling(group)),
    "Density (MiB)": _mib("density_mib"),
    "Sampling (MiB)": _mib("sampling_mib"),
}


def _ratios(sizes: dict[str, list[Record]]) -> tuple[str, ...]:
    def numbers(group: Sequence[Record]) -> list[float | None]:
        times = [cells.density(group), cells.sampling(group)]
        return [
            float(group[0].parameters),
            *(time[0] if time else None for time in times),
            cells.first(group, "density_mib"),
            cells.first(group, "sampling_mib"),
        ]

    student, teacher = numbers(sizes["student"]), numbers(sizes["teacher"])
    found = (cells.ratio(t, s) for t, s in zip(teacher, student, strict=True))
    return ("", "", "", *found)
