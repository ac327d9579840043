"""Parallel WaveNet's power loss: the spectrum of generated sound against real sound.

Reference: Van den Oord et al. (2018), "Parallel WaveNet", section 4.4.
"""

import functools

import jax
import jax.numpy as jnp

from fdnf.ops import entering, stft
from fdnf.types import Aux, Given, Scalar


@functools.partial(
    jax.jit,
    static_argnames=(*("n_fft", "hop", "length", "window", "centred", "average"),),
)
def power(
    generated: Given,
    reference: Given,
    *,
    n_fft: int = 1024,
    hop: int = 256,
    length: int | None = None,
    window: str = "hann",
    centred: bool = False,
    average: bool = True,
) -> tuple[Scalar, Aux]:
    """||phi(g) - phi(y)||_2^2, phi(x) = |STFT(x)|^2 averaged over frames.

    Reverse KL leaves a student at what is most likely, which of speech is whispering;
    this term keeps the power of each frequency as it is in recordings. Phase does not
    count, and with `average` neither does when something is heard, so that sounds of
    unlike length compare too.

    Args:
      generated: g, of the student; `[batch, time]`, or with channels, each of which has
        its own spectrum.
      reference: y, a recording with the same condition; held fixed.
      n_fft: samples of a transform.
      hop: samples from one frame to the next.
      length: of the window; `n_fft` by default.
      window: "hann" (periodic) or "rectangular".
      centred: reflect n_fft / 2 samples at each end.
      average: over frames before the norm; otherwise frames are compared one by one.

    Returns:
      The squared norm, in the fourth power of the unit of sound, summed over
      frequencies (with channels and, without `average`, frames), its mean over rows;
      and Aux with the term "power" and phi of both sides.

    Raises:
      ValueError: for shapes that do not match, or sound shorter than a frame.
    """
    generated, reference = entering.real(generated), entering.real(reference)
    g, y = generated.shape, reference.shape
    if (g[0], *g[2:]) != (y[0], *y[2:]) or (not average and g[1] != y[1]):
        raise ValueError(
            f"generated sound has shape {g} and the reference {y}: expected equal "
            "batch and channels" + ("" if average else ", and equal lengths")
        )

    def phi(x):
        x = jnp.moveaxis(x, 1, -1)
        found = stft.power(
            x, n_fft=n_fft, hop=hop, length=length, shape=window, centred=centred
        )
        return jnp.mean(found, axis=-2) if average else found

    ours, theirs = phi(generated), phi(jax.lax.stop_gradient(reference))
    squared = jnp.square(ours - theirs)
    loss = jnp.mean(jnp.sum(squared.reshape(squared.shape[0], -1), axis=1))
    return loss, Aux({"power": loss}, (), ours, theirs)
