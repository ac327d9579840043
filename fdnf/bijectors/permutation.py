"""Fixed reorderings: static index vectors, log-determinant 0."""

import jax.numpy as jnp
import numpy as np

from fdnf.bijectors.base import Bijector
from fdnf.types import Context, Events, LogDet


class Reverse(Bijector):
    """Reverses one axis of the event, by default the channels."""

    axis: int = -1

    def forward(self, x: Events, cond: Context | None = None) -> tuple[Events, LogDet]:
        """Reverses."""
        return jnp.flip(x, self.axis), jnp.zeros(x.shape[:1], x.dtype)

    def inverse(self, y: Events, cond: Context | None = None) -> tuple[Events, LogDet]:
        """Reverses again."""
        return self.forward(y, cond)


class Shuffle(Bijector):
    """A permutation of the channels drawn once from `seed`; not a variable."""

    seed: int = 0

    def _order(self, channels: int) -> np.ndarray:
        return np.random.default_rng(self.seed).permutation(channels)

    def forward(self, x: Events, cond: Context | None = None) -> tuple[Events, LogDet]:
        """Takes the channels in the drawn order."""
        return x[..., self._order(x.shape[-1])], jnp.zeros(x.shape[:1], x.dtype)

    def inverse(self, y: Events, cond: Context | None = None) -> tuple[Events, LogDet]:
        """Puts the channels back."""
        order = np.argsort(self._order(y.shape[-1]))
        return y[..., order], jnp.zeros(y.shape[:1], y.dtype)
