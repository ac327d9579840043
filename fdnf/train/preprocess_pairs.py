"""From stored data to a flow's, where the data come with a condition of their own.

Super-resolution: an image given its low-resolution version. Speech: a waveform given
its mel spectrogram, which is computed from the waveform that the flow sees.

Both are stored as tiles larger than what a flow trains on; a window is cut out of
each at every draw.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from fdnf.ops import mel
from fdnf.train import shares
from fdnf.train.shares import Share
from fdnf.train.streams import Preprocess, fold

GREY = 255.0
# Full scale of 16-bit audio.
FULL = 32768.0


@dataclasses.dataclass(frozen=True)
class SuperResolution:
    """Images in [0, 1] given images of a lower resolution, in [0, 1] too.

    Attributes:
      scale: height of an image over that of its condition.
      crop: height and width of a training window, a multiple of `scale`.
      flip: whether training windows are mirrored, each row with probability 1/2.
      bins: the data get uniform noise as wide as 1 / bins, about 0, against density
        that piles up on grey levels; 0 for none. Densities are those of grey levels
        in so many bins.
      levels: of the stored images.
      classes: none; the condition is an image.

    Reference: Lugmayr et al. (2020), released code, where `bins` is 32.
    """

    scale: int
    crop: int
    flip: bool = False
    bins: int = 32
    levels: int = 256
    classes: int = 0

    @property
    def plain(self) -> "SuperResolution":
        """The same without augmentation."""
        return dataclasses.replace(self, flip=False)

    @property
    def shared(self) -> "SuperResolution":
        """What a teacher and its student must have in common: not the crop."""
        return dataclasses.replace(self, flip=False, crop=0)

    @property
    def windows(self) -> bool:
        """Rows are parts of images."""
        return True

    def beside(self, data: Any, split: int) -> np.ndarray:
        """The low-resolution images of the training (0) or validation (1) rows."""
        return (data.train_lr, data.val_lr)[split]

    def condition(self, x: Array, beside: Array | None) -> Array:
        """The low-resolution images in [0, 1]."""
        if beside is None:
            raise ValueError("super-resolution needs low-resolution images beside")
        return jnp.asarray(beside, jnp.float32) / GREY

    def condition_shape(self, event: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of the condition of images of shape `event`."""
        height, width, channels = event
        return (height // self.scale, width // self.scale, channels)

    def train(
        self, key: Array, batch: dict[str, Array], share: Share = shares.WHOLE
    ) -> dict[str, Array]:
        """Windows of stored tiles `x`, with those `beside` them cut alike."""
        high, low = batch["x"], batch["beside"]
        if high.shape[1] > self.crop:
            place = fold(key, Preprocess.WINDOW)
            high, low = self._window(place, high, low, share)
        if self.flip:
            coin = fold(key, Preprocess.FLIP)
            keep = shares.draw(
                share, len(high), lambda rows: jax.random.bernoulli(coin, shape=(rows,))
            )
            keep = keep[:, None, None, None]
            high, low = (jnp.where(keep, a, a[:, :, ::-1]) for a in (high, low))
        x, _ = self.encode(key, high, share)
        return {"x": x, "cond": self.condition(high, low)}

    def _window(self, key: Array, high: Array, low: Array, share: Share):
        """The same place in both, a multiple of the scale."""
        side = self.crop // self.scale

        def draw(rows: int) -> Array:
            return jax.random.randint(key, (rows, 2), 0, low.shape[1] - side + 1)

        def cut(image: Array, at: Array, size: int) -> Array:
            start = (at[0], at[1], jnp.zeros_like(at[0]))
            return jax.lax.dynamic_slice(image, start, (size, size, image.shape[-1]))

        at = shares.draw(share, len(high), draw)
        windows = jax.vmap(cut, in_axes=(0, 0, None))
        return windows(high, self.scale * at, self.crop), windows(low, at, side)

    def encode(
        self, key: Array, x: Array, share: Share = shares.WHOLE
    ) -> tuple[Array, Array]:
        """Stored images to the flow's data.

        Returns:
          The data, and log |det| in nats from images in `bins` grey levels to them.
        """
        y = jnp.asarray(x, jnp.float32) / GREY
        if not self.bins:
            return y, jnp.zeros(len(y))

        def noise(rows: int) -> Array:
            return jax.random.uniform(key, (rows, *y.shape[1:])) - 0.5

        y += shares.draw(share, len(y), noise) / self.bins
        return y, jnp.full(len(y), -np.log(self.bins) * y[0].size)

    def to_pixels(self, y: Array) -> Array:
        """The flow's data to uint8 images."""
        return jnp.clip(jnp.round(y * GREY), 0, GREY).astype(jnp.uint8)

    def to_stored(self, y: Array) -> Array:
        """As `to_pixels`."""
        return self.to_pixels(y)

    def reach(self, train: np.ndarray) -> float:
        """Largest |x| of the data, but for noise."""
        return 1.0


@dataclasses.dataclass(frozen=True)
class Speech:
    """Waveforms in [-1, 1) given their log-mel spectrograms.

    Attributes:
      segment: samples of a training window.
      mel: settings of the spectrograms.
      noise: width of the uniform noise that the data get, in steps of 16 bits;
        digital silence has no density without.
      levels: 0: not an image.
      classes: none; the condition is a spectrogram.

    Reference: Prenger et al. (2018), released code, which adds no noise.
    """

    segment: int
    mel: mel.Settings
    noise: float = 1.0
    levels: int = 0
    classes: int = 0

    @property
    def plain(self) -> "Speech":
        """The same: there is no augmentation but the place of the window."""
        return self

    @property
    def shared(self) -> "Speech":
        """What a teacher and its student must have in common: not the segment."""
        return dataclasses.replace(self, segment=0)

    @property
    def windows(self) -> bool:
        """Rows are parts of recordings."""
        return True

    def beside(self, data: Any, split: int) -> None:
        """Nothing: spectrograms are computed from the waveforms."""
        return

    def condition(self, x: Array, beside: Array | None = None) -> Array:
        """`[batch, frames, mels]` of stored waveforms `[batch, time]`."""
        return mel.log_mel(jnp.asarray(x, jnp.float32) / FULL, self.mel)

    def condition_shape(self, event: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of the spectrogram of a waveform of shape `event`."""
        return (1 + event[0] // self.mel.hop, self.mel.mels)

    def train(
        self, key: Array, batch: dict[str, Array], share: Share = shares.WHOLE
    ) -> dict[str, Array]:
        """Windows of stored tiles `x`, `[batch, time]`, and their spectrograms."""
        x = batch["x"]
        if x.shape[1] > self.segment:
            place = fold(key, Preprocess.WINDOW)
            # The last of them included.
            starts = x.shape[1] - self.segment + 1
            at = shares.draw(
                share,
                len(x),
                lambda rows: jax.random.randint(place, (rows,), 0, starts),
            )
            x = jax.vmap(
                lambda row, at: jax.lax.dynamic_slice(row, (at,), (self.segment,))
            )(x, at)
        return {"x": self.encode(key, x, share)[0], "cond": self.condition(x)}

    def encode(
        self, key: Array, x: Array, share: Share = shares.WHOLE
    ) -> tuple[Array, Array]:
        """Stored waveforms `[batch, time]` to `[batch, time, 1]`.

        Returns:
          The data, and zeros: densities are those of waveforms in [-1, 1).
        """
        y = jnp.asarray(x, jnp.float32) / FULL

        def noise(rows: int) -> Array:
            return jax.random.uniform(key, (rows, *y.shape[1:])) - 0.5

        if self.noise:
            y += shares.draw(share, len(y), noise) * (self.noise / FULL)
        return y[..., None], jnp.zeros(len(y))

    def to_stored(self, y: Array) -> Array:
        """The flow's data to 16-bit waveforms `[batch, time]`."""
        scaled = jnp.round(y[..., 0] * FULL)
        return jnp.clip(scaled, -FULL, FULL - 1).astype(jnp.int16)

    def to_pixels(self, y: Array) -> Array:
        """As `to_stored`."""
        return self.to_stored(y)

    def reach(self, train: np.ndarray) -> float:
        """Largest |x| that a waveform can have."""
        return 1.0
