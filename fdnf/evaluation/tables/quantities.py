"""The quantities of tables: what their columns hold, are called and mean."""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from fdnf.evaluation.core.records import Record
from fdnf.evaluation.tables import cells

METRICS = {
    "sliced_wasserstein": "Sliced W2",
    "mmd": "MMD^2",
    "energy_distance": "Energy distance",
    "exploded_percent": "Exploded samples (%)",
    # Of images; the extractor follows, unless it is the reference one.
    "fid": "FID",
    "fd": "FD",
    "kid": "KID",
    "precision": "Precision",
    "recall": "Recall",
    "density": "Density",
    "coverage": "Coverage",
}
# What a condition of interpolated images begins with.
INTERPOLATION = "interpolation"
EXPLODED = "exploded_percent"
HIGHER = ("precision", "recall", "density", "coverage")
FRECHET = ("fid", "fd")


class Metric(NamedTuple):
    """The parts of a metric's name, as in "fd_vgg16@2ecbe4ce/t0.7".

    Attributes:
        kind: a key of METRICS, or the name itself.
        extractor: id of the features; empty for the reference one and for metrics
            without features.
        condition: what the samples were drawn under; empty for the usual.
    """

    kind: str
    extractor: str = ""
    condition: str = ""


def parse(name: str) -> Metric:
    """The parts of a metric's name."""
    metric, _, condition = name.partition("/")
    kind, _, extractor = metric.partition("_")
    if metric in METRICS or kind not in METRICS:
        return Metric(metric, "", condition)
    return Metric(kind, extractor, condition)


class Column(NamedTuple):
    """A quantity of a table.

    Attributes:
        name: as printed.
        read: its value of a record.
        digits: decimals.
        spread: its standard error over examples, if it has one.
        higher: whether more of it is better.
        metric: its key in `Record.metrics`, if it is there.
    """

    name: str
    read: cells.Read
    digits: int = 3
    spread: cells.Read | None = None
    higher: bool = False
    metric: str = ""


def columns(runs: Sequence[Record]) -> list[Column]:
    """Log-likelihood or bits/dim on each split, then the metrics that any run has."""
    if any(run.bits_per_dim for run in runs):
        found = [
            Column(f"{name} (bits/dim)", cells.bits(k), 3, cells.bits(k, 1))
            for k, name in cells.SPLITS.items()
        ]
    else:
        found = [
            Column(f"{name} (nats)", cells.likelihood(k), 3, cells.error(k), True)
            for k, name in cells.SPLITS.items()
        ]
    return found + metrics(runs)


def metrics(runs: Sequence[Record]) -> list[Column]:
    """The metrics that any run has: known ones in order, usual conditions first.

    Under other conditions, exploded samples have a column only where there are some.
    """
    names = {name for run in runs for name in run.metrics}
    parsed = {name: parse(name) for name in names}
    idle = {
        name
        for name, parts in parsed.items()
        if parts.kind == EXPLODED and parts.condition
        if not any(run.metrics.get(name) for run in runs)
    }
    kinds = cells.in_order((p.kind for p in parsed.values()), METRICS)
    short = extractor_names(runs)

    def place(name: str) -> tuple:
        kind, extractor, condition = parsed[name]
        # The paper has the higher temperature first.
        order = [-float(t) for t in re.findall(r"(?<=[t-])[\d.]+", condition)]
        mixed = condition.startswith(INTERPOLATION)
        return mixed, condition != "", order, condition, extractor, kinds.index(kind)

    return [
        Column(
            _label(parsed[name], short),
            cells.metric(name),
            cells.decimals(runs, cells.metric(name)),
            higher=parsed[name].kind in HIGHER,
            metric=name,
        )
        for name in sorted(names - idle, key=place)
    ]


def extractor_names(runs: Sequence[Record]) -> dict[str, str]:
    """Id of each extractor to how tables call it: its network, where that is plain."""
    ids = {parse(name).extractor for run in runs for name in run.metrics} - {""}
    networks = [re.split("[_@]", i)[0] for i in ids]
    return {
        i: n if networks.count(n) == 1 else i
        for i, n in zip(ids, networks, strict=True)
    }


def directions(columns: Sequence[Column]) -> str:
    """Which metrics are better lower and which higher, in words."""
    said = []
    for word, higher in (("Lower", False), ("Higher", True)):
        kinds = cells.in_order(
            (parse(c.metric).kind for c in columns if c.higher == higher), METRICS
        )
        names = ", ".join(METRICS.get(kind, kind) for kind in kinds)
        said += [f"{word} is better: {names}."] if names else []
    return " ".join(said)


def features(runs: Sequence[Record], columns: Sequence[Column]) -> list[str]:
    """Notes on what the scores of images are over, and from how many images."""
    short = extractor_names(runs)
    by_counts: dict[str, dict[str, list[str]]] = {}
    for column in columns:
        found = {r.counts[column.metric] for r in runs if column.metric in r.counts}
        if found:
            said = ", ".join(f"{n:,} against {m:,} real" for n, m in sorted(found))
            mixed = parse(column.metric).condition.startswith(INTERPOLATION)
            what = "Interpolations" if mixed else "Samples"
            by_counts.setdefault(what, {}).setdefault(said, []).append(column.name)
    notes = [
        f"{what} scored: {said}"
        + ("." if len(groups) == 1 else f" ({', '.join(names)}).")
        for what, groups in by_counts.items()
        for said, names in groups.items()
    ]
    shown = {parse(column.metric).extractor for column in columns} - {""}
    notes += [
        f"{short[i]}: over the features {i}. Its Frechet distance (FD) is not FID and "
        "compares with no published FID."
        for i in sorted(shown)
    ]
    return notes


def condition_label(condition: str) -> str:
    """A condition in words: "t0.7" is "temp 0.7"."""
    return re.sub(r"\bt(?=\d)", "temp ", condition.replace("_", " "))


def _label(parsed: Metric, short: Mapping[str, str]) -> str:
    kind, extractor, condition = parsed
    words = [METRICS.get(kind, kind)]
    words += [short[extractor]] if extractor else []
    words += [condition_label(condition)] if condition else []
    return " ".join(words)
