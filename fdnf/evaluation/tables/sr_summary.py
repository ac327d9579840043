"""From scores of single images to means, differences from the teacher, and ratios."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from fdnf.evaluation.core.sr_records import BICUBIC, PRETRAINED, TEACHER, Record
from fdnf.evaluation.scorers.sr_judge import DIVERSITY
from fdnf.evaluation.tables import intervals
from fdnf.evaluation.tables.intervals import Interval


class Mean(NamedTuple):
    """A mean over images of the means over runs.

    Attributes:
        mean: over images.
        standard_error: over images; None for a single one, or if it is not finite.
        images: how many.
        runs: interval of the runs' means; its half-width is None for a single run.
    """

    mean: float
    standard_error: float | None
    images: int
    runs: Interval | None


class Summary(NamedTuple):
    """What a student is beside its teacher, on one benchmark.

    Attributes:
        student: its method.
        benchmark: name.
        distance_percent: perceptual distance less the teacher's, in percent of the
            teacher's, with the 95 % interval of the paired difference over images.
        diversity_ratio: of the student's to the teacher's.
        time_ratio: of the student's time to the teacher's as it samples, folded.
        unfolded_time_ratio: to the teacher's as it was trained.
    """

    student: str
    benchmark: str
    distance_percent: Interval | None
    diversity_ratio: float | None
    time_ratio: float | None
    unfolded_time_ratio: float | None

    def to_plain(self) -> dict[str, Any]:
        """For JSON."""
        found = self._asdict()
        if self.distance_percent is not None:
            found["distance_percent"] = self.distance_percent._asdict()
        return found


def by_method(records: Sequence[Record]) -> dict[str, list[Record]]:
    """Runs of each method by seed: bicubic, pretrained, teacher, students as given."""
    order = dict.fromkeys((BICUBIC, PRETRAINED, TEACHER, *(r.method for r in records)))
    groups = {m: [r for r in records if r.method == m] for m in order}
    return {m: sorted(g, key=lambda r: r.seed) for m, g in groups.items() if g}


def per_image(
    group: Sequence[Record], benchmark: str, metric: str | None
) -> dict[str, float]:
    """Mean over the runs of one method, by image; of images that all runs have."""
    runs = [_values(record, benchmark, metric) for record in group]
    shared = [name for name in runs[0] if all(name in run for run in runs)]
    return {name: float(np.mean([run[name] for run in runs])) for name in shared}


def mean(group: Sequence[Record], benchmark: str, metric: str | None) -> Mean | None:
    """Mean over images; None where nothing was taken."""
    values = np.array(list(per_image(group, benchmark, metric).values()))
    if not len(values):
        return None
    error = None
    if len(values) > 1 and np.isfinite(values).all():
        error = float(values.std(ddof=1)) / math.sqrt(len(values))
    each = [np.mean(list(_values(r, benchmark, metric).values())) for r in group]
    finite = np.isfinite(each).all()
    runs = intervals.over_seeds(float(v) for v in each) if finite else None
    return Mean(float(values.mean()), error, len(values), runs)


def difference(
    student: Sequence[Record],
    teacher: Sequence[Record],
    benchmark: str,
    metric: str | None,
) -> Interval | None:
    """Student less teacher, paired by image, with its 95 % interval over images.

    Runs are averaged first. Images on which one of the two is not finite are left
    out; `n` tells how many remain.
    """
    ours = per_image(student, benchmark, metric)
    theirs = per_image(teacher, benchmark, metric)
    gaps = [
        value - theirs[name]
        for name, value in ours.items()
        if name in theirs and math.isfinite(value) and math.isfinite(theirs[name])
    ]
    return intervals.over_seeds(gaps) if gaps else None


def summaries(records: Sequence[Record]) -> list[Summary]:
    """Every student beside the teacher, on every benchmark."""
    groups = by_method(records)
    teacher = groups.get(TEACHER)
    if teacher is None:
        return []
    found = []
    for method, group in groups.items():
        if method in (BICUBIC, PRETRAINED, TEACHER):
            continue
        times = [
            ratio(time_ms(group), time_ms(teacher, folded=folded))
            for folded in (True, False)
        ]
        for benchmark in teacher[0].values:
            diverse = [mean(g, benchmark, DIVERSITY) for g in (group, teacher)]
            percent = _percent(group, teacher, benchmark)
            means = (m and m.mean for m in diverse)
            found.append(Summary(method, benchmark, percent, ratio(*means), *times))
    return found


def time_ms(group: Sequence[Record], *, folded: bool = True) -> float | None:
    """Median time of one image; of a flow as it was trained, if not `folded`."""
    taken = group[0].time_ms
    if not folded and group[0].unfolded_ms is not None:
        taken = group[0].unfolded_ms
    return taken and taken[0]


def ratio(first: float | None, second: float | None) -> float | None:
    """The first over the second; None if one is missing, or the second 0."""
    if first is None or not second:
        return None
    return first / second


def _percent(
    student: Sequence[Record], teacher: Sequence[Record], benchmark: str
) -> Interval | None:
    metric = teacher[0].perceptual
    gap = difference(student, teacher, benchmark, metric)
    base = mean(teacher, benchmark, metric)
    if gap is None or base is None or not base.mean:
        return None
    scale = 100 / base.mean
    half = None if gap.half_width is None else scale * gap.half_width
    return Interval(scale * gap.mean, half, gap.n)


def _values(record: Record, benchmark: str, metric: str | None) -> dict[str, float]:
    return dict(record.values.get(benchmark, {}).get(metric or "", {}))
