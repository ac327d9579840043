"""How far sounds are from the recordings whose mel they were made from, clip by clip.

None of it is a listener's judgement.
"""

import functools
import importlib.util
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fdnf.data import speech as clips_of
from fdnf.evaluation.models.vocoder import Sound
from fdnf.evaluation.scorers.speech_clips import Judged
from fdnf.flows.base import FlowModule
from fdnf.metrics import speech
from fdnf.ops import mel
from fdnf.train import validation
from fdnf.train.preprocess import FULL
from fdnf.train.teachers import Trained


class Metric(NamedTuple):
    """How a table shows a metric.

    Attributes:
        label: of its column.
        arrow: which way is better.
        digits: decimals.
        package: that must be installed for it; "" for none.
    """

    label: str
    arrow: str
    digits: int
    package: str = ""


METRICS = {
    "sc": Metric("STFT conv.", "↓", 3),
    "log_magnitude": Metric("STFT log mag.", "↓", 3),
    "mel_l1": Metric("Mel l1", "↓", 3),
    "mcd": Metric("MCD (dB)", "↓", 2),
    "estoi": Metric("ESTOI", "↑", 3, "pystoi"),
    "stoi": Metric("STOI", "↑", 3, "pystoi"),
    "pesq": Metric("PESQ", "↑", 2, "pesq"),
    "nll": Metric("NLL (nats/sample)", "↓", 3),
}
# Of the mel-cepstral distortion, where there are as many mels.
CEPSTRA = 13
SPECTRAL = ("sc", "log_magnitude", "mel_l1", "mcd")


def band(rate: int) -> str:
    """The band of PESQ for recordings of a rate: what they hold no more of."""
    return "wide" if rate >= 16_000 else "narrow"


def unmeasured() -> dict[str, str]:
    """Metrics that cannot be taken here, and why."""
    return {
        name: f"package {metric.package} is not installed"
        for name, metric in METRICS.items()
        if metric.package and importlib.util.find_spec(metric.package) is None
    }


def score(
    sounds: Sequence[Sound], judged: Judged, settings: mel.Settings
) -> dict[str, tuple[float, ...]]:
    """Every metric but the density, of each clip.

    Args:
        sounds: one a clip.
        judged: the clips.
        settings: of the mel of `mel_l1` and `mcd`: what models are given.

    Returns:
        Metric to one value a clip. All are nan of a sound that is not finite; one is
        nan where it is not defined, as of PESQ where no speech is found.
    """
    there = [name for name in METRICS if name != "nll" and name not in unmeasured()]
    found: dict[str, list[float]] = {name: [] for name in there}
    for sound, clip in zip(sounds, judged.clips, strict=True):
        if sound.finite:
            values = _one(sound.samples, clip, judged.rate, settings, there)
        else:
            values = dict.fromkeys(there, math.nan)
        for name in there:
            found[name].append(float(values[name]))
    return {name: tuple(values) for name, values in found.items()}


def nll(trained: Trained, judged: Judged) -> list[tuple[float, ...]] | None:
    """Negative log density a sample in nats, of each run, of each clip.

    Of windows as long as those of training, side by side, with the noise of training;
    what is left of a clip does not count. Densities are those of waveforms in [-1, 1).

    Returns:
        For each run one value a clip, nan of a clip shorter than a window; None of a
        model without a density.
    """
    if not isinstance(trained.flow, FlowModule):
        return None
    segment = trained.event[0]
    windows = [
        clips_of.windows(clip, segment) if len(clip) >= segment else clip[:0, None]
        for clip in judged.clips
    ]
    counts = [len(found) for found in windows]
    runs = range(trained.runs)
    if not sum(counts):
        return [(math.nan,) * len(counts) for _ in runs]
    log_prob = validation.make_log_prob(
        trained.flow, trained.config.eval.batch_size, trained.preprocess
    )
    rows = np.concatenate([found for found in windows if len(found)])
    params, constants = (trained.variables[k] for k in ("params", "constants"))
    found = -np.asarray(log_prob(params, constants, rows), np.float64) / segment
    ends = np.cumsum(counts)
    return [
        tuple(
            float(found[run, end - count : end].mean()) if count else math.nan
            for count, end in zip(counts, ends, strict=True)
        )
        for run in runs
    ]


def _one(
    x: np.ndarray,
    y: np.ndarray,
    rate: int,
    settings: mel.Settings,
    wanted: Sequence[str],
) -> dict[str, float]:
    """Metrics of `x` against the recording `y`, both int16 `[time]`."""
    ours, theirs = (
        np.asarray(sound, np.float32) / np.float32(FULL) for sound in (x, y)
    )
    values: Any = _spectral(
        jnp.asarray(ours[None]), jnp.asarray(theirs[None]), settings
    )
    found = {name: float(v[0]) for name, v in zip(SPECTRAL, values, strict=True)}
    on_host: dict[str, Callable[[], float]] = {
        "stoi": lambda: speech.stoi(ours, theirs, rate),
        "estoi": lambda: speech.stoi(ours, theirs, rate, extended=True),
        "pesq": lambda: speech.pesq(ours, theirs, rate, band=band(rate)),
    }
    for name in on_host.keys() & set(wanted):
        try:
            found[name] = on_host[name]()
        except ValueError:  # Too short, or no utterance in it: not defined.
            found[name] = math.nan
    return found


@functools.partial(jax.jit, static_argnums=2)
def _spectral(x, y, settings):
    count = min(CEPSTRA, settings.mels - 1)
    return (
        *speech.stft_distance(x, y),
        speech.mel_l1(x, y, settings),
        speech.mel_cepstral_distortion(x, y, settings, count),
    )
