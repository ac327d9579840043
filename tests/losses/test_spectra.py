"""Losses of sounds: the STFT loss against auraloss, the power loss by what it hears."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.losses import spectra
from fdnf.losses.spectra import power
from tests import floats
from tests.losses.golden import make_stft

GOLDEN = np.load(pathlib.Path(__file__).parent / "golden" / "stft.npz")
X, Y = (jnp.asarray(sound) for sound in make_stft.sounds())
SMALL = (spectra.Resolution(64, 16, 48), spectra.Resolution(32, 8, 32))


def test_the_published_resolutions():
    assert spectra.RESOLUTIONS == make_stft.RESOLUTIONS
    assert spectra.FLOOR == make_stft.FLOOR


@pytest.mark.parametrize("resolution", spectra.RESOLUTIONS)
def test_one_resolution_equals_auraloss(resolution):
    found = spectra.multi_resolution_stft(X, Y, (resolution,))
    expected = [GOLDEN[f"{name}_{resolution.n_fft}"] for name in ("sc", "mag")]
    floats.assert_close(found, expected, rtol=2e-5)


def test_the_sum_equals_auraloss():
    found = spectra.multi_resolution_stft(X, Y)
    assert float(sum(found)) == pytest.approx(float(GOLDEN["multi_resolution"]), 2e-5)


def test_resolutions_are_averaged_and_channels_stand_for_themselves():
    parts = [spectra.multi_resolution_stft(X, Y, (r,)) for r in SMALL]
    found = spectra.multi_resolution_stft(X, Y, SMALL)
    floats.assert_close(found, np.mean(parts, axis=0), rtol=1e-5)
    channels = spectra.multi_resolution_stft(X[..., None], Y[..., None], SMALL)
    floats.assert_close(found, channels, rtol=1e-5)


def test_the_norm_is_over_the_whole_batch():
    loud = jnp.asarray([[100.0], [1.0]])
    both, _ = spectra.multi_resolution_stft(loud * X, loud * Y, SMALL)
    first, _ = spectra.multi_resolution_stft(X[:1], Y[:1], SMALL)
    assert float(both) == pytest.approx(float(first), rel=1e-2)


def test_gradient_at_silence_and_at_the_target():
    @jax.jit
    def slope(x, y):
        return jax.grad(lambda x: sum(spectra.multi_resolution_stft(x, y, SMALL)))(x)

    for x, y in ((0 * X, Y), (0 * X, 0 * Y), (Y, Y)):
        assert np.all(np.isfinite(slope(x, y)))
    # A step against it brings the sounds nearer.
    before = sum(spectra.multi_resolution_stft(X, Y, SMALL))
    after = sum(spectra.multi_resolution_stft(X - 0.05 * slope(X, Y), Y, SMALL))
    assert after < before


def test_refusals():
    with pytest.raises(ValueError, match="no resolutions"):
        spectra.multi_resolution_stft(X, Y, ())
    with pytest.raises(ValueError, match="expected equal"):
        spectra.multi_resolution_stft(X, Y[:1], SMALL)
    with pytest.raises(ValueError, match="1000 samples .* at least 1025"):
        spectra.multi_resolution_stft(X[:, :1000], Y[:, :1000])


N, K = 64, 5
SETTINGS = {"n_fft": N, "hop": 16}


def sine(amplitude=1.0, phase=0.0, frequency=K, time=256):
    t = jnp.arange(time)
    x = amplitude * jnp.sin(2 * jnp.pi * frequency * t / N + phase)
    return jnp.stack([x, 2 * x])


NOISE = jax.random.normal(jax.random.key(0), (2, 256))


@pytest.mark.parametrize("average", [False, True])
def test_zero_at_equality_and_never_below(average):
    same, aux = power(NOISE, NOISE, **SETTINGS, average=average)
    assert float(same) == pytest.approx(0.0, abs=1e-6)
    assert set(aux.terms) == {"power"}
    other, _ = power(NOISE, sine(), **SETTINGS, average=average)
    assert float(other) > 1.0


def test_phase_is_not_heard_and_frequency_is():
    scale = float(power(sine(), jnp.zeros_like(sine()), **SETTINGS)[0])
    shifted = float(power(sine(phase=1.3), sine(), **SETTINGS)[0])
    higher = float(power(sine(frequency=K + 4), sine(), **SETTINGS)[0])
    assert shifted < 1e-6 * scale
    assert higher == pytest.approx(2 * scale, rel=1e-3)


def test_sines_of_known_power():
    # (a n / 2)^2 at one frequency, under a rectangular window.
    a, b = 3.0, 2.0
    loss, _ = power(sine(a), sine(b), **SETTINGS, window="rectangular")
    gaps = [(N / 2) ** 2 * s**2 * (a**2 - b**2) for s in (1, 2)]
    assert float(loss) == pytest.approx(np.mean(np.square(gaps)), rel=1e-4)


def test_averaged_frames_do_not_hear_when():
    late = jnp.concatenate([jnp.zeros((2, 256)), sine()], axis=1)
    early = jnp.concatenate([sine(), jnp.zeros((2, 256))], axis=1)
    settings = {"n_fft": N, "hop": N, "window": "rectangular"}
    averaged, _ = power(late, early, **settings)
    apart, aux = power(late, early, **settings, average=False)
    assert float(averaged) < 1e-6 * float(apart)
    assert aux.student.shape == (2, 8, N // 2 + 1)


def test_averaged_sounds_of_unlike_length():
    loss, _ = power(sine(time=512), sine(), **SETTINGS)
    assert float(loss) < 1e-3
    with pytest.raises(ValueError, match="equal lengths"):
        power(sine(time=512), sine(), **SETTINGS, average=False)


def test_channels_count_each_on_its_own():
    pair = jnp.stack([NOISE, sine()], axis=-1)
    target = jnp.stack([sine(), NOISE], axis=-1)
    both, _ = power(pair, target, **SETTINGS)
    one, _ = power(NOISE, sine(), **SETTINGS)
    assert float(both) == pytest.approx(2 * float(one), rel=1e-5)
    with pytest.raises(ValueError, match="batch and channels"):
        power(pair, NOISE, **SETTINGS)


def test_gradient_is_finite_at_silence_and_not_the_references():
    slope = jax.grad(lambda g, y: power(g, y, **SETTINGS)[0], argnums=(0, 1))
    silent, _ = slope(jnp.zeros_like(NOISE), NOISE)
    assert np.all(np.isfinite(silent))
    moved, held = slope(NOISE, sine())
    assert np.abs(moved).max() > 0
    assert np.all(np.isfinite(moved))
    assert np.all(held == 0)


def test_magnitudes_of_sines():
    # a n / 2 at one of n / 2 + 1 frequencies under no window; Hann's has a quarter of
    # that a bin to either side, and half in the middle.
    a, b = 3.0, 2.0
    one = spectra.Resolution(N, N, N)
    # Frames that reach over the ends reflect cosines onto themselves.
    x, y = (sine(s, phase=np.pi / 2, time=257) for s in (a, b))
    found = spectra.magnitude(x, y, (one,))
    gaps = [(N / 2 * s * (a - b)) ** 2 for s in (1, 2)]
    expected = np.mean(gaps) * (0.25 + 2 * 0.0625) / (N // 2 + 1)
    assert float(found) == pytest.approx(expected, rel=1e-3)
    assert float(spectra.magnitude(x, x, (one,))) < 1e-12
    twice = spectra.magnitude(x, y, (one, one))
    floats.assert_close(twice, found, rtol=1e-6)
    other = spectra.magnitude(x, y, (*SMALL, one))
    parts = [spectra.magnitude(x, y, (each,)) for each in (*SMALL, one)]
    floats.assert_close(other, np.mean(parts), rtol=1e-6)


@pytest.mark.parametrize("kind", spectra.KINDS)
def test_what_is_added_to_a_loss(kind):
    def found(g, y):
        return spectra.compare(kind, g, y, SMALL)

    assert float(found(NOISE, NOISE)) == pytest.approx(0.0, abs=1e-5)
    expected = {
        "stft": lambda: sum(spectra.multi_resolution_stft(NOISE, sine(), SMALL)),
        "magnitude": lambda: spectra.magnitude(NOISE, sine(), SMALL),
        # In units of the reference: silence is at 1, and loudness does not count.
        "power": lambda: found(10 * NOISE, 10 * sine()),
    }
    floats.assert_close(found(NOISE, sine()), expected[kind](), rtol=1e-4)
    if kind == "power":
        assert float(found(0 * NOISE, sine())) == pytest.approx(1.0, rel=1e-4)
    moved, held = jax.grad(found, argnums=(0, 1))(NOISE, sine())
    assert np.abs(moved).max() > 0
    assert np.abs(held).max() == 0
    # Of either kind a step against the slope brings the sounds nearer.
    step = 1e-3 * moved / np.abs(moved).max()
    assert found(NOISE - step, sine()) < found(NOISE, sine())
    silent = jax.grad(found)(0 * NOISE, sine())
    assert np.all(np.isfinite(silent))


def test_what_no_spectra_are_compared_by():
    with pytest.raises(ValueError, match="unknown loss of spectra 'mel'; known: "):
        spectra.compare("mel", X, Y)
    with pytest.raises(ValueError, match="expected equal"):
        spectra.compare("magnitude", X, Y[:, :-1])
    with pytest.raises(ValueError, match="no resolutions"):
        spectra.magnitude(X, Y, ())
    for kind in spectra.KINDS:
        with pytest.raises(ValueError, match="no resolutions"):
            spectra.compare(kind, X, Y, ())
