"""Linear prediction from a log-mel against scipy, and as a bijector."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
import scipy.signal

from fdnf.bijectors import LinearPrediction
from fdnf.flows.waveglow import WaveGlow
from fdnf.ops import linear_prediction, mel
from tests import laws

RATE, N_FFT, HOP, HIGH = 8_000, 64, 16, 4_000.0
SETTINGS = mel.Settings(
    rate=RATE, n_fft=N_FFT, hop=HOP, window=N_FFT, mels=12, high=HIGH
)
ROWS, TIME = 2, 75


def given(dtype=jnp.float32):
    """A waveform of 75 samples and the mels of its frames, with a silent one."""
    draw = np.random.default_rng(0)
    x = 0.1 * draw.normal(size=(ROWS, TIME, 1))
    mels = draw.normal(-5, 1.5, size=(ROWS, 6, SETTINGS.mels))
    mels[0, 2] = np.log(SETTINGS.floor)
    return jnp.asarray(x, dtype), jnp.asarray(mels, dtype)


@pytest.mark.parametrize("order", [pytest.param(1, marks=pytest.mark.slow), 7, 40])
@pytest.mark.usefixtures("x64")
def test_it_is_triangular_in_time_and_goes_back(order):
    module = LinearPrediction(order, SETTINGS)
    x, mels = given(jnp.float64)

    @jax.jit
    def run(x, mels):
        def forward(x, mels):
            e, log_det = module.apply({}, x[None], mels[None])
            return e[0, :, 0], (e[0], log_det[0])

        slopes, found = jax.vmap(jax.jacfwd(forward, has_aux=True))(x, mels)
        return slopes[..., 0], found, module.apply({}, found[0], mels, method="inverse")

    slopes, (e, log_det), (back, change) = jax.device_get(run(x, mels))
    assert np.abs(np.triu(slopes, 1)).max() == 0
    assert np.abs(np.tril(slopes, -order - 1)).max() == 0
    assert np.abs(np.diagonal(slopes, -order, 1, 2)).min() > 0
    np.testing.assert_allclose(np.linalg.slogdet(slopes)[1], log_det, atol=1e-9)
    np.testing.assert_allclose(change, -log_det, atol=1e-9)
    np.testing.assert_allclose(back, x, atol=1e-9)
    means, log_gains = module.apply({}, x, mels, method="conditionals")
    np.testing.assert_allclose((x - means) * jnp.exp(-log_gains), e, atol=1e-9)


def test_single_precision_goes_back_too():
    x, mels = given()
    module = LinearPrediction(24, SETTINGS)
    e, log_det = jax.jit(module.apply)({}, x, mels)
    back, change = module.apply({}, e, mels, method="inverse")
    laws.assert_close(back, x, 1e-4, "back")
    np.testing.assert_allclose(change, -log_det, atol=1e-3)


@pytest.mark.usefixtures("x64")
def test_the_taps_are_those_of_the_normal_equations():
    _, mels = given(jnp.float64)
    order = 9
    found = linear_prediction.predictors(mels, order, SETTINGS)
    filters = mel.filterbank(SETTINGS)
    areas, bins = filters.sum(1), np.arange(N_FFT // 2 + 1)
    centres = (filters * bins).sum(1) / areas
    for log_mel, taps, log_gain in zip(
        np.asarray(mels[0], np.float64), found.taps[0], found.log_gain[0], strict=True
    ):
        log_size = np.interp(bins, centres, log_mel - np.log(areas))
        window = np.sin(np.pi * np.arange(N_FFT) / N_FFT) ** 2
        density = np.exp(2 * log_size) / np.sum(window**2)
        lags = np.fft.irfft(density)[: order + 1]
        lags *= np.exp(-0.5 * (2 * np.pi * 20 / RATE * np.arange(order + 1)) ** 2)
        lags[0] = lags[0] * (1 + 1e-4) + 1e-9
        expected = scipy.linalg.solve_toeplitz(lags[:-1], lags[1:])
        np.testing.assert_allclose(taps, expected, atol=1e-8)
        power = lags[0] - expected @ lags[1:]
        np.testing.assert_allclose(log_gain, 0.5 * np.log(power), atol=1e-8)


@pytest.mark.usefixtures("x64")
def test_a_constant_mel_is_one_filter():
    _, mels = given(jnp.float64)
    order = 7
    module = LinearPrediction(order, SETTINGS)
    mels = jnp.repeat(mels[:, :1], 6, axis=1)
    e = jnp.asarray(np.random.default_rng(3).normal(size=(ROWS, TIME, 1)))
    x, _ = module.apply({}, e, mels, method="inverse")
    filters = linear_prediction.predictors(mels[:, :1], order, SETTINGS)
    for row in range(ROWS):
        taps = np.asarray(filters.taps[row, 0], np.float64)
        gain = np.exp(filters.log_gain[row, 0])
        expected = scipy.signal.lfilter([gain], [1, *-taps], e[row, :, 0])
        np.testing.assert_allclose(x[row, :, 0], expected, atol=1e-9)


@pytest.mark.parametrize("loudness", [1e-3, pytest.param(0.1, marks=pytest.mark.slow)])
def test_what_is_left_of_a_resonance_is_white_and_of_variance_one(loudness):
    poles = 0.9 * np.exp(2j * np.pi * np.asarray([500, -500, 1500, -1500]) / RATE)
    noise = np.random.default_rng(0).normal(size=8_000)
    x = scipy.signal.lfilter([1.0], np.poly(poles).real, noise)
    x = jnp.asarray(loudness * x / np.std(x), jnp.float32)
    settings = dataclasses.replace(SETTINGS, n_fft=256, window=256, mels=40, hop=64)
    log_mel = mel.log_mel(x[None], settings)
    module = LinearPrediction(8, settings)
    e, _ = module.apply({}, x[None, :, None], log_mel)

    def flatness(sound):
        """Geometric over arithmetic mean of the spectrum, 1 of white noise."""
        power = scipy.signal.welch(sound, nperseg=128)[1][2:-2]
        return np.exp(np.mean(np.log(power))) / np.mean(power)

    assert flatness(np.asarray(x)) < 0.3
    assert flatness(np.asarray(e[0, :, 0])) > 0.85
    assert 0.8 < np.std(e) < 1.25


@pytest.mark.parametrize("level", [-40.0, np.log(1e-5), 0.0, 40.0])
def test_silence_and_thunder_have_filters(level):
    mels = jnp.full((1, 2, SETTINGS.mels), level).at[0, 1, 3].add(20.0)
    found = linear_prediction.predictors(mels, 16, SETTINGS)
    assert np.isfinite(found.taps).all()
    assert np.isfinite(found.log_gain).all()
    roots = [np.abs(np.roots([1, *-taps])).max() for taps in np.asarray(found.taps[0])]
    assert max(roots) < 1


def test_a_flow_of_the_excitation_is_one_of_the_waveform():
    """Of the same weights, one that predicts and one that does not."""
    sizes = dict(flows=1, early_every=1, group=4, layers=1, channels=3, features=2)
    plain = WaveGlow(**sizes, early_size=2, hop=HOP, upsampler_taps=2 * HOP)
    flow = plain.clone(prediction=7, rate=RATE, n_fft=N_FFT, high=HIGH)
    x, mels = given()
    x = x[:, :72]
    module = LinearPrediction(7, SETTINGS)
    variables = laws.drawn(plain, x, mels, noise=0.3)

    @jax.jit
    def run(variables, x):
        e, log_det = module.apply({}, x, mels)
        whole, inner = (f.apply(variables, s, mels) for f, s in ((flow, x), (plain, e)))
        back = flow.apply(variables, whole.z, mels, method="decode")
        return log_det, whole, inner, back

    log_det, whole, inner, back = run(variables, x)
    laws.assert_close(whole.z, inner.z, 1e-6, "latents")
    laws.assert_close(whole.log_det, inner.log_det + log_det, 1e-5, "density")
    laws.assert_close(back.x, x, 1e-4, "back")
    laws.assert_close(back.log_det, -whole.log_det, 1e-4, "density back")
    with pytest.raises(ValueError, match="predictors are made of the mel"):
        flow.clone(upsampled=True).apply(variables, x, mels)


def test_what_does_not_fit_is_refused():
    x, mels = given()
    module = LinearPrediction(7, SETTINGS)
    with pytest.raises(ValueError, match=r"expected \[batch, time, 1\]"):
        module.apply({}, jnp.repeat(x, 2, -1), mels)
    with pytest.raises(ValueError, match="condition of shape None: expected the log-"):
        module.apply({}, x)
    with pytest.raises(ValueError, match="4 frames of 16 samples for 75 samples"):
        module.apply({}, x, mels[:, :4])
    for order in (0, 64):
        with pytest.raises(ValueError, match="expected 1 to 63"):
            linear_prediction.predictors(mels, order, SETTINGS)
