"""How near enlarged images come to what they should be, how diverse they are, how fast.

Fidelity is always taken; LPIPS and diversity where the weights can be had.
"""

import logging
import os
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fdnf.data.super_resolution import Benchmark, Pairs
from fdnf.evaluation.core.scores import Result, Score
from fdnf.evaluation.models import timing, upscaler
from fdnf.evaluation.models.upscaler import Upscaler
from fdnf.evaluation.scorers.context import Context, Evaluation
from fdnf.metrics import backbones, image, lpips
from fdnf.metrics.lpips import Metric
from fdnf.metrics.weights import MissingWeightsError, WeightsError
from fdnf.ops import resize
from fdnf.train import process
from fdnf.train.settings import ConfigError

KIND = "super_resolution"
# An image is exploded beyond this |x|: samples that training leaves out, as Baranchuk
# et al. (2021) do.
REACH = 5.0

_log = logging.getLogger(__name__)
_psnr = jax.jit(image.psnr)


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

    def notes(self) -> list[str]:
        """What tables say of them."""
        part = self.sample_crop
        of = f"middle {part}x{part} pixels" if part else "whole image"
        told = [
            f"Samples are drawn at temperature {self.temperature}, one an image; "
            f"{self.samples} of the {of} of each for their diversity."
        ]
        if self.images:
            told.append(f"Only the first {self.images} images of each benchmark.")
        return told


def settings_of(section: Any) -> Settings:
    """The settings of an `eval` section.

    Raises:
        ConfigError: a number below 0.
    """
    found = Settings(
        float(section.temperature),
        section.images,
        section.samples,
        section.sample_crop,
        section.time_repeats,
    )
    if min(found) < 0:
        raise ConfigError(f"eval has {found}: expected numbers of at least 0")
    return found


class Judge(NamedTuple):
    """Scores of enlarged images.

    Attributes:
        metric: the perceptual distance, None without weights.
        notes: what tables say of it.
    """

    metric: Metric | None
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str | None:
        """What the distance may be called: "lpips_alex", or another."""
        return self.metric and self.metric.name

    def fidelity(
        self, sr: np.ndarray, hr: np.ndarray, lr: np.ndarray
    ) -> Iterator[Score]:
        """Scores of one image.

        PSNR and LR-PSNR in dB, inf for equal images; SSIM; and the perceptual distance
        under its name, but for images that are too small for it.

        Args:
            sr: the result, uint8 `[height, width, 3]`.
            hr: what it should be, likewise.
            lr: what it was made of, uint8 `[height / scale, width / scale, 3]`.
        """
        x, y = floats(sr[None]), floats(hr[None])
        yield Score("psnr", float(_psnr(x, y)[0]))
        yield Score("ssim", float(image.ssim_uniform7(x, y)[0]))
        yield Score("lr_psnr", float(image.lr_psnr(sr, lr)))
        if self.metric is not None and self._sees(sr):
            kind, _, features = self.metric.name.partition("_")
            yield Score(kind, float(self.metric(x, y)[0]), features=features)

    def diversity(self, samples: np.ndarray) -> Iterator[Score]:
        """Mean distance of two of the samples, nothing where it cannot be told.

        Args:
            samples: uint8 `[n, height, width, 3]`, of one low-resolution image.
        """
        metric = self.metric
        if metric is None or len(samples) < 2 or not self._sees(samples[0]):
            return
        x = floats(samples)
        value = float(lpips.diversity(metric.params, x, net=metric.net))
        yield Score("diversity", value, features=metric.name.partition("_")[2])

    def _sees(self, picture: np.ndarray) -> bool:
        assert self.metric is not None
        return min(picture.shape[:2]) >= backbones.SMALLEST[self.metric.net]


