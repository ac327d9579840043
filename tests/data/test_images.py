import numpy as np
import pytest

from fdnf.data import cache as caching
from fdnf.data import images
from fdnf.data.images import Images
from fdnf.data.tabular import DataError
from tests.data import pictures


def make(labelled=True, **changes):
    pixels = np.arange(20 * 4 * 3 * 2, dtype=np.uint8).reshape(20, 4, 3, 2)
    splits = {"train": pixels, "val": pixels[:4], "test": pixels[:5]}
    classes = tuple(np.arange(n, dtype=np.int32) % 7 for n in (20, 4, 5))
    fields = splits | {"source": "made here", "labels": classes if labelled else None}
    return Images("toy", **(fields | changes))


def test_sound_data_pass_unchanged():
    data = make()
    assert images.validate(data) is data
    assert (data.event, data.dim, data.classes) == ((4, 3, 2), 24, 7)
    assert images.validate(make(labelled=False)).classes == 0


@pytest.mark.parametrize(
    ("val", "text"),
    [
        (np.zeros((4, 4, 3, 2), np.float32), "uint8 numpy array, got float32"),
        ([[0]], "uint8 numpy array, got list"),
        (np.zeros((4, 4, 3), np.uint8), r"expected shape .* got \(4, 4, 3\)"),
        (np.zeros((0, 4, 3, 2), np.uint8), "is empty"),
        (np.zeros((4, 3, 4, 2), np.uint8), r"\(3, 4, 2\), but those of 'train'"),
    ],
)
def test_wrong_pixels_name_the_split(val, text):
    with pytest.raises(DataError, match=f"'toy', split 'val': .*{text}"):
        images.validate(make(val=val))


def test_value_out_of_range_names_the_image():
    test = np.zeros((5, 4, 3, 2), np.uint8)
    test[3, 2, 1, 0] = 17
    low = make(train=test[:2], val=test[:2], test=test, labels=None)
    with pytest.raises(DataError, match="'test': image 3 has the value 17, .* 0 to 16"):
        images.validate(low._replace(levels=17))
    images.validate(low._replace(levels=18))


@pytest.mark.parametrize("levels", [1, 257])
def test_impossible_levels(levels):
    with pytest.raises(DataError, match=f"levels is {levels}"):
        images.validate(make(levels=levels))


@pytest.mark.parametrize(
    ("labels", "text"),
    [
        (np.zeros(3, np.int32), r"'val': labels have shape \(3,\) for 4 images"),
        (np.zeros(4), "'val', labels: expected an int32 numpy array, got float64"),
        (np.array([0, 1, -1, 0], np.int32), "'val': a label is -1"),
        (np.array([0, 1, 10**9, 0], np.int32), "'val': a label is 1,000,000,000"),
    ],
)
def test_wrong_labels(labels, text):
    first, _, third = make().labels
    with pytest.raises(DataError, match=text):
        images.validate(make(labels=(first, labels, third)))


def test_labels_for_fewer_splits():
    with pytest.raises(DataError, match="labels for 2 splits"):
        images.validate(make(labels=make().labels[:2]))


def test_limit_cuts_images_and_labels_and_says_so():
    data = images.validate(images.limit(make(), 7))
    np.testing.assert_array_equal(data.train, make().train[:7])
    np.testing.assert_array_equal(data.labels[0], np.arange(7))
    assert "first 7 of 20" in data.source
    assert len(data.test) == len(data.labels[2]) == 5
    assert images.limit(make(labelled=False), 7).labels is None
    assert images.limit(data, None) is images.limit(data, 7) is data
    with pytest.raises(DataError, match="training images; give .* from 1 to 7"):
        images.limit(data, 8)


def test_hold_out_is_a_partition_that_the_order_of_a_copy_does_not_move():
    rng = np.random.default_rng(0)
    pixels = pictures.random(rng, 50, 2, 2, 1)
    # Equal images with unlike labels: only the label can order these.
    pixels[10:14] = pixels[10]
    labels = rng.integers(0, 9, 50)
    kept, held = images.hold_out(pixels, labels)
    assert sorted([*kept, *held]) == list(range(50))
    assert len(held) == 5
    other = rng.permutation(50)
    kept2, held2 = images.hold_out(pixels[other], labels[other])
    for first, second in ((kept, kept2), (held, held2)):
        np.testing.assert_array_equal(pixels[first], pixels[other][second])
        np.testing.assert_array_equal(labels[first], labels[other][second])


def test_hold_out_looks_random():
    pixels = np.arange(20_000).astype(">u4").view(np.uint8).reshape(-1, 2, 2, 1)
    _, held = images.hold_out(pixels, np.zeros(20_000))
    # Uniform over the file: mean 10,000, standard error 129.
    assert abs(held.mean() - 10_000) < 600
    assert abs(np.diff(held) > 0).mean() == pytest.approx(0.5, abs=0.05)


def test_hold_out_of_too_few():
    with pytest.raises(DataError, match="9 images are too few"):
        images.hold_out(np.zeros((9, 1, 1, 1), np.uint8), np.zeros(9))


@pytest.mark.parametrize("labelled", [True, False])
def test_made_once_and_read_back(labelled, cache):
    data = make(labelled=labelled)
    calls = []

    def once():
        calls.append(1)
        labels = data.labels and tuple(part.astype(np.uint8) for part in data.labels)
        return data[1:4], labels

    for _ in range(2):
        pixels, labels = images.kept("toy", once, labelled)
        for found, given in zip(pixels, data[1:4], strict=True):
            assert found.dtype == np.uint8
            np.testing.assert_array_equal(found, given)
        assert (labels is not None) == labelled
        if labels is not None:
            assert {part.dtype for part in labels} == {np.dtype(np.int32)}
    assert calls == [1]


def test_lost_labels_are_made_again(cache):
    data = make()
    images.kept("toy", lambda: (data[1:4], data.labels), True)
    (cache / f"toy-{images.RECIPE}-labels" / "val.npy").unlink()
    images.kept("toy", lambda: (data[1:4], data.labels), True)
    assert caching.load(f"toy-{images.RECIPE}-labels") is not None
