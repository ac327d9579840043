"""How well a flow's samples and interpolations match the test images.

Scores are over the features of each extractor of `eval.extractors`; those of the test
images are computed once. Interpolated are validation images. The floor is the score of
as many training images in the place of samples.
"""

import contextlib
import logging
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from fdnf.data.images import Images
from fdnf.evaluation.core import quantities
from fdnf.evaluation.core.scores import Result, Score
from fdnf.evaluation.models import sampler as samplers
from fdnf.evaluation.models.sampler import Decoded
from fdnf.evaluation.scorers import extractors, interpolation
from fdnf.evaluation.scorers.context import Context, Evaluation
from fdnf.metrics import fid
from fdnf.metrics.extractors import Extractor, metric_name
from fdnf.metrics.fid import FewSamplesWarning, Statistics
from fdnf.metrics.kid import kid
from fdnf.metrics.prdc import prdc

# A sample is exploded beyond this multiple of the largest |x| that data can take.
REACH = 3.0
# What is scored at the first temperature, at the others, and of interpolations.
USUAL = ("fid", "kid", "prdc")
OTHERS = ("fid", "prdc")
INTERPOLATED = ("fid",)
# With fewer finite samples there is nothing to score.
LEAST = 10

_log = logging.getLogger(__name__)


class Real(NamedTuple):
    """Features of real images, to score samples against.

    Attributes:
        extractor: that they come from.
        features: `[n, extractor.dim]`, float32.
        statistics: of them.
    """

    extractor: Extractor
    features: np.ndarray
    statistics: Statistics


class Asked(NamedTuple):
    """What is scored under a condition: some of `USUAL`, of how many images."""

    which: tuple[str, ...]
    count: int


class Judged(NamedTuple):
    """What all models of an evaluation are judged by.

    Attributes:
        images: with as many grey levels as the flows decode.
        reals: a picked set of test images, by each extractor.
        limit: largest |x| of a sample that has not exploded.
        asked: by condition, "" being the first temperature.
        notes: on the extractors, and on those that cannot be had.
    """

    images: Images
    reals: tuple[Real, ...]
    limit: float
    asked: dict[str, Asked]
    notes: tuple[str, ...]


def scores(context: Context) -> Iterator[Score]:
    """Exploded samples, and scores of those that are finite, by condition."""
    judged = context.whole.once(__name__, lambda: _judged(context.whole))
    for given, parts in _drawn(context, judged):
        images = np.concatenate([part.images for part in parts])
        reach = np.concatenate([part.reach for part in parts])
        share = 100.0 * float(np.mean(~(reach <= judged.limit)))
        yield Score("exploded_percent", share, "test", given, n=len(images))
        finite = images[np.isfinite(reach)]
        if len(finite) >= LEAST:
            which = judged.asked[given].which
            for real in judged.reals:
                yield from compared(real, finite, which, given, context.seed)
    context.note(*judged.notes)


def floor(evaluation: Evaluation) -> Iterator[Result]:
    """Training images in the place of samples: what a perfect model would score."""
    judged = evaluation.once(__name__, lambda: _judged(evaluation))
    others, known, found = judged.images.train, {}, []
    for given, asked in judged.asked.items():
        if min(asked.count, len(others)) < LEAST:
            continue
        if asked not in known:
            order = np.random.default_rng(0).permutation(len(others))
            picked = others[np.sort(order[: asked.count])]
            known[asked] = [
                score
                for real in judged.reals
                for score in compared(real, picked, asked.which, "", 0)
            ]
        found += [score._replace(given=given) for score in known[asked]]
    if found:
        yield evaluation.baseline("real", found, kind="images")


def real(extractor: Extractor, images: np.ndarray) -> Real:
    """Features of uint8 images `[n, height, width, channels]`, two at least."""
    features, statistics = _features(extractor, images, keep=True)
    return Real(extractor, features, statistics)