def judge_of(section: Any) -> Judge:
    """The judge that an `eval` section asks for.

    Args:
        section: read are `lpips`, the network, and `weights`, the path of its weights,
            empty for those of the installed package.

    Raises:
        ConfigError: for an unknown network, or a file that holds no such weights.
    """
    path = os.path.expandvars(os.path.expanduser(section.weights))
    try:
        metric = lpips.named(section.lpips, path or None)
    except MissingWeightsError as error:
        _log.warning("no perceptual distance: %s", error)
        return Judge(None, (f"LPIPS and diversity are not taken: {error}",))
    except (WeightsError, ValueError) as error:
        raise ConfigError(f"eval.lpips, eval.weights: {error}") from error
    note = (
        f"LPIPS is {metric.name}, weights of sha256 {metric.sha256[:8]}, of the whole "
        "image."
    )
    return Judge(metric, (note,))


def check(section: Any) -> None:
    """Refuses what no model could be judged by; sections of other data are passed by.

    Raises:
        ConfigError: a number out of range, or weights of LPIPS that are not those.
    """
    if "lpips" in section:
        settings_of(section)
        judge_of(section)


def fits(evaluation: Evaluation) -> None:
    """Refuses models of another scale than the data's.

    Raises:
        ConfigError: there is one.
    """
    data = evaluation.data
    for method, trained in evaluation.models.items():
        scale = getattr(trained.preprocess, "scale", None)
        if scale != data.scale:
            raise ConfigError(
                f"{method} was trained for scale {scale}, {data.name} has {data.scale}:"
                " evaluate it with the config it was trained with"
            )


def bicubic(evaluation: Evaluation) -> Iterator[Result]:
    """Bicubic enlargement, what any model has to beat."""
    data, judge = evaluation.data, _judge(evaluation)
    scores: list[Score] = []
    for benchmark in settings_of(evaluation.section).benchmarks(data):
        for name, hr, lr in zip(*benchmark[1:], strict=True):
            found = judge.fidelity(resize.upscale_uint8(lr, data.scale), hr, lr)
            scores += [s._replace(split=benchmark.name, item=name) for s in found]
    facts = {"scale": data.scale, "notes": judge.notes}
    yield evaluation.baseline("bicubic", scores, kind=KIND, facts=facts)


def speed(context: Context) -> Iterator[Score]:
    """Time of run 0 on the first image of the first benchmark.

    From 8-bit low to 8-bit high resolution, with the noise. A flow that is folded for
    sampling is timed as it was trained, too.
    """
    settings, data = settings_of(context.section), context.data
    if context.run or not settings.repeats:
        return
    benchmark = data.test[0]
    lr = benchmark.lr[0]
    height, width = lr.shape[:2]
    size = f"{width}x{height} to {data.scale * width}x{data.scale * height} pixels"
    context.note(f"Timed: {benchmark.names[0]} of {benchmark.name}, {size}.")
    ready, plain = (upscaler.of(context.trained, fold=fold) for fold in (True, False))
    models = {"": ready} | ({"unfolded": plain} if plain.flow != ready.flow else {})
    for given, model in models.items():
        arguments = model.arguments(lr[None], jax.random.key(0), settings.temperature)

        def call(*arguments: Any, model: Upscaler = model) -> Any:
            return upscaler.upscale(model.flow, model.preprocess, *arguments)

        times = timing.measure(call, *arguments, repeats=settings.repeats).in_ms()
        median, low, high = times
        yield Score("upscaling_ms", median, given=given, n=1, low=low, high=high)


def quality(context: Context) -> Iterator[Score]:
    """Fidelity and diversity of a sample of each test image.

    One sample is drawn of each image, and `eval.samples` more of its middle part. Run r
    of every model gets the same noise for the same image.
    """
    whole, settings = context.whole, settings_of(context.section)
    judge = _judge(whole)

    def all_runs() -> list[list[Score]]:
        # Side by side, since each size of image is a program of its own.
        runs = range(context.trained.runs)
        models = [upscaler.of(context.trained, run) for run in runs]
        found: list[list[Score]] = [[] for _ in models]
        for i, benchmark in enumerate(settings.benchmarks(context.data)):
            _log.info("%s on %s", context.method, benchmark.name)
            for scores, more in zip(
                found, _score(models, benchmark, i, judge, settings), strict=True
            ):
                scores += more
        return found

    context.facts["scale"] = context.data.scale
    context.note(*judge.notes, *settings.notes(), *_taught_by(context, judge))
    yield from whole.once(("fidelity", context.method), all_runs)[context.run]


