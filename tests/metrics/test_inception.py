"""The Inception network against pytorch-fid's, with weights drawn by a shared rule."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.metrics import inception
from fdnf.metrics.weights import Weights, WeightsError
from tests.metrics import random_weights

GOLDEN = np.load(pathlib.Path(__file__).parent / "golden" / "inception.npz")
PARTS = ("weight", "bias", "running_mean", "running_var")


@pytest.fixture(scope="module")
def state():
    shapes = {}
    for name, (height, width, inputs, filters) in inception.kernel_shapes().items():
        shapes[f"{name}.conv.weight"] = (filters, inputs, height, width)
        shapes |= {f"{name}.bn.{part}": (filters,) for part in PARTS}
    arrays = {name: random_weights.tensor(name, s) for name, s in shapes.items()}
    return Weights(arrays, "0" * 64, pathlib.Path("random"))


def test_features_equal_pytorch_fid(state):
    images = random_weights.pictures(2, 40, 32)
    x = inception.resized(jnp.asarray(images, jnp.float32) / 255)
    params = inception.inception_params(state)
    found = np.asarray(jax.jit(inception.inception_v3)(params, 2 * x - 1))
    expected = GOLDEN["features"]
    assert found.shape == (2, inception.FEATURES) == expected.shape
    # The two images differ by far more than the tolerance.
    assert np.median(abs(expected[0] - expected[1])) > 0.02 * expected.mean()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * expected.mean())


@pytest.mark.parametrize(
    ("name", "shape"), [("enlarged", (12, 20)), ("reduced", (340, 310))]
)
def test_resizing_equals_pytorch(name, shape):
    x = random_weights.pictures(1, *shape, 1).astype(np.float32)
    found = np.asarray(inception.resized(jnp.asarray(x)))[:, ::13, ::17, 0]
    np.testing.assert_allclose(found, GOLDEN[name], rtol=1e-4, atol=1e-3)


def test_counts_and_shapes():
    shapes = inception.kernel_shapes()
    assert len(shapes) == 94
    # torchvision's documented 27,161,264 less the auxiliary head and the classifier.
    filters = sum(shape[-1] for shape in shapes.values())
    kernels = sum(int(np.prod(shape)) for shape in shapes.values())
    assert kernels + 2 * filters == 27_161_264 - 3_326_696 - 2_049_000


def test_other_weights_are_refused(state):
    arrays = dict(state.arrays)
    name = "Mixed_6c.branch7x7_2.conv.weight"
    arrays[name] = arrays[name].transpose(0, 1, 3, 2)
    with pytest.raises(WeightsError, match=rf"{name}.*expected \(160, 160, 1, 7\)"):
        inception.inception_params(state._replace(arrays=arrays))
    del arrays[name]
    with pytest.raises(WeightsError, match=f"no array '{name}'"):
        inception.inception_params(state._replace(arrays=arrays))


def test_small_images_are_refused():
    with pytest.raises(ValueError, match="74x80 pixels: expected at least 75"):
        inception.inception_v3({}, jnp.zeros((1, 74, 80, 3)))
