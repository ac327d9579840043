import subprocess
import sys
from types import SimpleNamespace

import ml_collections
import numpy as np
import pytest

from fdnf.data import build
from fdnf.data.tabular import DataError
from fdnf.train import faults, rules
from tests import tiny


def config(name, **args):
    return ml_collections.ConfigDict({"name": name, "args": args})


OWN = """
import numpy as np
from fdnf.data.tabular import Tabular

LIST = []

def rows(count: int = 5) -> Tabular:
    x = np.random.default_rng(0).normal(size=(count, 3)).astype(np.float32)
    return Tabular("mine", x, x, x, source="of my own")

def untold():
    return rows()

def wrong() -> Tabular:
    return []

def with_nan() -> Tabular:
    data = rows()
    data.train[0, 0] = np.nan
    return data
"""


@pytest.fixture
def own_sets(tmp_path, monkeypatch):
    (tmp_path / "own_sets.py").write_text(OWN)
    (tmp_path / "broken_sets.py").write_text("1 / 0")
    monkeypatch.syspath_prepend(tmp_path)


def test_a_function_of_ones_own(own_sets):
    data = build.build(config("own_sets:rows", count=7))
    assert data.name == "mine"
    assert data.train.shape == (7, 3)
    assert rules.kind_of("own_sets:rows") == "vectors"
    assert rules.defaults("own_sets:rows") == {"count": 5}


def test_a_config_with_it_is_checked_before_it_is_loaded(own_sets):
    given = tiny.config("nll")
    given.data = config("own_sets:rows", count=40)
    assert faults.of(given) == []
    given.data.args = {"cout": 3}
    (fault,) = faults.of(given)
    assert "cout" in fault
    assert "count" in fault
    given.data = config("own_sets:absent")
    assert "cannot be imported with 'absent'" in "".join(faults.of(given))


def test_arguments_reach_the_data_set():
    data = build.build(config("synthetic", rows=12, dim=3))
    assert data.train.shape == (12, 3)


def test_images_are_built_alike():
    data = build.build(config("synthetic_images", rows=12, size=4, channels=3))
    assert data.train.shape == (12, 4, 4, 3)


def test_arguments_may_be_absent():
    assert build.build(SimpleNamespace(name="synthetic")).dim == 4


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (config("powr"), "Unknown data set 'powr'; known: power, gas"),
        (config("synthetic", row=12), "no argument 'row'; known: data_dir, rows, dim"),
        (config("ring"), "Did you mean 'rings'"),
        (config("npz"), "'npz' needs the argument 'path'"),
        (config("own_sets:rows", row=1), "no argument 'row'; known: count"),
        (config("own_sets:absent"), "cannot be imported with 'absent'"),
        (config("no_such_module:f"), "no_such_module cannot be imported"),
        (config("broken_sets:rows"), "ZeroDivisionError"),
        (config("own_sets:untold"), "expected a function with a return annotation"),
        (config("own_sets:LIST"), "expected a function with a return annotation"),
        (config("own_sets:wrong"), "gave list; expected one of Tabular, Images"),
        (config("own_sets:with_nan"), "row 0, column 0 is nan"),
    ],
)
def test_what_is_unknown_or_missing(wrong, text, own_sets):
    with pytest.raises(DataError, match=text):
        build.build(wrong)


def test_every_data_set_takes_a_directory_and_a_number_of_rows():
    for name in set(build.DATASETS):
        parameters = build.inspect.signature(build.DATASETS[name]).parameters
        assert {"data_dir", "rows"} <= set(parameters), name


def test_own_file(tmp_path):
    rows = np.ones((5, 2))
    np.savez(tmp_path / "own.npz", train=rows, val=rows, test=rows)
    data = build.build(config("npz", path=str(tmp_path / "own.npz")))
    assert data.name == "own"


def test_import_is_light():
    heavy = ["tensorflow", "tensorflow_datasets", "jax", "sklearn", "skimage", "h5py"]
    script = (
        "import sys; from fdnf.data import build;"
        "build.DATASETS['patches'](); build.DATASETS['digits_8x8']();"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "[]"
