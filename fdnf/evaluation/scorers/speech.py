"""How far sounds are from the recordings whose mel they were made from, and how fast.

Clip by clip; none of it is a listener's judgement. Speed is taken as Baranchuk et al.
(2021), section 3.2, do: a batch, the flow's inverses precomputed, the upsampling of the
mel left out. Theirs is half precision and includes the denoiser of the released
WaveGlow; this is float32 without one.
"""

import functools
import importlib.util
import logging
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fdnf.evaluation.core.scores import Result, Score
from fdnf.evaluation.models import timing, vocoder
from fdnf.evaluation.models.vocoder import Sound, Vocoder
from fdnf.evaluation.scorers import clips
from fdnf.evaluation.scorers.clips import Judged
from fdnf.evaluation.scorers.context import Context, Evaluation
from fdnf.flows.waveglow import WaveGlow
from fdnf.metrics import griffin_lim, harmonics, pitch, speech
from fdnf.ops import mel, trees
from fdnf.train import teachers
from fdnf.train.preprocess import FULL
from fdnf.train.settings import ConfigError

KIND = "speech"
# Of the latents and the noise, whatever the runs' seeds: clips are paired.
SEED = 0
# Of the mel-cepstral distortion, where there are as many mels.
CEPSTRA = 13
SPECTRAL = ("sc", "log_magnitude", "mel_l1", "mcd")
# Whether a sound has the recording's voice, by the pitch of the recording or of both.
VOICE = ("harmonicity", *pitch.Errors._fields)
# Metrics that a package of another takes, and that package.
PACKAGES = {
    "estoi": "pystoi",
    "stoi": "pystoi",
    "pesq": "pesq",
    **dict.fromkeys(VOICE, "pyworld"),
}
# Of models, what says how large they are; the first that there is, and the others.
DEPTHS, WIDTHS = ("flows", "blocks"), ("layers", "channels")

_log = logging.getLogger(__name__)


def band(rate: int) -> str:
    """The band of PESQ for recordings of a rate: what they hold no more of."""
    return "wide" if rate >= 16_000 else "narrow"


def unmeasured() -> dict[str, str]:
    """Metrics that cannot be taken here, and why."""
    return {
        name: f"package {package} is not installed"
        for name, package in PACKAGES.items()
        if importlib.util.find_spec(package) is None
    }


def fits(evaluation: Evaluation) -> None:
    """Refuses models of different mels, and of other recordings than the data's.

    Raises:
        ConfigError: there are some.
    """
    data = evaluation.data
    found = {name: model.preprocess.mel for name, model in evaluation.models.items()}
    (settings, *rest) = dict.fromkeys(found.values())
    if rest:
        raise ConfigError(
            f"models of different mels: {found}: give all the same `data.mel`"
        )
    if settings.rate != data.rate:
        raise ConfigError(
            f"models of {settings.rate} samples a second, {data.name} has {data.rate}: "
            "evaluate with the data they were trained on"
        )


def judged_of(evaluation: Evaluation) -> Judged:
    """The clips that are judged."""
    section = evaluation.section
    return evaluation.once(
        "clips",
        lambda: clips.beginnings(evaluation.data, section.seconds, section.clips),
    )


def mel_of(evaluation: Evaluation) -> mel.Settings:
    """The mel that all models are given."""
    return next(iter(evaluation.models.values())).preprocess.mel


def heard(
    evaluation: Evaluation, method: str, sounds: Sequence[Sound] = ()
) -> list[Sound]:
    """Sounds of the first `eval.shown` clips, of a method's first run.

    Args:
        evaluation: keeps them.
        method: a model's or a baseline's.
        sounds: of all clips, which are kept if there are none yet.
    """
    shown = evaluation.section.shown
    return evaluation.once(("heard", method), lambda: list(sounds[:shown]))


def baselines(evaluation: Evaluation) -> Iterator[Result]:
    """The recordings, Griffin-Lim, and noise: with the recordings, and alone."""
    judged, settings = judged_of(evaluation), mel_of(evaluation)
    iterations = evaluation.section.griffin_lim
    made = clips.without_model(judged, settings, iterations, SEED)
    noisy = {"noise_0db": clips.with_noise, "white_noise": clips.white_noise}
    for method, noise in noisy.items():
        made[method] = [
            clips.as_sound(noise(clip, SEED + i)) for i, clip in enumerate(judged.clips)
        ]
    facts = {"rate": judged.rate, "notes": _notes(judged)}
    for method, sounds in made.items():
        _log.info("scoring %s", method)
        heard(evaluation, method, sounds)
        label, scores = "", score(sounds, judged, settings)
        if method == "griffin_lim":
            label = f"Griffin-Lim ({iterations} iterations)"
            scores += _griffin_lim_speed(evaluation, settings)
        yield evaluation.baseline(
            method, scores, kind=KIND, seed=SEED, label=label, facts=facts
        )


