"""Multi-resolution STFT loss: sounds compared by the magnitude of their spectra."""

import functools

import jax
import jax.numpy as jnp

from fdnf.ops import entering, spectral_distance
from fdnf.ops.spectral_distance import FLOOR, RESOLUTIONS, Resolution
from fdnf.types import Given, Scalar


@functools.partial(jax.jit, static_argnames=("resolutions", "floor"))
def multi_resolution_stft(
    x: Given,
    y: Given,
    resolutions: tuple[Resolution, ...] = RESOLUTIONS,
    floor: float = FLOOR,
) -> tuple[Scalar, Scalar]:
    """Spectral convergence and log magnitude distance, averaged over resolutions.

    SC = || |Y| - |X| ||_F / || |Y| ||_F,  MAG = mean | log |Y| - log |X| |

    The Frobenius norms are over the whole batch, so that loud sounds weigh more; both
    averages over the resolutions as the authors' code has them, of what the paper
    writes as a sum. The loss of the paper is SC + MAG.

    Args:
      x: sounds to judge, of the student; `[batch, time]`, or with channels.
      y: sounds to reach, of the teacher.
      resolutions: tuple of `Resolution(n_fft, hop, length)`; the published three need
        more than 1024 samples.
      floor: least squared magnitude.

    Returns:
      SC and MAG, without unit. The gradient goes into both sounds.

    Raises:
      ValueError: for no resolution, shapes that differ, or sounds too short.

    Reference: Baranchuk et al. (2021), "Distilling the knowledge from conditional
    normalizing flows", section 2.2; Yamamoto et al. (2020), eq. 4 to 6.
    """
    if not resolutions:
        raise ValueError("no resolutions: expected at least one")
    x, y = (jnp.moveaxis(entering.real(sound), 1, -1) for sound in (x, y))
    found = [
        spectral_distance.spectral_distances(x, y, Resolution(*r), floor)
        for r in resolutions
    ]
    convergence, log_magnitude = jnp.mean(jnp.asarray(found), axis=0)
    return convergence, log_magnitude
