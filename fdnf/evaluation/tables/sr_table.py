"""Tables of super-resolution: a benchmark each, differences, ratios, and speed.

Reference: Baranchuk et al. (2021), table 1.
"""

import math
from collections.abc import Sequence

from fdnf.evaluation.core.sr_records import TEACHER, Record
from fdnf.evaluation.scorers.sr_judge import CONVENTIONS, PSNR
from fdnf.evaluation.tables import cells, markup, sr_cells, sr_summary
from fdnf.evaluation.tables.markup import Table
from fdnf.evaluation.tables.sr_summary import Summary

# What LaTeX has no letters for.
MARKS = {"↑": r"$\uparrow$", "↓": r"$\downarrow$", "×": r"$\times$"}
PUBLISHED = (
    "Baranchuk et al. (2021) report DIV2K and models trained on DF2K: another set of "
    "images, so that no figure here compares with theirs."
)


def page(records: Sequence[Record]) -> str:
    """All tables as Markdown."""
    return "\n".join(map(markup.to_markdown, every_table(records)))


def latex(records: Sequence[Record]) -> str:
    """All tables as LaTeX."""
    text = "\n".join(map(markup.to_latex, every_table(records)))
    for mark, command in MARKS.items():
        text = text.replace(mark, command)
    return text


def every_table(records: Sequence[Record]) -> list[Table]:
    """The tables that there is something to say in.

    Args:
        records: of one data set, over methods and seeds.

    Raises:
        ValueError: no record, or records of several data sets or scales.
    """
    sets = sorted({(record.data, record.scale) for record in records})
    if len(sets) != 1:
        raise ValueError(f"records of {sets}: expected those of one set and scale")
    groups = sr_summary.by_method(records)
    benchmarks = list(dict.fromkeys(name for r in records for name in r.values))
    found = [table_1(groups, benchmark) for benchmark in benchmarks]
    # What is said of all benchmarks is said once.
    found[-1] = found[-1]._replace(notes=(*found[-1].notes, *_notes(records)))
    if TEACHER in groups and _students(groups):
        found += [differences(groups, benchmarks), ratios(records)]
    if any(group[0].time_ms for group in groups.values()):
        found.append(speeds(groups))
    return found


def table_1(groups: dict[str, list[Record]], benchmark: str) -> Table:
    """The published layout, on one benchmark."""
    first = next(iter(groups.values()))
    *quality, diverse = sr_cells.columns(first)
    rows = []
    for method, group in groups.items():
        scores = [sr_cells.mean(group, benchmark, column) for column in quality]
        rows.append(
            (
                sr_cells.label(method),
                *scores,
                sr_cells.millions(group[0].parameters),
                cells.milliseconds(group[0].time_ms),
                sr_cells.mean(group, benchmark, diverse),
            )
        )
    scale = first[0].scale
    header = (
        f"Models ×{scale}",
        *(sr_cells.heading(column) for column in quality),
        "Param. (M)",
        "Time (ms)",
        sr_cells.heading(diverse),
    )
    images = len(sr_summary.per_image(first, benchmark, PSNR))
    title = f"{first[0].data}: {benchmark} ×{scale}, {images} images"
    return Table(title, header, tuple(rows), ())


def differences(groups: dict[str, list[Record]], benchmarks: Sequence[str]) -> Table:
    """Students less their teacher, image by image."""
    teacher, rows = groups[TEACHER], []
    found = sr_cells.columns(teacher)
    for benchmark in benchmarks:
        for method, group in _students(groups).items():
            gaps = [
                sr_summary.difference(group, teacher, benchmark, column.metric)
                for column in found
            ]
            each = (
                sr_cells.signed(gap, c.digits)
                for gap, c in zip(gaps, found, strict=True)
            )
            rows.append((sr_cells.label(method), benchmark, *each))
    notes = (
        "Student less teacher, paired by image after averaging over runs; ± is the "
        "half-width of the 95 % Student-t interval over images; a star marks an "
        "interval without 0. Images on which one of the two is not finite are left "
        "out.",
    )
    header = ("Model", "Benchmark", *(f"Δ {column.heading}" for column in found))
    title = f"{teacher[0].data}: differences from the teacher"
    return Table(title, header, tuple(rows), notes)


def ratios(records: Sequence[Record]) -> Table:
    """What a student keeps of its teacher, and what it saves."""

    def row(found: Summary) -> tuple[str, ...]:
        percent = found.distance_percent
        return (
            sr_cells.label(found.student),
            found.benchmark,
            cells.MISSING if percent is None else f"{sr_cells.signed(percent, 1)}",
            sr_cells.ratio(found.diversity_ratio),
            sr_cells.ratio(found.time_ratio),
            sr_cells.ratio(found.unfolded_time_ratio),
        )

    rows = tuple(row(found) for found in sr_summary.summaries(records))
    teacher = next(r for r in records if r.method == TEACHER)
    distance = sr_cells.columns([teacher])[2].heading
    header = (
        "Model",
        "Benchmark",
        f"{distance} against the teacher (%) ↓",
        "Diversity, share of the teacher's",
        "Time, share of the teacher's ↓",
        "of the unfolded teacher's ↓",
    )
    notes = (
        "± is the 95 % interval of the paired difference over images, in percent of "
        "the teacher's mean.",
    )
    return Table(f"{teacher.data}: students in short", header, rows, notes)


