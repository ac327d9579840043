"""WaveGlow's two layers against their formulas; `test_laws` has the laws."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.bijectors.coupling import WaveCoupling
from fdnf.bijectors.invertible_conv import RotationConv
from tests import floats


class Given(nn.Module):
    """b = x1 + cond, log_s as it is given."""

    log_s: float

    @nn.compact
    def __call__(self, x1, features, cond=None):
        b = jnp.broadcast_to(x1 + (0.0 if cond is None else cond), (*x1.shape[:2], 2))
        return jnp.concatenate([b, jnp.full_like(b, self.log_s)], axis=-1)


X = jnp.asarray(np.random.default_rng(0).normal(size=(2, 5, 3)), jnp.float32)
COND = jnp.full((2, 5, 1), 2.0)


def test_shift_comes_after_scale():
    y, log_det = WaveCoupling(Given(0.5)).apply({}, X, COND)
    log_s = 7.0 * np.tanh(0.5 / 7.0)
    np.testing.assert_array_equal(y[..., :1], X[..., :1])
    expected = np.exp(log_s) * X[..., 1:] + X[..., :1] + 2.0
    floats.assert_close(y[..., 1:], expected, rtol=1e-5)
    floats.assert_close(log_det, np.full(2, 5 * 2 * log_s), rtol=1e-6)


@pytest.mark.parametrize("log_s", [-1e6, 1e6])
def test_scales_stay_bounded(log_s):
    coupling = WaveCoupling(Given(log_s))
    for method in ("forward", "inverse"):
        y, log_det = coupling.apply({}, X, COND, method=method)
        assert np.isfinite(y).all()
        floats.assert_close(np.abs(log_det), 70.0, rtol=1e-5)


def test_one_channel_is_refused():
    with pytest.raises(ValueError, match="needs at least 2"):
        WaveCoupling(Given(0.0)).apply({}, X[..., :1])


def test_rotations_start_proper():
    for seed in range(6):
        made = RotationConv().init(jax.random.key(seed), X)
        weight = np.asarray(made["params"]["weight"], np.float64)
        np.testing.assert_allclose(weight @ weight.T, np.eye(3), atol=1e-6)
        assert np.linalg.det(weight) == pytest.approx(1.0, abs=1e-6)
