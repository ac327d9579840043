"""Everything there is to say of a vocoder and its students: scores, tables, sounds.

Reference: Baranchuk et al. (2021), section 3.2 and appendix F, in objective measures.
"""

import dataclasses
import logging
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fdnf import files
from fdnf.data.speech import Clips
from fdnf.evaluation.core import speech_records
from fdnf.evaluation.core.speech_records import (
    GRIFFIN_LIM,
    NOISE,
    NOISY,
    Record,
    Speed,
)
from fdnf.evaluation.models import timing
from fdnf.evaluation.models.vocoder import Sound
from fdnf.evaluation.scorers import speech_clips, speech_scores, speech_speed
from fdnf.evaluation.scorers.speech_clips import Judged
from fdnf.evaluation.tables import speech_cells, speech_table
from fdnf.evaluation.tasks import speech_sampling
from fdnf.ops import mel, trees
from fdnf.train import process, teachers
from fdnf.train.settings import ConfigError
from fdnf.train.teachers import Trained

RESULTS, TABLE, FIGURES, SAMPLES = "results", "table.md", "figures", "samples"
# Of the latents and the noise, whatever the runs' seeds: clips are paired.
SEED = 0

_log = logging.getLogger(__name__)


def report(
    workdir: str | pathlib.Path,
    trained: Mapping[str, Trained],
    data: Clips,
    evaluation: Any,
) -> str:
    """Scores and times all models, beside rows that are none; writes what it finds.

    Speed is taken of each method's first run, before all else; sounds and pictures are
    of the first runs too.

    Args:
        workdir: gets `results/<method>/seed_<n>/speech.json`, `table.md`,
            `samples/<clip>_<method>.wav` and `figures/<clip>.png`.
        trained: the models by method, "teacher" among them if there is one.
        data: what all were trained on.
        evaluation: the `eval` section; read are `clips`, `seconds`, `temperature`,
            `griffin_lim`, `shown`, `time_batch` (0: no times), `time_seconds`,
            `time_repeats`, and `batch_size` of each model's own.

    Returns:
        The tables as Markdown.

    Raises:
        ConfigError: no model, one of other data, or clips too short to be judged.
    """
    workdir = pathlib.Path(workdir)
    settings = _check(trained, data)
    judged = speech_clips.beginnings(data, evaluation.seconds, evaluation.clips)
    first = range(min(evaluation.shown, len(judged.names)))
    speeds = dict(_speeds(trained, settings, evaluation))
    records: list[Record] = []
    heard: dict[str, list[Sound]] = {}
    for record, sounds in _rows(trained, data, judged, settings, evaluation):
        # The first run of a method carries its speed and is heard.
        speed = speeds.pop(record.method, None)
        made = dataclasses.replace(record, speed=speed)
        speech_records.write(made, workdir / RESULTS)
        if record.method not in heard:
            heard[record.method] = [sounds[i] for i in first]
        records.append(made)
    text = speech_table.page(records)
    _show(workdir, judged, first, heard, records, settings, evaluation)
    # Last: that it is there says that all is.
    files.write_text(workdir / TABLE, text)
    return text


def again(workdir: str | pathlib.Path) -> str:
    """The tables from the records of a workdir; nothing is measured.

    Raises:
        FileNotFoundError: there are none.
        ValueError: a file is not a record, or they do not belong together.
    """
    return speech_table.page(speech_records.read(pathlib.Path(workdir) / RESULTS))


def _check(trained: Mapping[str, Trained], data: Clips) -> mel.Settings:
    if not trained:
        raise ConfigError("no models: expected at least one to evaluate")
    wrong = [name for name in trained if name in speech_records.BASELINES]
    if wrong:
        raise ConfigError(
            f"models are named {wrong}: these are the names of the rows without a model"
        )
    found = {name: model.preprocess.mel for name, model in trained.items()}
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
    return settings


