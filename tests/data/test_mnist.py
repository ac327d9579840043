import gzip
import time

import numpy as np
import pytest

from fdnf.data import mnist
from fdnf.data.tabular import DataError
from tests.data import pictures

pytestmark = pytest.mark.usefixtures("offline")


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    """Nothing that the system installed."""
    system = mnist.FASHION_MNIST._replace(system=(str(tmp_path / "usr"),))
    monkeypatch.setattr(mnist, "FASHION_MNIST", system)


def arrays(seed=0, first=None):
    rng = np.random.default_rng(seed)
    labels = [rng.integers(0, 10, n).astype(np.uint8) for n in (40, 10)]
    if first is not None:
        labels[0][:10] = first
    pixels = [pictures.random(rng, n, 28, 28) for n in (40, 10)]
    return (pixels[0], labels[0]), (pixels[1], labels[1])


def as_npz(path, train, test):
    names = ("train_images", "train_labels", "test_images", "test_labels")
    np.savez(path, **dict(zip(names, (*train, *test), strict=True)))


def assert_same(one, two):
    for first, second in zip(one[1:4], two[1:4], strict=True):
        np.testing.assert_array_equal(first, second)
    for first, second in zip(one.labels, two.labels, strict=True):
        np.testing.assert_array_equal(first, second)


def test_splits(tmp_path):
    train, test = arrays()
    as_npz(tmp_path / "mnist.npz", train, test)
    data = mnist.mnist(str(tmp_path))
    assert [len(part) for part in data[1:4]] == [36, 4, 10]
    assert data.event == (28, 28, 1)
    np.testing.assert_array_equal(data.test[..., 0], test[0])
    np.testing.assert_array_equal(data.labels[2], test[1])
    # Each image keeps its label wherever it went.
    label = {image.tobytes(): int(n) for image, n in zip(*train, strict=True)}
    seen = np.concatenate(data[1:3])
    assert [label.pop(image.tobytes()) for image in seen] == [
        *data.labels[0],
        *data.labels[1],
    ]
    assert not label
    assert "subset" in data.source
    assert len(mnist.mnist(str(tmp_path), rows=5).labels[0]) == 5


def test_npz_and_idx_give_the_same_splits(tmp_path):
    as_npz(tmp_path / "mnist.npz", *arrays())
    first = mnist.mnist(str(tmp_path))
    (tmp_path / "mnist.npz").unlink()
    pictures.write_idx_set(tmp_path / "mnist", *arrays())
    assert_same(first, mnist.mnist(str(tmp_path)))


@pytest.mark.parametrize("place", [".", "fashion_mnist", "../usr"])
def test_places_of_fashion_mnist(tmp_path, place):
    (tmp_path / "data").mkdir()
    pictures.write_idx_set(tmp_path / "data" / place, *arrays())
    data = mnist.fashion_mnist(str(tmp_path / "data"))
    np.testing.assert_array_equal(data.test[..., 0], arrays()[1][0])
    assert "Fashion-MNIST" in data.source


def test_the_other_set_under_the_same_names_is_passed_over(tmp_path):
    pictures.write_idx_set(tmp_path, *arrays(1, mnist.MNIST.first))
    pictures.write_idx_set(tmp_path / "usr", *arrays(2, mnist.FASHION_MNIST.first))
    shared = mnist.mnist(str(tmp_path))
    np.testing.assert_array_equal(shared.test[..., 0], arrays(1)[1][0])
    clothes = mnist.fashion_mnist(str(tmp_path))
    np.testing.assert_array_equal(clothes.test[..., 0], arrays(2)[1][0])


def test_place_that_lacks_a_file_is_passed_over(tmp_path):
    pictures.write_idx_set(tmp_path / "fashion_mnist", *arrays(1))
    (tmp_path / "fashion_mnist" / mnist.FILES[3]).unlink()
    pictures.write_idx_set(tmp_path / "usr", *arrays(2))
    data = mnist.fashion_mnist(str(tmp_path))
    np.testing.assert_array_equal(data.test[..., 0], arrays(2)[1][0])


def test_second_reading_decodes_nothing(tmp_path, monkeypatch):
    as_npz(tmp_path / "mnist.npz", *arrays())
    first = mnist.mnist(str(tmp_path))
    monkeypatch.setattr(mnist, "_split", None)
    assert_same(first, mnist.mnist(str(tmp_path)))


def test_changed_file_is_read_anew(tmp_path):
    as_npz(tmp_path / "mnist.npz", *arrays(1))
    mnist.mnist(str(tmp_path))
    as_npz(tmp_path / "mnist.npz", *arrays(2))
    data = mnist.mnist(str(tmp_path))
    np.testing.assert_array_equal(data.test[..., 0], arrays(2)[1][0])


def test_labels_of_another_set(tmp_path):
    (pixels, labels), test = arrays()
    as_npz(tmp_path / "mnist.npz", (pixels, labels[:-1]), test)
    with pytest.raises(DataError, match=r"train: 40 images, but labels uint8 \(39,\)"):
        mnist.mnist(str(tmp_path))


def test_images_of_another_shape(tmp_path):
    train, (pixels, labels) = arrays()
    as_npz(tmp_path / "mnist.npz", train, (pixels[:, :27], labels))
    with pytest.raises(DataError, match=r"test: expected uint8 images .* 27, 28"):
        mnist.mnist(str(tmp_path))


