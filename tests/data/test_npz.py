import pickle

import numpy as np
import pytest

from fdnf.data import npz
from fdnf.data.tabular import DataError
from tests import floats


def arrays(**changes):
    rng = np.random.default_rng(0)
    made = {"train": rng.normal(size=(500, 3)), "val": np.ones((2, 3))}
    return made | {"test": np.ones((4, 3), np.float32)} | changes


@pytest.fixture
def path(tmp_path):
    return tmp_path / "own.npz"


def test_reads_and_casts(path):
    np.savez(path, **arrays(), extra=np.ones(1))
    data = npz.read_npz(path)
    assert data.name == "own"
    assert data.train.dtype == np.float32
    floats.assert_close(data.train, arrays()["train"], rtol=1e-6)
    assert str(path) in data.source


def test_dataset_limits_rows_and_resolves_its_path(path):
    np.savez(path, **arrays())
    data = npz.npz("own.npz", data_dir=str(path.parent), rows=10)
    assert data.train.shape == (10, 3)


def test_missing_file(path):
    with pytest.raises(DataError, match="No such data file: .*own.npz"):
        npz.read_npz(path)


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("keep", [0.0, 0.01, 0.5, 0.99])
def test_truncated(path, keep, compressed):
    (np.savez_compressed if compressed else np.savez)(path, **arrays())
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content))])
    with pytest.raises(DataError, match="damaged or cut short"):
        npz.read_npz(path)


@pytest.mark.parametrize("compressed", [True, False])
def test_flipped_bytes(path, compressed):
    (np.savez_compressed if compressed else np.savez)(path, **arrays())
    content = bytearray(path.read_bytes())
    content[2000:2100] = bytes(100)
    path.write_bytes(content)
    with pytest.raises(DataError, match="damaged or cut short"):
        npz.read_npz(path)


def test_text_that_calls_itself_npz(path):
    path.write_text("<html>404</html>")
    with pytest.raises(DataError, match="damaged or cut short"):
        npz.read_npz(path)


class Trap:
    """Unpickling it would leave a mark."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return (open, (str(self.mark), "w"))


def test_pickled_arrays_are_not_read(path, tmp_path):
    mark = tmp_path / "mark"
    trap = np.empty((1, 1), object)
    trap[0, 0] = Trap(mark)
    np.savez(path, **arrays(val=trap))
    mark.unlink(missing_ok=True)
    with pytest.raises(DataError, match=r"pickled Python objects \(val\)"):
        npz.read_npz(path)
    assert not mark.exists()


def test_pickle_that_calls_itself_npz(path):
    path.write_bytes(pickle.dumps(arrays()))
    with pytest.raises(DataError, match="pickled Python objects"):
        npz.read_npz(path)


def test_missing_split(path):
    np.savez(path, train=np.ones((2, 3)), valid=np.ones((2, 3)))
    with pytest.raises(DataError, match="no array 'val'; it has: train, valid"):
        npz.read_npz(path)


def test_single_array(path):
    with open(path, "wb") as file:
        np.save(file, np.ones((2, 3)))
    with pytest.raises(DataError, match="holds a single array"):
        npz.read_npz(path)


@pytest.mark.parametrize("kind", [np.complex64, "U3", bool])
def test_not_numbers(path, kind):
    np.savez(path, **arrays(train=np.ones((2, 3)).astype(kind)))
    with pytest.raises(DataError, match="expected real numbers"):
        npz.read_npz(path)


def test_nan_row(path):
    rows = np.ones((5, 3))
    rows[3] = np.nan
    np.savez(path, **arrays(train=rows))
    with pytest.raises(DataError, match="'train': row 3, column 0 is nan"):
        npz.read_npz(path)


def test_beyond_float32_is_no_finite_number(path):
    np.savez(path, **arrays(train=np.full((5, 3), 1e300)))
    with pytest.raises(DataError, match="row 0, column 0 is inf"):
        npz.read_npz(path)


def test_unlike_dimensions(path):
    np.savez(path, **arrays(val=np.ones((2, 4))))
    with pytest.raises(DataError, match="'val': has 4 columns"):
        npz.read_npz(path)


def test_empty_split(path):
    np.savez(path, **arrays(test=np.ones((0, 3))))
    with pytest.raises(DataError, match="'test': is empty"):
        npz.read_npz(path)
