"""Vocoders: how far their sounds are from the recordings, size and speed.

Reference: Baranchuk et al. (2021), section 3.2 and appendix F, tables 2 and 4. The
paper asked listeners. Nobody was asked here: its column of opinions is replaced by
measures of how far a sound is from the recording, which are not comparable with it.
"""

import logging
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from fdnf.data import build as datasets
from fdnf.evaluation.core import methods
from fdnf.evaluation.models.vocoder import Sound
from fdnf.evaluation.pictures import spectrograms
from fdnf.evaluation.scorers import clips, context, speech_density
from fdnf.evaluation.scorers import speech as scorer
from fdnf.evaluation.scorers.clips import Judged
from fdnf.evaluation.scorers.context import Evaluation
from fdnf.evaluation.tables.columns import Column
from fdnf.evaluation.tables.view import View
from fdnf.evaluation.tasks import base
from fdnf.evaluation.tasks.base import Task
from fdnf.ops import mel
from fdnf.train.preprocess import Speech
from fdnf.train.teachers import Trained

_log = logging.getLogger(__name__)

_HEARD = ("voiced_share", "harmonicity")
_DISTANCES = tuple(
    map(
        Column,
        ("sc", "log_magnitude", "mel_l1", "mcd", *_HEARD, "estoi", "stoi", "pesq"),
    )
)
_PARAMETERS = Column("parameters", show="millions", label="Param. (M)")
VOCODERS = View(
    "{data}: vocoders, from the recording's mel",
    (
        *_DISTANCES,
        Column("nll"),
        Column("reverse_kl_second"),
        _PARAMETERS,
        Column("audio_mhz", show="median", label="Speed (MHz) ↑"),
        Column("broken_clips", show="fault"),
        Column("clipped_percent", show="fault"),
    ),
    unit="item",
    items="clips",
    group="vocoders",
    needs=("mel_l1",),
    note="No listener was asked. None of these figures is a mean opinion score, and "
    "none is comparable with the MOS of Baranchuk et al. (2021), whose tables 2 and 4 "
    "this follows.",
)
ABLATION = VOCODERS._replace(
    title="{data}: design of the student",
    group="ablation",
    baselines=False,
    note="Flow: coupling layers on the samples of a group, all restrictions of a flow. "
    "Wide flow: coupling layers on a representation of more channels, not invertible. "
    "Affine: no partition, each layer sees and moves all channels. WG: WaveNets in "
    "place of the layers.",
)
VOICE = View(
    "{data}: voice and pitch",
    tuple(map(Column, (*_HEARD, "voicing_error", "gross_pitch_error", "pitch_rmse"))),
    unit="item",
    items="clips",
)
DIFFERENCES = View(
    "{data}: difference to the teacher",
    _DISTANCES,
    unit="item",
    items="clips",
    against="teacher",
    baselines=("griffin_lim",),
)
COST = View(
    "{data}: size and speed",
    (
        Column("size", show="setting", label="Blocks x layers x channels"),
        _PARAMETERS,
        Column("parameters_with_upsampler", show="millions", label="with upsampler"),
        Column("audio_mhz", show="spread"),
        Column("audio_mhz", given="mel", show="spread", label="from the mel"),
        Column("audio_mhz", given="unfolded", show="spread", label="unfolded"),
        Column("audio_mhz", show="times", to="teacher", label="x teacher"),
        Column(
            "audio_mhz",
            given="unfolded",
            show="times",
            to="teacher",
            label="unfolded x teacher",
            base_given="",
        ),
    ),
    baselines=("griffin_lim",),
    needs=("audio_mhz", "parameters_with_upsampler"),
    note="Param. (M): optimised scalars. Students take over the teacher's upsampler of "
    "the mel, which is not theirs in this count, as in the paper, and is in the next. "
    "Speeds: median (10th-90th percentile). Only times taken on one machine compare.",
)


# Of which there are sounds and pictures.
BASELINES = ("truth", "griffin_lim", "predicted_noise", "noise_0db")


def takes(trained: Trained) -> bool:
    """Whether a model makes speech."""
    return isinstance(trained.preprocess, Speech)


def label(trained: Trained, method: str) -> str:
    """A model as the paper's tables name it: "WG Student V2", "Flow Student"."""
    name = trained.config.model.name
    arch = methods.architecture(name)
    if method == "teacher":
        return f"{arch} (teacher)"
    if name == f"wave_{method}":
        return arch
    if name in ("wavenet_iaf", "wavenet") and method in methods.METHODS:
        return methods.label(method)
    version = method[:1] == "v" and method[1:].isdigit()
    return f"{arch} {method.upper()}" if version else f"{arch} ({method})"


