"""WaveNet with Gaussian samples, and the parallel vocoder of the same networks."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.flows.wavenet import GaussianWaveNet, WaveIAF
from fdnf.losses import gaussian_conditionals
from tests import laws

SIZES = dict(steps=2, layers=2, cycles=1, channels=3, front=2, hop=4, features=2)
TEACHER = GaussianWaveNet(**SIZES, upsampler_taps=8)
STUDENT = WaveIAF(**SIZES, upsampler_taps=8)
MEL_OF = dict(rate=8000, n_fft=16, high=4000.0)
FLOWS = {
    "teacher": TEACHER,
    "student": STUDENT,
    "teacher_predicting": TEACHER.clone(prediction=3, **MEL_OF),
    "student_predicting": STUDENT.clone(prediction=3, **MEL_OF),
}
ROWS, TIME, MELS = 2, 10, 3


def draw(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


X, MEL = draw(ROWS, TIME, 1), draw(ROWS, 3, MELS, seed=1)


@functools.cache
def made(name):
    return laws.drawn(FLOWS[name], X, MEL, noise=0.7)


@pytest.mark.parametrize(
    "name",
    [
        "teacher",
        pytest.param("student", marks=pytest.mark.slow),
        pytest.param("teacher_predicting", marks=pytest.mark.slow),
        "student_predicting",
    ],
)
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
    # `init` encodes.
    encoding, _ = jax.jit(TEACHER.init_with_output)(jax.random.key(0), loud, MEL)
    (z,) = encoding.z
    assert abs(np.mean(z)) < 1e-3
    assert abs(np.std(z) - 1) < 1e-3


def test_a_new_student_has_the_spread_of_the_data():
    loud = 0.02 * X + 0.3
    variables = STUDENT.init(jax.random.key(0), loud, MEL)
    assert abs(np.mean(STUDENT.apply(variables, loud, MEL).z[0])) < 0.05
    x = STUDENT.apply(variables, (X,), MEL, method="decode").x
    assert abs(np.mean(x) - np.mean(loud)) < 0.1 * np.std(loud) + 0.01
    assert 0.8 < np.std(x) / np.std(loud) < 1.25


def test_a_student_starts_from_the_teachers_upsampler():
    own, theirs = made("student"), laws.drawn(TEACHER, X, MEL, noise=0.3)
    found = STUDENT.inherit(own, theirs)
    parts = [tree["params"]["upsampler"] for tree in (found, theirs, own)]
    assert parts[0] is parts[1]
    assert np.any(parts[0]["kernel"] != parts[2]["kernel"])
    assert found["params"]["stack"] is own["params"]["stack"]
    # One of other sizes, or none, leaves it as it is.
    other = {"params": {"upsampler": jax.tree.map(lambda a: a[..., :1], parts[1])}}
    for teacher in (other, {"params": {}}):
        assert STUDENT.inherit(own, teacher) is own


@pytest.mark.parametrize("kind", ["", "_predicting"])
def test_the_conditionals_make_one_gaussian_of_all_steps(kind):
    teacher, student = f"teacher{kind}", f"student{kind}"
    whole = FLOWS[teacher].apply(made(teacher), X, MEL)
    pairs = FLOWS[teacher].apply(made(teacher), X, MEL, method="conditionals")
    mean, log_scale = gaussian_conditionals.compose(*pairs)
    np.testing.assert_allclose((X - mean) * jnp.exp(-log_scale), whole.z[0], atol=1e-4)
    np.testing.assert_allclose(-log_scale.sum((1, 2)), whole.log_det, atol=1e-4)

    back = FLOWS[student].apply(made(student), (X,), MEL, method="decode")
    pairs = FLOWS[student].apply(made(student), (X,), MEL, method="conditionals")
    mean, log_scale = gaussian_conditionals.compose(*pairs)
    laws.assert_close(mean + jnp.exp(log_scale) * X, back.x, 1e-5, "sample")
    np.testing.assert_allclose(log_scale.sum((1, 2)), back.log_det, atol=1e-4)


def test_the_divergence_of_a_teacher_and_its_inverse_is_0():
    teacher, student = (flow.clone(steps=1) for flow in (TEACHER, STUDENT))
    # A teacher of constant numbers and its inverse, drawn from by the student.
    variables = teacher.init(jax.random.key(0), 0.3 * X + 0.2, MEL)
    stack = variables["params"]["stack"]["parts_0"]
    flat = {k: jnp.zeros_like(v) for k, v in stack["net"].items() if k != "last_bias"}
    net = stack["net"] | flat
    its = {"upsampler": variables["params"]["upsampler"]}
    theirs = {"params": its | {"stack": {"parts_0": {"net": net}}}}
    log_unit = variables["constants"]["stack"]["parts_0"]["log_unit"]
    theirs["constants"] = variables["constants"]
    shift, raw = net["last_bias"]
    s = 7 * jnp.tanh(raw / 7)
    inverse = jnp.stack([-shift * jnp.exp(-s), 7 * jnp.arctanh(-(s + log_unit) / 7)])
    ours = {"net": net | {"last_bias": inverse}}
    ours = {"params": its | {"stack": {"parts_0": {"bijector": ours}}}}
    of_noise = {"bijector": {"log_unit": jnp.zeros(())}}
    ours["constants"] = {"stack": {"parts_0": of_noise}}
    x = student.apply(ours, (X,), MEL, method="decode").x
    np.testing.assert_allclose(
        x, teacher.apply(theirs, (X,), MEL, method="decode").x, atol=1e-5
    )
    q = gaussian_conditionals.compose(
        *student.apply(ours, (X,), MEL, method="conditionals")
    )
    p = gaussian_conditionals.compose(
        *teacher.apply(theirs, x, MEL, method="conditionals")
    )
    loss, _ = gaussian_conditionals.regularized_kl(*q, *p)
    assert abs(loss) < 1e-6


def test_the_mel_may_come_upsampled():
    variables = made("teacher")
    flow = TEACHER.clone(upsampled=True)
    fine = TEACHER.apply(variables, MEL, TIME, method="upsample")
    assert fine.shape == (ROWS, TIME, 2)
    whole = TEACHER.apply(variables, X, MEL).log_det
    np.testing.assert_allclose(flow.apply(variables, X, fine).log_det, whole, atol=1e-6)
    scaled = TEACHER.clone(centre=-6.0, spread=2.5)
    found = scaled.apply(variables, 2.5 * MEL - 6.0, TIME, method="upsample")
    np.testing.assert_allclose(found, fine, atol=1e-5)
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
