import numpy as np
import pytest

from fdnf.data.builders import bsds300
from fdnf.data.tabular import DataError
from tests import floats

h5py = pytest.importorskip("h5py")


def test_reads_the_three_groups(tmp_path):
    rng = np.random.default_rng(0)
    rows = {name: rng.normal(size=(4, 63)) for name in bsds300.GROUPS}
    with h5py.File(tmp_path / "b.hdf5", "w") as file:
        for name, values in rows.items():
            file[name] = values
    made = bsds300.preprocess(*bsds300.parse(tmp_path / "b.hdf5"))
    for part, name in zip(made, ("train", "validation", "test"), strict=True):
        assert part.dtype == np.float32
        floats.assert_close(part, rows[name], rtol=1e-6)


def test_group_that_is_not_there(tmp_path):
    with h5py.File(tmp_path / "b.hdf5", "w") as file:
        file["train"] = np.ones((4, 63))
    with pytest.raises(DataError, match="not an HDF5 file with train, validation"):
        bsds300.parse(tmp_path / "b.hdf5")


def test_another_file(tmp_path):
    (tmp_path / "b.hdf5").write_text("<html>")
    with pytest.raises(DataError, match="not an HDF5 file"):
        bsds300.parse(tmp_path / "b.hdf5")