def compared(
    against: Real,
    images: np.ndarray,
    which: Sequence[str] = USUAL,
    given: str = "",
    seed: int = 0,
) -> Iterator[Score]:
    """Scores of samples, or of further real images.

    Args:
        against: the real images.
        images: uint8 samples `[n, height, width, channels]`.
        which: "fid" (the Frechet distance, lower is better), "kid" (lower is better)
            and "prdc" (precision, recall, density, coverage; higher is better). With
            "fid" alone no features are kept.
        given: condition of the scores.
        seed: of the random subsets of KID.

    Yields:
        A score each. "fid" stands only for the reference network; over other features
        it is "fd".

    Raises:
        ValueError: an unknown score, or fewer than two samples.
    """
    unknown = sorted(set(which) - set(USUAL))
    if unknown or not which:
        raise ValueError(f"which={list(which)}: expected some of {USUAL}")
    few = len(against.features) <= against.extractor.dim
    features, statistics = _features(
        against.extractor, images, keep=few or set(which) != {"fid"}
    )
    if statistics.n < 2:
        raise ValueError(f"{statistics.n} samples: expected at least two")
    found: dict[str, float] = {}
    with _few_is_known():
        if "fid" in which:
            found["fid"] = (
                fid.frechet_distance_of_samples(against.features, features)
                if few
                else fid.frechet_distance(against.statistics, statistics)
            )
        if "kid" in which:
            found["kid"] = kid(against.features, features, seed=seed).mean
        if "prdc" in which:
            found |= prdc(against.features, features)._asdict()
    for name, value in found.items():
        reference = metric_name(name, against.extractor) == name
        metric = "fd" if name == "fid" and not reference else name
        over = "" if reference else against.extractor.id
        yield Score(metric, value, "test", given, over, n=statistics.n)


def temperatures(section: Any) -> dict[str, samplers.Temperature]:
    """Condition to temperature, the first of `eval.temperatures` being the usual."""
    return {
        samplers.named(t) if i else "": t for i, t in enumerate(section.temperatures)
    }


def _interpolated(temperature: samplers.Temperature) -> str:
    return f"{quantities.INTERPOLATION}_{samplers.named(temperature)}"


def _judged(evaluation: Evaluation) -> Judged:
    data, section = evaluation.data, evaluation.section
    preprocess = next(iter(evaluation.models.values())).preprocess
    images = samplers.as_decoded(data, preprocess)
    found = extractors.available(images, section)
    picked = images.test[_picked(len(data.test), section.samples)]
    reals = tuple(real(extractor, picked) for extractor in found.extractors)
    # No more samples than there are training images for the floor.
    count = min(section.samples, len(data.train))
    pairs = min(section.interpolations, len(data.val)) // 2
    asked = {}
    for given, t in temperatures(section).items():
        asked[given] = Asked(OTHERS if given else USUAL, count)
        if section.interpolations:
            asked[_interpolated(t)] = Asked(INTERPOLATED, pairs)
    notes = found.notes
    if reals:
        more = f" and {pairs:,} interpolations" if pairs else ""
        notes += (
            f"Scores of images are of {count:,} samples{more}, against "
            f"{len(picked):,} test images.",
        )
    for each in reals:
        if min(count, len(picked)) < 2 * each.extractor.dim:
            _log.warning(
                "%s: %d samples and %d test images are few for its %d features; "
                "compare Frechet distances of equal numbers only, and the floor",
                *(each.extractor.id, count, len(picked), each.extractor.dim),
            )
    limit = REACH * preprocess.reach(data.train)
    return Judged(images, reals, limit, asked, notes)


def _drawn(context: Context, judged: Judged) -> Iterator[tuple[str, list[Decoded]]]:
    """Condition and images of each set that is scored; one noise for all methods."""
    data, section, sampler = context.data, context.section, context.sampler
    # Test images would be compared with themselves.
    labels = data.labels[1] if data.labels is not None else None
    rows = _picked(len(data.val), section.interpolations)
    for given, t in temperatures(section).items():
        count = judged.asked[given].count
        drawn = sampler.batches(data.event, count, temperature=t, seed=context.seed)
        yield given, [Decoded(part.images, part.reach) for part in drawn]
        if len(rows) >= 2:
            known = labels[rows] if labels is not None else None
            pairs = interpolation.pairs(
                *(sampler, data.val[rows], known), temperature=t, seed=context.seed
            )
            yield _interpolated(t), list(pairs)


@contextlib.contextmanager
def _few_is_known() -> Iterator[None]:
    """Silences the warning of few samples, which `_judged` gives once."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FewSamplesWarning)
        yield


def _picked(n: int, count: int) -> np.ndarray:
    """Indices of `count` of n, all where there are fewer; always the same ones."""
    return np.sort(np.random.default_rng(0).permutation(n)[:count])


def _features(
    extractor: Extractor, images: np.ndarray, *, keep: bool
) -> tuple[np.ndarray, Statistics]:
    features, statistics = extractor(images), Statistics()
    statistics.update(features)
    return features if keep else np.zeros((0, extractor.dim), np.float32), statistics
