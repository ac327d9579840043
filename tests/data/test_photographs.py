import numpy as np
import pytest

from fdnf.data import bsds300, photographs
from fdnf.data.tabular import DataError
from fdnf.ops import resize
from tests.data import pictures


@pytest.fixture
def directory(tmp_path, monkeypatch):
    """BSDS300 and its benchmarks, small."""
    monkeypatch.setattr(bsds300, "HELD_OUT", 2)
    monkeypatch.setattr(photographs, "COUNTS", {"Set5": 2, "Set14": 1, "BSD100": 2})
    rng = np.random.default_rng(0)
    arrays = {}
    for prefix, ids in (("train_", range(6)), ("test_", (101, 102))):
        streams = [pictures.encode(pictures.random(rng, 1, 25, 33, 3)[0]) for _ in ids]
        arrays |= pictures.pack(streams, prefix)
        arrays[f"{prefix}ids"] = np.array(list(ids), np.int32)
    np.savez(tmp_path / bsds300.FILE, **arrays)
    for name, count in (("Set5", 2), ("Set14", 1)):
        folder = tmp_path / "sr" / name
        folder.mkdir(parents=True)
        for index in range(count):
            image = pictures.random(rng, 1, 16, 24, 3)[0]
            save(folder / f"{index:03}_HR.png", image)
            # Not the reduction of it, to tell given from made.
            save(folder / f"{index:03}_LR.png", image[::4, ::4])
    folder = tmp_path / "sr" / photographs.BSD100_LR
    folder.mkdir()
    rows = ["index,bsds_id,hr_height,hr_width", "001,102,24,32", "002,101,24,32"]
    (folder / "map.csv").write_text("\n".join(rows))
    for name in ("001", "002"):
        save(folder / f"{name}_LR.png", pictures.random(rng, 1, 6, 8, 3)[0])
    return tmp_path


def save(path, image):
    path.write_bytes(pictures.encode(image))


def load(directory, **args):
    return photographs.bsds300_sr(str(directory), crop=8, **args)


def test_tiles_of_four_images_windows_of_two(directory):
    data = load(directory, windows=9)
    # 24 x 32 pixels have 2 x 3 tiles of 16.
    assert data.train.shape == (4 * 2 * 3, 16, 16, 3)
    assert data.val.shape == (9, 8, 8, 3)
    assert data.val_lr.shape == (9, 2, 2, 3)
    assert [benchmark.name for benchmark in data.test] == ["Set5", "Set14", "BSD100"]
    assert len(load(directory, rows=7).train) == 7


def test_held_out_images_give_no_tiles(directory):
    data = load(directory, windows=1_000)
    tiles = {bytes(tile[:8, :8]) for tile in data.train}
    assert not tiles & {bytes(window) for window in data.val}


def test_given_low_resolution_is_used_at_its_scale_only(directory):
    five = load(directory).test[0]
    np.testing.assert_array_equal(five.lr[0], five.hr[0][::4, ::4])
    (five,) = load(directory, scale=8, test=("Set5",)).test
    assert five.lr[0].shape == (2, 3, 3)
    np.testing.assert_array_equal(five.lr[0], resize.downscale_uint8(five.hr[0], 8))


def test_map_says_which_image_is_which(directory):
    (hundred,) = load(directory, test=("BSD100",)).test
    assert hundred.names == ("001", "002")
    assert hundred.hr[0].shape == (24, 32, 3)
    path = directory / "sr" / photographs.BSD100_LR / "map.csv"
    rows = path.read_text().splitlines()
    path.write_text("\n".join([rows[0], rows[2].replace("002", "001"), rows[2]]))
    (swapped,) = load(directory, test=("BSD100",)).test
    np.testing.assert_array_equal(swapped.hr[0], hundred.hr[1])


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ("002,999,24,32", "image 999 is no test image"),
        ("002,101,26,32", "25 high; map.csv asks for 32 and 26"),
        ("002,101,20,32", "002_LR.png: high resolution is 20x32 .* low is 6x8"),
        ("002,101,24", "expected a table with the columns index, bsds_id"),
        ("002,x,24,32", "expected a table"),
    ],
)
def test_map_that_does_not_fit(directory, row, text):
    path = directory / "sr" / photographs.BSD100_LR / "map.csv"
    path.write_text("\n".join([*path.read_text().splitlines()[:2], row]))
    with pytest.raises(DataError, match=text):
        load(directory)


