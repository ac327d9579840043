"""From run records to the cells and notes of a table."""

import math
import re
import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from fdnf.evaluation.core.records import Record
from fdnf.evaluation.tables import intervals

# What a cell reads from a record: a number, nan where the run diverged, None where it
# was not measured.
Read = Callable[[Record], float | None]


class Asked(NamedTuple):
    """A run that was asked for and is not there, with the reason."""

    arch: str
    data: str
    method: str
    seed: int
    why: str = ""


METHODS = {
    "student": "Student",
    "lkd": "LKD",
    "ilkd": "ILKD",
    "skd": "SKD",
    "teacher": "Teacher",
}
SPLITS = {"test": "Test", "val": "Validation"}
ARCHS = ("Glow", "MAF")
DATASETS = (
    *("power", "gas", "hepmass", "miniboone", "bsds300"),
    *("cifar10", "celeba64", "mnist", "fashion_mnist", "digits_8x8"),
)
MISSING = "-"
# Words of a source that make its log-likelihoods another quantity than the published.
NOT_PUBLISHED = ("subset", "re-split", "embedded", "synthetic", "lossy")


def likelihood(split: str) -> Read:
    """Reads the mean log-likelihood on a split, in nats."""
    return lambda run: run.log_likelihood.get(split, (None, None))[0]


def error(split: str) -> Read:
    """Reads the standard error over the examples of a split, in nats."""
    return lambda run: run.log_likelihood.get(split, (None, None))[1]


def bits(split: str, part: int = 0) -> Read:
    """Reads the bits per dimension on a split, or (part 1) their standard error."""
    return lambda run: run.bits_per_dim.get(split, (None, None))[part]


def fit(split: str) -> Read:
    """Reads bits per dimension where a run has them, else the log-likelihood."""
    return lambda run: (bits if run.bits_per_dim else likelihood)(split)(run)


def metric(name: str) -> Read:
    """Reads a further metric."""
    return lambda run: run.metrics.get(name)


def in_order(values: Iterable[str], known: Iterable[str]) -> list[str]:
    """Distinct values: the known ones in their order, then the others by name."""
    present, known = set(values), list(known)
    return [v for v in known if v in present] + sorted(present - set(known))


def methods(runs: Sequence[Record | Asked]) -> list[str]:
    """The paper's methods, found or not, then other recipes, the teacher last."""
    others = sorted({run.method for run in runs} - set(METHODS), key=by_number)
    return [*list(METHODS)[:-1], *others, "teacher"]


def ran(runs: Sequence[Record | Asked]) -> list[str]:
    """The methods that are there, in the order of `methods`."""
    present = {run.method for run in runs}
    return [method for method in methods(runs) if method in present]


def by_number(text: str) -> list[tuple[bool, float, str]]:
    """A key that sorts texts with the numbers in them by size: w=2 before w=10."""
    parts = re.split(r"(\d+(?:\.\d+)?(?:e[-+]?\d+)?)", text)
    return [
        (False, float(part), "") if i % 2 else (True, 0.0, part)
        for i, part in enumerate(parts)
    ]


def select(runs: Sequence[Record], arch: str, data: str, method: str) -> list[Record]:
    """The runs of one cell, by seed."""
    wanted = (arch, data, method)
    return sorted((r for r in runs if r[:3] == wanted), key=lambda r: r.seed)


def values(group: Sequence[Record], read: Read) -> dict[int, float]:
    """Seed to finite value."""
    read_all = {run.seed: read(run) for run in group}
    return {
        seed: value
        for seed, value in read_all.items()
        if value is not None and math.isfinite(value)
    }


def axes(runs: Sequence[Record | Asked]) -> tuple[list[str], list[str]]:
    """Architectures and data sets of the runs, in the paper's order."""
    if not runs:
        raise ValueError("no records: expected at least one run to make a table of")
    archs = in_order((run.arch for run in runs), ARCHS)
    return archs, in_order((run.data for run in runs), DATASETS)


def decimals(runs: Sequence[Record], read: Read) -> int:
    """Decimals that give the typical run three digits; from 3 to 8."""
    sizes = [abs(v) for run in runs if (v := read(run)) and math.isfinite(v)]
    if not sizes:
        return 3
    return min(max(3, 2 - math.floor(math.log10(statistics.median(sizes)))), 8)


def over_seeds(
    group: Sequence[Record], read: Read, digits: int = 3, spread: Read | None = None
) -> str:
    """Mean and interval over the finite seeds, with a standard error if asked."""
    found = values(group, read)
    if not found:
        return MISSING
    text = intervals.render(intervals.over_seeds(found.values()), digits)
    errors = values(group, spread) if spread else {}
    if not errors:
        return text
    # The seeds share their examples, so averaging them does not shrink this error.
    return f"{text} (se {statistics.fmean(errors.values()):.3f})".replace(") (", ", ")


def difference(
    group: Sequence[Record], plain: Sequence[Record], read: Read, digits: int = 3
) -> str:
    """Paired difference to the plain runs; a star marks an interval without zero."""
    first, second = values(group, read), values(plain, read)
    if not first.keys() & second.keys():
        return MISSING
    interval = intervals.paired(first, second)
    star = " *" if interval.excludes_zero() else ""
    return intervals.render(interval, digits, signed=True) + star


