import functools

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict
from PIL import Image

from fdnf.data.images import Images
from fdnf.evaluation.pictures import grids, teacher
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
    x = jax.ShapeDtypeStruct((8, *EVENT), np.float32)
    init = functools.partial(models.init, model)
    shapes = jax.eval_shape(init, jax.random.key(0), x)
    rng = np.random.default_rng(len(name))
    params = jax.tree.map(
        lambda leaf: 0.3 * rng.normal(size=(1, *leaf.shape)).astype(np.float32),
        shapes["params"],
    )
    meta = {"event": EVENT, "preprocess": PREPROCESS}
    return Trained(model, {"params": params, "constants": {}}, config, meta)


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    pixels = [rng.integers(0, 17, (n, *EVENT), dtype=np.uint8) for n in (20, 20, 30)]
    return Images("tiny", *pixels, source="made by a test", levels=17)


@pytest.fixture(scope="module")
def several():
    net = {"steps": 1, "hidden": (4,)}
    return {
        "teacher": trained("nice", **net),
        "x": trained("nice", **net),
        "resnet_l1": trained("resnet", hidden=2, blocks=1, squeezes=0),
    }


def test_pictures_of_teacher_and_students(several, data, tmp_path, monkeypatch):
    drawn = {}

    def remember(rows, path, **kwargs):
        drawn[path.name] = rows
        return draw(rows, path, **kwargs)

    draw = grids.draw
    monkeypatch.setattr(teacher.grids, "draw", remember)
    paths = teacher.draw(tmp_path, several, data)
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
    count = len(teacher.FACTORS)
    middle = drawn["norms.png"][""][""][count // 2 :: count]
    sampler = teacher.samplers.of(several["teacher"], 0, 8)
    z = sampler.draw(jax.random.key(0), (teacher.VARIED, *EVENT))
    np.testing.assert_array_equal(middle, sampler.decode(z).images)
    assert list(drawn["reconstructions.png"]) == ["data", "x", "resnet_l1"]


def test_without_a_teacher_there_are_samples_only(several, data, tmp_path):
    students = {"x": several["x"]}
    paths = teacher.draw(tmp_path, students, data)
    assert [path.name for path in paths] == ["samples_causal.png"]


def test_densities_under_the_teacher(tmp_path):
    rng = np.random.default_rng(0)
    shown = {
        "teacher": np.append(rng.normal(0, 1, 500), np.nan),
        "kl": rng.normal(1, 0.2, 500),
        "far": np.full(500, -1e20),
        "lost": np.full(500, np.nan),
    }
    path = teacher.histograms(shown, tmp_path / "new" / "t.png", title="t")
    assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    with pytest.raises(ValueError, match="expected finite ones of 'teacher'"):
        teacher.histograms({"kl": shown["kl"]}, path)


def test_the_axis_stays_where_the_teacher_is():
    own = np.random.default_rng(0).normal(0, 1, 1000)
    low, high = teacher._ends(own, {"far": np.full(9, -1e20)})
    assert -15 < low < -10
    assert 2 < high < 4
    text = teacher._aside(np.array([-1e20, 0.0, 1.0, 99.0]), 1.0, low, high)
    assert text == ": median 1.0, 25.0 % below the axis, 25.0 % above it"


def test_weights_of_any_kind(tmp_path):
    rng = np.random.default_rng(0)
    shown = {
        "kl": rng.normal(0, 1, 500),
        "far": np.append(rng.normal(0, 1, 500), -1e20),
        "lost": np.full(500, np.nan),
        "teacher": np.zeros(500),
    }
    path = teacher.weights(shown, tmp_path / "w.png", title="w")
    assert np.asarray(Image.open(path)).std() > 5
    with pytest.raises(ValueError, match="at least"):
        teacher.weights({}, path)