@pytest.mark.parametrize("prefix", ["train_", "test_"])
@pytest.mark.parametrize("ids", [[1], [7.5] * 6, [[1, 2]], [3] * 6], ids=str)
def test_numbers_that_do_not_fit(directory, prefix, ids):
    with np.load(directory / bsds300.FILE) as held:
        arrays = dict(held)
    arrays[f"{prefix}ids"] = np.array(ids)[: len(arrays[f"{prefix}ids"])]
    np.savez(directory / bsds300.FILE, **arrays)
    with pytest.raises(DataError, match=f"'{prefix}ids' .*Copy the file again"):
        load(directory)


def test_benchmark_that_is_not_whole(directory):
    (directory / "sr" / "Set5" / "000_LR.png").unlink()
    with pytest.raises(DataError, match="No such file: .*000_LR.png"):
        load(directory)
    (directory / "sr" / "Set5" / "000_HR.png").unlink()
    with pytest.raises(
        DataError, match="1 files .*_HR.png; expected 2.*data.args.test"
    ):
        load(directory)
    assert len(load(directory, test=("Set14",)).test) == 1


def test_benchmark_that_is_damaged(directory):
    (directory / "sr" / "Set14" / "000_LR.png").write_bytes(b"\x89PNG")
    with pytest.raises(DataError, match="000_LR.png does not decode"):
        load(directory)


def test_unknown_benchmark(directory):
    with pytest.raises(DataError, match="'Urban100'; known: Set5, Set14, BSD100"):
        load(directory, test=("Urban100",))


def test_absent_set_says_what_runs_without(tmp_path):
    with pytest.raises(DataError, match="No such file: .*'photographs' trains"):
        photographs.bsds300_sr(str(tmp_path))


def test_embedded_photographs_are_split_by_image():
    data = photographs.photographs(rows=50, windows=20)
    assert data.train.shape == (50, 64, 64, 3)
    assert data.train_lr.shape == (50, 16, 16, 3)
    assert data.val.shape == (20, 32, 32, 3)
    assert data.test[0].names == ("chelsea", "coffee")
    names = sum(photographs.PHOTOGRAPHS.values(), ())
    assert len(set(names)) == len(names)
    # Low resolution is the mean of what it stands for, nearly; noise would be far off.
    means = data.train.reshape(50, 16, 4, 16, 4, 3).mean(axis=(2, 4))
    assert np.abs(means - data.train_lr).mean() < 3


def test_embedded_photographs_at_scale_8():
    data = photographs.photographs(rows=6, scale=8, windows=1)
    assert data.train_lr.shape == (6, 8, 8, 3)
    with pytest.raises(DataError, match="too small for a tile of 640.*at most 424"):
        photographs.photographs(scale=8, crop=320)


def test_real_benchmarks(real):
    directory = real(bsds300.FILE).parent
    real("sr/Set5/001_HR.png")
    data = photographs.bsds300_sr(str(directory), rows=40, windows=20)
    assert [len(benchmark.hr) for benchmark in data.test] == [5, 14, 100]
    assert {image.shape[:2] for image in data.test[2].hr} == {(320, 480), (480, 320)}
    # What is made here for training is made as what was given for testing.
    for benchmark in data.test[:2]:
        for hr, lr in zip(benchmark.hr, benchmark.lr, strict=True):
            error = resize.downscale_uint8(hr, 4).astype(float) - lr
            assert np.sqrt(np.mean(error**2)) < 0.6
    hundred = data.test[2]
    error = resize.downscale_uint8(hundred.hr[7], 4).astype(float) - hundred.lr[7]
    assert np.sqrt(np.mean(error**2)) < 0.6
