"""A trained flow as one file: written, read in another process, refused when wrong."""

import json
import types
import zipfile

import jax
import numpy as np
import pytest

from fdnf.flows.build import FLOWS
from fdnf.flows.maf import MAF
from fdnf.students import build as students
from fdnf.train import models, single_file, teachers
from fdnf.train.stored import CheckpointError
from tests import tiny

X = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)


class Mine(MAF):
    """A class that no file can make."""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    workdir = tiny.stored(tiny.config(), tmp_path_factory.mktemp("run"))
    return teachers.load(workdir)


@pytest.fixture
def saved(trained, tmp_path):
    trained.save(tmp_path / "new" / "maf.npz")
    return tmp_path / "new" / "maf.npz"


def test_all_comes_back(trained, saved):
    found = teachers.load(saved)
    assert found.flow == trained.flow
    assert found.config == trained.config
    assert found.event == trained.event
    assert found.preprocess == trained.preprocess
    assert found.meta["best"]["step"] == trained.meta["best"]["step"]
    jax.tree.map(np.testing.assert_array_equal, found.variables, trained.variables)
    np.testing.assert_array_equal(found.sample(0, 4), trained.sample(0, 4))
    # Written again, it is the same flow.
    found.save(saved)
    assert teachers.load(saved).flow == trained.flow


def test_a_flow_of_the_users_own_is_given(trained, tmp_path):
    own = Mine(steps=2, hidden=(8,))
    trained._replace(flow=own).save(tmp_path / "mine")
    with pytest.raises(CheckpointError, match=r"your own, .*Mine.*flow=Mine\(\.\.\.\)"):
        teachers.load(tmp_path / "mine")
    found = teachers.load(tmp_path / "mine", flow=own)
    assert found.flow is own
    np.testing.assert_array_equal(found.log_prob(X), trained.log_prob(X))
    with pytest.raises(CheckpointError, match=r"not of this Mine: .*dense_1_kernel"):
        teachers.load(tmp_path / "mine", flow=Mine(steps=2, hidden=(8, 8)))


def test_a_workdir_takes_a_flow_too(tmp_path):
    workdir = tiny.stored(tiny.config(), tmp_path)
    own = Mine(steps=2, hidden=(8,))
    assert teachers.load(workdir, flow=own).flow is own
    with pytest.raises(CheckpointError, match=r"not of this MAF: .* expected"):
        teachers.load(workdir, flow=MAF(steps=3, hidden=(8,)))


def changed(path, **values):
    """The file with another description."""
    with np.load(path) as archive:
        found = {name: archive[name] for name in archive.files}
    meta = json.loads(str(found["meta"]))
    found["meta"] = np.array(json.dumps(meta | values))
    with open(path, "wb") as file:
        np.savez(file, **found)


def test_damage_is_told(saved, tmp_path):
    with pytest.raises(CheckpointError, match="does not exist: expected a file that"):
        teachers.load(tmp_path / "none.npz")
    whole = saved.read_bytes()
    text = r"damaged, or none of the files that `save` writes \(.*\): copy it again"
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
    for content in (b"", b"PK\x03\x04", whole[:middle], flipped, b"\x80\x04K."):
        saved.write_bytes(content)
        with pytest.raises(CheckpointError, match=text):
            teachers.load(saved)
    np.savez(saved, x=X)
    with pytest.raises(CheckpointError, match=text):
        teachers.load(saved)
    saved.write_bytes(whole)
    changed(saved, checksum=1)
    with pytest.raises(CheckpointError, match="checksum of the parameters differs"):
        teachers.load(saved)


def test_other_versions_are_told(saved):
    changed(saved, format=single_file.FORMAT + 1, fdnf="9.0")
    with pytest.raises(CheckpointError, match=r"reads up to 1: use version 9\.0"):
        teachers.load(saved)
    changed(saved, format=1, model={"name": "maf", "args": {"spin": 3}})
    with pytest.raises(CheckpointError, match=r"cannot make \(.*'spin'.*version 9\.0"):
        teachers.load(saved)


def test_what_cannot_be_written_is_told(trained, tmp_path):
    with pytest.raises(CheckpointError, match="is a directory: expected the name"):
        trained.save(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="cannot be written"):
        trained.save(tmp_path / "file" / "maf.npz")
    foreign = trained._replace(flow=object())
    with pytest.raises(CheckpointError, match="object cannot be saved: it is of ano"):
        foreign.save(tmp_path / "x")


def test_there_is_no_pickle_in_it(saved):
    with zipfile.ZipFile(saved) as archive:
        assert all(name.endswith(".npy") for name in archive.namelist())
    with np.load(saved, allow_pickle=False) as archive:
        assert all(archive[name].dtype != object for name in archive.files)


@pytest.mark.parametrize("name", [*FLOWS, *students.STUDENTS])
def test_every_model_has_a_description(name):
    model = {**FLOWS, **students.STUDENTS}[name]()
    assert models.describe(model) == {"name": name, "args": {}}


def test_descriptions_hold_what_was_given():
    described = models.describe(MAF(steps=2, hidden=[3, 4], bound=2.5, name="mine"))
    given = {"steps": 2, "hidden": [3, 4], "bound": 2.5}
    assert described == {"name": "maf", "args": given}
    assert models.describe(Mine()) is None


@pytest.mark.parametrize("name", [n for n in FLOWS if hasattr(FLOWS[n], "transformer")])
def test_transformers_are_described(name):
    for given in ("spline", {"name": "spline", "bins": 4}, "additive", "affine"):
        model = FLOWS[name](transformer=given)
        described = models.describe(model)
        assert described is not None
        again = models.build(types.SimpleNamespace(**json.loads(json.dumps(described))))
        assert again == model
