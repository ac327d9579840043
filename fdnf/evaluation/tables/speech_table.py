"""Tables of vocoders in the layout of Baranchuk et al. (2021), tables 2 and 4.

The paper asked listeners. Nobody was asked here: its column of opinions is replaced by
measures of how far a sound is from the recording, which are not comparable with it.
"""

from collections.abc import Mapping, Sequence

from fdnf.evaluation.core.speech_records import (
    BASELINES,
    GRIFFIN_LIM,
    TEACHER,
    Record,
    Speed,
)
from fdnf.evaluation.scorers.speech_scores import METRICS
from fdnf.evaluation.tables import cells, markup, speech_cells, speech_notes
from fdnf.evaluation.tables.markup import Table
from fdnf.evaluation.tables.speech_cells import Group


def page(records: Sequence[Record]) -> str:
    """All tables as Markdown.

    Args:
        records: of one data set and the same clips.

    Raises:
        ValueError: no record, or records of several data sets or sets of clips.
    """
    _check(records)
    made = (scores(records), ablation(records), differences(records), costs(records))
    return "\n".join(markup.to_markdown(table) for table in made if table is not None)


def scores(records: Sequence[Record]) -> Table:
    """Table 2: what is no model, the teacher, its students; those of the ablation not.

    Where all students are of the ablation they are here.
    """
    groups = speech_cells.by_method(records)
    ablated = [m for m, g in groups.items() if g[0].kind in speech_cells.ABLATION]
    students = [m for m in groups if m not in (*BASELINES, TEACHER)]
    if set(students) - set(ablated):
        groups = {m: g for m, g in groups.items() if m not in ablated}
    title = f"{records[0].data}: vocoders, from the recording's mel"
    return _scores(title, groups, speech_notes.notes(records))


def ablation(records: Sequence[Record]) -> Table | None:
    """Table 4: students that keep some of a flow's restrictions; None without them.

    Beside them stands the student of table 2 that has their size.
    """
    groups = speech_cells.by_method(records)
    kept = {m: g for m, g in groups.items() if g[0].kind in speech_cells.ABLATION}
    if not kept:
        return None
    sizes = {speech_cells.size(g[0]) for g in kept.values()}
    for method, group in groups.items():
        if group[0].kind == "wavenet" and speech_cells.size(group[0]) in sizes:
            kept[method] = group
    title = f"{records[0].data}: design of the student"
    notes = [
        "Flow: coupling layers on the samples of a group, all restrictions of a flow. "
        "Wide flow: coupling layers on a representation of more channels, not "
        "invertible. Affine: no partition, each layer sees and moves all channels. WG: "
        "WaveNets in place of the layers. See the table above for what is measured."
    ]
    return _scores(title, kept, notes)


def differences(records: Sequence[Record]) -> Table | None:
    """Students minus their teacher, clip by clip; None without a teacher."""
    groups = speech_cells.by_method(records)
    teacher = groups.get(TEACHER)
    others = {m: g for m, g in groups.items() if m not in (*BASELINES, TEACHER)}
    if GRIFFIN_LIM in groups:
        others = {GRIFFIN_LIM: groups[GRIFFIN_LIM], **others}
    if teacher is None or not set(others) - {GRIFFIN_LIM}:
        return None
    metrics = [m for m in speech_notes.measured(records) if m != "nll"]
    rows = tuple(
        (
            speech_cells.label(group[0]),
            *(
                speech_cells.difference(group, teacher, name, METRICS[name].digits)
                for name in metrics
            ),
        )
        for group in others.values()
    )
    notes = (
        "Mean over clips of the difference to the teacher's score of the same clip, ± "
        "half-width of its 95 % Student-t interval; * where 0 is outside. ↓: below 0 "
        "is better than the teacher.",
    )
    title = f"{records[0].data}: difference to the teacher"
    return Table(title, ("Models", *_header(metrics)), rows, notes)


