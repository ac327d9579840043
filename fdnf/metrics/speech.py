"""Objective measures of speech against the recording that it should be.

None of them is a mean opinion score (MOS): no listener was asked, and no figure here
may be called one, PESQ's and its like included, though they are given on a scale that
looks like it. What is known to mislead:

- A vocoder may be right and late: measures of spectra and STOI take it frame by frame,
  and there is no alignment here, as the lengths agree by construction.
- PESQ was made for coding and transmission. Among bad vocoders it can prefer one that
  whispers to one that speaks; 8 kHz sound is judged by its narrow band only.
- Spectral convergence of silence is 1, below that of loud but wrong sound: read it
  with the log magnitude.
- STOI and ESTOI predict what is understood, not how it sounds.
- A vocoder that whispers has its envelopes right and its harmonics missing, which none
  of them says. `pitch` and `harmonics` do.

So rows of the recording itself and of Griffin-Lim from the same mel features belong
beside each table, and mel l1, the STFT distance and ESTOI decide before PESQ.

Measures of spectra are jax functions of sounds `[batch, time]` in [-1, 1], one number
a row. `stoi` and `pesq` are other packages', take one sound and run on the host.
"""

import importlib
import math
import warnings
from types import ModuleType

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fdnf.ops import mel, spectral_distance

Sounds = Float[Array, "batch time"]
Recordings = Float[Array, "rows length"]
Scores = Float[Array, " batch"]
Clip = Float[Array | np.ndarray, " time"]
Recording = Float[Array | np.ndarray, " length"]

RATES = {"narrow": 8000, "wide": 16000}
_MODES = {"narrow": "nb", "wide": "wb"}


def stft_distance(
    x: Sounds,
    y: Recordings,
    resolutions: tuple[
        spectral_distance.Resolution, ...
    ] = spectral_distance.RESOLUTIONS,
) -> tuple[Scores, Scores]:
    """Spectral convergence and log magnitude distance, means over the resolutions.

    The training loss `multi_resolution_stft`, of each sound by itself. Lower is better.

    Args:
      x: sounds to judge.
      y: recordings.
      resolutions: static.

    Returns:
      Both, without unit: SC, 1 of silence, and MAG, in nats of magnitude.

    Raises:
      ValueError: for unlike shapes, or sounds too short.
    """

    def of_one(x, y):
        found = [spectral_distance.spectral_distances(x, y, r) for r in resolutions]
        return jnp.mean(jnp.asarray(found), axis=0)

    found = jax.vmap(of_one)(x, y)
    return found[:, 0], found[:, 1]


def mel_l1(x: Sounds, y: Recordings, settings: mel.Settings = mel.DEFAULT) -> Scores:
    """Mean |log mel(x) - log mel(y)|, in nats; lower is better.

    Args:
      x: sounds to judge.
      y: recordings.
      settings: of the features, those that the vocoder is given; static.

    Raises:
      ValueError: for unlike shapes, or as `mel.log_mel`.
    """
    return jnp.mean(jnp.abs(_mel_gap(x, y, settings)), axis=(1, 2))


def mel_cepstral_distortion(
    x: Sounds,
    y: Recordings,
    settings: mel.Settings = mel.DEFAULT,
    coefficients: int = 13,
) -> Scores:
    """MCD = 10 / ln 10 sqrt(2 sum_k (c_k - c'_k)^2), k = 1 to K, in decibels.

    Its mean over frames. Cepstra are of the log mel magnitudes, in the scale in which
    log |H| = sum_k c_k cos(k omega), so that with all coefficients MCD is the root
    mean square difference of two mel spectra in dB once their loudness is taken out:
    c_0 does not count. Figures from cepstra of another analysis (WORLD, SPTK, MFCC in
    other scales) are not comparable. Lower is better.

    Args:
      x: sounds to judge.
      y: recordings. Frames are compared one by one, without alignment.
      settings: of the mel spectrum; static.
      coefficients: K, below the number of mels.

    Raises:
      ValueError: for unlike shapes, no coefficients or too many.

    Reference: Kubichek (1993), "Mel-cepstral distance measure for objective speech
    quality assessment".
    """
    if not 1 <= coefficients < settings.mels:
        raise ValueError(
            f"{coefficients} coefficients of {settings.mels} mels: expected 1 to"
            f" {settings.mels - 1}, the mean's not counted"
        )
    gap = mel.cepstrum(_mel_gap(x, y, settings), coefficients + 1)[..., 1:]
    # From the orthonormal transform to that of the docstring.
    gap *= math.sqrt(2 / settings.mels)
    decibels = 10 / math.log(10) * jnp.sqrt(2 * jnp.sum(jnp.square(gap), axis=-1))
    return jnp.mean(decibels, axis=1)