def distances(context: Context) -> Iterator[Score]:
    """Every metric but the density, of each clip; sizes too."""
    whole, trained = context.whole, context.trained
    judged, temperature = judged_of(whole), context.section.temperature
    sounds = clips.synthesize(trained, context.run, judged, temperature, SEED)
    heard(whole, context.method, sounds)
    context.facts["rate"] = judged.rate
    if group := trained.config.get("group"):
        context.facts["group"] = group
    if size := _size(trained.flow):
        context.facts["size"] = size
    context.note(
        *_notes(judged),
        f"Latents of standard deviation {temperature}, the same for all models: one "
        "draw a clip, none rejected. Each is given the mel of the recording.",
    )
    yield from score(sounds, judged, mel_of(whole))
    variables = teachers.run_of(trained, context.run)[1]
    # Students have the teacher's upsampler of the mel.
    inherited = variables.get("constants", {}).get("upsampler", {})
    both = timing.parameter_count(variables) + trees.parameter_count(inherited)
    yield Score("parameters_with_upsampler", float(both))


def speed(context: Context) -> Iterator[Score]:
    """Samples of audio a second, by run 0; of a WaveGlow folded and as it was trained.

    Of a batch of `eval.time_batch` waveforms of `eval.time_seconds`; 0 for no times.
    """
    section, trained = context.section, context.trained
    batch, repeats = section.time_batch, section.time_repeats
    if context.run or not batch:
        return
    settings = trained.preprocess.mel
    group = vocoder.group_of(trained.flow)
    samples = group * max(1, round(section.time_seconds * settings.rate / group))

    def taken() -> list[Score]:
        model = vocoder.of(trained)
        args = _inputs(model, batch, samples)
        times = {"mel": _time(_decode(model.flow), model.variables, *args, n=repeats)}
        times[""] = times["mel"]
        if hasattr(model.flow, "upsampled"):
            times[""] = _from_upsampled(model, batch, samples, repeats)
        if isinstance(model.flow, WaveGlow):
            slow = vocoder.of(trained, fold=False)
            times["unfolded"] = _from_upsampled(slow, batch, samples, repeats)
        return [_mhz(given, batch, samples, ms) for given, ms in times.items()]

    seconds = round(samples / settings.rate, 3)
    context.note(f"Speed: of {batch} waveforms of {seconds:g} s.")
    # Models of one architecture differ in what they learned, which takes no time.
    yield from context.whole.once(("speed", trained.flow), taken)


def score(
    sounds: Sequence[Sound], judged: Judged, settings: mel.Settings
) -> list[Score]:
    """Every metric but the density, of each clip, and faults of all together.

    Args:
        sounds: one a clip.
        judged: the clips.
        settings: of the mel of `mel_l1` and `mcd`: what models are given.

    Returns:
        The scores. All of a clip are nan where its sound is not finite; one is nan
        where it is not defined, as PESQ is not where no speech is found.
    """
    absent = unmeasured()
    there = [name for name in (*SPECTRAL, *PACKAGES) if name not in absent]
    each = []
    for sound, clip in zip(sounds, judged.clips, strict=True):
        values = dict.fromkeys(there, math.nan)
        if sound.finite:
            values = _one(sound.samples, clip, judged.rate, settings, there)
        each.append(values)
    found = [
        Score(name, float(values[name]), "test", item=clip)
        for name in there
        for clip, values in zip(judged.names, each, strict=True)
    ]
    total = sum(len(sound.samples) for sound in sounds)
    broken = sum(not sound.finite for sound in sounds)
    clipped = 100 * sum(sound.beyond for sound in sounds) / total
    faults = (("broken_clips", float(broken)), ("clipped_percent", clipped))
    return found + [Score(name, value, "test") for name, value in faults]


def _notes(judged: Judged) -> tuple[str, ...]:
    told = [
        f"{len(judged.names)} test clips, {judged.seconds:.1f} s in all, at "
        f"{judged.rate} samples a second."
    ]
    if judged.left_out:
        told.append(f"Left out, being too short: {', '.join(judged.left_out)}.")
    absent = unmeasured()
    for why in dict.fromkeys(absent.values()):
        names = ", ".join(name for name in absent if absent[name] == why)
        told.append(f"Not measured: {names} ({why}).")
    return tuple(told)


