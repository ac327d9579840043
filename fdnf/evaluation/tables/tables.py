"""The paper's tables from run records.

Reference: Walton et al. (2023), Distilling Normalizing Flows, Tables 1, 2, 4, 5, 6.
"""

import math
import pathlib
from collections.abc import Sequence

from fdnf import files
from fdnf.evaluation.core import records
from fdnf.evaluation.core.records import Record
from fdnf.evaluation.tables import cells, costs, image_tables, markup, quantities
from fdnf.evaluation.tables.cells import Asked
from fdnf.evaluation.tables.markup import Table

read_records = records.read_records
cost_table = costs.cost_table


def likelihood_table(
    runs: Sequence[Record], split: str = "test", asked: Sequence[Asked] | None = None
) -> Table:
    """Table 1: log-likelihood in nats by architecture, method and data set.

    Args:
        runs: records; a method of the paper without one gives a dash and a note.
        split: "test" or "val".
        asked: of a sweep, the runs that are missing; its methods are then the rows.

    Returns:
        Mean and 95 % interval over seeds; higher is better.
    """
    wanted = [*runs, *(asked or ())]
    archs, datasets = cells.axes(wanted)
    methods = cells.methods(runs) if asked is None else cells.ran(wanted)
    present = {(run.arch, run.method) for run in wanted}
    read = cells.likelihood(split)
    rows = [
        (
            arch,
            cells.METHODS.get(method, method),
            *(
                cells.over_seeds(cells.select(runs, arch, data, method), read)
                for data in datasets
            ),
        )
        for arch in archs
        for method in methods
        if asked is None or (arch, method) in present
    ]
    notes = [
        "Mean log-likelihood in nats, higher is better; ± is the half-width of the "
        "95 % Student-t interval over seeds, n=1 a single seed."
    ]
    errors = [e for e in map(cells.error(split), runs) if e and math.isfinite(e)]
    if errors:
        ends = " to ".join(dict.fromkeys(f"{end(errors):.3f}" for end in (min, max)))
        notes.append(f"Standard error over the examples of one run: {ends} nats.")
    notes += cells.missing(runs, archs, datasets, split, methods, asked)
    notes += cells.skipped(runs) + cells.sources(runs)
    title = f"{cells.SPLITS.get(split, split)} log-likelihood (nats)"
    return Table(title, ("Arch", "Model", *datasets), tuple(rows), tuple(notes))


def comparison(
    runs: Sequence[Record], arch: str, data: str, asked: Sequence[Asked] | None = None
) -> Table:
    """Teacher, plain student and distilled students of one study side by side.

    Args:
        runs: records, of which those of `arch` and `data` are shown.
        arch: architecture.
        data: data set.
        asked: of a sweep, the runs that are missing.

    Returns:
        One row a method that was run, the teacher first.

    Raises:
        ValueError: no record of `arch` and `data`.
    """
    chosen = [run for run in runs if (run.arch, run.data) == (arch, data)]
    if not chosen:
        pairs = sorted({(run.arch, run.data) for run in runs})
        raise ValueError(f"no record of {arch} on {data}: there are {pairs}")
    columns = quantities.columns(chosen)
    names = (column.name for column in columns)
    header = ("Model", *names, "Params", "Density (ms)", "Sampling (ms)")
    rows = []
    for method in ("teacher", *cells.methods(chosen)[:-1]):
        group = cells.select(chosen, arch, data, method)
        if not group:
            continue
        rows.append(
            (
                cells.METHODS.get(method, method),
                *(
                    cells.over_seeds(group, column.read, column.digits, column.spread)
                    for column in columns
                ),
                f"{group[0].parameters:,}",
                cells.milliseconds(cells.density(group)),
                cells.milliseconds(cells.sampling(group)),
            )
        )
    notes = _comparison_notes(chosen, columns)
    notes.append("Times: one batch, median (10th-90th percentile).")
    ran = cells.ran([*chosen, *(asked or ())])
    lost = [
        note.replace(f"{arch} {data} ", "")
        for split in cells.SPLITS
        for note in cells.missing(chosen, [arch], [data], split, ran, asked)
    ]
    unmeasured = [
        f"{row[0]} {name}"
        for row in rows
        for name, cell in list(zip(header, row, strict=True))[1 + len(cells.SPLITS) :]
        if cell == cells.MISSING
    ]
    if unmeasured:
        lost.append("Not measured: " + "; ".join(unmeasured) + ".")
    notes += lost + cells.skipped(chosen) + cells.sources(chosen)
    table = Table(f"{arch} on {data}", header, tuple(rows), tuple(notes))
    return (
        image_tables.beside_floor(table, chosen, columns) if _images(chosen) else table
    )


