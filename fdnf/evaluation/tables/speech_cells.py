"""From records of vocoders to the names, means and differences that tables print."""

import math
import statistics
from collections.abc import Sequence
from typing import Any

from fdnf.evaluation.core.speech_records import (
    BASELINES,
    GRIFFIN_LIM,
    NOISE,
    NOISY,
    TEACHER,
    TRUTH,
    Milliseconds,
    Record,
    Speed,
)
from fdnf.evaluation.tables import cells, intervals

# As the paper's tables 2 and 4 call them, by `model.name`.
KINDS = {
    "waveglow": "WaveGlow",
    "wavenet": "WG Student",
    "wave_flow": "Flow Student",
    "wave_wide_flow": "Wide Flow Student",
    "wave_affine": "Affine Student",
}
ABLATION = ("wave_flow", "wave_wide_flow", "wave_affine")
ROWS = {
    TRUTH: "Ground truth",
    GRIFFIN_LIM: "Griffin-Lim",
    NOISY: "Ground truth + noise, 0 dB",
    NOISE: "White noise",
}
# Attributes of models that say how large they are.
SIZES = ("flows", "blocks", "layers", "channels")

Group = Sequence[Record]


def label(record: Record) -> str:
    """A row's name: the paper's where there is one."""
    if record.method == GRIFFIN_LIM and record.iterations is not None:
        return f"{ROWS[GRIFFIN_LIM]} ({record.iterations} iterations)"
    if record.method in ROWS:
        return ROWS[record.method]
    name = KINDS.get(record.kind, record.kind)
    if record.method == TEACHER:
        return f"{name} (teacher)"
    if record.kind == f"wave_{record.method}":
        return name
    version = record.method[:1] == "v" and record.method[1:].isdigit()
    return f"{name} {record.method.upper()}" if version else f"{name} ({record.method})"


def by_method(records: Sequence[Record]) -> dict[str, list[Record]]:
    """The runs of each method by seed: rows without a model, teacher, the others.

    The others stand as in the paper's tables, those of one kind by name.
    """
    order = (*BASELINES, TEACHER)

    def place(record: Record) -> tuple[int, int, Any, int]:
        method = record.method
        first = order.index(method) if method in order else len(order)
        kind = list(KINDS).index(record.kind) if record.kind in KINDS else len(KINDS)
        return first, kind, cells.by_number(method), record.seed

    found: dict[str, list[Record]] = {}
    for record in sorted(records, key=place):
        found.setdefault(record.method, []).append(record)
    return found


def by_clip(group: Group, metric: str) -> dict[int, float]:
    """Number of a clip to its mean over the runs in which the score is finite."""
    columns = [r.scores[metric] for r in group if metric in r.scores]
    found = {}
    for i, values in enumerate(zip(*columns, strict=True)):
        finite = [v for v in values if math.isfinite(v)]
        if finite:
            found[i] = statistics.fmean(finite)
    return found


def mean(group: Group, metric: str, digits: int) -> str:
    """Mean over clips with its interval, and how many clips if not all."""
    found = by_clip(group, metric)
    if not found:
        return cells.MISSING
    text = intervals.render(intervals.over_seeds(found.values()), digits)
    return text + _of_all(len(found), group)


def difference(group: Group, teacher: Group, metric: str, digits: int) -> str:
    """Mean over clips of the difference to the teacher; a star where 0 is outside."""
    first, second = by_clip(group, metric), by_clip(teacher, metric)
    if not first.keys() & second.keys():
        return cells.MISSING
    found = intervals.paired(first, second)
    star = " *" if found.excludes_zero() else ""
    text = intervals.render(found, digits, signed=True) + star
    return text + _of_all(found.n, group)


def millions(count: int | None) -> str:
    """A number of parameters in millions, as the paper has it; small ones finer."""
    if count is None:
        return cells.MISSING
    return f"{count / 1e6:.{2 if count >= 1e6 else 4}f}"


def speed(group: Group) -> Speed | None:
    """Of the run whose speed was taken."""
    return next((r.speed for r in group if r.speed is not None), None)


def mhz(speed: Speed | None, ms: Milliseconds | None, spread: bool = False) -> str:
    """Million samples a second with three digits or so."""
    if speed is None or ms is None:
        return cells.MISSING
    values = speed.mhz(ms)
    digits = max(0, 2 - math.floor(math.log10(values[0])))
    median, slow, fast = (f"{value:.{digits}f}" for value in values)
    return f"{median} ({slow}-{fast})" if spread else median


def size(record: Record) -> str:
    """Steps or blocks, layers and channels: "12 x 8 x 256"."""
    found = record.settings
    parts = (found.get("flows") or found.get("blocks"), *map(found.get, SIZES[2:]))
    return " x ".join(map(str, parts)) if None not in parts else cells.MISSING


def _of_all(count: int, group: Group) -> str:
    total = len(group[0].clips)
    return "" if count == total else f" ({count} of {total} clips)"