def _size(flow: Any) -> str:
    """Steps or blocks, layers and channels: "12 x 8 x 256"; "" of other models."""
    depths = [getattr(flow, name) for name in DEPTHS if hasattr(flow, name)]
    parts = [*depths[:1], *(getattr(flow, name, None) for name in WIDTHS)]
    whole = len(parts) == 3 and all(isinstance(part, int) for part in parts)
    return " x ".join(map(str, parts)) if whole else ""


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
    on_host: dict[tuple[str, ...], Callable[[], Sequence[float]]] = {
        ("stoi",): lambda: [speech.stoi(ours, theirs, rate)],
        ("estoi",): lambda: [speech.stoi(ours, theirs, rate, extended=True)],
        ("pesq",): lambda: [speech.pesq(ours, theirs, rate, band=band(rate))],
        VOICE: lambda: _voice(ours, theirs, rate),
    }
    for names, measure in on_host.items():
        if not set(wanted).issuperset(names):
            continue
        try:
            values = measure()
        except ValueError:  # Too short, no utterance, nothing voiced: not defined.
            values = [math.nan] * len(names)
        found.update(zip(names, values, strict=True))
    return found


def _voice(x: np.ndarray, y: np.ndarray, rate: int) -> Sequence[float]:
    """The metrics of `VOICE` of `x` against the recording `y`."""
    recorded = pitch.track(y, rate)
    harmonic = harmonics.harmonicity(x, recorded, rate)
    return [harmonic, *pitch.compare(pitch.track(x, rate), recorded)]


@functools.partial(jax.jit, static_argnums=2)
def _spectral(x, y, settings):
    count = min(CEPSTRA, settings.mels - 1)
    return (
        *speech.stft_distance(x, y),
        speech.mel_l1(x, y, settings),
        speech.mel_cepstral_distortion(x, y, settings, count),
    )


def _griffin_lim_speed(evaluation: Evaluation, settings: mel.Settings) -> list[Score]:
    """Griffin and Lim's algorithm from the mel on, which it does not upsample."""
    section = evaluation.section
    batch, iterations = section.time_batch, section.griffin_lim
    if not batch:
        return []
    frames = 1 + max(1, round(section.time_seconds * settings.rate / settings.hop))
    log_mel = _mel(settings, batch, frames)

    @jax.jit
    def invert(log_mel: Any, key: Any) -> Any:
        return griffin_lim.griffin_lim(log_mel, key, settings, iterations=iterations)

    ms = _time(invert, log_mel, jax.random.key(0), n=section.time_repeats)
    samples = settings.hop * (frames - 1)
    return [_mhz(given, batch, samples, ms) for given in ("", "mel")]


def _mhz(given: str, batch: int, samples: int, ms: tuple[float, float, float]) -> Score:
    """Million samples a second: by the median time, the slow and the fast tenth."""
    median, high, low = (1e-3 * batch * samples / time for time in ms)
    return Score("audio_mhz", median, given=given, n=batch, low=low, high=high)


def _from_upsampled(model: Vocoder, batch: int, samples: int, repeats: int) -> Any:
    flow, variables = model.flow, model.variables
    z, log_mel = _inputs(model, batch, samples)
    if flow.prediction:  # It takes the mel as it is.
        return _time(_decode(flow), variables, z, log_mel, n=repeats)
    cond: Any = flow.apply(variables, log_mel, samples, method="upsample")
    rest = _decode(flow.clone(upsampled=True))
    return _time(rest, variables, z, cond, n=repeats)


def _inputs(model: Vocoder, batch: int, samples: int) -> tuple[Any, Any]:
    shape = (batch, samples, 1)
    z = model.flow.apply(model.variables, jax.random.key(1), shape, 1.0, method="draw")
    return z, _mel(model.settings, batch, 1 + samples // model.settings.hop)


def _decode(flow: Any) -> Any:
    def call(variables: Any, z: Any, cond: Any) -> Any:
        return flow.apply(variables, z, cond, method="decode").x

    return jax.jit(call)


def _mel(settings: mel.Settings, batch: int, frames: int) -> Any:
    # About the mean and spread of speech; times do not depend on it.
    noise = jax.random.normal(jax.random.key(0), (batch, frames, settings.mels))
    return jnp.asarray(2 * noise - 6)


def _time(function: Any, *args: Any, n: int) -> tuple[float, float, float]:
    compiled = function.lower(*args).compile()
    return timing.measure(compiled, *args, repeats=n).in_ms()