def draw(evaluation: Evaluation, folder: pathlib.Path) -> list[pathlib.Path]:
    """Sounds and pictures of the first clips, of the first runs.

    White noise by itself is left out.

    Returns:
        `<clip>.png`, and beside the folder `samples/<clip>_<method>.wav`.
    """
    section = evaluation.section
    labels = {name: methods.label(name) for name in methods.BASELINES}
    labels["griffin_lim"] += f" ({section.griffin_lim} iterations)"
    for method, model in evaluation.models.items():
        labels[method] = label(model, method)
    order = (*BASELINES, *evaluation.models)
    sounds = {method: scorer.heard(evaluation, method) for method in order}
    judged = scorer.judged_of(evaluation).first(section.shown)
    return _save(
        folder,
        folder.parent / base.SAMPLES,
        judged,
        sounds,
        scorer.mel_of(evaluation),
        f"temperature {section.temperature}",
        labels,
    )


def sample(trained: Trained, workdir: pathlib.Path, seed: int) -> list[pathlib.Path]:
    """Writes `eval.shown` test clips as each run of a model makes them.

    Beside its teacher's, if it is still there: its run of the same number, or its only
    one.

    Args:
        trained: the model, its config's `eval` as it shall be; read are `clips`,
            `seconds`, `shown`, `temperature` and `griffin_lim`.
        workdir: that it was loaded from.
        seed: of the latents, which all models share.

    Returns:
        The files, of each clip: `<clip>_truth.wav`, `<clip>_griffin_lim.wav`,
        `<clip>_predicted_noise.wav`, `<clip>_teacher.wav`, `<clip>_run_<r>.wav`, and
        `<clip>.png` with the spectrograms of all.
    """
    section, settings = trained.config.eval, trained.preprocess.mel
    data: Any = datasets.build(trained.config.data)
    judged = clips.beginnings(data, section.seconds, section.clips)
    longest, judged = judged.longest, judged.first(max(1, section.shown))
    made = clips.without_model(judged, settings, section.griffin_lim, seed)

    def heard(model: Trained, run: int) -> list[Sound]:
        temperature = section.temperature
        return clips.synthesize(model, run, judged, temperature, seed, longest=longest)

    teacher = context.teacher_of(trained, workdir)
    for run in range(min(teacher.runs, trained.runs) if teacher else 0):
        assert teacher is not None
        name = "teacher" if teacher.runs == 1 else f"teacher_run_{run}"
        made[name] = heard(teacher, run)
    labels = {name: methods.label(name) for name in made}
    for run in range(trained.runs):
        made[f"run_{run}"] = heard(trained, run)
        arch = methods.architecture(trained.config.model.name)
        labels[f"run_{run}"] = f"{arch}, run {run}"
    for name, sounds in made.items():
        broken = sum(not sound.finite for sound in sounds)
        if broken:
            _log.warning("%s: %d of %d not finite", name, broken, len(sounds))
    folder, said = workdir / base.SAMPLES, f"temperature {section.temperature}"
    return _save(folder, folder, judged, made, settings, said, labels)


def _save(
    pictures: pathlib.Path,
    folder: pathlib.Path,
    judged: Judged,
    sounds: Mapping[str, Sequence[Sound]],
    settings: mel.Settings,
    said: str,
    labels: Mapping[str, str],
) -> list[pathlib.Path]:
    """WAV files, and a picture of each clip.

    Args:
        pictures: where the pictures go.
        folder: where the WAV files go.
        judged: the clips.
        sounds: name to one sound a clip, the recordings first; names end the files'.
        settings: of the pictures' mel.
        said: in the pictures' titles.
        labels: of the pictures, by name.
    """
    paths = []
    for i, clip in enumerate(judged.names):
        stem = spectrograms.stem(clip)
        for name, made in sounds.items():
            path = folder / f"{stem}_{spectrograms.stem(name)}.wav"
            paths.append(spectrograms.write_wav(path, made[i].samples, judged.rate))
        lines = {labels[name]: made[i].samples for name, made in sounds.items()}
        path = pictures / f"{stem}.png"
        paths.append(spectrograms.draw(path, lines, settings, f"{clip}, {said}"))
    return paths


TASK = Task(
    scorer.KIND,
    takes,
    scorers=(
        scorer.speed,
        scorer.distances,
        speech_density.likelihood,
        speech_density.divergence,
    ),
    views=(VOCODERS, ABLATION, VOICE, DIFFERENCES, COST),
    sample=sample,
    baselines=(scorer.baselines,),
    draw=(draw,),
    fits=scorer.fits,
    label=label,
)
