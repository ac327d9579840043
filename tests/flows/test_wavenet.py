"""WaveNet with Gaussian samples, and the parallel vocoder of the same networks."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.flows.wavenet import GaussianWaveNet, WaveIAF
from tests import laws

SIZES = dict(steps=2, layers=2, cycles=1, channels=3, front=2, hop=4, features=2)
TEACHER = GaussianWaveNet(**SIZES, upsampler_taps=8)
STUDENT = WaveIAF(**SIZES, upsampler_taps=8)
FLOWS = {"teacher": TEACHER, "student": STUDENT}
ROWS, TIME, MELS = 2, 10, 3


def draw(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


X, MEL = draw(ROWS, TIME, 1), draw(ROWS, 3, MELS, seed=1)


@functools.cache
def made(name):
    return laws.drawn(FLOWS[name], X, MEL, noise=0.7)


@pytest.mark.parametrize("name", FLOWS)
@pytest.mark.usefixtures("x64")
def test_the_order_is_that_of_time_under_a_mel(name):
    flow = FLOWS[name]
    variables, x, mel = laws.cast((made(name), X, MEL), np.float64)

    @jax.jit
    def run(variables, x, mel):
        def encode(x, mel):
            found = flow.apply(variables, x[None], mel[None])
            return found.z[0][0, :, 0], (found.z, found.log_det)

        jacobian = jax.jacfwd(encode, has_aux=True)
        slopes, (z, log_det) = jax.vmap(jacobian)(x, mel)
        z = tuple(part[:, 0] for part in z)
        back = flow.apply(variables, z, mel, method="decode")
        return slopes[..., 0], log_det[:, 0], back

    slopes, log_det, back = jax.device_get(run(variables, x, mel))
    np.testing.assert_allclose(back.x, x, atol=1e-11)
    np.testing.assert_allclose(back.log_det, -log_det, atol=1e-11)
    assert np.abs(np.triu(slopes, 1)).max() == 0
    assert (np.abs(slopes[0][np.tril_indices(TIME)]) > 0).mean() > 0.5
    np.testing.assert_allclose(np.linalg.slogdet(slopes)[1], log_det, atol=1e-11)


def test_a_new_teacher_has_latents_of_its_prior():
    loud = 0.02 * X + 0.3
    variables = TEACHER.init(jax.random.key(0), loud, MEL)
    (z,) = TEACHER.apply(variables, loud, MEL).z
    assert abs(np.mean(z)) < 1e-3
    assert abs(np.std(z) - 1) < 1e-3


def test_the_mel_may_come_upsampled():
    variables = made("teacher")
    flow = TEACHER.clone(upsampled=True)
    fine = TEACHER.apply(variables, MEL, TIME, method="upsample")
    assert fine.shape == (ROWS, TIME, 2)
    whole = TEACHER.apply(variables, X, MEL).log_det
    np.testing.assert_allclose(flow.apply(variables, X, fine).log_det, whole, atol=1e-6)
    other = TEACHER.apply(variables, X, MEL + 1.0).log_det
    assert np.abs(other - whole).min() > 1e-3


def test_what_does_not_fit_is_refused():
    variables = made("teacher")
    with pytest.raises(ValueError, match=r"expected a waveform \(time, 1\)"):
        TEACHER.latent_shapes((TIME, 2))
    with pytest.raises(ValueError, match=r"expected \[batch, any, 1\]"):
        TEACHER.apply(variables, jnp.zeros((ROWS, TIME, 2)), MEL)
    with pytest.raises(ValueError, match="2 frames of 4 samples for 10 samples"):
        TEACHER.apply(variables, X, MEL[:, :2])
    with pytest.raises(ValueError, match="condition"):
        TEACHER.apply(variables, X)
    with pytest.raises(ValueError, match="steps=0: expected at least 1"):
        jax.eval_shape(TEACHER.clone(steps=0).init, jax.random.key(0), X, MEL)
