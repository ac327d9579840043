"""The injector moves all channels by the condition alone; the laws do the rest."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.bijectors.coupling import AffineInjector
from fdnf.nets.conv import ConvBlock
from tests import floats, laws

INJECTOR = AffineInjector(ConvBlock(4), floor=1e-4)


def draw(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


X, COND = draw(2, 4, 4, 3), draw(2, 4, 4, 5, seed=1)


def made(noise):
    return laws.perturb(INJECTOR.init(jax.random.key(0), X, COND), noise)


def test_every_channel_is_affine_in_itself():
    variables = made(0.5)

    def forward(x):
        return INJECTOR.apply(variables, x, COND)

    (zero, log_det), (one, _) = forward(jnp.zeros_like(X)), forward(jnp.ones_like(X))
    y, other = forward(X)
    scale = one - zero
    np.testing.assert_allclose(y, zero + X * scale, atol=1e-5)
    assert np.ptp(scale, axis=(0, 1, 2)).min() > 1e-3
    np.testing.assert_array_equal(log_det, other)
    floats.assert_close(log_det, np.log(scale).sum(axis=(1, 2, 3)), rtol=1e-3)


def test_scales_are_bounded_however_large_the_condition():
    variables = made(50.0)
    for sign in (-1e6, 1e6):
        y, log_det = INJECTOR.apply(variables, X, sign * COND)
        assert np.all(np.isfinite(y))
        assert np.all(log_det <= 0.0)
        assert np.all(log_det >= 48 * np.log(1e-4) * 1.0001)
        back, _ = INJECTOR.apply(variables, X, sign * COND, method="inverse")
        assert np.all(np.isfinite(back))


@pytest.mark.parametrize("cond", [None, draw(2, 3, 4, 5)])
def test_other_conditions_are_refused(cond):
    with pytest.raises(ValueError, match="equal shape but for the channels"):
        INJECTOR.init(jax.random.key(0), X, cond)
