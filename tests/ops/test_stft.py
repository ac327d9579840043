"""STFT against scipy, numpy and signals of known power."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal

from fdnf.ops import stft
from tests import floats

X = jnp.asarray(np.random.default_rng(0).normal(size=(2, 3, 400)), jnp.float32)


@pytest.mark.parametrize("name", stft.WINDOWS)
@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize(("n_fft", "hop", "length"), [(64, 16, None), (50, 7, 31)])
def test_against_transforms_one_by_one(name, centred, n_fft, hop, length):
    found = stft.magnitude(
        X, n_fft=n_fft, hop=hop, length=length, shape=name, centred=centred
    )
    x = np.asarray(X, np.float64)
    if centred:
        side = n_fft // 2
        x = np.concatenate([x[..., side:0:-1], x, x[..., -2 : -side - 2 : -1]], -1)
    size = length or n_fft
    weights = np.zeros(n_fft)
    start = (n_fft - size) // 2
    weights[start : start + size] = scipy.signal.get_window(
        {"rectangular": "boxcar", "hann": "hann"}[name], size
    )
    k, t = np.arange(n_fft // 2 + 1)[:, None], np.arange(n_fft)
    dft = np.exp(-2j * np.pi * k * t / n_fft)
    starts = range(0, x.shape[-1] - n_fft + 1, hop)
    expected = np.stack(
        [np.abs((x[..., s : s + n_fft] * weights) @ dft.T) for s in starts], -2
    )
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=2e-5 * n_fft)


def test_a_centred_signal_shorter_than_a_frame():
    x = X[0, 0, :40]
    whole = np.concatenate([x[32:0:-1], x, x[-2:-34:-1]])
    expected = stft.magnitude(jnp.asarray(whole), n_fft=64, hop=16)
    found = stft.magnitude(x, n_fft=64, hop=16, centred=True)
    np.testing.assert_array_equal(found, expected)


def test_against_scipy():
    _, _, expected = scipy.signal.stft(
        np.asarray(X), nperseg=64, noverlap=48, boundary=None, padded=False
    )
    # scipy divides by the sum of the window, which is half its length.
    found = stft.magnitude(X, n_fft=64, hop=16)
    np.testing.assert_allclose(
        found, 32 * np.abs(np.swapaxes(expected, -1, -2)), atol=1e-4
    )


def test_a_sine_of_known_power():
    # Amplitude a at a frequency of the grid: (a n / 2)^2, rectangular; under Hann the
    # window's mean, half, comes off the amplitude.
    n, k, a = 64, 5, 3.0
    x = a * jnp.sin(2 * jnp.pi * k * jnp.arange(256) / n + 0.3)
    rectangular = stft.power(x, n_fft=n, hop=32, shape="rectangular")
    expected = np.zeros(n // 2 + 1)
    expected[k] = (a * n / 2) ** 2
    np.testing.assert_allclose(rectangular, np.tile(expected, (7, 1)), atol=0.05)
    hann = stft.power(x, n_fft=n, hop=32)
    floats.assert_close(hann[:, k], (a * n / 4) ** 2, rtol=1e-4)


def test_power_is_the_square_and_sums_to_the_energy():
    magnitude, power = (
        f(X, n_fft=64, hop=64, shape="rectangular")
        for f in (stft.magnitude, stft.power)
    )
    floats.assert_close(magnitude**2, power, rtol=1e-5)
    # Parseval; all frequencies but the first and the last stand for two.
    total = 2 * power.sum(-1) - power[..., 0] - power[..., -1]
    energy = (X[..., :384].reshape(2, 3, 6, 64) ** 2).sum(-1)
    floats.assert_close(total / 64, energy, rtol=1e-4)


def test_hann_is_periodic():
    whole = stft.window("hann", 8, 8)
    assert whole[0] == 0
    np.testing.assert_allclose(whole[1:], whole[:0:-1], atol=1e-7)
    np.testing.assert_allclose(whole + np.roll(whole, 4), 1.0, atol=1e-6)


@pytest.mark.parametrize("function", [stft.magnitude, stft.power])
def test_gradient_is_finite_at_silence_and_right_elsewhere(function):
    @jax.jit
    def loudness(x):
        return function(x, n_fft=16, hop=8).sum()

    gradient = jax.jit(jax.grad(loudness))
    silent = gradient(jnp.zeros(64))
    assert np.all(silent == 0)
    with jax.enable_x64(True):
        x = jnp.asarray(X[0, 0, :64], jnp.float64)
        slope, step = gradient(x), 1e-5
        unit = jnp.zeros(64).at[20].set(step)
        numeric = (loudness(x + unit) - loudness(x - unit)) / (2 * step)
        assert float(slope[20]) == pytest.approx(float(numeric), rel=1e-5)


def test_batches_and_jit():
    one = jax.jit(lambda x: stft.power(x, n_fft=32, hop=8))
    np.testing.assert_allclose(one(X)[1, 2], one(X[1, 2]), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"n_fft": 512}, "400 samples is too short for frames of 512"),
        ({"n_fft": 1024, "centred": True}, "centred: expected at least 513"),
        ({"n_fft": 16, "hop": 0}, "hop 0"),
        ({"n_fft": 16, "length": 17}, "window length 17: expected 1 to n_fft=16"),
        ({"n_fft": 16, "shape": "hamming"}, "'hamming'.*rectangular"),
    ],
)
def test_refusals(settings, told):
    with pytest.raises(ValueError, match=told):
        stft.power(X, **{"hop": 4, **settings})


@pytest.mark.parametrize(("n_fft", "hop", "length"), [(64, 16, None), (50, 7, 31)])
def test_inverse_undoes_the_transform(n_fft, hop, length):
    spectrum = stft.transform(X, n_fft=n_fft, hop=hop, length=length, centred=True)
    found = stft.inverse(spectrum, hop=hop, length=length, time=400)
    # The last frame's window ends somewhat before the signal does.
    end = hop * (spectrum.shape[-2] - 1) + 1
    np.testing.assert_allclose(found[..., :end], X[..., :end], atol=1e-5)
    assert stft.inverse(spectrum, hop=hop, length=length).shape[-1] == end - 1


def test_inverse_is_the_nearest_signal():
    # The gradient of the squared distance of spectra vanishes there. Frequencies
    # inside count twice, for themselves and their mirror images.
    rng = np.random.default_rng(1)
    parts = jnp.asarray(rng.normal(size=(2, 9, 17)), jnp.float32)
    spectrum = (parts[0] + 1j * parts[1]).at[:, ::16].set(parts[0, :, ::16])
    weights = jnp.asarray([1.0, *[2.0] * 15, 1.0])

    def distance(padded):
        gap = stft.transform(padded, n_fft=32, hop=8) - spectrum
        return jnp.sum(weights * (gap.real**2 + gap.imag**2))

    inner = stft.inverse(spectrum, hop=8, time=64 + 16)
    # In front, the first 16 samples are what centring would have reflected.
    front = jnp.zeros(16)
    slope = jax.jit(jax.grad(distance))(jnp.concatenate([front, inner]))
    np.testing.assert_allclose(slope[16:], 0.0, atol=2e-3)
    assert np.abs(slope[1:16]).max() > 1


def test_inverse_is_longer_than_the_frames_only_with_silence():
    spectrum = stft.transform(X[0, 0], n_fft=64, hop=16, centred=True)
    found = stft.inverse(spectrum, hop=16, time=500)
    assert found.shape == (500,)
    assert np.all(found[440:] == 0)
    for hop in (0, 64):
        with pytest.raises(
            ValueError, match=f"hop {hop}: expected 1 to n_fft - 1 = 63"
        ):
            stft.inverse(spectrum, hop=hop)


@pytest.mark.parametrize("dtype", [np.int16, np.uint8, bool])
def test_samples_that_are_whole_numbers_are_refused(dtype):
    # As an outsider calls it, whose types nobody checks.
    transform = inspect.unwrap(stft.transform)
    for run in (transform, jax.jit(transform, static_argnames=("n_fft", "hop"))):
        with pytest.raises(ValueError, match="expected floats.*x / 32768"):
            run(jnp.ones((1, 64), dtype), n_fft=16, hop=4)


def test_half_precision_is_widened():
    half = X.astype(jnp.bfloat16)
    wide = stft.magnitude(half.astype(jnp.float32), n_fft=32, hop=8)
    found = stft.magnitude(half, n_fft=32, hop=8)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, wide, rtol=1e-6, atol=1e-6)
