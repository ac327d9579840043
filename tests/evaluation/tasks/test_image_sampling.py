"""Samples of images with their latents, drawn and written."""

import numpy as np
import pytest
from PIL import Image

from configs import glow_digits
from fdnf.evaluation.models.codec import Codec
from fdnf.evaluation.tasks import image_sampling
from fdnf.train.teachers import Trained
from tests import floats
from tests.halves import Centred, Halves, Shifted

EVENT = (4, 6, 1)


def drawn(codec, count=7, temperature=1.0, seed=0):
    return image_sampling.samples(
        codec, EVENT, count, temperature=temperature, seed=seed
    )


def test_samples_are_what_their_latents_decode_to():
    codec = Codec(Halves(), {}, Centred(), batch_size=3)
    found = drawn(codec)
    assert found.images.shape == (7, *EVENT)
    assert found.labels is None
    np.testing.assert_array_equal(codec.decode(found.z).images, found.images)
    assert len(np.unique(found.z[1][:, 0, 0, 0])) == 7


def test_temperatures_and_flows_share_the_noise():
    codec = Codec(Halves(), {}, Centred(), batch_size=3)
    warm, cold = drawn(codec), drawn(codec, temperature=0.5)
    other = drawn(Codec(Shifted(), {}, Centred(classes=2), batch_size=3))
    for i in (0, 1):
        floats.assert_close(cold.z[i], 0.5 * warm.z[i])
        np.testing.assert_array_equal(other.z[i], warm.z[i])
    assert not np.array_equal(drawn(codec, seed=1).z[0], warm.z[0])


def test_classes_take_turns():
    found = drawn(Codec(Shifted(), {}, Centred(classes=3), batch_size=2))
    assert found.labels.tolist() == [0, 1, 2, 0, 1, 2, 0]
    plain = drawn(Codec(Halves(), {}, Centred(), batch_size=2))
    shift = np.clip(128 + 10 * plain.z[1][2, 0, 0, 0] - 20, 0, 255)
    np.testing.assert_allclose(found.images[2, 0, 3, 0], shift, atol=0.51)


@pytest.mark.parametrize(
    ("temperature", "name"), [(1, "t1.0"), (0.7, "t0.7"), ((0.7, 1.0), "t0.7-1.0")]
)
def test_names_of_temperatures(temperature, name):
    assert image_sampling.condition(temperature) == name


@pytest.mark.parametrize("classes", [0, 3])
def test_files(tmp_path, classes):
    config = glow_digits.get_config("smoke")
    config.eval.update(samples=20, temperatures=(1.0, 0.5), time_batch=8)
    params = {"unused": np.zeros((2, 1))}
    meta = {"event": EVENT, "preprocess": {"levels": 17, "classes": classes}}
    flow = Shifted() if classes else Halves()
    trained = Trained(flow, {"params": params, "constants": {}}, config, meta)
    paths = image_sampling.write(trained, tmp_path, seed=5)
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
