"""Scores of models of super-resolution on whole test images, and their speed."""

import logging
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from fdnf.data.super_resolution import Benchmark, Pairs
from fdnf.evaluation.core.sr_records import BICUBIC, Milliseconds, Record
from fdnf.evaluation.models import timing
from fdnf.evaluation.models import upscaler as upscalers
from fdnf.evaluation.models.upscaler import Upscaler
from fdnf.evaluation.scorers import sr_judge
from fdnf.evaluation.scorers.sr_judge import Judge
from fdnf.evaluation.tables import sr_cells
from fdnf.ops import resize
from fdnf.train import process, teachers
from fdnf.train.settings import ConfigError
from fdnf.train.teachers import Trained

# An image is exploded beyond this |x|: samples that training rejects, as published.
REACH = 5.0
FEED_FORWARD = "feed_forward"

_log = logging.getLogger(__name__)


class Settings(NamedTuple):
    """How much is done.

    Attributes:
        temperature: of the noise.
        images: of each benchmark, the first; 0 for all.
        samples: of one image, to tell how diverse they are; none below 2.
        sample_crop: side, in high resolution, of the middle part of an image that they
            are drawn of; 0 for the whole.
        repeats: times that an image is timed; 0 for no timing.
    """

    temperature: float = 0.9
    images: int = 0
    samples: int = 8
    sample_crop: int = 128
    repeats: int = 20

    def benchmarks(self, data: Pairs) -> tuple[Benchmark, ...]:
        """The test images that are looked at."""
        most = self.images or None
        return tuple(
            Benchmark(b.name, b.names[:most], b.hr[:most], b.lr[:most])
            for b in data.test
        )


def settings_of(evaluation: Any) -> Settings:
    """The settings of an `eval` section.

    Raises:
        ConfigError: a number below 0.
    """
    found = Settings(
        float(evaluation.temperature),
        evaluation.images,
        evaluation.samples,
        evaluation.sample_crop,
        evaluation.time_repeats,
    )
    if min(found) < 0:
        raise ConfigError(f"eval has {found}: expected numbers of at least 0")
    return found


def bicubic(data: Pairs, judge: Judge, settings: Settings) -> Record:
    """The baseline: bicubic enlargement."""
    values = {}
    for benchmark in settings.benchmarks(data):
        scored = {}
        for name, hr, lr in zip(*benchmark[1:], strict=True):
            scored[name] = judge.fidelity(resize.upscale_uint8(lr, data.scale), hr, lr)
        values[benchmark.name] = _by_metric(scored)
    return Record(
        data=data.name,
        method=BICUBIC,
        seed=0,
        scale=data.scale,
        values=values,
        source=data.source,
        perceptual=judge.name,
        notes=judge.notes,
    )


def evaluate(
    trained: Trained, data: Pairs, method: str, judge: Judge, settings: Settings
) -> list[Record]:
    """What every run of a model was measured to be.

    One sample is drawn of each test image, and `settings.samples` more of its middle
    part. Run r of every model gets the same noise for the same image. The time is that
    of run 0 on the first image of the first benchmark.

    Args:
        trained: the model.
        data: its test images.
        method: what it is called.
        judge: of the images.
        settings: how much is done.

    Returns:
        One record a run.

    Raises:
        ConfigError: if it was trained for another scale.
    """
    scale = getattr(trained.preprocess, "scale", None)
    if scale != data.scale:
        raise ConfigError(
            f"{method} was trained for scale {scale}, {data.name} has {data.scale}: "
            "evaluate it with the config it was trained with"
        )
    models = [upscalers.of(trained, run) for run in range(trained.runs)]
    speed = _speed(trained, models[0], data, settings)
    found = [_Run({}, 0) for _ in models]
    for i, benchmark in enumerate(settings.benchmarks(data)):
        _log.info("%s on %s", method, benchmark.name)
        _score(found, models, benchmark, i, judge, settings)
    return [
        Record(
            data=data.name,
            method=method,
            seed=trained.config.seed + run,
            scale=data.scale,
            values={name: _by_metric(scored) for name, scored in one.scored.items()},
            source=data.source,
            perceptual=judge.name,
            settings={
                "temperature": settings.temperature,
                "images": settings.images,
                "samples": settings.samples,
                "sample_crop": settings.sample_crop,
            },
            parameters=timing.parameter_count(
                {"params": teachers.run_of(trained, run)[1]["params"]}
            ),
            exploded=one.exploded,
            notes=(*judge.notes, *_taught_by(trained, method, judge)),
            **speed,
        )
        for run, one in enumerate(found)
    ]


