"""The test clips that vocoders are judged on, and the sounds to be judged.

Those that models make of the clips' mel, and those that they must beat.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fdnf.data.speech import Clips
from fdnf.evaluation.models import vocoder as vocoders
from fdnf.evaluation.models.vocoder import Sound
from fdnf.metrics import griffin_lim
from fdnf.ops import linear_prediction, mel
from fdnf.train import keys
from fdnf.train.preprocess import FULL
from fdnf.train.settings import ConfigError
from fdnf.train.teachers import Trained

LEAST = keys.CLIP
# Clips shorter than the longest are cut to as many of these parts of it as they fill:
# a program is compiled for each length.
PARTS = 16
# Of linear prediction.
ORDER = 32


class Judged(NamedTuple):
    """Beginnings of test clips.

    Attributes:
        names: one a clip.
        clips: int16 `[time]` each.
        left_out: names of clips too short to be judged.
        rate: samples a second.
    """

    names: tuple[str, ...]
    clips: tuple[np.ndarray, ...]
    left_out: tuple[str, ...]
    rate: int

    @property
    def longest(self) -> int:
        """Samples of the longest clip."""
        return max(map(len, self.clips))

    @property
    def seconds(self) -> float:
        """Of all clips together."""
        return sum(map(len, self.clips)) / self.rate

    def first(self, count: int) -> "Judged":
        """The first clips of them."""
        return self._replace(names=self.names[:count], clips=self.clips[:count])


def beginnings(data: Clips, seconds: float = 0.0, count: int = 0) -> Judged:
    """The first `seconds` of the first `count` test clips; 0 for all of either.

    A clip with less is cut to a multiple of a sixteenth of the longest, so that no
    more lengths than that occur.

    Raises:
        ConfigError: no clip is long enough to be judged.
    """
    names = data.test_names[: count or None]
    clips = data.test[: count or None]
    most = max(map(len, clips))
    if seconds:
        most = min(most, max(1, round(seconds * data.rate)))
    # A multiple of 64: groups of samples divide it.
    step = max(64, most // PARTS // 64 * 64)
    kept, left_out = {}, []
    for name, clip in zip(names, clips, strict=True):
        length = most if len(clip) >= most else len(clip) // step * step
        if length < LEAST:
            left_out.append(name)
        else:
            kept[name] = np.asarray(clip[:length])
    if not kept:
        raise ConfigError(
            f"none of {len(clips)} test clips of {data.name} has {LEAST} samples within"
            f" eval.seconds={seconds}: raise it, or take longer clips"
        )
    return Judged(tuple(kept), tuple(kept.values()), tuple(left_out), data.rate)


def synthesize(
    trained: Trained,
    run: int,
    judged: Judged,
    temperature: Any,
    seed: int = 0,
    *,
    longest: int | None = None,
) -> list[Sound]:
    """Each clip as one run of a model makes it of the recording's mel.

    Args:
        trained: the model.
        run: which of its runs.
        judged: the clips.
        temperature: of the latents.
        seed: of the latents; models that have the same ones get the same ones.
        longest: of the clips, see `vocoders.of`.
    """
    model = vocoders.of(trained, run, longest or judged.longest)
    key, found = jax.random.key(seed), []
    for i, clip in enumerate(judged.clips):
        log_mel = vocoders.log_mel(clip, model.settings)
        noise = jax.random.fold_in(key, i)
        found.append(model(log_mel, len(clip), noise, temperature))
    return found


def without_model(
    judged: Judged, settings: mel.Settings, iterations: int, seed: int = 0
) -> dict[str, list[Sound]]:
    """The recordings, and what is made of their mel without any network.

    Griffin-Lim's sounds, and noise through the mel's linear prediction: that has the
    mel's envelope and no voice.
    """
    names = ("truth", "griffin_lim", "predicted_noise")
    found: dict[str, list[Sound]] = {name: [] for name in names}
    for i, clip in enumerate(judged.clips):
        found["truth"].append(as_sound(clip))
        log_mel = jnp.asarray(vocoders.log_mel(clip, settings)[None])
        key = jax.random.fold_in(jax.random.key(seed), i)
        noise = jax.random.normal(key, (1, len(clip), 1))
        x = _predicted(noise, log_mel, settings)
        found["predicted_noise"].append(vocoders.to_sound(np.asarray(x)[0, :, 0]))
        x = griffin_lim.griffin_lim(
            log_mel,
            key,
            settings,
            time=len(clip),
            iterations=iterations,
        )
        found["griffin_lim"].append(vocoders.to_sound(np.asarray(x[0])))
    return found


@functools.partial(jax.jit, static_argnums=2)
def _predicted(noise, log_mel, settings):
    order = min(ORDER, settings.n_fft - 1)
    found = linear_prediction.predictor(noise, log_mel, order, settings)
    return found.excited(noise)


def as_sound(samples: np.ndarray) -> Sound:
    """What a recording is, in the form of what a model makes."""
    peak = float(np.abs(np.asarray(samples, np.float64)).max()) / FULL
    return Sound(samples, peak, 0)


def white_noise(clip: np.ndarray, seed: int) -> np.ndarray:
    """Gaussian noise of the clip's power in its place, int16."""
    return vocoders.to_int16(_noise(clip, seed))


def with_noise(clip: np.ndarray, seed: int) -> np.ndarray:
    """The clip with as much Gaussian noise added: 0 dB over its whole length, int16."""
    return vocoders.to_int16(np.asarray(clip, np.float64) + _noise(clip, seed))


def _noise(clip: np.ndarray, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).standard_normal(len(clip))
    power = np.mean(np.square(np.asarray(clip, np.float64)))
    return noise * np.sqrt(power / np.mean(np.square(noise)))
