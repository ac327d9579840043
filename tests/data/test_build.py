import subprocess
import sys
from types import SimpleNamespace

import ml_collections
import numpy as np
import pytest

from fdnf.data import build
from fdnf.data.tabular import DataError


def config(name, **args):
    return ml_collections.ConfigDict({"name": name, "args": args})


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
        (config("npz"), "'npz' needs the argument 'path'"),
    ],
)
def test_what_is_unknown_or_missing(wrong, text):
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
