import io
import json
import subprocess
import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds

from fdnf.data import celeba, cifar10, mnist, prepared
from fdnf.data.builders import stock
from fdnf.data.tabular import DataError
from tests.data import pictures

# Builders of TFDS's names, beside the registered ones.
with tfds.core.registered.skip_registration():

    class Tiny(tfds.core.GeneratorBasedBuilder):
        """Encoded images, which are what TFDS writes without TensorFlow."""

        VERSION = tfds.core.Version("3.0.1")
        name = "tiny"

        def __init__(self, content, event, **kwargs):
            self.content, self.event = content, event
            super().__init__(**kwargs)

        def _info(self):
            features = {"image": tfds.features.Image(shape=self.event)}
            if "label" in next(iter(self.content.values()))[0]:
                features["label"] = tfds.features.ClassLabel(num_classes=10)
            return tfds.core.DatasetInfo(
                builder=self,
                description="tiny",
                features=tfds.features.FeaturesDict(features),
            )

        def _split_generators(self, dl_manager):
            return {name: self._generate_examples(name) for name in self.content}

        def _generate_examples(self, split):
            for index, example in enumerate(self.content[split]):
                yield index, example | {"image": io.BytesIO(example["image"])}


def write(home, name, event, content, form="array_record", version="3.0.1"):
    tfds.disable_progress_bar()
    # TFDS names a set's directory by the builder.
    with tfds.core.registered.skip_registration():
        facts = {"name": name, "VERSION": tfds.core.Version(version)}
        kind = type("Tiny", (Tiny,), facts)
    kind(content, event, data_dir=home, file_format=form).download_and_prepare()
    return home / name / version


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    monkeypatch.setattr(mnist, "FASHION_MNIST", mnist.FASHION_MNIST._replace(system=()))


@pytest.fixture
def home(tmp_path):
    return tmp_path / "cache" / "fdnf" / "tfds"


def example(image, label=None):
    found = {"image": pictures.encode(image)}
    return found if label is None else found | {"label": int(label)}


def labelled(event, counts=(40, 10)):
    rng = np.random.default_rng(0)
    parts = {}
    for split, count in zip(("train", "test"), counts, strict=True):
        pixels = pictures.random(rng, count, *event)
        parts[split] = (pixels, rng.integers(0, 10, count))
    content = {
        split: [example(*pair) for pair in zip(*part, strict=True)]
        for split, part in parts.items()
    }
    return parts, content


def test_copy_of_tfds_gives_the_splits_that_the_idx_files_give(tmp_path, home):
    parts, content = labelled((28, 28, 1))
    write(home, "fashion_mnist", (28, 28, 1), content)
    data = mnist.fashion_mnist(str(tmp_path))
    files = [
        (pixels[..., 0], labels.astype(np.uint8)) for pixels, labels in parts.values()
    ]
    pictures.write_idx_set(tmp_path / "fashion_mnist", *files)
    other = mnist.fashion_mnist(str(tmp_path))
    for index in range(2):
        np.testing.assert_array_equal(data[1 + index], other[1 + index])
        np.testing.assert_array_equal(data.labels[index], other.labels[index])
    # TFDS shuffles, so of test only what it has compares.
    assert sorted(map(bytes, data.test)) == sorted(map(bytes, other.test))


def test_cifar10(tmp_path, home):
    parts, content = labelled((32, 32, 3))
    write(home, "cifar10", (32, 32, 3), content)
    data = cifar10.cifar10(str(tmp_path))
    assert [len(part) for part in data[1:4]] == [36, 4, 10]
    label = {i.tobytes(): int(n) for i, n in zip(*parts["test"], strict=True)}
    assert [label[i.tobytes()] for i in data.test] == data.labels[2].tolist()


