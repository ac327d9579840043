"""Tables of what became of a teacher's density, over methods and seeds."""

from collections.abc import Callable, Sequence

from fdnf.evaluation.core.transfer_records import (
    DATA,
    TEACHER,
    Milliseconds,
    Record,
    Speed,
)
from fdnf.evaluation.tables import cells, markup, transfer_cells
from fdnf.evaluation.tables.markup import Table
from fdnf.evaluation.tables.transfer_cells import Estimated, Read


def page(records: Sequence[Record]) -> str:
    """All tables as Markdown.

    Args:
        records: of one data set, over methods and seeds; those of TEACHER and DATA
            are the floors.

    Raises:
        ValueError: no record, or records of several data sets.
    """
    names = sorted({record.data for record in records})
    if len(names) != 1:
        raise ValueError(f"records of {names}: expected those of one data set")
    made = samples(records), divergences(records), speeds(records)
    return "\n".join(markup.to_markdown(table) for table in made if table is not None)


def samples(records: Sequence[Record]) -> Table:
    """Are the students' samples those of the teacher?"""

    def cell(read: Read, digits: int) -> Callable[[Sequence[Record]], str]:
        return lambda group: transfer_cells.over_seeds(group, read, digits)

    columns: dict[str, Callable[[Sequence[Record]], str]] = {
        "log p_T, median": cell(lambda s: s.teacher_log_prob.median, 2),
        "mean minus teacher's": transfer_cells.shift,
        "KS of log p_T ↓": cell(lambda s: s.ks.statistic, 3),
        "C2ST, teacher ↓": cell(
            lambda s: s.c2st_teacher and s.c2st_teacher.accuracy, 3
        ),
        "C2ST, data ↓": cell(lambda s: s.c2st_data and s.c2st_data.accuracy, 3),
        "Sliced W2 ↓": cell(lambda s: s.sliced_wasserstein, 4),
        "1000 MMD² ↓": cell(lambda s: None if s.mmd is None else 1e3 * s.mmd, 2),
        "Exploded (%) ↓": cell(lambda s: s.exploded_percent, 2),
    }
    rows = [
        (transfer_cells.label(method), *(column(group) for column in columns.values()))
        for method, group in transfer_cells.by_method(records)
    ]
    title = f"{records[0].data}: samples against the teacher's (log p_T in nats)"
    header = ("Samples of", *columns)
    return Table(title, header, tuple(rows), tuple(_sample_notes(records)))


def divergences(records: Sequence[Record]) -> Table | None:
    """How far the densities are apart, of students that have one; None without."""
    columns: list[tuple[str, Estimated]] = [
        ("Reverse KL", lambda s: s.reverse_kl),
        ("Forward KL", lambda s: s.forward_kl),
        ("log q of held-out data", lambda s: s.data_log_prob),
    ]
    found = [(m, g) for m, g in transfer_cells.by_method(records) if m != DATA]
    if not any(r.scores.reverse_kl for _, group in found for r in group):
        return None
    header, rows = ["Student"], [[transfer_cells.label(method)] for method, _ in found]
    for name, read in columns:
        arrow = "↑" if name.startswith("log") else "↓"
        header += [f"{name}, mean {arrow}", f"median {arrow}"]
        for row, (_, group) in zip(rows, found, strict=True):
            row.append(transfer_cells.mean(group, read))
            row.append(transfer_cells.median(group, read))
    notes = [
        "Reverse KL: E[log q - log p_T] over the student's samples, what kl minimises; "
        "small also where the student has but a part of the teacher. Forward KL: "
        "E[log p_T - log q] over the teacher's samples; large where the student lacks "
        "a part of it. Both are at least 0, and 0 of the teacher itself.",
        "se is the standard error over rows, the largest of a seed. A few rows far out "
        "may decide a mean, and then its se as well: the median tells of the typical "
        "row, and may be below 0. Log densities are of the data as the flow sees them; "
        "they compare within this table only.",
        transfer_cells.spread(records),
        *transfer_cells.left_out(found, columns),
    ]
    title = f"{records[0].data}: divergence of student (q) and teacher (p_T), in nats"
    return Table(title, tuple(header), tuple(map(tuple, rows)), tuple(notes))


