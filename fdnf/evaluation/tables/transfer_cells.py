"""From records of transferred densities to the cells and notes of their tables."""

import math
from collections.abc import Callable, Iterable, Sequence

from fdnf.evaluation.core.transfer_records import (
    DATA,
    TEACHER,
    Estimate,
    Milliseconds,
    Record,
    Scores,
)
from fdnf.evaluation.tables import cells, intervals

Read = Callable[[Scores], float | None]
Estimated = Callable[[Scores], Estimate | None]

LABELS = {
    TEACHER: "Teacher (floor)",
    DATA: "Training data",
    "student": "Likelihood, no teacher",
    "kl": "KL student",
    "z": "z-reconstruction",
    "x": "x-reconstruction",
    "oracle": "Oracle prediction",
    "resnet_l2": "ResNet, l2",
    "resnet_l1": "ResNet, l1",
    "resnet_noise_l2": "ResNet, noise, l2",
    "resnet_noise_l1": "ResNet, noise, l1",
    "resnet_noise_mixed": "ResNet, noise, l1 + l2",
}
# Beyond this a number is written with a power of ten.
LARGE = 1e5
# p-values below are not told apart.
LEAST_P = 1e-4


def label(method: str) -> str:
    """A method as tables and pictures name it."""
    return LABELS.get(method, method)


def by_method(records: Sequence[Record]) -> list[tuple[str, list[Record]]]:
    """The runs of each method by seed; the floors first, then in the order of LABELS.

    Args:
        records: of one data set.
    """
    order = cells.in_order((r.method for r in records), LABELS)
    found = [(m, [r for r in records if r.method == m]) for m in order]
    return [(m, sorted(group, key=lambda r: r.seed)) for m, group in found]


def over_seeds(group: Sequence[Record], read: Read, digits: int) -> str:
    """Mean and interval over the seeds whose value is finite, and how many if not all.

    Args:
        group: the runs of one method.
        read: the value of a run, None where it was not taken.
        digits: decimals.
    """
    values = [v for r in group if (v := read(r.scores)) is not None]
    finite = [v for v in values if math.isfinite(v)]
    if not finite:
        return str(values[0]) if values else cells.MISSING
    over = intervals.over_seeds(finite)
    text = intervals.render(over, digits)
    if max(abs(over.mean), over.half_width or 0) >= LARGE:
        spread = "(n=1)" if over.half_width is None else f"± {over.half_width:.1e}"
        text = f"{over.mean:.2e} {spread}"
    if len(finite) < len(values):
        text += f" ({len(finite)} of {len(values)} seeds)"
    return text


def mean(group: Sequence[Record], read: Estimated) -> str:
    """Mean over rows, over seeds, with the largest standard error of a seed."""
    text = over_seeds(group, lambda s: (e := read(s)) and e.mean, 2)
    errors = [e.standard_error for r in group if (e := read(r.scores))]
    if not errors:
        return text
    error = max(errors)
    se = f"{error:.1e}" if error >= LARGE else f"{error:.2f}"
    return f"{text} (se {se})".replace(") (", ", ")


def median(group: Sequence[Record], read: Estimated) -> str:
    """Median over rows, mean over seeds."""
    return over_seeds(group, lambda s: (e := read(s)) and e.median, 2)


def shift(group: Sequence[Record]) -> str:
    """Difference of means; of a single seed with Welch's interval."""
    found = [r.scores.shift for r in group if r.scores.shift]
    if len(found) == 1 and abs(found[0].difference) < LARGE:
        (one,) = found
        return f"{one.difference:.2f} [{one.low:.2f}, {one.high:.2f}]"
    return over_seeds(group, lambda s: s.shift and s.shift.difference, 2)


def p_values(records: Sequence[Record]) -> str:
    """A note of those above LEAST_P, the largest over seeds."""
    told = []
    for method, group in by_method(records):
        scores = [r.scores for r in group]
        tests = {
            "KS": [s.ks.p_value for s in scores],
            "mean": [s.shift.p_value for s in scores if s.shift],
            "C2ST, teacher": [s.c2st_teacher.p_value for s in scores if s.c2st_teacher],
            "C2ST, data": [s.c2st_data.p_value for s in scores if s.c2st_data],
        }
        largest = {name: max(values) for name, values in tests.items() if values}
        found = [f"{name} {p:.2g}" for name, p in largest.items() if p >= LEAST_P]
        told += [f"{label(method)} ({'; '.join(found)})"] if found else []
    return (
        "p-values that both samples are of one distribution (two-sample "
        "Kolmogorov-Smirnov; Welch's t of the means; binomial of the C2ST), the "
        f"largest over seeds: below {LEAST_P:g}"
        + (f" but for {', '.join(told)}." if told else " all.")
    )


def left_out(
    groups: Sequence[tuple[str, Sequence[Record]]],
    columns: Sequence[tuple[str, Estimated]],
) -> list[str]:
    """A note of the rows that means leave out, said once where methods agree."""
    told = []
    for name, read in columns:
        counts: dict[str, list[str]] = {}
        for method, group in groups:
            found = [(r.seed, e) for r in group if (e := read(r.scores)) and e.left_out]
            text = ", ".join(
                f"{e.left_out:,} of {e.rows + e.left_out:,} (seed {seed})"
                for seed, e in found
            )
            if text:
                counts.setdefault(text, []).append(label(method))
        for text, methods in counts.items():
            told.append(f"{name} of {', '.join(methods)}: {text}")
    if not told:
        return []
    return [
        "Rows left out of means, because not finite or exploded samples of the "
        "teacher; medians count them as infinitely bad. " + "; ".join(told) + "."
    ]


def spread(records: Sequence[Record]) -> str:
    """What arrows and intervals mean."""
    seeds = {r.seed for r in records if r.method not in (TEACHER, DATA)}
    return (
        "↓ lower is better, ↑ higher is better; ± is the half-width of the 95 % "
        f"Student-t interval over seeds ({cells.listed(seeds) or 'none'}), n=1 a "
        "single one."
    )


def sources(records: Sequence[Record]) -> list[str]:
    """What the data are."""
    told = dict.fromkeys(r.source.rstrip(". ") for r in records if r.source)
    return [f"Data: {text}." for text in told]


def extent(numbers: Iterable[int]) -> str:
    """Smallest to largest, one number where they are the same."""
    found = sorted(set(numbers))
    return " to ".join(dict.fromkeys(f"{end:,}" for end in (found[0], found[-1])))


def rate(batch: int, milliseconds: Milliseconds) -> float:
    """Rows a second, by the median time of a batch."""
    return 1e3 * batch / milliseconds[0]


def times(ratio: float) -> str:
    """A ratio with three digits or so."""
    return (
        f"{ratio:.2g}"
        if ratio < 1
        else f"{ratio:.1f}"
        if ratio < 100
        else f"{ratio:,.0f}"
    )