def middle(picture: np.ndarray, side: int) -> np.ndarray:
    """The middle of an image, at most `side` high and wide; 0 for the whole."""
    if not side:
        return picture
    starts = [max(0, (length - side) // 2) for length in picture.shape[:2]]
    rows, columns = (slice(start, start + side) for start in starts)
    return picture[rows, columns]


def noise_key(run: int, benchmark: int, image: int) -> jax.Array:
    """Key of an image's noise: one for all models."""
    key = jax.random.key(0)
    for number in (run, benchmark, image):
        key = jax.random.fold_in(key, number)
    return key


def by_size(images: Sequence[np.ndarray]) -> Iterator[list[int]]:
    """Places of the images of each size, so that one program follows another."""
    sizes: dict[tuple[int, ...], list[int]] = {}
    for i, each in enumerate(images):
        sizes.setdefault(each.shape, []).append(i)
    for size in sorted(sizes):
        yield sizes[size]


def floats(pixels: np.ndarray) -> jax.Array:
    """8-bit values in [0, 1].

    Raises:
        ValueError: for other types than uint8.
    """
    if pixels.dtype != np.uint8:
        raise ValueError(f"images of {pixels.dtype}: expected uint8, 0 to 255")
    return jnp.asarray(pixels, jnp.float32) / 255.0


def _judge(evaluation: Evaluation) -> Judge:
    return evaluation.once("judge", lambda: judge_of(evaluation.section))


def _score(
    models: Sequence[Upscaler],
    benchmark: Benchmark,
    number: int,
    judge: Judge,
    settings: Settings,
) -> list[list[Score]]:
    """Of each run the scores of one benchmark's images, and how many exploded."""
    split = benchmark.name
    found = [{name: [] for name in benchmark.names} for _ in models]
    exploded = [0] * len(models)
    for places in by_size(benchmark.lr):
        for i in places:
            hr, lr, name = benchmark.hr[i], benchmark.lr[i], benchmark.names[i]
            for run, model in enumerate(models):
                key = noise_key(run, number, i)
                images, reach = model(lr[None], key, settings.temperature)
                # Written so that nan counts.
                exploded[run] += not reach[0] <= REACH
                scores = (
                    *judge.fidelity(images[0], hr, lr),
                    *_diversity(model, lr, key, judge, settings),
                )
                found[run][name] += [s._replace(split=split, item=name) for s in scores]
        process.release_programs()
    return [
        [
            *(score for scores in one.values() for score in scores),
            Score("exploded_images", float(count), split),
        ]
        for one, count in zip(found, exploded, strict=True)
    ]


def _diversity(
    model: Upscaler, lr: np.ndarray, key: Any, judge: Judge, settings: Settings
) -> Iterator[Score]:
    if judge.metric is None or settings.samples < 2 or not model.draws:
        return iter(())
    part = middle(lr, settings.sample_crop // model.preprocess.scale)[None]
    key = jax.random.fold_in(key, settings.samples)
    if settings.sample_crop:
        part = part.repeat(settings.samples, axis=0)
        drawn = model(part, key, settings.temperature).images
    else:  # Whole images may be large: one by one.
        keys = jax.random.split(key, settings.samples)
        each = [model(part, k, settings.temperature).images for k in keys]
        drawn = np.concatenate(each)
    return judge.diversity(drawn)


def _taught_by(context: Context, judge: Judge) -> Iterator[str]:
    """What is to be said of a student that knows its judge."""
    taught = context.trained.config.get("loss", {}).get("feed_forward", {})
    if taught and taught.alpha and taught.feature == judge.name:
        yield (
            f"{context.method} was trained with the distance that judges here, to its "
            "teacher's samples."
        )
