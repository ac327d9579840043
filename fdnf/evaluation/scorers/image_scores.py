"""How well samples match real images, over the features of an extractor.

Features of the real images are computed once, then any number of sets of samples is
scored against them. The floor is the score of further real images: what a perfect
model would get with as many samples.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from fdnf.metrics import extractors, fid
from fdnf.metrics.extractors import Extractor
from fdnf.metrics.fid import Statistics
from fdnf.metrics.kid import kid
from fdnf.metrics.prdc import prdc

# uint8 images [n, height, width, channels], whole or batch by batch.
Images = np.ndarray | Iterable[np.ndarray]

SCORES = ("fid", "kid", "prdc")


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


class Scores(NamedTuple):
    """Scores of one set of samples.

    Attributes:
        values: name to number; `extractors.metric_name` makes the names, so that
            "fid" stands only for the reference network.
        samples: number of samples.
        real: number of real images.
    """

    values: dict[str, float]
    samples: int
    real: int

    def under(self, condition: str) -> "Scores":
        """The same under names that end in `/condition`, such as "fd_x/t0.7"."""
        named = {f"{name}/{condition}": v for name, v in self.values.items()}
        return self._replace(values=named)


def real(extractor: Extractor, images: Images) -> Real:
    """Features of real images.

    Args:
        extractor: of the features.
        images: uint8, whole or in batches; at least two in all.
    """
    features, statistics = _features(extractor, images, keep=True)
    return Real(extractor, features, statistics)


def scores(
    against: Real,
    images: Images,
    *,
    which: Sequence[str] = SCORES,
    seed: int = 0,
) -> Scores:
    """Scores samples, or further real images for the floor.

    Args:
        against: the real images.
        images: uint8 samples, whole or in batches.
        which: "fid" (the Frechet distance, lower is better), "kid" (lower is better)
            and "prdc" (precision, recall, density, coverage; higher is better). With
            "fid" alone no features are kept.
        seed: of the random subsets of KID.

    Returns:
        The scores.

    Raises:
        ValueError: an unknown score, or fewer than two samples.
    """
    unknown = sorted(set(which) - set(SCORES))
    if unknown or not which:
        raise ValueError(f"which={list(which)}: expected some of {SCORES}")
    few = len(against.features) <= against.extractor.dim
    keep = few or set(which) != {"fid"}
    features, statistics = _features(against.extractor, images, keep=keep)
    if statistics.n < 2:
        raise ValueError(f"{statistics.n} samples: expected at least two")
    found: dict[str, float] = {}
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
    named = {
        extractors.metric_name(name, against.extractor): value
        for name, value in found.items()
    }
    return Scores(named, statistics.n, len(against.features))


def floor(
    against: Real,
    others: np.ndarray,
    count: int,
    *,
    which: Sequence[str] = SCORES,
    seed: int = 0,
) -> Scores:
    """Scores of `count` other real images, drawn without replacement.

    Args:
        against: the real images.
        others: uint8 images that are not among them.
        count: number of samples whose scores the floor belongs to; all of `others`
            are taken where they are fewer, which the result's `samples` tells.
        which: as for `scores`.
        seed: of the draw and of KID.

    Returns:
        The scores.
    """
    order = np.random.default_rng(seed).permutation(len(others))
    picked = others[np.sort(order[: min(count, len(others))])]
    return scores(against, picked, which=which, seed=seed)


def _features(
    extractor: Extractor, images: Images, *, keep: bool
) -> tuple[np.ndarray, Statistics]:
    kept, statistics = [np.zeros((0, extractor.dim), np.float32)], Statistics()
    for batch in [images] if isinstance(images, np.ndarray) else images:
        features = extractor(batch)
        statistics.update(features)
        if keep:
            kept.append(features)
    return np.concatenate(kept), statistics
