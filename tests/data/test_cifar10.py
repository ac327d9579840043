import io
import tarfile
import time

import numpy as np
import pytest

from fdnf.data import cifar10
from fdnf.data.tabular import DataError
from tests.data import pictures

pytestmark = pytest.mark.usefixtures("offline")


def batch(rng, count):
    pixels = pictures.random(rng, count, 32, 32, 3)
    labels = rng.integers(0, 10, count).astype(np.uint8)
    return pixels, labels


def as_bytes(pixels, labels):
    """The binary version's records: label, red plane, green plane, blue plane."""
    planes = [
        np.concatenate([[label], *(image[..., c].ravel() for c in range(3))])
        for image, label in zip(pixels, labels, strict=True)
    ]
    return np.concatenate(planes).astype(np.uint8).tobytes()


def as_tar(path, members):
    with tarfile.open(path, "w:gz") as file:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return path


@pytest.fixture
def batches():
    rng = np.random.default_rng(0)
    names = (*cifar10.BATCHES, cifar10.TEST_BATCH)
    return {name: batch(rng, 6) for name in names}


@pytest.fixture
def archive(tmp_path, batches):
    members = {name: as_bytes(*content) for name, content in batches.items()}
    return as_tar(tmp_path / cifar10.ARCHIVE, members)


def as_npz(path, train, test):
    arrays = {}
    for split, (pixels, labels) in {"train": train, "test": test}.items():
        streams = [pictures.encode(image, "JPEG", quality=95) for image in pixels]
        arrays |= pictures.pack(streams, f"{split}_") | {f"{split}_labels": labels}
    np.savez(path / cifar10.FILE, **arrays)


def smooth(count):
    """Images that JPEG nearly keeps."""
    pixels = np.zeros((count, 32, 32, 3), np.uint8)
    pixels[...] = np.arange(32)[:, None] * 4
    pixels += np.arange(count, dtype=np.uint8)[:, None, None, None] * 4
    return pixels, (np.arange(count) % 10).astype(np.uint8)


def test_binary_version(tmp_path, batches, archive, monkeypatch):
    monkeypatch.setattr(cifar10, "SHA256", cifar10.cache.sha256(archive))
    data = cifar10.cifar10(str(tmp_path))
    assert [len(part) for part in data[1:4]] == [27, 3, 6]
    assert "subset" in data.source
    pixels, labels = batches[cifar10.TEST_BATCH]
    np.testing.assert_array_equal(data.test, pixels)
    np.testing.assert_array_equal(data.labels[2], labels)
    whole = {
        image.tobytes(): int(label)
        for name in cifar10.BATCHES
        for image, label in zip(*batches[name], strict=True)
    }
    found = zip(
        [image.tobytes() for image in np.concatenate(data[1:3])],
        np.concatenate(data.labels[:2]).tolist(),
        strict=True,
    )
    assert dict(found) == whole
    # The second time nothing is unpacked.
    monkeypatch.setattr(cifar10, "read_archive", None)
    np.testing.assert_array_equal(cifar10.cifar10(str(tmp_path)).train, data.train)


def test_unpacking_leaves_nothing(archive, cache):
    cifar10.read_archive(archive)
    assert not cache.exists() or not list(cache.iterdir())


def test_archive_that_is_not_the_published_one(tmp_path, archive):
    with pytest.raises(DataError, match="not the expected file: its SHA-256"):
        cifar10.cifar10(str(tmp_path))


def test_hostile_archive(tmp_path, batches):
    members = {f"../../{name}": as_bytes(*b) for name, b in batches.items()}
    before = sorted(tmp_path.rglob("*"))
    archive = as_tar(tmp_path / "evil.tar.gz", members)
    with pytest.raises(DataError, match="has no member"):
        cifar10.read_archive(archive)
    after = {path for path in tmp_path.rglob("*") if path.is_file()}
    assert after - set(before) == {archive}


@pytest.mark.parametrize("keep", [0.0, 0.5])
def test_truncated_archive(archive, keep):
    content = archive.read_bytes()
    archive.write_bytes(content[: int(keep * len(content))])
    with pytest.raises(DataError, match="is damaged: .* Delete it"):
        cifar10.read_archive(archive)


@pytest.mark.parametrize("size", [0, 3072, 2 * 3073 + 1])
def test_batch_of_a_broken_size(size):
    with pytest.raises(DataError, match="no multiple of 3,073"):
        cifar10.parse(bytes(size), "data_batch_1.bin")


def test_label_out_of_range():
    content = bytearray(3 * 3073)
    content[3073] = 10
    with pytest.raises(DataError, match="image 1 has the label 10; .*CIFAR-100"):
        cifar10.parse(bytes(content), "data_batch_1.bin")


def test_jpeg_copies_come_first_and_say_what_they_are(tmp_path, archive):
    as_npz(tmp_path, smooth(30), smooth(10))
    data = cifar10.cifar10(str(tmp_path))
    assert [len(part) for part in data[1:4]] == [27, 3, 10]
    assert "subset and lossy" in data.source
    assert np.abs(data.test.astype(int) - smooth(10)[0]).max() <= 4
    np.testing.assert_array_equal(data.labels[2], smooth(10)[1])
    with pytest.raises(DataError, match="not the expected file"):
        cifar10.cifar10(str(tmp_path), subset=False)


def test_subset_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match="No such file: .*cifar10_jpeg.npz"):
        cifar10.cifar10(str(tmp_path), subset=True)


def test_broken_jpeg(tmp_path):
    as_npz(tmp_path, smooth(30), smooth(10))
    with np.load(tmp_path / cifar10.FILE) as file:
        arrays = dict(file)
    start, stop = arrays["train_offsets"][7:9]
    arrays["train_jpeg_bytes"][start:stop] = 0
    np.savez(tmp_path / cifar10.FILE, **arrays)
    with pytest.raises(DataError, match="train: image 7 .*does not decode"):
        cifar10.cifar10(str(tmp_path))


def test_labels_that_do_not_match(tmp_path):
    pixels, labels = smooth(30)
    as_npz(tmp_path, (pixels, labels[1:]), smooth(10))
    with pytest.raises(DataError, match=r"train: 30 images, but labels uint8 \(29,\)"):
        cifar10.cifar10(str(tmp_path))


def test_no_network_is_answered_at_once(tmp_path):
    start = time.monotonic()
    with pytest.raises(DataError) as caught:
        cifar10.cifar10(str(tmp_path))
    assert time.monotonic() - start < 60
    assert "cifar10_jpeg.npz or cifar-10-binary.tar.gz" in str(caught.value)
    assert "glow_digits" in str(caught.value)


# Decodes 40,000 images.
@pytest.mark.slow
def test_real_jpeg_copies(real):
    data = cifar10.cifar10(str(real(cifar10.FILE).parent))
    assert [part.shape for part in data[1:4]] == [
        (27_000, 32, 32, 3),
        (3_000, 32, 32, 3),
        (10_000, 32, 32, 3),
    ]
    assert np.bincount(data.labels[2]).tolist() == [1000] * 10
    assert np.bincount(np.concatenate(data.labels[:2])).tolist() == [3000] * 10
    # Ships and aeroplanes are bluer than frogs; swapped channels would not be.
    means = [data.test[data.labels[2] == c].mean(axis=(0, 1, 2)) for c in range(10)]
    assert means[0][2] > means[0][0]
    assert means[6][2] < means[6][0]
    assert "lossy" in data.source
