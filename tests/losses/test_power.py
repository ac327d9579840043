"""The power loss: what it hears and what it does not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.losses.spectra import power

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
