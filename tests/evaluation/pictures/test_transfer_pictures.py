import jax
import numpy as np
import pytest
from ml_collections import ConfigDict
from PIL import Image

from fdnf.data.images import Images
from fdnf.evaluation.pictures import grids, transfer_pictures
from fdnf.train import models
from fdnf.train.teachers import Trained

EVENT = (4, 4, 1)
PREPROCESS = {"levels": 17, "margin": 0.05}


def trained(name, **args):
    config = ConfigDict(
        {
            "seed": 0,
            "model": {"name": name, "args": args},
            "eval": {"time_batch": 8},
            "loss": {"method": "x"},
        }
    )
    model = models.build(config.model)
    x = jax.random.normal(jax.random.key(1), (8, *EVENT))
    params = models.init(model, jax.random.key(0), x)["params"]
    params = jax.tree.map(lambda leaf: leaf[None], params)
    meta = {"event": EVENT, "preprocess": PREPROCESS}
    return Trained(model, {"params": params, "constants": {}}, config, meta)


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    pixels = [rng.integers(0, 17, (n, *EVENT), dtype=np.uint8) for n in (20, 20, 30)]
    return Images("tiny", *pixels, source="made by a test", levels=17)


@pytest.fixture(scope="module")
def several():
    net = {"features": 2, "blocks": 1, "stages": 1}
    return {
        "teacher": trained("pixelcnn", **net),
        "x": trained("pixelcnn_iaf", **net),
        "resnet_l1": trained("resnet", hidden=2, blocks=1, squeezes=0),
    }


def test_pictures_of_teacher_and_students(several, data, tmp_path, monkeypatch):
    drawn = {}

    def remember(rows, path, **kwargs):
        drawn[path.name] = rows
        return draw(rows, path, **kwargs)

    draw = grids.draw
    monkeypatch.setattr(transfer_pictures.grids, "draw", remember)
    paths = transfer_pictures.draw(tmp_path, several, data)
    assert [path.name for path in paths] == [
        "samples_causal.png",
        "samples_free.png",
        "norms.png",
        "reconstructions.png",
    ]
    for path in paths:
        assert np.asarray(Image.open(path)).std() > 5
    assert list(drawn["samples_causal.png"][""]) == ["teacher", "x"]
    assert list(drawn["samples_free.png"][""]) == ["teacher", "resnet_l1"]
    # All decode the same noise: the norm's picture has c = 1 in its middle column.
    count = len(transfer_pictures.FACTORS)
    middle = drawn["norms.png"][""][""][count // 2 :: count]
    codec = transfer_pictures.codecs.of(several["teacher"], 0, 8)
    z = codec.draw(jax.random.key(0), (transfer_pictures.VARIED, *EVENT))
    np.testing.assert_array_equal(middle, codec.decode(z).images)
    assert list(drawn["reconstructions.png"]) == ["data", "x", "resnet_l1"]


def test_without_a_teacher_there_are_samples_only(several, data, tmp_path):
    students = {"x": several["x"]}
    paths = transfer_pictures.draw(tmp_path, students, data)
    assert [path.name for path in paths] == ["samples_causal.png"]