def stoi(x: Clip, y: Recording, rate: int, *, extended: bool = False) -> float:
    """Short-time objective intelligibility, about 0 to 1; higher is better.

    Args:
      x: sound to judge.
      y: recording; frames 40 dB below its loudest do not count.
      rate: samples a second; the measure hears 10 kHz.
      extended: ESTOI, which is stricter about modulations.

    Returns:
      The score; 0 for silence in place of speech, of which nothing is understood.

    Raises:
      ImportError: without the package `pystoi`.
      ValueError: for unlike lengths, samples that are not finite, or a recording that
        is silent or has less than about 0.4 s of speech: that has no score.

    References: Taal et al. (2011); Jensen and Taal (2016).
    """
    package = optional("pystoi")
    x, y = _pair(x, y)
    if not np.ptp(y):
        raise ValueError(
            f"STOI of {len(y) / rate:.2f} s of silence: expected a recording of speech;"
            " leave such clips out"
        )
    if not np.ptp(x):
        # The package adds noise and measures that.
        return 0.0
    with warnings.catch_warnings():
        # It says so in a warning, and gives 1e-5 as if it had measured.
        warnings.filterwarnings("error", "Not enough STFT frames")
        try:
            return float(package.stoi(y, x, rate, extended=extended))
        except RuntimeWarning:
            raise ValueError(
                f"STOI of {len(y) / rate:.2f} s of sound: expected 0.4 s of speech or"
                " more; leave such short clips out, or join them"
            ) from None


def pesq(x: Clip, y: Recording, rate: int, *, band: str = "wide") -> float:
    """PESQ, about 1 to 4.6; higher is better. It is not a MOS, see above.

    Args:
      x: sound to judge.
      y: recording.
      rate: samples a second; sound is resampled to what the measure hears.
      band: "wide" (P.862.2, at 16 kHz) or "narrow" (P.862, at 8 kHz).

    Raises:
      ImportError: without the package `pesq`.
      ValueError: for unlike lengths, another band, or sound in which the measure finds
        no utterance.

    Reference: ITU-T P.862 (2001) and P.862.2 (2007).
    """
    if band not in RATES:
        raise ValueError(f"PESQ band {band!r}: expected one of {tuple(RATES)}")
    if rate < RATES[band]:
        raise ValueError(
            f"PESQ of the {band} band at {rate} samples a second: expected at least"
            f" {RATES[band]}" + ("; take band='narrow'" if band == "wide" else "")
        )
    package = optional("pesq")
    x, y = (resampled(sound, rate, RATES[band]) for sound in _pair(x, y))
    try:
        return float(package.pesq(RATES[band], y, x, _MODES[band]))
    except (package.NoUtterancesError, package.BufferTooShortError) as error:
        raise ValueError(
            f"PESQ of {len(y) / RATES[band]:.2f} s of sound: {error}; leave such clips"
            " out"
        ) from None


def resampled(x: Clip, rate: int, wanted: int) -> np.ndarray:
    """Sound at another rate, by a polyphase filter; on the host, float64."""
    common = math.gcd(rate, wanted)
    x = np.asarray(x, np.float64)
    if rate == wanted:
        return x
    from scipy import signal  # Half a second, which a training need not wait for.

    return signal.resample_poly(x, wanted // common, rate // common)


def samples(x: Clip) -> np.ndarray:
    """Sound on the host, in float64.

    Raises:
      ValueError: for whole numbers, or samples that are not finite.
    """
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise ValueError(
            f"sound of type {x.dtype}: expected floats in [-1, 1]. Of 16-bit samples "
            "that is x / 32768."
        )
    found = np.asarray(x, np.float64)
    bad = int((~np.isfinite(found)).sum())
    if bad:
        raise ValueError(
            f"{bad} samples of {len(found)} are not finite: such a clip has no score; "
            "leave it out and say so"
        )
    return found


def optional(name: str, distribution: str = "") -> ModuleType:
    """A package that measures speech, imported.

    Args:
      name: of the module.
      distribution: what pip calls it; the same by default.

    Raises:
      ImportError: it is not here; with what to install.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(
            f"this measure is computed by the package {name}, which is not here: pip"
            f" install 'fdnf[speech]', or pip install {distribution or name}"
        ) from error


def _mel_gap(x: Array, y: Array, settings: mel.Settings) -> Array:
    if x.shape != y.shape:
        raise ValueError(f"sounds of shapes {x.shape} and {y.shape}: expected equal")
    return mel.log_mel(x, settings) - mel.log_mel(y, settings)


def _pair(x: Clip, y: Recording) -> tuple[np.ndarray, np.ndarray]:
    if x.shape != y.shape:
        raise ValueError(f"sounds of {len(x)} and {len(y)} samples: expected equal")
    if not all(jnp.issubdtype(sound.dtype, jnp.floating) for sound in (x, y)):
        raise ValueError(
            f"sounds of types {x.dtype} and {y.dtype}: expected floats in [-1, 1]. Of"
            " 16-bit samples that is x / 32768."
        )
    pair = np.asarray(x, np.float64), np.asarray(y, np.float64)
    bad = [int((~np.isfinite(sound)).sum()) for sound in pair]
    if any(bad):
        raise ValueError(
            f"{bad[0]} samples of the sound and {bad[1]} of the recording are not "
            "finite: such a clip has no score; leave it out and say so"
        )
    return pair
