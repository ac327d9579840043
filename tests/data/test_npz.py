import io
import pickle
import textwrap
import zipfile

import numpy as np
import pytest

from fdnf.data import archives, npz
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


def parquet():
    return b"PAR1" + bytes(90) + b"PAR1"


def spreadsheet():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "text", "code"),
    [
        ("a.csv", b"x,y\n1,2\n" * 900, "is text, perhaps comma-sep", "np.loadtxt"),
        ("a.csv", "température\n1\n".encode(), "is text", "np.loadtxt"),
        ("a.parquet", parquet(), "is a Parquet table", "pandas.read_parquet"),
        ("a.feather", b"ARROW1\0\0", "is an Arrow table", "pandas.read_feather"),
        ("a.h5", b"\x89HDF\r\n\x1a\n", "is an HDF5 file", "h5py.File"),
        ("a.mat", b"MATLAB 5.0 MAT-file", "is a MATLAB file", "scipy.io.loadmat"),
        ("a.csv.gz", b"\x1f\x8b\x08\0", "is a gzip file", "np.loadtxt"),
        ("a.xlsx", spreadsheet(), "is a spreadsheet", "pandas.read_excel"),
        ("a.npy", b"\x93NUMPY\x01\0", "holds a single array", "np.load"),
    ],
)
def test_other_formats_are_named_with_the_way_to_an_npz(
    tmp_path, name, content, text, code
):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        npz.read_npz(path)
    told = str(caught.value)
    assert f"{path} {text}" in told
    assert f"rows = {code}('{path}'" in told
    assert f"np.savez('{path.with_suffix('.npz')}', train=" in told
    for wrong in ("damaged", "pickle", "unsafe"):
        assert wrong not in told


def test_the_way_to_an_npz_leads_there(tmp_path):
    path = tmp_path / "a.csv"
    np.savetxt(path, np.arange(60.0).reshape(20, 3), delimiter=",", header="x,y,z")
    with pytest.raises(DataError) as caught:
        npz.read_npz(path)
    _, *code = str(caught.value).split("\n")
    exec(textwrap.dedent("\n".join(code)), {"np": np})
    data = npz.read_npz(tmp_path / "a.npz")
    assert [len(part) for part in data[1:4]] == [16, 2, 2]


@pytest.mark.parametrize("content", [b"\x00\x01\x02\x03" * 90, b"\xfe" * 500])
def test_bytes_of_no_kind_are_not_called_pickled(path, content):
    path.write_bytes(content)
    with pytest.raises(DataError, match="damaged .*it begins with b'") as caught:
        npz.read_npz(path)
    for wrong in ("pickle", "unsafe"):
        assert wrong not in str(caught.value)


def test_member_that_is_no_array(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("train", "no array")
    with pytest.raises(DataError, match="'train.npy'"):
        npz.read_npz(path)


def test_web_page_that_calls_itself_npz(path):
    path.write_text("<html>404</html>")
    with pytest.raises(DataError, match="is a web page.*Copy the right file"):
        npz.read_npz(path)


def head(shape, dtype="<f8"):
    """An .npy header and a few bytes."""
    buffer = io.BytesIO()
    fields = {"descr": dtype, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(buffer, fields)
    return buffer.getvalue() + bytes(64)


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_terabytes_that_are_announced_are_not_made_room_for(path, compression):
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("train.npy", head((10**13, 1)))
    with pytest.raises(DataError, match=r"damaged .*announces 10000000000000 x 1"):
        npz.read_npz(path)
    # Just as little where memory would do.
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("train.npy", head((1000, 1)))
    with pytest.raises(DataError, match="8,000 bytes, and 64 follow"):
        npz.read_npz(path)


def test_what_is_packed_too_well_is_not_unpacked(path, monkeypatch):
    np.savez_compressed(path, **arrays(train=np.zeros((1 << 20, 1))))
    monkeypatch.setattr(archives, "memory", lambda: 1 << 20)
    with pytest.raises(DataError, match=r"'train' in .*npz announces 8,388,\d+ byte"):
        npz.read_npz(path)


def test_an_npy_file_that_announces_more(tmp_path):
    (tmp_path / "a.npy").write_bytes(head((10**13,)))
    with pytest.raises(ValueError, match="80,000,000,000,000 bytes, and 64 follow"):
        npz.read_npy(tmp_path / "a.npy")


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


EXTREME = np.random.default_rng(0).normal(size=(50, 3)) * [1, 1e30, 1]
NAN = np.where(np.arange(5)[:, None] == 3, np.nan, np.ones((5, 3)))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        *(
            ({"train": np.ones((2, 3)).astype(kind)}, "expected real numbers")
            for kind in (np.complex64, "U3", bool)
        ),
        ({"train": NAN}, "'train': row 3, column 0 is nan"),
        (
            {"train": np.full((5, 3), 1e300)},
            r"column 0 goes from 1e\+300 .*beyond float",
        ),
        *(
            ({"train": rows.astype(dtype)}, "column 1 goes .*divide by its standard")
            for rows in (EXTREME, EXTREME * [1, 1e-60, 1])
            for dtype in (np.float32, np.float64)
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_rows_that_do_not_train(path, changes, text):
    np.savez(path, **arrays(**changes))
    with pytest.raises(DataError, match=text):
        npz.read_npz(path)


def test_missing_split(path):
    np.savez(path, train=np.ones((2, 3)), valid=np.ones((2, 3)))
    with pytest.raises(DataError, match="no array 'val'; it has: train, valid"):
        npz.read_npz(path)


def test_values_that_float32_cannot_tell_apart(path):
    seconds = 1.7e9 + np.arange(500.0)
    rows = np.stack([seconds - seconds[0], seconds, seconds**0], axis=1)
    np.savez(path, **arrays(train=rows))
    with pytest.raises(DataError, match="column 1 .*1700000499, of which .* keeps 4 v"):
        npz.read_npz(path)
    # Constants and whole numbers that fit are let through.
    np.savez(path, **arrays(train=np.delete(rows, 1, axis=1)[:, [0, 1, 1]].astype(int)))
    assert npz.read_npz(path).train[-1].tolist() == [499, 1, 1]