Latency = tuple[float, float, float]


def latency(
    group: Sequence[Record], read: Callable[[Record], Latency | None]
) -> Latency | None:
    """Median of median, p10 and p90 over the seeds that were timed; None without."""
    found = [times for run in group if (times := read(run)) is not None]
    if not found:
        return None
    middle, low, high = (
        statistics.median(column) for column in zip(*found, strict=True)
    )
    return middle, low, high


def density(group: Sequence[Record]) -> Latency | None:
    """Time of the density of one batch, in ms."""
    return latency(group, lambda run: run.density_ms)


def sampling(group: Sequence[Record]) -> Latency | None:
    """Time of drawing one batch, in ms."""
    return latency(group, lambda run: run.sampling_ms)


def first(group: Sequence[Record], name: str) -> float | None:
    """The first number by a name in records of which not all have it."""
    found = (getattr(run, name) for run in group)
    return next((value for value in found if value is not None), None)


def milliseconds(times: Latency | None) -> str:
    """Median (p10-p90), with about three digits."""
    if times is None:
        return MISSING
    digits = max(0, 2 - math.floor(math.log10(times[0]))) if times[0] > 0 else 2
    middle, low, high = (f"{value:.{min(digits, 4)}f}" for value in times)
    return f"{middle} ({low}-{high})"


def missing(
    runs: Sequence[Record],
    archs: Sequence[str],
    datasets: Sequence[str],
    split: str,
    wanted: Sequence[str] = (),
    asked: Sequence[Asked] | None = None,
) -> list[str]:
    """Notes that name each absent cell, each absent seed and each diverged run.

    Args:
        runs: records.
        archs: rows that were asked for.
        datasets: columns that were asked for.
        split: whose fit to the data the cells show.
        wanted: methods that were asked for; those of `methods(runs)` by default.
        asked: runs that a sweep wants and has not got, and then nothing else is
            missing; None without a sweep.

    Returns:
        At most one note of what is missing and one of what diverged.
    """
    absent, diverged = [], []
    for arch in archs:
        for data in datasets:
            here = [r for r in runs if (r.arch, r.data) == (arch, data)]
            # Students may share one teacher, so its seeds oblige nobody.
            seeds = {r.seed for r in here if r.method != "teacher"}
            for method in wanted or methods(runs):
                name = f"{arch} {data} {METHODS.get(method, method)}"
                group = select(here, arch, data, method)
                measured = [r for r in group if fit(split)(r) is not None]
                lost = seeds - {r.seed for r in measured}
                if asked is not None:
                    told = [a for a in asked if a[:3] == (arch, data, method)]
                    absent += _told(name, told)
                    lost = {r.seed for r in group} - {r.seed for r in measured}
                elif method == "teacher":
                    lost = set()
                if lost and (measured or asked is not None):
                    absent.append(f"{name} seed {listed(lost)}")
                elif not measured and asked is None:
                    absent.append(name)
                broken = {r.seed for r in measured} - set(values(measured, fit(split)))
                if broken:
                    diverged.append(f"{name} seed {listed(broken)}")
    notes = [f"Missing on {split}: " + "; ".join(absent) + "."] if absent else []
    if diverged:
        notes.append(
            f"Diverged, not finite on {split} and left out of the mean: "
            + "; ".join(diverged)
            + "."
        )
    return notes


def skipped(runs: Sequence[Record]) -> list[str]:
    """A note that names the runs with skipped training steps."""
    named = [
        f"{r.arch} {r.data} {METHODS.get(r.method, r.method)} seed {r.seed}: "
        f"{r.skipped_steps} of {r.steps}"
        for r in sorted(runs, key=lambda r: r[:4])
        if r.skipped_steps
    ]
    if not named:
        return []
    return ["Steps skipped because not finite: " + "; ".join(named) + "."]


def sources(runs: Sequence[Record]) -> list[str]:
    """One note a data set and source, saying where numbers are not comparable."""
    pairs = {(r.data, r.source) for r in runs if r.source}
    return [f"{data}: {_judged(source)}." for data, source in sorted(pairs)]


def taken(runs: Sequence[Record]) -> list[str]:
    """What the records say of how their numbers were taken, each thing once."""
    return list(dict.fromkeys(note for run in runs for note in run.notes))


def listed(numbers: Iterable[int]) -> str:
    """Numbers in order, separated by commas."""
    return ", ".join(str(number) for number in sorted(set(numbers)))


def ratio(large: float | None, small: float | None) -> str:
    """How many times the small the large is."""
    return f"{large / small:.2f}x" if large and small else MISSING


def _told(name: str, asked: Sequence[Asked]) -> list[str]:
    by_reason: dict[str, set[int]] = {}
    for run in sorted(asked, key=lambda run: run.seed):
        by_reason.setdefault(run.why, set()).add(run.seed)
    return [
        f"{name} seed {listed(seeds)}" + (f" ({why})" if why else "")
        for why, seeds in by_reason.items()
    ]


def _judged(source: str) -> str:
    source = source.rstrip(". ")
    lowered = source.lower()
    if not any(word in lowered for word in NOT_PUBLISHED):
        return source
    kind = "subset, " if "subset" in lowered else ""
    return f"{kind}not comparable with published numbers ({source})"
