"""From stored data to what a flow sees, inside the step, and back.

Vectors pass as they are. Images are stored as grey levels; flips, bits and noise are
applied once, so that teacher and student see the same tensor. Data that come with a
condition of their own have their own kinds, in `preprocess_pairs`.
"""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from fdnf.data.images import Images
from fdnf.data.tabular import Tabular
from fdnf.ops import dequantize
from fdnf.train import shares, streams
from fdnf.train.shares import Share


@dataclasses.dataclass(frozen=True)
class Preprocess:
    """What is done to a batch; hashable, so that it can be closed over by programs.

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
        """The same without augmentation: that of held-out data, and of teachers."""
        return dataclasses.replace(self, flip=False)

    @property
    def shared(self) -> "Preprocess":
        """What a teacher and its student must have in common."""
        return self.plain

    @property
    def windows(self) -> bool:
        """Whether rows are parts of what models take, of no size in particular."""
        return False

    def beside(self, data: Any, split: int) -> np.ndarray | None:
        """What is stored beside the rows of a split and becomes their condition."""
        if self.classes and isinstance(data, Images) and data.labels is not None:
            return data.labels[split]
        return None

    def condition(self, x: Array, beside: Array | None) -> Array | None:
        """The condition of stored rows; None where the flow takes none.

        Args:
          x: the rows, as they are stored.
          beside: what `beside` gives for them.
        """
        del x
        if not self.classes or beside is None:
            return None
        return jax.nn.one_hot(beside, self.classes)

    def condition_shape(self, event: tuple[int, ...]) -> tuple[int, ...] | None:
        """Shape of one row's condition, for data of shape `event`."""
        del event
        return (self.classes,) if self.classes else None

    def train(
        self, key: Array, batch: dict[str, Array], share: Share = shares.WHOLE
    ) -> dict[str, Array]:
        """A drawn batch, or a device's share of it, as the objective takes it.

        Args:
          key: of augmentation and noise.
          batch: stored rows `x`, and what is `beside` them, if anything.
          share: which rows of the whole batch these are.

        Returns:
          The flow's data `x`, and their condition `cond`, if they have one.
        """
        batch = dict(batch)
        cond = self.condition(batch["x"], batch.pop("beside", None))
        if cond is not None:
            batch["cond"] = cond
        if not self.levels:
            return batch
        x = batch["x"]
        if self.flip:
            coin = streams.fold(key, streams.Preprocess.FLIP)
            keep = shares.draw(
                share, len(x), lambda rows: jax.random.bernoulli(coin, shape=(rows,))
            )
            x = jnp.where(keep[:, None, None, None], x, x[:, :, ::-1])
        batch["x"], _ = self.encode(key, x, share)
        return batch

    def encode(
        self, key: Array, x: Array, share: Share = shares.WHOLE
    ) -> tuple[Array, Array]:
        """Stored rows to the flow's data.

        Args:
          key: of the dequantisation noise of the whole batch.
          x: `[rows, ...]`, this device's rows of it.
          share: which they are.

        Returns:
          The data, and log |det| in nats from grey levels, one apart, to it: the
          flow's log density plus this is that of the dequantised grey levels.
        """
        if not self.levels:
            return x, jnp.zeros(x.shape[:1])
        if self.bits < 8:
            x = dequantize.reduce_bits(x, self.bits)

        def noise(rows: int) -> Array:
            return dequantize.uniform(key, jnp.zeros((rows, *x.shape[1:]), x.dtype))

        real = x + shares.draw(share, len(x), noise)
        if self.margin:
            return dequantize.logit(real, self.levels, self.margin)
        return dequantize.centre(real, self.levels)

    def to_pixels(self, y: Array) -> Array:
        """The flow's data to grey levels 0 .. levels - 1; vectors as they are."""
        if not self.levels:
            return y
        if self.margin:
            real = dequantize.unlogit(y, self.levels, self.margin)
        else:
            real = dequantize.uncentre(y, self.levels)
        return dequantize.to_levels(real, self.levels)

    def to_stored(self, y: Array) -> Array:
        """The flow's data to what data sets store: bits that were cut are zero."""
        pixels = self.to_pixels(y)
        return pixels * 2 ** (8 - self.bits) if self.levels else pixels

    def reach(self, train: np.ndarray) -> float:
        """Largest |x| that the flow's training data can take."""
        if not self.levels:
            return float(np.abs(train).max())
        return math.log((1 - self.margin) / self.margin) if self.margin else 0.5


def make(config: Any, data: Tabular | Images) -> Preprocess:
    """What the `data` section asks for.

    Args:
      config: `data`; read are `n_bits`, `logit`, `flip` and `conditional`, which
        sections of vectors lack.
      data: what is loaded.

    Raises:
      ValueError: for options that the data do not allow.
    """
    if isinstance(data, Tabular):
        return Preprocess()
    bits = config.get("n_bits", 8)
    if bits != 8 and data.levels != 256:
        raise ValueError(
            f"data.n_bits={bits}: {data.name} has {data.levels} levels, not 256; "
            "leave n_bits at 8"
        )
    if not 1 <= bits <= 8:
        raise ValueError(f"data.n_bits={bits}: expected 1 to 8")
    margin = config.get("logit", 0.0)
    if not 0 <= margin < 0.5:
        raise ValueError(f"data.logit={margin}: expected a margin in [0, 0.5)")
    classes = data.classes if config.get("conditional", False) else 0
    if config.get("conditional", False) and not classes:
        raise ValueError(f"data.conditional: {data.name} has no labels")
    levels = data.levels if bits == 8 else 2**bits
    return Preprocess(levels, bits, config.get("flip", False), margin, classes)