def middle(image: np.ndarray, side: int) -> np.ndarray:
    """The middle of an image, at most `side` high and wide; 0 for the whole."""
    if not side:
        return image
    starts = [max(0, (length - side) // 2) for length in image.shape[:2]]
    rows, columns = (slice(start, start + side) for start in starts)
    return image[rows, columns]


def noise_key(run: int, benchmark: int, image: int) -> jax.Array:
    """Key of an image's noise: one for all models."""
    key = jax.random.key(0)
    for number in (run, benchmark, image):
        key = jax.random.fold_in(key, number)
    return key


def by_size(images: Sequence[np.ndarray]) -> Iterator[list[int]]:
    """Places of the images of each size, so that one program follows another."""
    sizes: dict[tuple[int, ...], list[int]] = {}
    for i, image in enumerate(images):
        sizes.setdefault(image.shape, []).append(i)
    for size in sorted(sizes):
        yield sizes[size]


class _Run:
    """Scores of one run: benchmark to image to metric to number."""

    def __init__(self, scored: dict[str, Any], exploded: int):
        self.scored, self.exploded = scored, exploded


def _score(
    found: list[_Run],
    models: Sequence[Upscaler],
    benchmark: Benchmark,
    number: int,
    judge: Judge,
    settings: Settings,
) -> None:
    for run in found:
        run.scored[benchmark.name] = {name: {} for name in benchmark.names}
    for places in by_size(benchmark.lr):
        for i in places:
            hr, lr = benchmark.hr[i], benchmark.lr[i]
            for r, (run, upscaler) in enumerate(zip(found, models, strict=True)):
                key = noise_key(r, number, i)
                images, reach = upscaler(lr[None], key, settings.temperature)
                # Written so that NaN counts.
                run.exploded += not reach[0] <= REACH
                scores = run.scored[benchmark.name][benchmark.names[i]]
                scores |= judge.fidelity(images[0], hr, lr)
                diverse = _diversity(upscaler, lr, key, judge, settings)
                if diverse is not None:
                    scores[sr_judge.DIVERSITY] = diverse
        process.release_programs()


def _diversity(
    upscaler: Upscaler, lr: np.ndarray, key: Any, judge: Judge, settings: Settings
) -> float | None:
    if judge.metric is None or settings.samples < 2 or not upscaler.draws:
        return None
    part = middle(lr, settings.sample_crop // upscaler.preprocess.scale)[None]
    key = jax.random.fold_in(key, settings.samples)
    if settings.sample_crop:
        part = part.repeat(settings.samples, axis=0)
        drawn = upscaler(part, key, settings.temperature).images
    else:  # Whole images may be large: one by one.
        keys = jax.random.split(key, settings.samples)
        each = [upscaler(part, k, settings.temperature).images for k in keys]
        drawn = np.concatenate(each)
    return judge.diversity(drawn)


def _taught_by(trained: Trained, method: str, judge: Judge) -> tuple[str, ...]:
    """What is to be said of a student that knows its judge."""
    taught = trained.config.get("loss", {}).get(FEED_FORWARD, {})
    if not taught or not taught.alpha or taught.feature != judge.name:
        return ()
    return (
        f"{sr_cells.label(method)} was trained with the distance that judges here, to "
        "its teacher's samples.",
    )


def _by_metric(scored: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    metrics = dict.fromkeys(metric for scores in scored.values() for metric in scores)
    return {
        metric: {name: s[metric] for name, s in scored.items() if metric in s}
        for metric in metrics
    }


def _speed(
    trained: Trained, upscaler: Upscaler, data: Pairs, settings: Settings
) -> dict[str, Any]:
    if not settings.repeats:
        return {}
    benchmark = data.test[0]
    lr = benchmark.lr[0]
    height, width = lr.shape[:2]
    size = f"{width}x{height} to {data.scale * width}x{data.scale * height} pixels"
    plain = upscalers.of(trained, 0, fold=False)
    found: dict[str, Any] = {
        "time_ms": _time(upscaler, lr, settings),
        "timed": f"{benchmark.names[0]} of {benchmark.name}, {size}",
    }
    if plain.flow != upscaler.flow:
        found["unfolded_ms"] = _time(plain, lr, settings)
    return found


def _time(upscaler: Upscaler, lr: np.ndarray, settings: Settings) -> Milliseconds:
    key = jax.random.key(0)
    arguments = upscaler.arguments(lr[None], key, settings.temperature)

    def call(*arguments: Any) -> Any:
        return upscalers.upscale(upscaler.flow, upscaler.preprocess, *arguments)

    return timing.measure(call, *arguments, repeats=settings.repeats).in_ms()