def paired_differences(runs: Sequence[Record]) -> Table:
    """Each method minus the plain student, paired by seed.

    Args:
        runs: records of any number of architectures and data sets.

    Returns:
        Mean difference and 95 % interval; a star marks an interval without zero.
    """
    archs, datasets = cells.axes(runs)
    columns = quantities.columns(runs)
    rows = []
    notes = [
        "Difference to the plain student of the same seed, mean ± half-width of the "
        "95 % interval; * marks an interval without zero. " + _better(runs, columns)
    ]
    for arch, data in ((a, d) for a in archs for d in datasets):
        plain = cells.select(runs, arch, data, "student")
        for method in cells.methods(runs)[1:]:
            group = cells.select(runs, arch, data, method)
            shared = {r.seed for r in group} & {r.seed for r in plain}
            if not shared:
                continue
            name = cells.METHODS.get(method, method)
            found = [cells.difference(group, plain, c.read, c.digits) for c in columns]
            rows.append((arch, data, name, *found, cells.listed(shared)))
            taken, baseline = ({r.steps for r in g} for g in (group, plain))
            if method != "teacher" and taken != baseline:
                notes.append(
                    f"Unequal training: {arch} {data} {name} took "
                    f"{cells.listed(taken)} steps, the plain student "
                    f"{cells.listed(baseline)}."
                )
    header = ("Arch", "Data", "Model", *(column.name for column in columns), "Seeds")
    title = "Difference to the plain student"
    table = Table(title, header, tuple(rows), tuple(notes))
    return markup.transpose(table, heads=3) if _images(runs) else table


def every_table(
    runs: Sequence[Record], asked: Sequence[Asked] | None = None
) -> list[Table]:
    """The comparisons, the differences, and the paper's tables.

    Those are 1 (test, validation) and 2 of vectors, and 4, 5 and 6 of images. Table 1
    stands only where some study ran all of the paper's methods, or the runs span
    several studies: of a single run of two methods it would be mostly dashes. Of
    several studies it comes first.

    Args:
        runs: records.
        asked: of a sweep, the runs that are missing.
    """
    vectors = [run for run in runs if not run.bits_per_dim]
    images = [run for run in runs if run.bits_per_dim]
    pairs = sorted({(run.arch, run.data) for run in vectors})
    whole = len(pairs) > 1 or {run.method for run in vectors} >= set(cells.METHODS)
    papers = []
    if vectors:
        papers = [likelihood_table(vectors, s, asked) for s in cells.SPLITS if whole]
        costly = any(run.method in ("student", "teacher") for run in vectors)
        papers += [cost_table(vectors)] if costly or asked is None else []
    studies = _studies(vectors, asked)
    found = papers + studies if len(pairs) > 1 else studies + papers
    pictured = _studies(images, asked), image_tables.papers_tables(images)
    several = len({(run.arch, run.data) for run in images}) > 1
    for part in reversed(pictured) if several else pictured:
        found += part
    return found


def write(workdir: str | pathlib.Path, latex: bool = False) -> str:
    """Write the tables of every `result.json` under a directory to its `table.md`.

    Args:
        workdir: the directory.
        latex: write `table.tex` as well.

    Returns:
        The Markdown.

    Raises:
        FileNotFoundError: no such directory, or no result in it.
        ValueError: a file that is not a record, or a record twice.
        OSError: the directory cannot be written to.
    """
    found = every_table(records.read_records(workdir))
    text = "\n".join(markup.to_markdown(table) for table in found)
    folder = pathlib.Path(workdir)
    files.write_text(folder / "table.md", text)
    if latex:
        tex = "\n".join(markup.to_latex(table) for table in found)
        files.write_text(folder / "table.tex", tex)
    return text


def _images(runs: Sequence[Record]) -> bool:
    return any(run.bits_per_dim for run in runs)


def _studies(
    runs: Sequence[Record], asked: Sequence[Asked] | None = None
) -> list[Table]:
    pairs = sorted({(run.arch, run.data) for run in runs})
    differences = paired_differences(runs) if runs else None
    return [
        *(comparison(runs, arch, data, asked) for arch, data in pairs),
        *([differences] if differences and differences.rows else []),
    ]


def _comparison_notes(
    runs: Sequence[Record], columns: Sequence[quantities.Column]
) -> list[str]:
    spread = (
        "se is the standard error over examples; ± is the half-width of the 95 % "
        "interval over seeds, n=1 a single seed."
    )
    metrics = [column for column in columns if column.metric]
    if _images(runs):
        notes = [f"Bits/dim: lower is better, {spread}"]
        if metrics:
            notes.append(quantities.directions(metrics))
            notes.append(
                "Exploded samples: not finite, or beyond 3 times the range of the data "
                "before they were cut to grey levels. Those not finite are not scored."
            )
        return notes + cells.taken(runs) + quantities.features(runs, metrics)
    notes = [f"Log-likelihood: higher is better, {spread}"]
    if metrics:
        notes.append(
            "Distances of samples to data: lower is better; exploded samples (beyond 3 "
            "times the largest value of the training rows) are left out of them."
        )
    return notes


def _better(runs: Sequence[Record], columns: Sequence[quantities.Column]) -> str:
    if not _images(runs):
        return (
            "Better is above zero for log-likelihood and below zero for distances of "
            "samples."
        )
    kinds = {quantities.parse(c.metric).kind for c in columns if c.higher}
    above = [
        quantities.METRICS[kind].lower() for kind in quantities.HIGHER if kind in kinds
    ]
    if not above:
        return "Better is below zero."
    return f"Better is below zero, but above zero for {', '.join(above)}."
