"""What the tables of vocoders say below themselves: what was done, and caveats."""

import math
from collections.abc import Sequence

from fdnf.evaluation.core.speech_records import BASELINES, Record
from fdnf.evaluation.scorers import speech_scores
from fdnf.evaluation.scorers.speech_scores import METRICS
from fdnf.evaluation.tables import cells, speech_cells


def measured(records: Sequence[Record]) -> list[str]:
    """The metrics that any record has, in their order."""
    return [m for m in METRICS if any(m in r.scores for r in records)]


def notes(records: Sequence[Record]) -> tuple[str, ...]:
    """All of them."""
    records = [r for group in speech_cells.by_method(records).values() for r in group]
    parts = (_how, _metrics, _faults, _sources)
    return tuple(note for part in parts for note in part(records))


def _how(records: Sequence[Record]) -> list[str]:
    first = records[0]
    models = [r for r in records if r.method not in BASELINES]
    seeds = sorted({r.seed for r in models})
    runs = f", each the mean over seeds ({cells.listed(seeds)})" if seeds else ""
    notes = [
        "No listener was asked. None of these figures is a mean opinion score, and "
        "none is comparable with the MOS of Baranchuk et al. (2021), whose tables 2 "
        "and 4 this follows.",
        f"Over {len(first.clips)} test clips, {first.seconds:.1f} s in all, at "
        f"{first.rate} samples a second: mean over clips{runs}, ± half-width of the "
        "95 % Student-t interval over clips. ↓ lower is better, ↑ higher is better.",
    ]
    temperatures = sorted({str(r.temperature) for r in models})
    if temperatures:
        notes.append(
            f"Latents of standard deviation {', '.join(temperatures)}, the same for "
            "all models: one draw a clip, none rejected. Each is given the mel of the "
            "recording."
        )
    if first.left_out:
        notes.append(
            f"Left out, being too short: {len(first.left_out)} clips "
            f"({', '.join(first.left_out)})."
        )
    return notes


def _metrics(records: Sequence[Record]) -> list[str]:
    taken = measured(records)
    notes = [
        "STFT conv. and log mag.: spectral convergence and mean |log magnitude| "
        "difference, means over three resolutions (1024, 2048 and 512 samples). Mel "
        "l1: mean |log-mel difference| in nats. MCD: mel-cepstral distortion of 13 "
        "cepstra, or as many as there are, of the same mel, frame by frame; figures "
        "from another analysis are not comparable.",
    ]
    if "stoi" in taken:
        notes.append(
            "STOI and ESTOI: short-time objective intelligibility, about 0 to 1; what "
            "is understood, not how it sounds."
        )
    if "pesq" in taken:
        band = speech_scores.band(records[0].rate)
        notes.append(
            f"PESQ: {band} band; made for coding and transmission. Among bad "
            "vocoders it may prefer one that cannot be understood, and noise: mel l1, "
            "the STFT distance and ESTOI decide before it."
        )
    if "nll" in taken:
        notes.append(
            "NLL: negative log density of the recordings in windows as long as those "
            "of training, of waveforms in [-1, 1), with the 0.5 log(2 pi) that "
            "WaveGlow's published loss leaves out. Feed-forward students have none."
        )
    absent = {
        f"{METRICS[m].label} ({w})" for r in records for m, w in r.unmeasured.items()
    }
    if absent:
        notes.append(f"Not measured: {'; '.join(sorted(absent))}.")
    return notes


def _faults(records: Sequence[Record]) -> list[str]:
    notes = []
    undefined = {
        metric
        for record in records
        for metric, values in record.scores.items()
        if sum(map(math.isnan, values)) > record.broken
    }
    if undefined:
        named = ", ".join(METRICS[m].label for m in METRICS if m in undefined)
        notes.append(
            f"{named}: not defined for every clip, and then left out of the mean; STOI "
            "needs about 0.4 s of speech, PESQ an utterance, NLL a window of training."
        )
    broken = [r for r in records if r.broken]
    if broken:
        named = (f"{speech_cells.label(r)} seed {r.seed}: {r.broken}" for r in broken)
        notes.append(
            "Clips with samples that are not finite, which have no score and are "
            f"left out of means: {'; '.join(named)}."
        )
    cut = [r for r in records if r.clipped_percent >= 0.01]
    if cut:
        named = (
            f"{speech_cells.label(r)} seed {r.seed}: {r.clipped_percent:.2f} %"
            for r in cut
        )
        notes.append(f"Samples cut to full scale: {'; '.join(named)}.")
    return notes


def _sources(records: Sequence[Record]) -> list[str]:
    told = dict.fromkeys(r.source.rstrip(". ") for r in records if r.source)
    return [f"Data: {text}." for text in told]