def speeds(records: Sequence[Record]) -> Table | None:
    """Rows a second, and how many times the teacher's; None if nothing was timed."""
    timed = {
        method: next((r.speed for r in group if r.speed is not None), None)
        for method, group in transfer_cells.by_method(records)
    }
    found = {method: speed for method, speed in timed.items() if speed is not None}
    if not found:
        return None
    teacher = found.pop(TEACHER, None)
    rows = []
    if teacher is not None:
        if teacher.naive_ms:
            taken = teacher.naive_ms, teacher.naive_batch
            rows.append(_speed("Teacher, one pass a dimension", *taken, None, teacher))
        rows.append(_speed_of("Teacher, as it samples here", teacher, teacher))
    # Students of one architecture were timed once.
    shared: dict[Speed, list[str]] = {}
    for method, speed in found.items():
        shared.setdefault(speed, []).append(transfer_cells.label(method))
    for speed, names in shared.items():
        rows.append(_speed_of("; ".join(names), speed, teacher))
    header = (
        "Model",
        "Samples per second ↑",
        "× one pass a dimension",
        "× as it samples here",
        "Batch",
        "Sampling (ms)",
        "Densities per second ↑",
    )
    notes = [
        "Time of one batch on one device, compiled and warmed up, until its result is "
        "there: median (10th-90th percentile). × is how many times the samples per "
        "second of that row of the teacher. One pass a dimension evaluates each "
        "network as often as the data have dimensions, which is how an autoregressive "
        "flow is written down; here it computes only what is new in each step, and "
        "gives the same samples. Only times taken on one machine compare."
    ]
    title = f"{records[0].data}: speed"
    return Table(title, header, tuple(rows), tuple(notes))


def _speed_of(name: str, speed: Speed, teacher: Speed | None) -> tuple[str, ...]:
    return _speed(name, speed.sampling_ms, speed.batch, speed.density_ms, teacher)


def _speed(
    name: str,
    sampling: Milliseconds,
    batch: int,
    density: Milliseconds | None,
    teacher: Speed | None,
) -> tuple[str, ...]:
    rate = transfer_cells.rate(batch, sampling)
    bases = [(None, 0), (None, 0)]
    if teacher is not None:
        bases = [
            (teacher.naive_ms, teacher.naive_batch),
            (teacher.sampling_ms, teacher.batch),
        ]
    ratios = [
        transfer_cells.times(rate / transfer_cells.rate(rows, base))
        if base
        else cells.MISSING
        for base, rows in bases
    ]
    densities = cells.MISSING
    if density:
        densities = f"{transfer_cells.rate(batch, density):,.0f}"
    said = f"{batch:,}", cells.milliseconds(sampling), densities
    return name, f"{rate:,.0f}", *ratios, *said


def _sample_notes(records: Sequence[Record]) -> list[str]:
    scores = [r.scores for r in records]
    drawn = transfer_cells.extent(s.rows for s in scores)
    notes = [
        "log p_T is the density of samples under the teacher. It is best where it is "
        "that of the teacher's own samples (first row): higher is a student "
        "concentrated on the teacher's modes, lower one that left them. KS is the "
        f"Kolmogorov-Smirnov statistic between the two, over {drawn} samples: 0 equal, "
        "1 apart.",
    ]
    judged = [s.judged for s in scores if s.judged]
    if judged:
        rows = transfer_cells.extent(judged)
        notes.append(
            "C2ST is how often a network names rightly which of two samples a row held "
            "out is of: 0.5 cannot tell, 1 always can; against the teacher's samples, "
            "and against held-out data. Sliced W2 and MMD² (Gaussian kernel as wide as "
            "the median distance of the teacher's samples) are to the teacher's "
            f"samples. Over {rows} rows of each, MMD² over 2,500 at most; they depend "
            "on these numbers. Exploded samples (not finite, or beyond 3 times the "
            "largest value of the training data) are left out of all four, and of the "
            "difference of means."
        )
    methods = {r.method for r in records}
    if TEACHER in methods:
        notes.append(
            "Teacher (floor): further samples of the teacher against its samples, "
            "which is what a perfect student would show in every column."
        )
    if DATA in methods:
        notes.append(
            "Training data stand in the place of samples: their C2ST, data is the "
            "floor of that column (above 0.5 where the splits differ), and the other "
            "columns say how far the teacher is from the data."
        )
    return [
        *notes,
        transfer_cells.spread(records),
        transfer_cells.p_values(records),
        *transfer_cells.sources(records),
    ]
