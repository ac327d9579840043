import zipfile

import numpy as np
import pytest
from PIL import Image

from fdnf.data import celeba
from fdnf.data.tabular import DataError
from tests.data import pictures

WHOLE = (218, 178)


def portrait(level, size=WHOLE):
    return pictures.encode(np.full((*size, 3), level, np.uint8), "JPEG")


def levels(pixels):
    """The level of each even image, which JPEG keeps."""
    return pixels[:, 32, 32, 0].tolist()


def official(directory, lines, images):
    directory.mkdir(parents=True, exist_ok=True)
    (directory / celeba.PARTITION).write_text(lines)
    with zipfile.ZipFile(directory / celeba.ZIP, "w") as file:
        for name, content in images.items():
            file.writestr(f"img_align_celeba/{name}", content)


LINES = "000001.jpg 0\n000002.jpg 2\n000003.jpg 1\n000004.jpg 0\n"
PORTRAITS = {f"{i:06}.jpg": portrait(20 * i) for i in range(1, 5)}


@pytest.mark.parametrize(
    ("size", "left", "top", "side"), [((178, 218), 15, 35, 148), ((89, 109), 7, 17, 74)]
)
def test_the_centre_square_is_what_is_kept(size, left, top, side):
    pixels = np.zeros((size[1], size[0], 3), np.uint8)
    pixels[top : top + side, left : left + side] = 200
    # All of the square and nothing else: one pixel more or less would show at an edge.
    assert (np.asarray(celeba.face(Image.fromarray(pixels))) == 200).all()
    # A frame just inside it is all there, and a smaller square would lose some.
    pixels[:] = 0
    pixels[top : top + side, left : left + side] = 200
    pixels[top + 1 : top + side - 1, left + 1 : left + side - 1] = 0
    frame = np.asarray(celeba.face(Image.fromarray(pixels)))
    for edge in (frame[0], frame[-1], frame[:, 0], frame[:, -1]):
        assert edge.min() > 0
    assert (frame[2:-2, 2:-2] == 0).all()


def test_resizing_is_antialiased():
    # A checkerboard finer than the result averages out instead of aliasing.
    board = np.indices((218, 178)).sum(axis=0) % 2 * 255
    image = Image.fromarray(np.repeat(board[..., None].astype(np.uint8), 3, axis=2))
    pixels = np.asarray(celeba.face(image))[4:-4, 4:-4]
    assert np.abs(pixels.astype(int) - 127).max() < 25


def test_official_partition(tmp_path):
    official(tmp_path / "celeba", LINES, PORTRAITS)
    data = celeba.celeba64(str(tmp_path))
    assert data.event == (64, 64, 3)
    assert data.labels is None
    assert [levels(part) for part in data[1:4]] == [[20, 80], [60], [40]]
    assert "subset: 2/1/1" in data.source


def test_second_reading_decodes_nothing(tmp_path, monkeypatch):
    official(tmp_path, LINES, PORTRAITS)
    first = celeba.celeba64(str(tmp_path))
    monkeypatch.setattr(celeba, "read_archive", None)
    np.testing.assert_array_equal(celeba.celeba64(str(tmp_path)).train, first.train)


@pytest.mark.parametrize("name", ["000009.jpg", "../../secret.jpg"])
def test_names_that_the_archive_has_not(tmp_path, name):
    (tmp_path / "secret.jpg").write_bytes(portrait(10))
    official(tmp_path, f"{LINES}{name} 0\n", PORTRAITS)
    with pytest.raises(DataError, match=f"no member 'img_align_celeba/{name}'"):
        celeba.celeba64(str(tmp_path))


@pytest.mark.parametrize("line", ["000001.jpg 3", "000001.jpg", "a b 0", "\xff\xfe"])
def test_broken_partition(tmp_path, line):
    official(tmp_path, "", PORTRAITS)
    (tmp_path / celeba.PARTITION).write_bytes(f"{LINES}{line}\n".encode("latin-1"))
    with pytest.raises(DataError, match="line 5: expected a file name and 0, 1 or 2"):
        celeba.celeba64(str(tmp_path))


def test_broken_image_and_image_of_another_size(tmp_path):
    faults = {
        "does not decode": b"no image",
        "is 100 wide and 100 high; expected 178": portrait(10, (100, 100)),
    }
    for fault, content in faults.items():
        official(tmp_path, LINES, PORTRAITS | {"000004.jpg": content})
        with pytest.raises(DataError, match=f"image 1 .*{fault}"):
            celeba.celeba64(str(tmp_path))


def test_truncated_archive(tmp_path):
    official(tmp_path, LINES, PORTRAITS)
    content = (tmp_path / celeba.ZIP).read_bytes()
    (tmp_path / celeba.ZIP).write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match="img_align_celeba.zip is damaged"):
        celeba.celeba64(str(tmp_path))


def test_absent_set_says_which_files_to_put_where(tmp_path, cache):
    with pytest.raises(DataError) as caught:
        celeba.celeba64(str(tmp_path))
    for part in (celeba.ZIP, celeba.PARTITION, tmp_path / "celeba", cache / "manual"):
        assert str(part) in str(caught.value)


def subset(path, count):
    streams = [portrait(2 * i, (109, 89)) for i in range(count)]
    np.savez(path / celeba.FILE, **pictures.pack(streams))


def test_subset_is_split_in_file_order(tmp_path):
    subset(tmp_path, 20)
    data = celeba.celeba64(str(tmp_path))
    assert [levels(part) for part in data[1:4]] == [
        list(range(0, 32, 2)),
        [32, 34],
        [36, 38],
    ]
    assert "subset and lossy: 20 of 202,599" in data.source
    with pytest.raises(DataError, match="not at hand"):
        celeba.celeba64(str(tmp_path), subset=False)


def test_subset_too_small_or_absent(tmp_path):
    with pytest.raises(DataError, match="No such file"):
        celeba.celeba64(str(tmp_path), subset=True)
    subset(tmp_path, 9)
    with pytest.raises(DataError, match="9 images are too few"):
        celeba.celeba64(str(tmp_path))


# In CI the pictures of a subset are made here.
@pytest.mark.slow
def test_real_subset(real):
    data = celeba.celeba64(str(real(celeba.FILE).parent), rows=100)
    assert [len(part) for part in data[1:4]] == [100, 1_000, 1_000]
    # The mean face: the middle is skin, hence redder than blue and brighter than the
    # dark of hair above it.
    mean = data.test.mean(axis=0)
    middle = mean[28:44, 22:42].mean(axis=(0, 1))
    assert middle[0] > middle[1] > middle[2]
    assert middle[0] > mean[:6, 22:42, 0].mean()
    # Faces are aligned: the mean is nearly its own mirror image.
    assert np.abs(mean - mean[:, ::-1]).mean() < 6


def test_damaged_member(tmp_path):
    official(tmp_path, LINES, {})
    with zipfile.ZipFile(tmp_path / celeba.ZIP, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in PORTRAITS.items():
            file.writestr(f"img_align_celeba/{name}", content)
    content = bytearray((tmp_path / celeba.ZIP).read_bytes())
    start = content.index(b"000001.jpg") + 10
    content[start : start + 40] = b"\xff" * 40
    (tmp_path / celeba.ZIP).write_bytes(content)
    with pytest.raises(DataError, match="img_align_celeba.zip is damaged: Error -3"):
        celeba.celeba64(str(tmp_path))
