"""Sound from mel features without a model: the row that a vocoder has to beat.

First magnitudes whose mel features are those given, then phases with which these
magnitudes are those of a sound (nearly: most are of none), by going back and forth
between sound and spectrum.

References: Griffin and Lim (1984), "Signal estimation from modified short-time Fourier
transform"; Perraudin et al. (2013), "A fast Griffin-Lim algorithm", algorithm 2.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from fdnf.ops import mel, stft

LogMel = Float[Array, "batch frames mels"]
Sound = Float[Array, "batch time"]
Magnitude = Float[Array, "batch frames frequencies"]

MOMENTUM = 0.99


@functools.partial(jax.jit, static_argnames=("settings", "time", "iterations"))
def griffin_lim(
    log_mel: LogMel,
    key: PRNGKeyArray,
    settings: mel.Settings = mel.DEFAULT,
    *,
    time: int | None = None,
    iterations: int = 32,
) -> Sound:
    """Sound of log-mel features.

    Args:
      log_mel: features, of `mel.log_mel`.
      key: randomness of the first phases.
      settings: of the features; static.
      time: samples wanted; hop times one less than the frames by default.
      iterations: of the search for phases.

    Returns:
      Sound about as loud as what the features are of; it may overshoot [-1, 1].

    Raises:
      ValueError: for another number of mels than the settings', a negative number of
        iterations, or frames that span no more than half a transform.
    """
    if log_mel.shape[-1] != settings.mels:
        raise ValueError(
            f"features of {log_mel.shape[-1]} mels, settings of {settings.mels}:"
            " expected equal"
        )
    if iterations < 0:
        raise ValueError(f"{iterations} iterations: expected at least 0")
    magnitude = magnitudes(log_mel, settings)
    phase = jax.random.uniform(key, magnitude.shape, maxval=2 * jnp.pi)
    inside = settings.hop * (log_mel.shape[1] - 1)
    sound = functools.partial(stft.inverse, hop=settings.hop, length=settings.window)

    def step(_, state):
        spectrum, before = state
        x = sound(magnitude * _direction(spectrum), time=inside)
        found = stft.transform(
            x,
            n_fft=settings.n_fft,
            hop=settings.hop,
            length=settings.window,
            centred=True,
        )
        return found + MOMENTUM * (found - before), found

    start = magnitude * jnp.exp(1j * phase)
    state = (start, jnp.zeros_like(start))
    spectrum, _ = jax.lax.fori_loop(0, iterations, step, state)
    return sound(magnitude * _direction(spectrum), time=time)


def magnitudes(log_mel: LogMel, settings: mel.Settings, steps: int = 50) -> Magnitude:
    """Magnitudes that are not negative, with these mel features in least squares.

    The clipped pseudo-inverse, then multiplicative updates m <- m F'y / F'Fm, none of
    which makes the squared error larger.

    Args:
      log_mel: features, of `mel.log_mel`.
      settings: of the features; static.
      steps: updates.

    Reference: Lee and Seung (2001), "Algorithms for non-negative matrix
    factorization", theorem 1.
    """
    filters = mel.filterbank(settings)
    solve = jnp.asarray(np.linalg.pinv(filters).T, log_mel.dtype)
    filters = jnp.asarray(filters, log_mel.dtype)
    matmul = functools.partial(jnp.matmul, precision="highest")
    y = jnp.exp(log_mel)
    # A magnitude at 0 stays there, and 0 / 0 is no number.
    least = jnp.asarray(1e-10, y.dtype)
    wanted = matmul(y, filters)

    def step(_, m):
        now = matmul(matmul(m, filters.T), filters)
        return m * wanted / jnp.maximum(now, least)

    start = jnp.maximum(matmul(y, solve), settings.floor)
    return jax.lax.fori_loop(0, steps, step, start)


def _direction(spectrum: Array) -> Array:
    """e^(i phase); 1 where there is none."""
    size = jnp.abs(spectrum)
    tiny = size < 1e-12
    return jnp.where(tiny, 1.0, spectrum / jnp.where(tiny, 1.0, size))
