"""Losses of sounds, which are compared by their spectra."""

import functools

import jax
import jax.numpy as jnp

from fdnf.ops import entering, spectral_distance, stft
from fdnf.ops.spectral_distance import FLOOR, RESOLUTIONS, Resolution
from fdnf.types import Aux, Given, Scalar

# What `compare` knows.
KINDS = ("stft", "magnitude", "power")
# Of the losses of one resolution.
PUBLISHED = (Resolution(1024, 256, 1024),)


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
    x, y = _alike(x, y)
    found = [
        spectral_distance.spectral_distances(x, y, Resolution(*r), floor)
        for r in _some(resolutions)
    ]
    convergence, log_magnitude = jnp.mean(jnp.asarray(found), axis=0)
    return convergence, log_magnitude


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
    """Parallel WaveNet's power loss, ||phi(g) - phi(y)||_2^2.

    phi(x) = |STFT(x)|^2, averaged over frames.

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

    Reference: Van den Oord et al. (2018), "Parallel WaveNet", section 4.4.
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


@functools.partial(jax.jit, static_argnames="resolutions")
def magnitude(
    generated: Given,
    reference: Given,
    resolutions: tuple[Resolution, ...] = PUBLISHED,
) -> Scalar:
    """ClariNet's loss of spectra, mean (|STFT(g)| - |STFT(y)|)^2 over all frames.

    Frame by frame, where `power` compares averages over time.

    Args:
      generated: g, of the student; `[batch, time]`, or with channels.
      reference: y, a recording with the same condition; held fixed.
      resolutions: tuple of `Resolution(n_fft, hop, length)`, averaged over. The paper
        has one, and its open implementation no window.

    Returns:
      The mean, in the squared unit of sound.

    Raises:
      ValueError: for no resolution, shapes that differ, or sounds too short.

    Reference: Ping et al. (2018), "ClariNet", section 3.3.2.
    """
    generated, reference = _alike(generated, jax.lax.stop_gradient(reference))
    found = []
    for n_fft, hop, length in _some(resolutions):
        ours, theirs = (
            stft.magnitude(sound, n_fft=n_fft, hop=hop, length=length, centred=True)
            for sound in (generated, reference)
        )
        found.append(jnp.mean(jnp.square(ours - theirs)))
    return jnp.mean(jnp.asarray(found))


def compare(
    kind: str,
    generated: Given,
    reference: Given,
    resolutions: tuple[Resolution, ...] | None = None,
) -> Scalar:
    """One of the losses of spectra, as what is added to another loss.

    Args:
      kind: "stft", SC + MAG of `multi_resolution_stft`; "magnitude", of `magnitude`;
        "power", of `power`, in units of the reference's ||phi(y)||_2^2, so that its
        weight depends neither on loudness nor on the transform's length.
      generated: of the student; `[batch, time]`, or with channels.
      reference: a recording with the same condition; held fixed.
      resolutions: averaged over; None for the published ones of the kind.

    Returns:
      The loss.

    Raises:
      ValueError: for another kind, and as the function of the kind.
    """
    if kind not in KINDS:
        raise ValueError(f"unknown loss of spectra {kind!r}; known: {KINDS}")
    if resolutions is None:
        resolutions = RESOLUTIONS if kind == "stft" else PUBLISHED
    if kind == "stft":
        reference = jax.lax.stop_gradient(entering.real(reference))
        convergence, log_magnitude = multi_resolution_stft(
            generated, reference, resolutions
        )
        return convergence + log_magnitude
    if kind == "magnitude":
        return magnitude(generated, reference, resolutions)
    found = []
    for n_fft, hop, length in _some(resolutions):
        distance, aux = power(
            generated, reference, n_fft=n_fft, hop=hop, length=length, centred=True
        )
        whole = jnp.square(aux.teacher)
        size = jnp.mean(jnp.sum(whole.reshape(len(whole), -1), axis=1))
        found.append(distance / (size + FLOOR))
    return jnp.mean(jnp.asarray(found))


def _some(resolutions: tuple[Resolution, ...]) -> tuple[Resolution, ...]:
    if not resolutions:
        raise ValueError("no resolutions: expected at least one")
    return resolutions


def _alike(x: Given, y: Given) -> tuple[jax.Array, jax.Array]:
    """Sounds with time last."""
    x, y = (jnp.moveaxis(entering.real(sound), 1, -1) for sound in (x, y))
    if x.shape != y.shape:
        raise ValueError(f"sounds of shapes {x.shape} and {y.shape}: expected equal")
    return x, y
