"""A trained vocoder: from mel spectrograms of whole clips to their waveforms."""

import functools
import math
from typing import Any, NamedTuple

import jax
import numpy as np

from fdnf.evaluation.models import sampler
from fdnf.ops import mel
from fdnf.train.preprocess import FULL
from fdnf.train.teachers import Trained

Temperature = float | tuple[float, ...]


class Sound(NamedTuple):
    """A waveform.

    Attributes:
        samples: int16 `[time]`, cut to full scale; 0 where it is not a number.
        peak: largest |x| before that, 1 being full scale; nan where a sample is not
            finite.
        beyond: samples that were cut.
    """

    samples: np.ndarray
    peak: float
    beyond: int

    @property
    def finite(self) -> bool:
        """Whether all samples are numbers."""
        return math.isfinite(self.peak)


class Vocoder(NamedTuple):
    """A flow or student with variables, and the mel that it is given.

    Attributes:
        flow: has the methods decode, draw and latent_shapes; hashable.
        variables: its variables.
        settings: of the mel spectrograms.
        longest: samples of the longest clip. Clips are padded to it, to half of it, to
            a quarter, ..., so that few programs are compiled.
    """

    flow: Any
    variables: Any
    settings: mel.Settings
    longest: int

    def length(self, time: int) -> int:
        """Samples that are made for a clip of `time`, of which the first are kept."""
        halvings = math.floor(math.log2(self.longest / time)) if time else 0
        group = group_of(self.flow)
        # Of a clip longer than the longest there are negative halvings.
        found = math.ceil(self.longest * 2.0**-halvings)
        return -(-found // group) * group

    def __call__(
        self,
        log_mel: np.ndarray,
        time: int,
        key: jax.Array,
        temperature: Temperature = 1.0,
    ) -> Sound:
        """The waveform of one spectrogram.

        The last frame goes on through what is padded, which is cut off again. The last
        samples of a padded clip have seen it, as far as the layers reach, where a clip
        by itself would be followed by zeros; those before do not depend on it.

        Args:
            log_mel: `[frames, mels]`, the first frame centred at the first sample.
            time: samples wanted.
            key: of the latents; models with the same latents get the same ones.
            temperature: standard deviation of the latents, one or one a latent.

        Raises:
            ValueError: for too few frames.
        """
        hop, length = self.settings.hop, self.length(time)
        needed = -(-time // hop)
        if len(log_mel) < max(1, needed):
            raise ValueError(
                f"{len(log_mel)} frames of {hop} samples for {time} samples: expected "
                f"at least {needed}"
            )
        frames = 1 + length // hop
        kept = np.asarray(log_mel, np.float32)[:frames]
        kept = np.pad(kept, ((0, frames - len(kept)), (0, 0)), mode="edge")
        x = _synthesize(self.flow, length, temperature, self.variables, key, kept[None])
        return to_sound(np.asarray(x)[0, :time, 0])


def of(
    trained: Trained, run: int = 0, longest: int | None = None, *, fold: bool = True
) -> Vocoder:
    """The vocoder of one run of a trained model of speech.

    Args:
        trained: the flow or student.
        run: which of its runs.
        longest: samples of the longest clip; those of a training window by default.
        fold: whether the 1x1 convolutions of a WaveGlow are inverted beforehand.
    """
    model = sampler.of(trained, run, fold=fold)
    longest = longest or trained.event[0]
    return Vocoder(model.flow, model.variables, trained.preprocess.mel, longest)


def log_mel(samples: np.ndarray, settings: mel.Settings) -> np.ndarray:
    """`[frames, mels]`, what a vocoder is given of an int16 clip `[time]`."""
    scaled = jax.numpy.asarray(samples, jax.numpy.float32) / FULL
    return np.asarray(_log_mel(scaled, settings))


def to_sound(x: np.ndarray) -> Sound:
    """A waveform in [-1, 1), `[time]`, as 16 bits."""
    finite = bool(np.isfinite(x).all())
    peak = float(np.abs(x).max()) if finite else math.nan
    samples = to_int16(np.asarray(x, np.float64) * FULL)
    beyond = int(np.count_nonzero(~((x >= -1) & (x < 1))))
    return Sound(samples, peak, beyond)


def to_int16(x: np.ndarray) -> np.ndarray:
    """Rounds to 16 bits; beyond full scale is cut, what is no number is 0."""
    whole = np.nan_to_num(np.round(x), nan=0.0, posinf=32767, neginf=-32768)
    return np.clip(whole, -32768, 32767).astype(np.int16)


def group_of(flow: Any) -> int:
    """Samples that become channels of one position; lengths are multiples of it."""
    return getattr(flow, "group", 1)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _synthesize(flow, length, temperature, variables, key, log_mel):
    z = flow.apply(variables, key, (1, length, 1), temperature, method="draw")
    return flow.apply(variables, z, log_mel, method="decode").x


@functools.partial(jax.jit, static_argnums=1)
def _log_mel(x, settings):
    return mel.log_mel(x, settings)
