"""Where speech is voiced, at which pitch, and how that differs from the recording.

Voiced sound repeats with the pitch; a whisper does not. Spectra and STOI hear the
envelope, which a whisper has right, and hardly the difference: see `harmonics` for a
measure that needs no pitch of the sound that is judged.

Pitch is that of WORLD: DIO for candidates and voicing, StoneMask to refine. It is a
strict tracker: rough voices and noise count as unvoiced, and with them some of what
Griffin-Lim makes. Figures by other trackers are not comparable.

References: Morise et al. (2009), "Fast and reliable F0 estimation method based on the
period extraction of vocal fold vibration of singing voice and speech"; Morise et al.
(2016), "WORLD: a vocoder-based high-quality speech synthesis system".
"""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from fdnf.metrics import speech

Track = Float[np.ndarray, " frames"]
Reference = Float[np.ndarray, " others"]

# Seconds from one frame to the next, and Hz between which pitch is sought: WORLD's.
STEP = 0.005
LOW, HIGH = 71.0, 800.0
# Samples a second to which DIO reduces sound, and seconds of its longest filters.
LEAST_RATE, LEAST_SECONDS = 4000, 0.04
# Pitch that is further off than this share of the recording's is grossly wrong.
GROSS = 0.2


class Errors(NamedTuple):
    """How voicing and pitch differ from the recording's.

    Attributes:
      voiced_share: percent of the frames voiced in the recording that are voiced in
        the sound: low of a whisper, 100 of the recording.
      voicing_error: percent of all frames in which one is voiced and one is not
        (voicing decision error, VDE).
      gross_pitch_error: percent of the frames voiced in both whose pitch is more than
        20 % off (GPE); nan where no frame is voiced in both.
      pitch_rmse: root mean square of the difference in pitch over the frames voiced in
        both, gross errors too, in cents: 1200 log2(f / f'); nan likewise.
    """

    voiced_share: float
    voicing_error: float
    gross_pitch_error: float
    pitch_rmse: float


def track(x: speech.Clip, rate: int) -> Track:
    """Pitch of a sound, frame by frame.

    Args:
      x: sound in [-1, 1].
      rate: samples a second, 4,000 or more.

    Returns:
      Hz, 71 to 800, or 0 where the sound is not voiced. Frame m is centred at m times
      0.005 s.

    Raises:
      ImportError: without the package `pyworld`.
      ValueError: for a lower rate, whole numbers, samples that are not finite, or less
        than 0.04 s of sound.
    """
    if rate < LEAST_RATE:
        raise ValueError(
            f"pitch at {rate} samples a second: expected at least {LEAST_RATE}"
        )
    package = speech.optional("pyworld", "pyworld-prebuilt")
    samples = speech.samples(x)
    if len(samples) < LEAST_SECONDS * rate:
        raise ValueError(
            f"pitch of {len(samples) / rate:.3f} s of sound: expected {LEAST_SECONDS} s"
            " or more; leave such short clips out, or join them"
        )
    samples = np.ascontiguousarray(samples)
    found, times = package.dio(
        samples, rate, f0_floor=LOW, f0_ceil=HIGH, frame_period=1000 * STEP
    )
    return package.stonemask(samples, found, times, rate)


def compare(f0: Track, recorded: Reference) -> Errors:
    """Errors of voicing and pitch, frame by frame.

    Args:
      f0: pitch of the sound to judge, of `track`: Hz, 0 where it is not voiced.
      recorded: pitch of the recording, as many frames.

    Raises:
      ValueError: for unlike lengths, pitch that is negative or not finite, or a
        recording without a voiced frame: that has no score.

    References: Nakatani et al. (2008), "A method for fundamental frequency estimation
    and voicing decision", for GPE and VDE, also in Chu and Alwan (2009), "Reducing F0
    frame error of F0 tracking algorithms under noisy conditions"; Morrison et al.
    (2022), "Chunked autoregressive GAN for conditional waveform synthesis", for the
    error of vocoders in cents.
    """
    if f0.shape != recorded.shape:
        raise ValueError(
            f"pitch of {len(f0)} and {len(recorded)} frames: expected equal"
        )
    if not all(np.all(np.isfinite(pitch) & (pitch >= 0)) for pitch in (f0, recorded)):
        raise ValueError("pitch that is negative or not finite: expected Hz, or 0")
    ours, theirs = f0 > 0, recorded > 0
    if not theirs.any():
        raise ValueError(
            f"no voiced frame among {len(recorded)} of the recording: its voicing has "
            "no score; leave such clips out"
        )
    both = ours & theirs
    gross = rmse = math.nan
    if both.any():
        ratio = f0[both] / recorded[both]
        gross = 100 * float(np.mean(np.abs(ratio - 1) > GROSS))
        rmse = 1200 * float(np.sqrt(np.mean(np.square(np.log2(ratio)))))
    return Errors(
        100 * float(ours[theirs].mean()),
        100 * float(np.mean(ours != theirs)),
        gross,
        rmse,
    )
