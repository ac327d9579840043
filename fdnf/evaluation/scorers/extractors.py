"""The feature extractors that `eval.extractors` asks for, where they can be had.

A classifier of the data set is trained once and kept in the cache directory, so that
all runs on the same images are judged by the same features.
"""

import hashlib
import logging
import pathlib
from typing import Any, NamedTuple

from fdnf.data import paths
from fdnf.data.images import Images
from fdnf.evaluation.scorers import classifier
from fdnf.metrics import extractors
from fdnf.metrics.extractors import Extractor
from fdnf.metrics.weights import MissingWeightsError, WeightsError
from fdnf.train import keys
from fdnf.train.settings import ConfigError

KNOWN = keys.EXTRACTORS

_log = logging.getLogger(__name__)


class Available(NamedTuple):
    """Extractors, and what a table says of them and of those that are missing."""

    extractors: tuple[Extractor, ...]
    notes: tuple[str, ...]


def check(evaluation: Any) -> None:
    """Refuses what no run could be judged by, before any time is spent.

    Args:
        evaluation: the `eval` section; that of vectors names no extractors.

    Raises:
        ConfigError: an unknown extractor, or weights of Inception that are not the
            reference's.
    """
    unknown = sorted(set(evaluation.get("extractors", ())) - set(KNOWN))
    if unknown:
        raise ConfigError(f"eval.extractors has {unknown}; known: {KNOWN}")
    if evaluation.get("inception", ""):
        try:
            extractors.load("inception", evaluation.inception)
        except (WeightsError, MissingWeightsError) as error:
            raise ConfigError(f"eval.inception: {error}") from error


def available(images: Images, evaluation: Any) -> Available:
    """Loads or trains the extractors.

    Args:
        images: the data set, with the grey levels that flows are judged at.
        evaluation: the `eval` section; read are `extractors` and `inception`.

    Returns:
        Those that can be had. Of one that cannot, a note and a line in the log say
        why.

    Raises:
        ConfigError: see `check`.
    """
    check(evaluation)
    found, notes = [], []
    for name in evaluation.extractors:
        try:
            if name == "classifier":
                trained = kept_classifier(images)
                found.append(classifier.extractor(trained))
                notes.append(
                    f"{found[-1].id} classifies {100 * trained.accuracy:.1f} % of the "
                    "test images rightly."
                )
                continue
            path = evaluation.inception if name == "inception" else None
            made = extractors.load(name, path or None, levels=images.levels)
            found.append(made)
        except (MissingWeightsError, classifier.ClassifierError) as error:
            _log.warning("not scored by %s: %s", name, error)
            notes.append(f"Not scored by {name}: {error}")
    return Available(tuple(found), tuple(notes))


def kept_classifier(images: Images) -> classifier.Classifier:
    """The classifier of these images from the cache directory, trained if need be.

    Raises:
        ClassifierError: the images have no labels.
    """
    if images.labels is None:
        return classifier.train(images)  # Which refuses, and says what to do.
    digest = hashlib.sha256(images.train.tobytes())
    digest.update(images.labels[0].tobytes())
    name = f"{images.name}-{images.levels}-{digest.hexdigest()[:12]}.npz"
    path = paths.cache_dir() / "classifiers" / name
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        _log.warning("the classifier is not kept: %s", error)
        return classifier.train(images)
    if not path.exists():
        _log.info("training a classifier of %s, once", images.name)
    return _read_or_train(path, images)


def _read_or_train(path: pathlib.Path, images: Images) -> classifier.Classifier:
    try:
        return classifier.load_or_train(path, images)
    except classifier.ClassifierError as error:
        # The name holds the checksum of the data: the file can only be damaged.
        _log.warning("%s", error)
        path.unlink()
        return classifier.load_or_train(path, images)
