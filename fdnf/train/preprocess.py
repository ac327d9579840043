"""From stored data to what a flow sees, inside the step, and back.

Vectors pass as they are, tables by their columns (`table`). Images are stored as grey
levels; flips, bits and noise are applied once, so that teacher and student see the same
tensor. Some data come with a condition of their own. Super-resolution: an image given
its low-resolution version. Speech: a waveform given its mel spectrogram, which is
computed from the waveform that the flow sees. Both are stored as tiles larger than what
a flow trains on; a window is cut out of each at every draw.
"""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from fdnf.data.images import Images
from fdnf.data.speech import Clips
from fdnf.data.super_resolution import Pairs
from fdnf.data.tabular import Tabular
from fdnf.ops import dequantize, mel
from fdnf.train import batches, table
from fdnf.train.batches import Augment, Prepared, Share, fold

GREY = 255.0
# Full scale of 16-bit audio.
FULL = 32768.0


@dataclasses.dataclass(frozen=True)
class Preprocess(Prepared):
    """What is done to vectors, which is nothing, and to images.

    Attributes:
      levels: grey levels after the reduction of bits, 0 for vectors.
      bits: bits kept, 8 for all.
      flip: whether training batches are mirrored, each row with probability 1/2.
      margin: of the logit transform; 0 centres instead, to [-1/2, 1/2).
      classes: of labels given as a one-hot condition, 0 for none.
    """

    levels: int = 0
    bits: int = 8
    flip: bool = False
    margin: float = 0.0
    classes: int = 0

    @property
    def plain(self) -> "Preprocess":
        """Without mirrored rows."""
        return dataclasses.replace(self, flip=False)

    @property
    def made(self) -> "Preprocess":
        """Labels alone."""
        return Preprocess(classes=self.classes)

    def beside(self, data: Any, split: int) -> np.ndarray | None:
        """The labels, of a conditional flow."""
        if self.classes and isinstance(data, Images) and data.labels is not None:
            return data.labels[split]
        return None

    def condition(self, x: Array | None, beside: Array | None) -> Array | None:
        """The labels, one-hot."""
        if not self.classes or beside is None:
            return None
        return jax.nn.one_hot(beside, self.classes)

    def condition_shape(self, event: tuple[int, ...]) -> tuple[int, ...] | None:
        """One number a class."""
        return (self.classes,) if self.classes else None

    def train(
        self, key: Array, batch: dict[str, Array], share: Share = batches.WHOLE
    ) -> dict[str, Array]:
        """Vectors as they are; images mirrored, dequantised and scaled."""
        batch = dict(batch)
        cond = self.condition(batch["x"], batch.pop("beside", None))
        if cond is not None:
            batch["cond"] = cond
        if not self.levels:
            return batch
        (x,) = _mirrored(self.flip, key, share, batch["x"])
        batch["x"], _ = self.encode(key, x, share)
        return batch

    def encode(
        self, key: Array, x: Array, share: Share = batches.WHOLE
    ) -> tuple[Array, Array]:
        """Densities are those of the dequantised grey levels, which are one apart."""
        if not self.levels:
            return x, jnp.zeros(x.shape[:1])
        if self.bits < 8:
            x = dequantize.reduce_bits(x, self.bits)

        def noise(rows: int) -> Array:
            return dequantize.uniform(key, jnp.zeros((rows, *x.shape[1:]), x.dtype))

        real = x + batches.draw(share, x.shape[0], noise)
        if self.margin:
            return dequantize.logit(real, self.levels, self.margin)
        return dequantize.centre(real, self.levels)

    def to_pixels(self, y: Array) -> Array:
        """Grey levels; vectors as they are."""
        if not self.levels:
            return y
        if self.margin:
            real = dequantize.unlogit(y, self.levels, self.margin)
        else:
            real = dequantize.uncentre(y, self.levels)
        return dequantize.to_levels(real, self.levels)

    def to_stored(self, y: Array) -> Array:
        """Bits that were cut are zero."""
        pixels = self.to_pixels(y)
        return pixels * 2 ** (8 - self.bits) if self.levels else pixels

    def reach(self, train: np.ndarray) -> float:
        """That of the rows, or the ends of the scale."""
        if not self.levels:
            return float(np.abs(train).max())
        return math.log((1 - self.margin) / self.margin) if self.margin else 0.5

    def stored(self, x: Any) -> tuple[np.ndarray, np.ndarray]:
        """Vectors as float32; images as uint8, as they were before bits were cut."""
        if not self.levels:
            return table.rows(x, ()), np.zeros(len(x), bool)
        found = np.asarray(x)
        top = self.levels * 2 ** (8 - self.bits) - 1
        if found.size and (not 0 <= found.min() <= found.max() <= top):
            raise ValueError(
                f"images with values from {found.min()} to {found.max()}: expected "
                f"grey levels, whole numbers from 0 to {top}"
            )
        whole = found.astype(np.uint8)
        if not (whole == found).all():
            raise ValueError(
                f"images of {found.dtype} between grey levels: expected whole numbers "
                f"from 0 to {top}"
            )
        return whole, np.zeros(len(whole), bool)

    def stored_condition(self, cond: Any) -> np.ndarray:
        """Labels, whole numbers."""
        labels = np.atleast_1d(np.asarray(cond))
        good = labels.ndim == 1 and labels.dtype.kind in "iu"
        if not good or (labels.size and not 0 <= labels.min() <= labels.max()):
            raise ValueError(
                f"a condition of shape {labels.shape} and {labels.dtype}: expected "
                f"labels, whole numbers from 0 to {self.classes - 1}, one for each row "
                "or one for all"
            )
        if labels.size and labels.max() >= self.classes:
            raise ValueError(
                f"label {labels.max()}: expected 0 to {self.classes - 1}, the classes "
                "that the flow was trained on"
            )
        return labels.astype(np.int32)


