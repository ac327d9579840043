"""The classifier whose features judge samples: it learns, is kept, and is checked."""

import jax
import numpy as np
import pytest

from fdnf.data.images import Images
from fdnf.evaluation.scorers import classifier
from fdnf.evaluation.scorers.classifier import ClassifierError
from fdnf.metrics.extractors import Extractor
from fdnf.metrics.weights import MissingWeightsError


def bars(name="bars", count=240, seed=0, side=8):
    """Horizontal or vertical bars at a random place, on noise; 17 levels."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, count).astype(np.int32)
    pixels = rng.integers(0, 6, (count, side, side, 1)).astype(np.uint8)
    for image, label in zip(pixels, labels, strict=True):
        place = rng.integers(side)
        image[(place, slice(None)) if label else (slice(None), place)] = 16
    cuts = [count * 2 // 3, count * 5 // 6]
    return Images(
        name,
        *np.split(pixels, cuts),
        source="drawn",
        labels=tuple(np.split(labels, cuts)),
        levels=17,
    )


@pytest.fixture(scope="module")
def trained():
    return classifier.train(bars(), steps=60)


def test_learns_and_repeats(trained):
    assert trained.accuracy > 0.9
    assert trained.classes == 2
    assert classifier.train(bars(), steps=60).sha256 == trained.sha256
    assert classifier.train(bars(), steps=60, seed=1).sha256 != trained.sha256


def test_accuracy_is_of_the_test_split():
    data = bars()
    turned = data._replace(labels=(*data.labels[:2], 1 - data.labels[2]))
    assert classifier.train(turned, steps=60).accuracy < 0.1


def test_stops_when_validation_stops_gaining(monkeypatch):
    data = bars()
    # Labels of val that no classifier can gain on: the accuracy is the same for all.
    blank = data._replace(
        val=np.zeros_like(data.val[:1]),
        labels=(data.labels[0], data.labels[1][:1], data.labels[2]),
    )
    calls = []
    count = classifier._accuracy

    def counted(predict, params, x, labels):
        calls.append(len(x))
        return 0.5 if len(x) == 1 else count(predict, params, x, labels)

    monkeypatch.setattr(classifier, "_accuracy", counted)
    classifier.train(blank, steps=120)
    assert calls == [1] * (1 + classifier.PATIENCE) + [len(data.test)]


def test_extractor(trained):
    data = bars()
    found = classifier.extractor(trained, batch_size=7)
    assert isinstance(found, Extractor)
    assert found.id == f"clf_bars@{trained.sha256[:8]}"
    assert found.sha256 == trained.sha256
    features = found(data.test)
    assert features.shape == (len(data.test), found.dim) == (40, 128)
    # The logits are a linear function of the features.
    head = trained.params["params"]["Dense_1"]
    logits = features @ head["kernel"] + head["bias"]
    share = (logits.argmax(axis=1) == data.labels[2]).mean()
    assert share == pytest.approx(trained.accuracy)


def test_kept_for_the_next_time(trained, tmp_path, monkeypatch):
    path = tmp_path / "new" / "classifier.npz"
    classifier.save(path, trained)
    monkeypatch.setattr(classifier, "train", None)
    found = classifier.load_or_train(path, bars())
    assert found.sha256 == trained.sha256
    assert found[:5] == trained[:5]
    jax.tree.map(np.testing.assert_array_equal, found.params, trained.params)
    assert [file.name for file in path.parent.iterdir()] == ["classifier.npz"]
    with pytest.raises(ClassifierError, match="trained on other images"):
        classifier.load_or_train(path, bars(seed=1))


def test_trains_where_there_is_none(tmp_path):
    path = tmp_path / "classifier.npz"
    made = classifier.load_or_train(path, bars(), steps=5)
    assert classifier.load(path).sha256 == made.sha256


def test_damage_is_noticed(trained, tmp_path):
    path = tmp_path / "classifier.npz"
    changed = jax.tree.map(np.copy, trained.params)
    changed["params"]["Dense_0"]["bias"][3] += 1
    classifier.save(path, trained)
    with np.load(path) as archive:
        arrays = dict(archive)
    arrays["params/Dense_0/bias"] = changed["params"]["Dense_0"]["bias"]
    np.savez(path, **arrays)
    with pytest.raises(ClassifierError, match="is damaged: its parameters have"):
        classifier.load(path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ClassifierError, match="remove it to train another"):
        classifier.load(path)
    np.savez(path, a=np.zeros(3))
    with pytest.raises(ClassifierError, match="no readable classifier"):
        classifier.load(path)
    with pytest.raises(MissingWeightsError):
        classifier.load(tmp_path / "absent.npz")


def test_data_without_labels_are_refused():
    with pytest.raises(ClassifierError, match="'bars' has no labels"):
        classifier.train(bars()._replace(labels=None))


@pytest.mark.parametrize(
    ("event", "width"), [((8, 8, 1), 1024), ((28, 28, 1), 3136), ((32, 32, 3), 2048)]
)
def test_sizes(event, width):
    network = classifier.Network(10)
    shapes = jax.eval_shape(
        network.init, jax.random.key(0), jax.ShapeDtypeStruct((2, *event), np.float32)
    )
    assert shapes["params"]["Dense_0"]["kernel"].shape == (width, 128)