def _rows(
    trained: Mapping[str, Trained],
    data: Clips,
    judged: Judged,
    settings: mel.Settings,
    evaluation: Any,
) -> Iterator[tuple[Record, Sequence[Sound]]]:
    """Record and sounds of each row: those without a model, then each model's runs."""

    def record(method: str, sounds: Sequence[Sound], **fields: Any) -> Record:
        _log.info("scoring %s", method)
        scores = speech_scores.score(sounds, judged, settings)
        total = sum(len(sound.samples) for sound in sounds)
        known = {
            "data": data.name,
            "method": method,
            "seed": SEED,
            "kind": "",
            "source": data.source,
            "rate": data.rate,
            "clips": judged.names,
            "scores": scores | fields.pop("also", {}),
            "unmeasured": speech_scores.unmeasured(),
            "seconds": judged.seconds,
            "left_out": judged.left_out,
            "broken": sum(not sound.finite for sound in sounds),
            "clipped_percent": 100 * sum(sound.beyond for sound in sounds) / total,
        }
        return Record(**(known | fields))

    iterations = evaluation.griffin_lim
    made = speech_sampling.baselines(judged, settings, iterations, SEED)
    noisy = {NOISY: speech_clips.with_noise, NOISE: speech_clips.white_noise}
    for method, noise in noisy.items():
        made[method] = [
            speech_sampling.as_sound(noise(clip, SEED + i))
            for i, clip in enumerate(judged.clips)
        ]
    for method, sounds in made.items():
        also = {"iterations": iterations} if method == GRIFFIN_LIM else {}
        yield record(method, sounds, **also), sounds
    for method, model in trained.items():
        fits = speech_scores.nll(model, judged)
        temperature = evaluation.temperature
        for run in range(model.runs):
            sounds = speech_sampling.synthesize(model, run, judged, temperature, SEED)
            variables = teachers.run_of(model, run)[1]
            made_record = record(
                method,
                sounds,
                seed=model.config.seed + run,
                kind=model.config.model.name,
                temperature=temperature,
                parameters=timing.parameter_count(variables),
                inherited=trees.parameter_count(
                    variables.get("constants", {}).get("upsampler", {})
                ),
                settings=_settings(model.flow),
                also={} if fits is None else {"nll": fits[run]},
            )
            yield made_record, sounds
        process.release_programs()


def _settings(flow: Any) -> dict[str, int]:
    return {
        name: value
        for name in speech_cells.SIZES
        if isinstance(value := getattr(flow, name, None), int)
    }


def _speeds(
    trained: Mapping[str, Trained], settings: mel.Settings, evaluation: Any
) -> Iterator[tuple[str, Speed]]:
    """While the machine is quiet."""
    batch, seconds = evaluation.time_batch, evaluation.time_seconds
    if not batch:
        return
    repeats = evaluation.time_repeats
    yield (
        GRIFFIN_LIM,
        speech_speed.of_griffin_lim(
            settings, evaluation.griffin_lim, batch, seconds, repeats
        ),
    )
    known: dict[Any, Speed] = {}
    for method, model in trained.items():
        _log.info("timing %s", method)
        # Models of one architecture differ in what they learned, which takes no time.
        if model.flow not in known:
            known[model.flow] = speech_speed.measure(model, batch, seconds, repeats)
        yield method, known[model.flow]
        process.release_programs()


def _show(
    workdir: pathlib.Path,
    judged: Judged,
    first: Sequence[int],
    heard: Mapping[str, Sequence[Sound]],
    records: Sequence[Record],
    settings: mel.Settings,
    evaluation: Any,
) -> None:
    """Sounds and pictures of the first clips; noise without the recording is left."""
    labels = {r.method: speech_cells.label(r) for r in records}
    chosen = judged.first(len(first))
    sounds = {method: made for method, made in heard.items() if method != NOISE}
    said = f"temperature {evaluation.temperature}"
    written = speech_sampling.save(
        workdir / SAMPLES, chosen, sounds, settings, said, labels
    )
    (workdir / FIGURES).mkdir(parents=True, exist_ok=True)
    for path in written:
        if path.suffix == ".png":
            path.replace(workdir / FIGURES / path.name)
