"""Samples of images with their latents, written."""

import numpy as np
import pytest
from PIL import Image

from configs import glow_digits
from fdnf.evaluation.tasks import images
from fdnf.train.teachers import Trained
from tests import floats
from tests.halves import Halves, Shifted

EVENT = (4, 6, 1)


@pytest.mark.parametrize("classes", [0, 3])
def test_files(tmp_path, classes):
    config = glow_digits.get_config("smoke")
    config.eval.update(samples=20, temperatures=(1.0, 0.5), time_batch=8)
    params = {"unused": np.zeros((2, 1))}
    meta = {"event": EVENT, "preprocess": {"levels": 17, "classes": classes}}
    flow = Shifted() if classes else Halves()
    trained = Trained(flow, {"params": params, "constants": {}}, config, meta)
    (tmp_path / "samples").mkdir()
    paths = images.sample(trained, tmp_path, seed=5)
    assert {path.parent for path in paths} == {tmp_path / "samples"}
    assert [path.name for path in paths] == [
        f"run_{run}_{t}.{kind}"
        for run in (0, 1)
        for t in ("t1.0", "t0.5")
        for kind in ("npz", "png")
    ]
    archives = [np.load(path) for path in paths[::2]]
    for archive in archives:
        assert archive["images"].shape == (20, *EVENT)
        assert archive["images"].dtype == np.uint8
        assert archive["images"].max() < archive["levels"] == 17
        assert ("labels" in archive.files) == bool(classes)
    floats.assert_close(archives[1]["z_0"], 0.5 * archives[0]["z_0"])
    assert not np.array_equal(archives[0]["z_1"], archives[2]["z_1"])
    sizes = [Image.open(path).size for path in paths[1::2]]
    # A line for each class, with a label on its left.
    assert len(set(sizes)) == 1
    assert (sizes[0][1] > 150) == bool(classes)
