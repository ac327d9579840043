"""Feed-forward students: what they see, and how losses take them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from fdnf.flows.nice import NICE
from fdnf.losses import inverse_matching
from fdnf.students import build
from fdnf.students.resnet import ResNet

STUDENT = ResNet(hidden=4, blocks=1)
EVENT = (8, 8, 1)


def draw(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


@pytest.fixture(scope="module")
def variables():
    """Moved away from the start, at which a student is the identity."""
    started = STUDENT.init(jax.random.key(0), (draw(16, *EVENT),))
    rng = np.random.default_rng(1)
    return jax.tree.map(
        lambda leaf: leaf + 0.2 * rng.normal(size=leaf.shape).astype(np.float32),
        started,
    )


def test_every_pixel_sees_every_latent(variables):
    # A unit that is off passes nothing on, for the latents at hand.
    z = draw(16, 1, *EVENT, seed=2)
    jacobian = jax.jacrev(lambda z: STUDENT.apply(variables, (z,)))
    seen = jax.jit(jax.vmap(lambda z: jnp.abs(jacobian(z))))(z).sum(0)
    assert (np.asarray(seen) > 0).all()


def test_images_beyond_reach_are_refused():
    with pytest.raises(ValueError, match="far latents would not count"):
        STUDENT.init(jax.random.key(0), (draw(2, 16, 16, 1),))
    with pytest.raises(ValueError, match="expected one, of the shape of an image"):
        STUDENT.init(jax.random.key(0), (draw(2, 5),))


def test_decoding_has_no_density(variables):
    z = (draw(3, *EVENT),)
    decoding = STUDENT.apply(variables, z, method="decode")
    assert decoding.log_det is None
    assert decoding.levels == ()
    np.testing.assert_array_equal(decoding.x, STUDENT.apply(variables, z))
    with pytest.raises(TypeError, match="no density"):
        STUDENT.apply(variables, z[0], method="encode")


def test_draws_what_a_flow_draws(variables):
    flow, key = NICE(steps=1), jax.random.key(3)
    own = STUDENT.apply(variables, key, (2, *EVENT), 0.7, method="draw")
    others = flow.draw(key, (2, *EVENT), 0.7)
    np.testing.assert_array_equal(own[0], others[0])
    x = STUDENT.apply(variables, key, (2, *EVENT), 0.7, method="sample")
    np.testing.assert_allclose(x, STUDENT.apply(variables, own), atol=1e-6)


@pytest.mark.parametrize("loss", ["x_reconstruction", "oracle", "z_reconstruction"])
def test_losses_take_a_student(loss, variables):
    teacher = NICE(steps=2, hidden=(8,))
    x = draw(4, *EVENT)
    fixed = teacher.init(jax.random.key(0), x)
    given = x if loss == "x_reconstruction" else (x,)
    function = getattr(inverse_matching, loss)

    def value(variables, fixed):
        return function(STUDENT, teacher, variables, fixed, given)[0]

    found, (own, others) = jax.jit(jax.value_and_grad(value, (0, 1)))(variables, fixed)
    assert found > 0
    assert max(np.abs(leaf).max() for leaf in jax.tree.leaves(own)) > 0
    assert all(np.all(leaf == 0) for leaf in jax.tree.leaves(others))


def test_build():
    config = ConfigDict({"name": "resnet", "args": {"hidden": 4, "blocks": 1}})
    assert build.build(config) == STUDENT
    config.args.hiden = 3
    with pytest.raises(ValueError, match=r"model.args has \['hiden'\], .*ResNet"):
        build.build(config)
    config.name = "resnets"
    with pytest.raises(ValueError, match=r"unknown model.name 'resnets'; .*resnet"):
        build.build(config)