@dataclasses.dataclass(frozen=True)
class SuperResolution(Prepared):
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

    windows = True

    @property
    def plain(self) -> "SuperResolution":
        """Without mirrored rows."""
        return dataclasses.replace(self, flip=False)

    @property
    def shared(self) -> "SuperResolution":
        """All but the crop."""
        return dataclasses.replace(self, flip=False, crop=0)

    def beside(self, data: Any, split: int) -> np.ndarray:
        """The low-resolution images."""
        return (data.train_lr, data.val_lr)[split]

    def condition(self, x: Array, beside: Array | None) -> Array:
        """The low-resolution images in [0, 1]."""
        if beside is None:
            raise ValueError("super-resolution needs low-resolution images beside")
        return jnp.asarray(beside, jnp.float32) / GREY

    def condition_shape(self, event: tuple[int, ...]) -> tuple[int, ...]:
        """That of the image, scaled down."""
        height, width, channels = event
        return (height // self.scale, width // self.scale, channels)

    def train(
        self, key: Array, batch: dict[str, Array], share: Share = batches.WHOLE
    ) -> dict[str, Array]:
        """Windows of stored tiles `x`, with those `beside` them cut alike."""
        high, low = batch["x"], batch["beside"]
        if high.shape[1] > self.crop:
            high, low = self._window(fold(key, Augment.WINDOW), high, low, share)
        high, low = _mirrored(self.flip, key, share, high, low)
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

        at = batches.draw(share, len(high), draw)
        windows = jax.vmap(cut, in_axes=(0, 0, None))
        return windows(high, self.scale * at, self.crop), windows(low, at, side)

    def encode(
        self, key: Array, x: Array, share: Share = batches.WHOLE
    ) -> tuple[Array, Array]:
        """Densities are those of images in `bins` grey levels."""
        y = jnp.asarray(x, jnp.float32) / GREY
        if not self.bins:
            return y, jnp.zeros(len(y))
        y += _centred_noise(key, y, share) / self.bins
        return y, jnp.full(len(y), -np.log(self.bins) * y[0].size)

    def to_stored(self, y: Array) -> Array:
        """As uint8."""
        return jnp.clip(jnp.round(y * GREY), 0, GREY).astype(jnp.uint8)


@dataclasses.dataclass(frozen=True)
class Speech(Prepared):
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

    windows = True
    alone = True

    @property
    def shared(self) -> "Speech":
        """All but the segment."""
        return dataclasses.replace(self, segment=0)

    @property
    def made(self) -> "MadeSpeech":
        """The spectrograms that sounds were made of."""
        return MadeSpeech(self.segment, self.mel, self.noise)

    def condition(self, x: Array, beside: Array | None = None) -> Array:
        """`[batch, frames, mels]` of stored waveforms `[batch, time]`."""
        return mel.log_mel(jnp.asarray(x, jnp.float32) / FULL, self.mel)

    def condition_shape(self, event: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of the spectrogram."""
        return (1 + event[0] // self.mel.hop, self.mel.mels)

    def train(
        self, key: Array, batch: dict[str, Array], share: Share = batches.WHOLE
    ) -> dict[str, Array]:
        """Windows of stored tiles `x`, `[batch, time]`, and their spectrograms."""
        x = batch["x"]
        if x.shape[1] > self.segment:
            place = fold(key, Augment.WINDOW)
            # The last of them included.
            starts = x.shape[1] - self.segment + 1
            at = batches.draw(
                share,
                len(x),
                lambda rows: jax.random.randint(place, (rows,), 0, starts),
            )
            x = jax.vmap(
                lambda row, at: jax.lax.dynamic_slice(row, (at,), (self.segment,))
            )(x, at)
        return {"x": self.encode(key, x, share)[0], "cond": self.condition(x)}

    def encode(
        self, key: Array, x: Array, share: Share = batches.WHOLE
    ) -> tuple[Array, Array]:
        """To `[batch, time, 1]`; densities are those of waveforms in [-1, 1)."""
        y = jnp.asarray(x, jnp.float32) / FULL
        if self.noise:
            y += _centred_noise(key, y, share) * (self.noise / FULL)
        return y[..., None], jnp.zeros(len(y))

    def to_stored(self, y: Array) -> Array:
        """Waveforms `[batch, time]` of 16 bits."""
        scaled = jnp.round(y[..., 0] * FULL)
        return jnp.clip(scaled, -FULL, FULL - 1).astype(jnp.int16)


class MadeSpeech(Speech):
    """Waveforms as a flow made them, beside the spectrograms that they were made of."""

    alone = False
    windows = False

    def condition(self, x: Array | None, beside: Array) -> Array:
        """What is beside them: the spectrogram of what was made is another."""
        return beside

    def train(
        self, key: Array, batch: dict[str, Array], share: Share = batches.WHOLE
    ) -> dict[str, Array]:
        """As they are."""
        batch = dict(batch)
        return {"cond": batch.pop("beside"), **batch}


def _mirrored(flip: bool, key: Array, share: Share, *images: Array) -> list[Array]:
    """Images, and those beside them alike, each row mirrored with probability 1/2."""
    if not flip:
        return list(images)
    coin = fold(key, Augment.FLIP)
    keep = batches.draw(
        share, len(images[0]), lambda rows: jax.random.bernoulli(coin, shape=(rows,))
    )
    keep = keep[:, None, None, None]
    return [jnp.where(keep, each, each[:, :, ::-1]) for each in images]


def _centred_noise(key: Array, like: Array, share: Share) -> Array:
    """Uniform in [-1/2, 1/2), of the shape of a device's rows."""
    return batches.draw(
        share,
        len(like),
        lambda rows: jax.random.uniform(key, (rows, *like.shape[1:])) - 0.5,
    )


Data = Tabular | Images | Pairs | Clips
KINDS: dict[str, Any] = {
    "plain": Preprocess,
    "super_resolution": SuperResolution,
    "speech": Speech,
    "table": table.Table,
}


def make(config: Any, data: Data) -> Prepared:
    """What the `data` section asks to be done to batches.

    Args:
      config: `data`; read are for images `n_bits`, `logit`, `flip` and `conditional`,
        for super-resolution `bins` and `flip`, for speech `noise` and `mel`.
      data: what is loaded.

    Raises:
      ValueError: for options that the data do not allow.
    """
    if isinstance(data, Pairs):
        bins = config.get("bins", 32)
        return SuperResolution(
            data.scale, data.event[0], config.get("flip", False), bins
        )
    if isinstance(data, Clips):
        noise = config.get("noise", 1.0)
        settings = mel.Settings(rate=data.rate, **dict(config.get("mel", {})))
        return Speech(data.event[0], settings, noise)
    if isinstance(data, Tabular):
        return table.of(data) or Preprocess()
    return _of_images(config, data)


def _of_images(config: Any, data: Images) -> Preprocess:
    bits = config.get("n_bits", 8)
    if bits != 8 and data.levels != 256:
        raise ValueError(
            f"data.n_bits={bits}: {data.name} has {data.levels} levels, not 256; "
            "leave n_bits at 8"
        )
    margin = config.get("logit", 0.0)
    classes = data.classes if config.get("conditional", False) else 0
    if config.get("conditional", False) and not classes:
        raise ValueError(f"data.conditional: {data.name} has no labels")
    levels = data.levels if bits == 8 else 2**bits
    return Preprocess(levels, bits, config.get("flip", False), margin, classes)


def describe(prepared: Prepared) -> dict[str, Any]:
    """What a checkpoint keeps of it."""
    (kind,) = (name for name, made in KINDS.items() if type(prepared) is made)
    if isinstance(prepared, table.Table):
        return {"kind": kind, **table.describe(prepared)}
    fields: Any = prepared
    return {"kind": kind, **dataclasses.asdict(fields)}


def restore(described: dict[str, Any]) -> Prepared:
    """What `describe` wrote; that of vectors if nothing was written."""
    fields = dict(described)
    made = KINDS[fields.pop("kind", "plain")]
    if made is table.Table:
        return table.restore(fields)
    if "mel" in fields:
        fields["mel"] = mel.Settings(**fields["mel"])
    return made(**fields)
