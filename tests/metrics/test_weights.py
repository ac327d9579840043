"""Files of weights: what is read, against their writers; and what is refused."""

import hashlib
import io
import os
import pathlib
import pickle
import zipfile

import numpy as np
import pytest

from fdnf.metrics import weights
from fdnf.metrics.weights import MissingWeightsError, WeightsError

GOLDEN = np.load(pathlib.Path(__file__).parent / "golden" / "saved_files.npz")
VALUES = {
    name.removeprefix("value_"): GOLDEN[name]
    for name in GOLDEN.files
    if name.startswith("value_")
}


@pytest.fixture
def write(tmp_path):
    def to_file(data):
        path = tmp_path / "weights"
        path.write_bytes(data)
        return path

    return to_file


def golden(name):
    return GOLDEN[name].tobytes()


def pickled(value, protocol=3):
    return pickle.dumps(value, protocol)


def test_reads_what_pytorch_wrote(write):
    data = golden("file_legacy")
    found = weights.read(write(data))
    assert found.sha256 == hashlib.sha256(data).hexdigest()
    assert set(found.arrays) == set(VALUES)
    for name, expected in VALUES.items():
        assert found.arrays[name].dtype == expected.dtype
        np.testing.assert_array_equal(found.arrays[name], expected)


@pytest.mark.parametrize("protocol", [3, 4])
def test_reads_pickled_arrays(protocol, write):
    columns = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    big_endian = np.arange(3, dtype=">i4")
    tree = {"net": {"Conv_0": {"kernel": columns, "bias": np.float32([1, 2])}}}
    tree["order"] = big_endian
    found = weights.read(write(pickled(tree, protocol))).arrays
    assert set(found) == {"net.Conv_0.kernel", "net.Conv_0.bias", "order"}
    np.testing.assert_array_equal(found["net.Conv_0.kernel"], columns)
    np.testing.assert_array_equal(found["net.Conv_0.bias"], np.float32([1, 2]))
    np.testing.assert_array_equal(found["order"], [0, 1, 2])


def test_reads_the_spelling_of_older_numpy(write):
    data = pickled({"a": np.arange(3.0)}).replace(b"numpy._core", b"numpy.core")
    assert b"numpy.core" in data
    np.testing.assert_array_equal(weights.read(write(data)).arrays["a"], np.arange(3))


def test_reads_npz(write):
    file = io.BytesIO()
    np.savez(file, a=np.arange(3), b=np.eye(2))
    found = weights.read(write(file.getvalue())).arrays
    np.testing.assert_array_equal(found["a"], np.arange(3))
    np.testing.assert_array_equal(found["b"], np.eye(2))


def test_checksum_comes_before_reading(write):
    # Not even a known format, and yet the checksum is what the error speaks of.
    path = write(b"anything")
    right = hashlib.sha256(b"anything").hexdigest()
    with pytest.raises(WeightsError, match=f"has sha256 {right}: expected {'0' * 64}"):
        weights.read(path, "0" * 64)
    with pytest.raises(WeightsError, match="unknown format"):
        weights.read(path, right.upper(), "0" * 64)


def test_missing(tmp_path):
    with pytest.raises(MissingWeightsError, match="no file of weights at"):
        weights.read(tmp_path / "absent.npz")
    with pytest.raises(MissingWeightsError):
        weights.read(tmp_path)


class Runs:
    """Makes a directory when it is unpickled the usual way."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_runs_nothing(write, tmp_path):
    trap = tmp_path / "ran"
    hostile = pickled({"a": Runs(trap)})
    with pytest.raises(WeightsError, match="asks for posix.mkdir"):
        weights.read(write(hostile))
    legacy = golden("file_legacy")
    # The first pickle after the magic number is the protocol.
    with pytest.raises(WeightsError, match="asks for posix.mkdir"):
        weights.read(write(legacy[:15] + hostile))
    assert not trap.exists()
    pickle.loads(hostile)
    assert trap.exists()


def test_whole_modules_are_refused(write):
    with pytest.raises(WeightsError, match=r"asks for torch\.nn\.modules"):
        weights.read(write(golden("module_legacy")))


def test_other_objects_are_refused(write):
    with pytest.raises(WeightsError, match="type 'O8', not of numbers"):
        weights.read(write(pickled({"a": np.array([{}])})))
    with pytest.raises(WeightsError, match="'step' is a int, not an array"):
        weights.read(write(pickled({"step": 3})))
    file = io.BytesIO()
    np.savez(file, a=np.array([{}]))
    with pytest.raises(WeightsError, match="allow_pickle"):
        weights.read(write(file.getvalue()))


def test_cut_files_are_refused(write):
    data = golden("file_legacy")
    for share in (0.1, 0.5, 0.9, 0.999):
        with pytest.raises(WeightsError):
            weights.read(write(data[: int(len(data) * share)]))


def test_tensors_stay_inside_their_storage(write):
    # The offset view is base[5:9]: with a stride or length beyond 12 it must fail.
    data = golden("file_legacy")
    view = b"K\x05K\x04\x85"
    assert data.count(view) == 1
    with pytest.raises(WeightsError, match="ends behind its 12 numbers"):
        weights.read(write(data.replace(view, b"K\x09K\x04\x85")))


def test_other_formats_are_refused(write):
    # Also PyTorch's since 1.6, which is a zip file of other members.
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", pickled({}))
    for data in (file.getvalue(), b"12345678{}"):
        with pytest.raises(WeightsError, match=r"np\.savez"):
            weights.read(write(data))


def test_arrays_are_checked_by_shape(write):
    found = weights.read(write(pickled({"a": np.arange(6.0).reshape(2, 3)})))
    assert found.array("a", (2, 3)).dtype == np.float32
    with pytest.raises(WeightsError, match=r"shape \(2, 3\), expected \(3, 2\)"):
        found.array("a", (3, 2))
    with pytest.raises(WeightsError, match="no array 'b'; its first are a"):
        found.array("b", (2, 3))


def test_files_of_installed_packages_are_found_without_importing():
    found = weights.installed("json", "decoder.py")
    assert found is not None
    assert found.is_file()
    assert weights.installed("json", "absent.bin") is None
    assert weights.installed("no_such_package_here", "a") is None


@pytest.mark.parametrize("member", ["x.npy", "archive/data.pkl"])
def test_members_that_do_not_read(tmp_path, member):
    head = io.BytesIO()
    fields = {"descr": "<f4", "fortran_order": False, "shape": (10**14,)}
    np.lib.format.write_array_header_1_0(head, fields)
    path = tmp_path / "weights"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(member, head.getvalue())
        archive.writestr("archive/byteorder", b"little")
    whole = path.read_bytes()
    locked = bytearray(whole)
    for mark, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        locked[locked.index(mark) + offset] |= 1
    for content in (whole, bytes(locked)):
        path.write_bytes(content)
        with pytest.raises(weights.WeightsError, match="no readable file of weights"):
            weights.read(path)
