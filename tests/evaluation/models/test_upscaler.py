"""Images of any size through a model: padding, noise, folded flows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.evaluation.models import upscaler as upscalers
from fdnf.flows.srflow import SRFlow
from fdnf.students.rrdb import RRDBNet
from fdnf.students.srflow import SRFlowStudent
from tests import floats
from tests.evaluation import sr_pair
from tests.evaluation.transfer_pair import trained as vectors

TINY = {"features": 4, "growth": 2, "rdbs": 1, "convs": 2}
SIZES = {**TINY, "steps": 1, "transitions": 1, "hidden": 4, "blocks": 1, "taps": (0,)}
KEY = jax.random.key(3)


def pixels(height, width, count=1):
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (count, height, width, 3), np.uint8)


def enlarged(lr):
    return lr.repeat(4, axis=1).repeat(4, axis=2)


def test_images_are_what_the_model_makes_of_them():
    upscaler, lr = upscalers.of(sr_pair.trained(0.2)), pixels(4, 6, 2)
    images, reach = upscaler(lr, KEY, 0.5)
    (z,) = Z = upscaler.flow.draw(KEY, (2, 16, 24, 3), 0.5)
    x = enlarged(lr) / 255 + 0.2 * np.asarray(z)
    # A value between two levels may be rounded to either.
    gap = images.astype(int) - sr_pair.to_pixels(x)
    assert np.abs(gap).max() <= 1
    assert np.mean(gap != 0) < 0.01
    floats.assert_close(reach, np.abs(x).max(axis=(1, 2, 3)), rtol=1e-6)
    assert len(Z) == 1


@pytest.mark.parametrize("size", [(5, 6), (3, 7), (1, 1)])
def test_odd_sides_are_continued_and_cut(size):
    upscaler, lr = upscalers.of(sr_pair.trained(0.0)), pixels(*size)
    assert upscaler.multiple == 2
    _, padded, _, _ = upscaler.arguments(lr, KEY, 1.0)
    assert padded.shape[1:3] == tuple(side + side % 2 for side in size)
    if size == (5, 6):
        np.testing.assert_array_equal(padded[0, 5], lr[0, 3])
    np.testing.assert_array_equal(upscaler(lr, KEY, 1.0).images, enlarged(lr))


def test_values_that_are_no_numbers_are_told():
    upscaler = upscalers.of(sr_pair.trained(np.nan))
    images, reach = upscaler(pixels(2, 2), KEY, 1.0)
    assert np.isnan(reach).all()
    assert not images.any()


def srflow():
    """Two levels on images twice as large; of weights that would tell a wrong fold."""
    flow = SRFlow(**SIZES | {"scale": 2, "levels": 2, "transitions": 0})
    x = jnp.zeros((1, 8, 8, 3))
    shapes = jax.eval_shape(flow.init, KEY, x, x[:, ::2, ::2])
    rng = np.random.default_rng(0)

    def weight(path, leaf):
        drawn = 0.1 * rng.standard_normal((1, *leaf.shape), np.float32)
        mixes = path[-1].key == "weight"
        return drawn + np.eye(leaf.shape[-1], dtype=np.float32) if mixes else drawn

    params = jax.tree_util.tree_map_with_path(weight, shapes["params"])
    return sr_pair.of(flow, {"params": params, "constants": {}}, scale=2)


def test_a_flow_folded_and_not_gives_the_same_images():
    trained, lr = srflow(), pixels(3, 4)
    folded, plain = (upscalers.of(trained, fold=f) for f in (True, False))
    assert folded.flow.folded
    assert not plain.flow.folded
    assert (folded.multiple, folded.draws) == (2, True)
    ours, theirs = (upscaler(lr, KEY, 0.9) for upscaler in (folded, plain))
    assert ours.images.shape == (1, 6, 8, 3)
    floats.assert_close(ours.reach, theirs.reach, rtol=1e-3)
    assert np.abs(ours.images.astype(int) - theirs.images).max() <= 1
    assert np.abs(ours.images.astype(int) - folded(lr, KEY, 0.1).images).max() > 1


def test_students_take_the_same_noise_and_sizes():
    flow = SRFlow(**SIZES)
    student = SRFlowStudent(widths=(6, 4, 4))
    for model in (student, flow):
        trained = sr_pair.of(model, {"params": {"a": np.zeros(1)}, "constants": {}})
        assert upscalers.of(trained, fold=False).multiple == 2
    assert SRFlow(scale=8, levels=4).multiple == 16
    assert SRFlow(scale=8, levels=2).multiple == 8
    for ours, theirs in zip(
        *(model.draw(KEY, (1, 16, 24, 3)) for model in (student, flow)), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_a_network_without_noise():
    net, lr = RRDBNet(**TINY, blocks=1), pixels(3, 5)
    cond = jnp.asarray(lr / 255, jnp.float32)
    expected, variables = jax.jit(lambda cond: net.init_with_output(KEY, (), cond))(
        cond
    )
    params = jax.tree.map(lambda leaf: leaf[None], variables["params"])
    upscaler = upscalers.of(sr_pair.of(net, {"params": params, "constants": {}}))
    assert (upscaler.multiple, upscaler.draws) == (1, False)
    images = upscaler(lr, KEY, 1.0).images
    assert np.abs(images.astype(int) - sr_pair.to_pixels(expected)).max() <= 1


def test_errors_say_what_is_wrong():
    upscaler = upscalers.of(sr_pair.trained(0.0))
    with pytest.raises(ValueError, match="expected uint8"):
        upscaler(np.zeros((4, 4, 3), np.uint8), KEY, 1.0)
    with pytest.raises(ValueError, match="expected uint8"):
        upscaler(np.zeros((1, 4, 4, 3), np.float32), KEY, 1.0)
    with pytest.raises(ValueError, match="images given low-resolution ones"):
        upscalers.of(vectors([(0.0, 1.0)], "nll"))
