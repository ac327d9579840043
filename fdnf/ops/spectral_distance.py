"""How far two sounds are apart in the magnitude of their spectra.

References: Arik et al. (2018), "Fast spectrogram inversion using multi-head
convolutional neural networks", section 3; Yamamoto et al. (2020), "Parallel WaveGAN",
eq. 4 to 6.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from fdnf.ops import stft


class Resolution(NamedTuple):
    """Of a transform, in samples.

    Attributes:
      n_fft: of a transform.
      hop: from one frame to the next.
      length: of the Hann window.
    """

    n_fft: int
    hop: int
    length: int


RESOLUTIONS = (
    Resolution(1024, 120, 600),
    Resolution(2048, 240, 1200),
    Resolution(512, 50, 240),
)
# Of the squared magnitude; its logarithm is the score of silence.
FLOOR = 1e-7

Sound = Float[Array, "*batch time"]
Target = Float[Array, "*others length"]


def spectral_distances(
    x: Sound,
    y: Target,
    resolution: Resolution,
    floor: float = FLOOR,
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Spectral convergence and log magnitude distance of `x` from `y`.

    SC = || |Y| - |X| ||_F / || |Y| ||_F,  MAG = mean | log |Y| - log |X| |

    with |X| = sqrt(max(|STFT(x)|^2, floor)), centred frames. Norm and mean are over
    all axes: give one sound to get one sound's distances.

    Args:
      x: sounds to judge.
      y: sounds to reach; the same shape.
      resolution: of the transform.
      floor: least squared magnitude.

    Returns:
      Both distances, without unit. Their gradients are finite everywhere, silence and
      x = y included.

    Raises:
      ValueError: for shapes that differ, or sounds of n_fft / 2 samples or fewer.
    """
    if x.shape != y.shape:
        raise ValueError(f"sounds of shapes {x.shape} and {y.shape}: expected equal")
    ours, theirs = (_magnitude(sound, resolution, floor) for sound in (x, y))
    log_gap = jnp.mean(jnp.abs(jnp.log(theirs) - jnp.log(ours)))
    return _norm(theirs - ours) / _norm(theirs), log_gap


def _magnitude(x: Array, resolution: Resolution, floor: float) -> Array:
    n_fft, hop, length = resolution
    power = stft.power(x, n_fft=n_fft, hop=hop, length=length, centred=True)
    return jnp.sqrt(jnp.maximum(power, floor))


def _norm(x: Array) -> Array:
    """Frobenius norm, whose gradient at 0 is 0."""
    squared = jnp.sum(jnp.square(x))
    zero = squared == 0
    return jnp.where(zero, 0.0, jnp.sqrt(jnp.where(zero, 1.0, squared)))