def test_no_network_is_answered_at_once(tmp_path, cache):
    start = time.monotonic()
    with pytest.raises(DataError) as caught:
        mnist.fashion_mnist(str(tmp_path))
    assert time.monotonic() - start < 60
    text = str(caught.value)
    assert "no fashion_mnist.npz or idx files" in text
    assert "no network here" in text
    assert str(cache / "manual" / "fashion_mnist" / mnist.FILES[0]) in text
    assert "glow_digits" in text


def test_downloaded_files_are_verified(tmp_path, cache):
    pictures.write_idx_set(cache / "manual" / "mnist", *arrays())
    with pytest.raises(DataError, match="is not the expected file: its SHA-256"):
        mnist.mnist(str(tmp_path))


def test_real_mnist(real):
    data = mnist.mnist(str(real("mnist.npz").parent))
    train = np.concatenate(data[1:3])
    assert train.shape == (60_000, 28, 28, 1)
    assert train.mean() == pytest.approx(33.318, abs=5e-4)
    counts = np.bincount(np.concatenate(data.labels[:2]))
    assert counts.tolist() == [
        *(5923, 6742, 5958, 6131, 5842),
        *(5421, 5918, 6265, 5851, 5949),
    ]
    assert np.bincount(data.labels[2]).tolist() == [
        *(980, 1135, 1032, 1010, 982),
        *(892, 958, 1028, 974, 1009),
    ]
    assert data.source.startswith("MNIST, full")
    # Held out without regard to class: 600 of each, up to chance.
    assert np.abs(np.bincount(data.labels[1]) - counts / 10).max() < 90


def test_real_fashion_mnist(real, monkeypatch):
    monkeypatch.undo()
    place = "/usr/share/datasets/fashion-mnist"
    if not mnist.pathlib.Path(place, mnist.FILES[0]).is_file():
        place = real(f"fashion_mnist/{mnist.FILES[0]}").parent
    data = mnist.fashion_mnist(str(place))
    assert np.bincount(np.concatenate(data.labels[:2])).tolist() == [6000] * 10
    assert np.concatenate(data[1:3]).mean() == pytest.approx(72.940, abs=5e-4)


def test_smaller_images_are_means_over_squares_of_the_same_splits(tmp_path):
    train, test = arrays()
    as_npz(tmp_path / "mnist.npz", train, test)
    whole = mnist.mnist(str(tmp_path))
    half = mnist.mnist(str(tmp_path), size=14)
    assert half.event == (14, 14, 1)
    assert half.name == "mnist_14x14"
    assert "compares with no published figure" in half.source
    expected = whole.val[5 % len(whole.val), 2:4, 6:8, 0].mean()
    assert abs(half.val[5 % len(half.val), 1, 3, 0] - expected) <= 0.5
    assert half.val.mean() == pytest.approx(whole.val.mean(), abs=0.5)
    for labels, same in zip(half.labels, whole.labels, strict=True):
        np.testing.assert_array_equal(labels, same)
    with pytest.raises(DataError, match="size=5"):
        mnist.mnist(str(tmp_path), size=5)


ARRAY = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)


@pytest.fixture
def idx(tmp_path):
    return pictures.write_idx(tmp_path / "a.gz", ARRAY)


def test_idx_round_trip(idx):
    np.testing.assert_array_equal(mnist.read_idx(idx, 3), ARRAY)


def test_idx_without_compression(idx, tmp_path):
    (tmp_path / "a").write_bytes(gzip.decompress(idx.read_bytes()))
    np.testing.assert_array_equal(mnist.read_idx(tmp_path / "a", 3), ARRAY)


HEAD = b"\0\0\x08\3"
WHOLE = HEAD + b"".join(n.to_bytes(4, "big") for n in ARRAY.shape) + ARRAY.tobytes()


@pytest.mark.parametrize(
    ("content", "text"),
    [
        *(
            (gzip.compress(WHOLE, mtime=0)[:n], "damaged or cut short")
            for n in (0, 5, 12, 30)
        ),
        (b"<html>not found</html>", "damaged or cut short"),
        (gzip.compress(WHOLE[:-1], mtime=0), "= 24 bytes and has 23"),
        (gzip.compress(WHOLE + b"\0", mtime=0), "= 24 bytes and has more"),
        (
            gzip.compress(HEAD + b"\xff" * 12 + b"\0" * 10, mtime=0),
            r"79,228,.* cannot hold",
        ),
        *(
            (
                gzip.compress(magic + WHOLE[4:], mtime=0),
                f"begins with {magic.hex()}; .* 00000803",
            )
            for magic in (b"\0\0\x08\1", b"\0\0\x0d\3", b"\1\0\x08\3")
        ),
    ],
    ids=repr,
)
def test_idx_files_that_are_not_whole(idx, content, text):
    idx.write_bytes(content)
    with pytest.raises(DataError, match=text):
        mnist.read_idx(idx, 3)


def test_idx_what_follows_is_not_unpacked(idx, monkeypatch):
    content = gzip.decompress(idx.read_bytes())
    idx.write_bytes(gzip.compress(content + bytes(1 << 22)))
    most, read = [], gzip.GzipFile.read

    def reading(self, size=-1):
        found = read(self, size)
        most.append(len(found))
        return found

    monkeypatch.setattr(gzip.GzipFile, "read", reading)
    with pytest.raises(DataError, match="= 24 bytes and has more"):
        mnist.read_idx(idx, 3)
    assert max(most) == 25


def test_idx_absent(tmp_path):
    with pytest.raises(DataError, match="No such file"):
        mnist.read_idx(tmp_path / "none.gz", 1)
