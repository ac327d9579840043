"""What vocoders make of test clips: sounds to listen to, and their pictures."""

import logging
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fdnf.data.speech import Clips
from fdnf.evaluation.core.speech_records import GRIFFIN_LIM, TRUTH
from fdnf.evaluation.models import vocoder as vocoders
from fdnf.evaluation.models.vocoder import Sound, Vocoder
from fdnf.evaluation.pictures import spectrograms
from fdnf.evaluation.scorers import speech_clips
from fdnf.evaluation.scorers.speech_clips import Judged
from fdnf.evaluation.tables import speech_cells
from fdnf.metrics import griffin_lim
from fdnf.ops import mel
from fdnf.train.preprocess import FULL
from fdnf.train.teachers import Trained

_log = logging.getLogger(__name__)


def write(
    trained: Trained,
    data: Clips,
    folder: pathlib.Path,
    seed: int,
    others: Mapping[str, Trained] | None = None,
) -> list[pathlib.Path]:
    """Writes `eval.shown` test clips as each run of a model makes them.

    Args:
        trained: the flow or student, its config's `eval` as it shall be; read are
            `clips`, `seconds`, `shown`, `temperature` and `griffin_lim`.
        data: what it was trained on.
        folder: where the files go.
        seed: of the latents, which all models share.
        others: further models beside it by name, such as its teacher; their run of the
            same number, or their only one.

    Returns:
        The files, of each clip: `<clip>_truth.wav`, `<clip>_griffin_lim.wav`,
        `<clip>_<name>.wav` of each other model, `<clip>_run_<r>.wav`, and `<clip>.png`
        with the spectrograms of all.
    """
    evaluation, settings = trained.config.eval, trained.preprocess.mel
    judged = speech_clips.beginnings(data, evaluation.seconds, evaluation.clips)
    longest, judged = judged.longest, judged.first(max(1, evaluation.shown))
    made = baselines(judged, settings, evaluation.griffin_lim, seed)

    def heard(model: Trained, run: int) -> list[Sound]:
        temperature = evaluation.temperature
        return synthesize(model, run, judged, temperature, seed, longest=longest)

    for name, model in (others or {}).items():
        for run in range(min(model.runs, trained.runs)):
            label = name if model.runs == 1 else f"{name}_run_{run}"
            made[label] = heard(model, run)
    for run in range(trained.runs):
        made[f"run_{run}"] = heard(trained, run)
    for name, sounds in made.items():
        broken = sum(not sound.finite for sound in sounds)
        if broken:
            _log.warning("%s: %d of %d not finite", name, broken, len(sounds))
    kind = trained.config.model.name
    kind = speech_cells.KINDS.get(kind, kind)
    labels = {f"run_{run}": f"{kind}, run {run}" for run in range(trained.runs)}
    said = f"temperature {evaluation.temperature}"
    labels |= speech_cells.ROWS
    return save(folder, judged, made, settings, said, labels)


def synthesize(
    trained: Trained,
    run: int,
    judged: Judged,
    temperature: Any,
    seed: int = 0,
    *,
    longest: int | None = None,
) -> list[Sound]:
    """Each clip as one run of a model makes it of the recording's mel.

    Args:
        trained: the model.
        run: which of its runs.
        judged: the clips.
        temperature: of the latents.
        seed: of the latents; models that have the same ones get the same ones.
        longest: of the clips, see `vocoders.of`.
    """
    model = vocoders.of(trained, run, longest or judged.longest)
    return list(_each(model, judged, temperature, seed))


def baselines(
    judged: Judged, settings: mel.Settings, iterations: int, seed: int = 0
) -> dict[str, list[Sound]]:
    """The recordings themselves, and what Griffin-Lim makes of their mel."""
    found: dict[str, list[Sound]] = {TRUTH: [], GRIFFIN_LIM: []}
    for i, clip in enumerate(judged.clips):
        found[TRUTH].append(as_sound(clip))
        log_mel = vocoders.log_mel(clip, settings)
        x = griffin_lim.griffin_lim(
            jnp.asarray(log_mel[None]),
            jax.random.fold_in(jax.random.key(seed), i),
            settings,
            time=len(clip),
            iterations=iterations,
        )
        found[GRIFFIN_LIM].append(vocoders.to_sound(np.asarray(x[0])))
    return found


def as_sound(samples: np.ndarray) -> Sound:
    """What a recording is, in the form of what a model makes."""
    peak = float(np.abs(np.asarray(samples, np.float64)).max()) / FULL
    return Sound(samples, peak, 0)


def save(
    folder: pathlib.Path,
    judged: Judged,
    sounds: Mapping[str, Sequence[Sound]],
    settings: mel.Settings,
    said: str,
    labels: Mapping[str, str] | None = None,
) -> list[pathlib.Path]:
    """WAV files, and a picture of each clip.

    Args:
        folder: where they go.
        judged: the clips.
        sounds: name to one sound a clip, the recordings first; names end the files'.
        settings: of the pictures' mel.
        said: in the pictures' titles.
        labels: of the pictures, by name; the names by default.
    """
    paths = []
    for i, clip in enumerate(judged.names):
        stem = spectrograms.stem(clip)
        for name, made in sounds.items():
            path = folder / f"{stem}_{spectrograms.stem(name)}.wav"
            paths.append(spectrograms.write_wav(path, made[i].samples, judged.rate))
        lines = {
            (labels or {}).get(name, name): made[i].samples
            for name, made in sounds.items()
        }
        path = folder / f"{stem}.png"
        paths.append(spectrograms.draw(path, lines, settings, f"{clip}, {said}"))
    return paths


def _each(
    model: Vocoder, judged: Judged, temperature: Any, seed: int
) -> Iterator[Sound]:
    key = jax.random.key(seed)
    for i, clip in enumerate(judged.clips):
        log_mel = vocoders.log_mel(clip, model.settings)
        yield model(log_mel, len(clip), jax.random.fold_in(key, i), temperature)
