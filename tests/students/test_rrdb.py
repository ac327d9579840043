"""The encoder as a network of its own, and its weights in a flow."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from fdnf.nets import rrdb
from fdnf.students import build
from fdnf.students.rrdb import RRDBNet
from tests import laws

SIZES = {"features": 4, "blocks": 2, "growth": 2, "rdbs": 1, "convs": 1}
NET = RRDBNet(**SIZES)


def draw(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).uniform(size=shape), jnp.float32)


def test_it_is_the_encoders_image():
    # Odd sides are no obstacle where nothing is halved.
    cond = draw(2, 5, 4, 3)
    variables = laws.drawn(NET, (), cond)
    x = jax.jit(NET.apply)(variables, (), cond)
    assert x.shape == (2, 20, 16, 3)
    encoder = rrdb.Encoder(4, **SIZES, taps=(1,))
    own = {"params": variables["params"]["encoder"]}
    again = jax.jit(encoder.apply)(own, cond).image
    np.testing.assert_allclose(again, x, atol=1e-6)


def test_there_is_nothing_to_draw():
    cond = draw(2, 4, 4, 3)
    variables = laws.drawn(NET, (), cond)
    assert NET.latent_shapes((16, 16, 3)) == ()
    assert NET.draw(jax.random.key(0), (2, 16, 16, 3)) == ()
    args = (jax.random.key(0), (2, 16, 16, 3), 1.0, cond)
    sampled = NET.apply(variables, *args, method="sample")
    decoded = NET.apply(variables, (), cond, method="decode")
    np.testing.assert_array_equal(sampled, decoded.x)
    assert decoded.log_det is None


def test_other_arguments_are_refused():
    cond = draw(2, 4, 4, 3)
    with pytest.raises(ValueError, match="1 latents: RRDBNet takes none"):
        NET.init(jax.random.key(0), (cond,), cond)
    with pytest.raises(ValueError, match="a condition of None"):
        NET.init(jax.random.key(0), ())


def test_a_config_names_it():
    config = ConfigDict({"name": "rrdb", "args": SIZES})
    assert build.build(config) == NET