def speeds(groups: dict[str, list[Record]]) -> Table:
    """Time of one image, and how many times faster than the teacher."""
    teacher, rows = groups.get(TEACHER, []), []
    bases = [
        sr_summary.time_ms(teacher, folded=f) if teacher else None
        for f in (True, False)
    ]
    for method, group in groups.items():
        taken = [(sr_cells.label(method), group[0].time_ms)]
        if group[0].unfolded_ms:
            taken[0] = (f"{sr_cells.label(method)}, folded", group[0].time_ms)
            taken.append(
                (f"{sr_cells.label(method)}, as trained", group[0].unfolded_ms)
            )
        for name, times in taken:
            if times:
                faster = (sr_summary.ratio(base, times[0]) for base in bases)
                text = cells.milliseconds(times)
                rows.append((name, text, *(sr_cells.times(ratio) for ratio in faster)))
    timed = next(group[0].timed for group in groups.values() if group[0].timed)
    data = next(iter(groups.values()))[0].data
    notes = (
        f"One image ({timed}), from 8-bit low to 8-bit high resolution with its noise, "
        "compiled and warmed up: median (10th-90th percentile). A folded flow has its "
        "activation norms within its convolutions and inverses computed "
        "beforehand, and gives the same images. Only times taken on one machine "
        "compare.",
    )
    header = ("Model", "Time (ms)", "× the teacher's speed", "× the unfolded teacher's")
    return Table(f"{data}: speed", header, tuple(rows), notes)


def _students(groups: dict[str, list[Record]]) -> dict[str, list[Record]]:
    return {m: group for m, group in groups.items() if m not in sr_cells.LABELS}


def _notes(records: Sequence[Record]) -> list[str]:
    drawn = next((r.settings for r in records if r.settings), {})
    runs = {len(group) for group in sr_summary.by_method(records).values()}
    told = [
        "↑ higher is better, ↓ lower is better; mean over images ± its standard error"
        + (
            "; values are means over runs, and in parentheses stands the half-width of "
            "the 95 % Student-t interval over runs."
            if max(runs) > 1
            else ", of one run."
        ),
        CONVENTIONS,
    ]
    if drawn:
        part = drawn["sample_crop"]
        of = f"middle {part}x{part} pixels" if part else "whole image"
        told.append(
            f"Samples are drawn at temperature {drawn['temperature']}, one an image. "
            f"Diversity is the mean distance of two of {drawn['samples']} samples of "
            f"the {of} of each image, which is neither good nor bad alone. "
            "Time is that of one image; of the flow, made ready for sampling."
        )
        if drawn["images"]:
            told.append(f"Only the first {drawn['images']} images of each benchmark.")
    told += dict.fromkeys(note for record in records for note in record.notes)
    told += _unseen(records)
    told += [f"Data: {text}." for text in _sources(records)]
    return [*told, PUBLISHED]


def _sources(records: Sequence[Record]) -> list[str]:
    return list(dict.fromkeys(r.source.rstrip(". ") for r in records if r.source))


def _unseen(records: Sequence[Record]) -> list[str]:
    """What a mean leaves out, or cannot be."""
    exploded = [
        f"{sr_cells.label(r.method)} seed {r.seed}: {r.exploded}"
        for r in records
        if r.exploded
    ]
    found = []
    if exploded:
        found.append(
            "Images with a value that is not finite or beyond 5, which are scored as "
            f"they are, cut to 8 bits: {'; '.join(exploded)}."
        )
    infinite = {
        f"{sr_cells.label(r.method)}, {benchmark}"
        for r in records
        for benchmark, metrics in r.values.items()
        for values in metrics.values()
        if any(map(math.isinf, values.values()))
    }
    if infinite:
        found.append(
            "inf: some image is given back to the last bit, as PSNR has it "
            f"({'; '.join(sorted(infinite))})."
        )
    small = {
        f"{len(metrics[PSNR]) - len(metrics.get(r.perceptual, {}))} of {benchmark}"
        for r in records
        if r.perceptual
        for benchmark, metrics in r.values.items()
        if len(metrics.get(r.perceptual, {})) < len(metrics[PSNR])
    }
    if small:
        told = ", ".join(sorted(small))
        found.append(f"Images too small for the perceptual distance: {told}.")
    return found
