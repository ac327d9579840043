"""How well a flow's samples and interpolations match the test images.

Interpolated are validation images. Each score stands beside its floor, that of as many
training images in place of the samples.
"""

import contextlib
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from fdnf.data.images import Images
from fdnf.evaluation.models import sampler as samplers
from fdnf.evaluation.models.sampler import Decoded, Sampler
from fdnf.evaluation.scorers import image_extractors, image_scores
from fdnf.evaluation.scorers import interpolation as interpolations
from fdnf.evaluation.scorers.image_scores import Scores
from fdnf.metrics.fid import FewSamplesWarning
from fdnf.train.preprocess import Preprocess
from fdnf.train.teachers import Trained

# A sample is exploded beyond this multiple of the largest |x| that data can take.
REACH = 3.0
# What is scored at the first temperature, at the others, and of interpolations.
USUAL = image_scores.SCORES
OTHERS = ("fid", "prdc")
INTERPOLATED = ("fid",)
# With fewer finite samples there is nothing to score.
LEAST = 10

_log = logging.getLogger(__name__)


class Judge:
    """Scores over the features of each available extractor."""

    def __init__(self, data: Images, preprocess: Preprocess, evaluation: Any):
        """Computes the features of the test images, and the floors.

        Args:
            data: what flows are judged by. Of test images as many are taken as
                samples are drawn, and no more samples than there are training images
                for the floor.
            preprocess: of the flows; images are compared with as many grey levels.
            evaluation: the `eval` section.
        """
        self.data, self.evaluation = data, evaluation
        self.images = samplers.as_decoded(data, preprocess)
        self.limit = REACH * preprocess.reach(data.train)
        found = image_extractors.available(self.images, evaluation)
        self.notes = found.notes
        self.count = min(evaluation.samples, len(data.train))
        real = self.images.test[_picked(len(data.test), evaluation.samples)]
        self.reals = [image_scores.real(e, real) for e in found.extractors]
        self._warn(len(real))
        plan: dict[str, tuple[tuple[str, ...], int]] = {}
        for i, temperature in enumerate(evaluation.temperatures):
            name = samplers.named(temperature)
            plan[name if i else ""] = (OTHERS if i else USUAL, self.count)
            if evaluation.interpolations:
                pairs = min(evaluation.interpolations, len(data.val)) // 2
                plan[f"interpolation_{name}"] = (INTERPOLATED, pairs)
        self.which = {name: which for name, (which, _) in plan.items()}
        self.floors: dict[str, float] = {}
        floors: dict[Any, list[Scores]] = {}
        for condition, (which, count) in plan.items():
            if (which, count) not in floors:
                floors[which, count] = self._floor(which, count)
            for scores in floors[which, count]:
                self.floors |= _under(scores, condition).values

    def __call__(self, trained: Trained, run: int, seed: int) -> dict[str, Any]:
        """Fields of the run's record; all methods of a seed get the same noise."""
        sampler = samplers.of(trained, run, self.evaluation.time_batch)
        metrics, counts = {}, {}
        for condition, parts in self._drawn(sampler, seed):
            images = np.concatenate([part.images for part in parts])
            reach = np.concatenate([part.reach for part in parts])
            share = f"exploded_percent{'/' if condition else ''}{condition}"
            metrics[share] = 100.0 * float(np.mean(~(reach <= self.limit)))
            finite = images[np.isfinite(reach)]
            if len(finite) < LEAST:
                continue
            for real in self.reals:
                with _few_is_known():
                    which = self.which[condition]
                    scores = image_scores.scores(real, finite, which=which, seed=seed)
                named = _under(scores, condition)
                metrics |= named.values
                counts |= dict.fromkeys(named.values, (named.samples, named.real))
        return {
            "metrics": metrics,
            "counts": counts,
            "floors": {k: v for k, v in self.floors.items() if k in metrics},
            "notes": self.notes,
        }

    def footnote(self) -> str:
        """What is to be said below the tables: nothing, the floors are in them."""
        return ""

    def _drawn(
        self, sampler: Sampler, seed: int
    ) -> Iterator[tuple[str, list[Decoded]]]:
        """Condition and images of each set that is scored."""
        data, event = self.data, self.data.event
        # Test images would be compared with themselves.
        labels = data.labels[1] if data.labels is not None else None
        rows = _picked(len(data.val), self.evaluation.interpolations)
        for i, t in enumerate(self.evaluation.temperatures):
            name = samplers.named(t)
            drawn = sampler.batches(event, self.count, temperature=t, seed=seed)
            yield name if i else "", [Decoded(s.images, s.reach) for s in drawn]
            if len(rows) >= 2:
                known = labels[rows] if labels is not None else None
                pairs = interpolations.pairs(
                    sampler, data.val[rows], known, temperature=t, seed=seed
                )
                yield f"interpolation_{name}", list(pairs)

    def _floor(self, which: tuple[str, ...], count: int) -> list[Scores]:
        if min(count, len(self.images.train)) < LEAST:
            return []
        others = self.images.train
        with _few_is_known():
            return [
                image_scores.floor(real, others, count, which=which)
                for real in self.reals
            ]

    def _warn(self, real: int) -> None:
        for against in self.reals:
            needed = 2 * against.extractor.dim
            if min(self.count, real) < needed:
                _log.warning(
                    "%s: %d samples and %d test images are few for its %d features; "
                    "compare Frechet distances of equal numbers only, and the floor",
                    *(against.extractor.id, self.count, real, against.extractor.dim),
                )


@contextlib.contextmanager
def _few_is_known() -> Iterator[None]:
    """Silences the warning of few samples, which `Judge` gives once."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FewSamplesWarning)
        yield


def _picked(n: int, count: int) -> np.ndarray:
    """Indices of `count` of n, all where there are fewer; always the same ones."""
    return np.sort(np.random.default_rng(0).permutation(n)[:count])


def _under(scores: Scores, condition: str) -> Scores:
    return scores.under(condition) if condition else scores
