"""The paper's Table 2: time of one batch and size, of teacher and student.

Reference: Walton et al. (2023), Distilling Normalizing Flows, Table 2.
"""

from collections.abc import Sequence

from fdnf.evaluation.core.records import Record
from fdnf.evaluation.tables import cells
from fdnf.evaluation.tables.markup import Table

QUANTITIES = ("Density (ms)", "Sampling (ms)", "Params (K)")


def cost_table(runs: Sequence[Record]) -> Table:
    """Table 2: time of one batch and size, of teacher and plain student.

    Args:
        runs: records; distilled students have the plain one's size and are left out.

    Returns:
        Times in ms as median (p10-p90), each the median over the seeds that
        were timed; parameters in thousands; and the ratios of teacher to student.

    Raises:
        ValueError: no records.
    """
    archs, datasets = cells.axes(runs)
    rows, absent = [], []
    for arch in archs:
        student, teacher = (
            [_column(cells.select(runs, arch, data, method)) for data in datasets]
            for method in ("student", "teacher")
        )
        for label, columns in (("Student", student), ("Teacher", teacher)):
            for i, name in enumerate(QUANTITIES):
                rows.append((arch, label, name, *(column[i][0] for column in columns)))
            absent += _absent(f"{arch} %s {label}", datasets, columns)
        for i, name in enumerate(QUANTITIES):
            ratios = (
                cells.ratio(large[i][1], small[i][1])
                for large, small in zip(teacher, student, strict=True)
            )
            rows.append((arch, "Teacher / Student", name.split(" (")[0], *ratios))
    notes = [
        "Time of one batch: median (10th-90th percentile of the repetitions), median "
        "over the seeds that were timed: of those evaluated together the first. "
        "Density is x to z, sampling z to x. Only times taken on one machine compare."
    ]
    if absent:
        notes.append("Missing: " + "; ".join(absent) + ".")
    header = ("Arch", "Model", "Metric", *datasets)
    return Table("Time and size", header, tuple(rows), tuple(notes))


# Text and number of each quantity.
Column = list[tuple[str, float | None]]


def _column(group: Sequence[Record]) -> Column:
    times = [cells.density(group), cells.sampling(group)]
    found: Column = [(cells.milliseconds(t), t[0] if t else None) for t in times]
    if not group:
        return [*found, (cells.MISSING, None)]
    size = float(group[0].parameters)
    return [*found, (f"{size / 1000:.1f}", size)]


def _absent(name: str, datasets: Sequence[str], columns: Sequence[Column]) -> list[str]:
    notes = []
    for data, column in zip(datasets, columns, strict=True):
        lost = [
            quantity
            for quantity, (_, number) in zip(QUANTITIES, column, strict=True)
            if number is None
        ]
        if len(lost) == len(QUANTITIES):
            notes.append(name % data)
        elif lost:
            notes.append(f"{name % data} {', '.join(lost)}")
    return notes
