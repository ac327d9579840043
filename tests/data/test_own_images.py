import numpy as np
import pytest
from PIL import Image

from fdnf.data import build, own_images
from fdnf.data.tabular import DataError


def picture(seed, height=6, width=8):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)


def fill(folder, count, first=0, **shape):
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(first, first + count):
        Image.fromarray(picture(index, **shape)).save(folder / f"{index}.png")


def test_a_folder_is_split_by_content(tmp_path):
    fill(tmp_path / "a", 20)
    data = own_images.image_folder(str(tmp_path / "a"))
    assert data.event == (6, 8, 3)
    assert [len(part) for part in (data.train, data.val, data.test)] == [16, 2, 2]
    # Other names, the same images: the same splits.
    (tmp_path / "b").mkdir()
    for index in range(20):
        (tmp_path / "a" / f"{index}.png").rename(tmp_path / "b" / f"x{99 - index}.png")
    again = own_images.image_folder(str(tmp_path / "b"))
    assert np.array_equal(again.test, data.test)
    seeded = own_images.image_folder(str(tmp_path / "b"), seed=1)
    assert not np.array_equal(seeded.test, data.test)
    every = np.concatenate([data.train, data.val, data.test])
    given = {picture(index).tobytes() for index in range(20)}
    assert {image.tobytes() for image in every} == given


def test_split_folders_and_classes(tmp_path):
    for split, first in (("train", 0), ("val", 10), ("test", 20)):
        fill(tmp_path / split / "cats", 2, first)
        fill(tmp_path / split / "dogs", 3, first + 5)
    data = own_images.image_folder(str(tmp_path), classes=True, rows=4)
    assert len(data.train) == 4
    assert len(data.val) == len(data.test) == 5
    assert data.labels is not None
    assert data.labels[0].tolist() == [0, 0, 1, 1]
    assert data.labels[2].tolist() == [0, 0, 1, 1, 1]
    assert np.array_equal(data.test[0], picture(20))


@pytest.mark.parametrize("fit", ["crop", "resize"])
def test_other_sizes_are_made_to_fit_when_told(tmp_path, fit):
    fill(tmp_path, 12)
    fill(tmp_path, 2, 50, height=12, width=8)
    with pytest.raises(DataError, match=r"50.png is 8 wide and 12 high.*fit=crop"):
        own_images.image_folder(str(tmp_path), size=(6, 8))
    data = own_images.image_folder(str(tmp_path), size=4, fit=fit, channels=1)
    assert data.event == (4, 4, 1)
    assert len(data.train) + len(data.val) + len(data.test) == 14


def test_the_middle_is_what_crop_keeps(tmp_path):
    wide = np.zeros((4, 12, 3), np.uint8)
    wide[:, 4:8] = 200
    for index in range(10):
        wide[0, 0, 0] = index
        Image.fromarray(wide).save(tmp_path / f"{index}.png")
    data = own_images.image_folder(str(tmp_path), size=4, fit="crop")
    assert (data.train == 200).all()


def test_wrong_folders(tmp_path):
    with pytest.raises(DataError, match=r"No such folder.*image_npz"):
        own_images.image_folder(str(tmp_path / "absent"))
    (tmp_path / "notes.gif").write_bytes(b"GIF89a")
    with pytest.raises(DataError, match=r"no PNG or JPEG files.*it has files \.gif"):
        own_images.image_folder(str(tmp_path))
    (tmp_path / "train").mkdir()
    with pytest.raises(DataError, match=r"folder\(s\) train, but no val, test"):
        own_images.image_folder(str(tmp_path))


def test_wrong_images_are_named(tmp_path):
    fill(tmp_path, 10)
    for wrong in ({"fit": "squeeze"}, {"channels": 2}):
        with pytest.raises(DataError, match="expected fit to be one of"):
            own_images.image_folder(str(tmp_path), **wrong)
    with pytest.raises(DataError, match="size=\\(4,\\); expected"):
        own_images.image_folder(str(tmp_path), size=(4,))
    with pytest.raises(DataError, match=r"10 images are too few to split \(0.98"):
        own_images.image_folder(str(tmp_path), fractions=(0.98, 0.01, 0.01))
    with pytest.raises(DataError, match="three shares above 0"):
        own_images.image_folder(str(tmp_path), fractions=(0.5, 0.4, 0.2))
    with pytest.raises(DataError, match=r"0.png lies in .* itself"):
        own_images.image_folder(str(tmp_path), classes=True)
    content = (tmp_path / "3.png").read_bytes()
    (tmp_path / "3.png").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"does not decode.*That is .*3\.png"):
        own_images.image_folder(str(tmp_path))


def test_an_npz_of_pixels(tmp_path):
    pixels = np.stack([picture(index) for index in range(20)])
    np.savez(tmp_path / "own.npz", images=pixels, labels=np.arange(20) % 3)
    data = build.DATASETS["image_npz"](path="own.npz", data_dir=str(tmp_path))
    assert data.name == "own"
    assert data.event == (6, 8, 3)
    assert data.labels is not None
    for part, labels in zip(
        (data.train, data.val, data.test), data.labels, strict=True
    ):
        for image, label in zip(part, labels, strict=True):
            index = int(np.flatnonzero((pixels == image).all((1, 2, 3)))[0])
            assert label == index % 3
    given = {"train": pixels[:9], "val": pixels[9:12], "test": pixels[12:]}
    np.savez(tmp_path / "split.npz", **given)
    data = own_images.image_npz(str(tmp_path / "split.npz"), rows=5)
    assert np.array_equal(data.train, pixels[:5])
    assert data.labels is None


def test_wrong_npz_files(tmp_path):
    pixels = np.stack([picture(index) for index in range(20)])
    file = tmp_path / "own.npz"

    def told(match, **arrays):
        np.savez(file, **arrays)
        with pytest.raises(DataError, match=match):
            own_images.image_npz(str(file))

    told("'images' in .*expected a uint8 numpy array", images=pixels / 255)
    told(r"expected shape \[images, height", images=pixels[..., 0])
    told("no array 'train'", pixels=pixels)
    told("expected whole numbers from 0", images=pixels, labels=np.full(20, -1))
    told("float64; expected whole", images=pixels, labels=np.zeros(20))
    splits = {"train": pixels, "val": pixels, "test": pixels}
    told("but no labels_test, labels_val", **splits, labels_train=np.arange(20))
    file.write_bytes(b"")
    with pytest.raises(DataError, match="own.npz"):
        own_images.image_npz(str(file))