def costs(records: Sequence[Record]) -> Table | None:
    """Sizes, and speed in all the ways it was taken; None if there is no model."""
    groups = speech_cells.by_method(records)
    teacher = speech_cells.speed(groups.get(TEACHER, []))
    rows = []
    for method, group in groups.items():
        speed = speech_cells.speed(group)
        if group[0].parameters is None and speed is None:
            continue
        rows.append(_cost(speech_cells.label(group[0]), group, teacher))
        if method == TEACHER and speed is not None and speed.unfolded_ms is not None:
            ms = speed.unfolded_ms
            mhz = speech_cells.mhz(speed, ms, spread=True), cells.MISSING
            ratio = cells.ratio(speed.mhz(ms)[0], speed.mhz(speed.ms)[0])
            name = f"{speech_cells.label(group[0])}, not folded"
            rows.append((name, *(cells.MISSING,) * 3, *mhz, ratio))
    if not rows:
        return None
    header = (
        "Models",
        "Blocks x layers x channels",
        "Param. (M)",
        "with upsampler",
        "Speed (MHz)",
        "from the mel",
        "x teacher",
    )
    notes = [
        "Param. (M): optimised scalars. Students take over the teacher's upsampler of "
        "the mel, which is not theirs in this count, as in the paper, and is in the "
        "next.",
        "Speed: 10^6 samples of audio a second"
        + "".join(_batches(records))
        + ", float32, one device, compiled and warmed up: median (10th-90th percentile)"
        ". The upsampling of the mel is left out, as in the paper, and included in "
        "the column after; Griffin-Lim has none. The teacher has the inverses of its "
        "1x1 convolutions computed beforehand (folded). The paper's figures are of "
        "half precision on a V100 and include a denoiser. Only times taken on one "
        "machine compare.",
    ]
    title = f"{records[0].data}: size and speed"
    return Table(title, header, tuple(rows), tuple(notes))


def _cost(name: str, group: Group, teacher: Speed | None) -> tuple[str, ...]:
    speed, first = speech_cells.speed(group), group[0]
    both = None
    if first.parameters is not None:
        both = first.parameters + first.inherited
    ms, whole = (speed.ms, speed.whole_ms) if speed else (None, None)
    if first.method == GRIFFIN_LIM:  # Which has nothing to upsample.
        ms = None
    ratio = cells.MISSING
    if teacher is not None and speed is not None and ms is not None:
        ratio = cells.ratio(speed.mhz(ms)[0], teacher.mhz(teacher.ms)[0])
    return (
        name,
        speech_cells.size(first),
        speech_cells.millions(first.parameters),
        speech_cells.millions(both),
        speech_cells.mhz(speed, ms, spread=True),
        speech_cells.mhz(speed, whole, spread=True),
        ratio,
    )


def _scores(
    title: str,
    groups: Mapping[str, Group],
    notes: Sequence[str],
) -> Table:
    metrics = speech_notes.measured([r for group in groups.values() for r in group])
    rows = []
    for group in groups.values():
        speed = speech_cells.speed(group)
        rows.append(
            (
                speech_cells.label(group[0]),
                *(speech_cells.mean(group, m, METRICS[m].digits) for m in metrics),
                speech_cells.millions(group[0].parameters),
                speech_cells.mhz(speed, speed.ms if speed else None),
            )
        )
    header = ("Models", *_header(metrics), "Param. (M)", "Speed (MHz) ↑")
    return Table(title, header, tuple(rows), tuple(notes))


def _header(metrics: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"{METRICS[m].label} {METRICS[m].arrow}" for m in metrics)


def _batches(records: Sequence[Record]) -> list[str]:
    taken = {
        (r.speed.batch, round(r.speed.samples / r.rate, 3))
        for r in records
        if r.speed is not None and r.parameters is not None
    }
    return [f", of {batch} waveforms of {s:g} s" for batch, s in sorted(taken)]


def _check(records: Sequence[Record]) -> None:
    names = sorted({record.data for record in records})
    if len(names) != 1:
        raise ValueError(f"records of {names}: expected those of one data set")
    if len({record.clips for record in records}) != 1:
        raise ValueError("records of several sets of clips: evaluate all models again")
