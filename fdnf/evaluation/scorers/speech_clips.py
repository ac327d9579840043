"""The test clips that vocoders are judged on, and the noise that they must beat."""

from typing import NamedTuple

import numpy as np

from fdnf.data.speech import Clips
from fdnf.evaluation.models import vocoder as vocoders
from fdnf.train import keys
from fdnf.train.settings import ConfigError

LEAST = keys.CLIP
# Clips shorter than the longest are cut to as many of these parts of it as they fill:
# a program is compiled for each length.
PARTS = 16


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