def test_celeb_a(tmp_path, home):
    content = {
        split: [example(np.full((218, 178, 3), level, np.uint8)) for level in levels]
        for split, levels in {"train": (3, 5), "validation": (7,), "test": (9,)}.items()
    }
    write(home, "celeb_a", (218, 178, 3), content)
    data = celeba.celeba64(str(tmp_path))
    assert [sorted(part[:, 0, 0, 0].tolist()) for part in data[1:4]] == [
        [3, 5],
        [7],
        [9],
    ]
    assert data.event == (64, 64, 3)


def test_newest_version_in_the_first_place(tmp_path, home, monkeypatch):
    _, content = labelled((4, 4, 1), (2, 2))
    assert prepared.find("mnist") is None
    elsewhere = write(tmp_path / "else", "mnist", (4, 4, 1), content)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "else"))
    assert prepared.find("mnist") == elsewhere
    write(home, "mnist", (4, 4, 1), content, version="3.9.0")
    newest = write(home, "mnist", (4, 4, 1), content, version="3.10.0")
    assert prepared.find("mnist") == newest


def test_files_that_only_tensorflow_reads_are_passed_over(home, caplog):
    _, content = labelled((4, 4, 1), (2, 2))
    directory = write(home, "mnist", (4, 4, 1), content)
    info = json.loads((directory / "dataset_info.json").read_text())
    (directory / "dataset_info.json").write_text(
        json.dumps(info | {"fileFormat": "tfrecord"})
    )
    with caplog.at_level("WARNING"):
        assert prepared.find("mnist") is None
    assert "only array_record reads" in caplog.text
    for damage in (b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000):
        (directory / "dataset_info.json").write_bytes(damage)
        assert prepared.find("mnist") is None


def test_damaged_copy(home):
    _, content = labelled((4, 4, 1), (2, 2))
    directory = write(home, "mnist", (4, 4, 1), content)
    with pytest.raises(DataError, match="split 'val' does not read"):
        prepared.read(directory, "val", (4, 4, 1))
    for file in directory.glob("*.array_record*"):
        file.write_bytes(b"")
    with pytest.raises(DataError, match="split 'train' does not read.*prepare the set"):
        prepared.read(directory, "train", (4, 4, 1))


def test_more_images_announced_than_there_are_bytes(home):
    _, content = labelled((4, 4, 1), (2, 2))
    directory = write(home, "mnist", (4, 4, 1), content)
    info = directory / "dataset_info.json"
    told = json.loads(info.read_text())
    told["splits"][0]["shardLengths"] = [str(10**13)]
    info.write_text(json.dumps(told))
    name = told["splits"][0]["name"]
    with pytest.raises(DataError, match="announces 10,000,000,000,000 images in"):
        prepared.read(directory, name, (4, 4, 1))


def test_broken_image_is_named(home):
    content = {"train": [example(np.zeros((4, 4), np.uint8), 1)]}
    content["train"][0]["image"] = content["train"][0]["image"][:40]
    directory = write(home, "mnist", (4, 4, 1), content)
    with pytest.raises(DataError, match="image 0 .*does not decode"):
        prepared.read(directory, "train", (4, 4, 1))


@pytest.mark.parametrize(
    ("name", "event", "splits"),
    [
        ("mnist", (28, 28, 1), ("label",)),
        ("fashion_mnist", (28, 28, 1), ("label",)),
        ("cifar10", (32, 32, 3), ("label",)),
        ("celeb_a", (218, 178, 3), ()),
    ],
)
def test_tfds_own_sets_have_what_is_read(tmp_path, name, event, splits):
    features = tfds.builder(name, data_dir=tmp_path).info.features
    assert features["image"].shape == event
    assert set(splits) <= set(features)
    assert name in stock.NAMES


def test_reading_loads_no_tensorflow(tmp_path, home):
    _, content = labelled((28, 28, 1))
    write(home, "mnist", (28, 28, 1), content)
    script = (
        "import sys; from fdnf.data import mnist;"
        f"print(len(mnist.mnist({str(tmp_path)!r}).train), 'tensorflow' in sys.modules)"
    )
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert run.stdout.split() == ["36", "False"]
