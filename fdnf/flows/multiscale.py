"""Multi-scale flows: after each level a part of the activation becomes a latent."""

import math
from typing import Any, ClassVar

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array

from fdnf.bijectors.base import Bijector
from fdnf.flows import base
from fdnf.flows.base import FlowModule, Latents
from fdnf.nets import conv
from fdnf.ops import conditioners, conditions
from fdnf.types import Context, Events, LogDet, Passed


class SplitPrior(nn.Module):
    """Gaussian of the channels split off, given those that are passed on.

    z = (h2 - mean(h1)) exp(-log_std(h1)), a zero-initialised convolution of h1; the
    log-scale is softly clamped. What is N(mean, std^2) thereby becomes N(0, I), and
    counts in the log-determinant.

    Reference: Kingma and Dhariwal (2018), section 5 and released code.
    """

    bound: float = 5.0

    @nn.compact
    def _gaussian(self, h1: Array, features: int) -> tuple[Array, Array]:
        out = conv.ZeroConv(2 * features, name="conv")(h1)
        mean, raw = jnp.split(out, 2, axis=-1)
        return mean, conditioners.soft_clamp(raw, self.bound)

    def standardize(self, h1: Array, h2: Array) -> tuple[Array, LogDet]:
        """The latent of `h2`, and log |det dz/dh2|."""
        mean, log_std = self._gaussian(h1, h2.shape[-1])
        return (h2 - mean) * jnp.exp(-log_std), -_sum(log_std)

    def restore(self, h1: Array, z: Array) -> tuple[Array, LogDet]:
        """Undoes `standardize`; log |det dh2/dz|."""
        mean, log_std = self._gaussian(h1, z.shape[-1])
        return z * jnp.exp(log_std) + mean, _sum(log_std)


class TopPrior(nn.Module):
    """Gaussian of the last activation, one mean and scale a channel, or a class.

    Reference: Kingma and Dhariwal (2018), released code (`learntop`, `ycond`).
    """

    bound: float = 5.0

    @nn.compact
    def _gaussian(self, h: Array, cond: Context | None) -> tuple[Array, Array]:
        channels, zeros = h.shape[-1], nn.initializers.zeros
        out = self.param("bias", zeros, (2 * channels,), jnp.float32)
        out = jnp.broadcast_to(out, (h.shape[0], 2 * channels))
        if cond is not None and cond.ndim == 2:
            out += nn.Dense(
                2 * channels, use_bias=False, kernel_init=zeros, name="context"
            )(cond)
        mean, raw = jnp.split(out[:, None, None, :], 2, axis=-1)
        return mean, jnp.broadcast_to(conditioners.soft_clamp(raw, self.bound), h.shape)

    def standardize(self, h: Array, cond: Context | None) -> tuple[Array, LogDet]:
        """The latent of `h`, and log |det dz/dh|."""
        mean, log_std = self._gaussian(h, cond)
        return (h - mean) * jnp.exp(-log_std), -_sum(log_std)

    def restore(self, z: Array, cond: Context | None) -> tuple[Array, LogDet]:
        """Undoes `standardize`; log |det dh/dz|."""
        mean, log_std = self._gaussian(z, cond)
        return z * jnp.exp(log_std) + mean, _sum(log_std)


class MultiScale(FlowModule):
    """Levels of bijectors, each but the last followed by a split.

    Of a level's activation the leading half of the channels is passed on, the rest is
    split off. Latents are (split off after level 1, ..., level L - 1, the top), all
    standard normal; `levels` are the activations before each split.

    Subclasses give `_level(i)`, the bijector of level i (it contains its squeeze),
    and `_squeezes(i)`, whether it has one. Attributes `levels` and `learn_top`
    (a learned Gaussian for the top; there is one in any case where there is a
    condition) are theirs.

    A condition that is images goes to the networks of every level, in its size: larger
    images are squeezed, of smaller ones pixels are repeated (`conditions.fitted`).
    """

    takes_statistics: ClassVar[bool] = True
    condition_axes = (conditions.VECTOR, conditions.IMAGE)

    def _count(self) -> int:
        raise NotImplementedError

    def _level(self, i: int) -> Bijector:
        raise NotImplementedError

    def _squeezes(self, i: int) -> bool:
        raise NotImplementedError

    def _learn_top(self) -> bool:
        return False

    def _coupling_params(self, params: Any, i: int) -> tuple[Any, int]:
        """Parameters of the first coupling of level i, and how many channels it sees.

        Of flows that take images as a condition.
        """
        raise NotImplementedError

    def _check_condition(self, cond: Context | None, height: int, width: int) -> None:
        """Refuses images that do not fit the levels of data of these sides."""
        if cond is None or cond.ndim != 4:
            return
        halved = range(self._first_halved(), self._first_halved() + self._count())
        sides = [(height // 2**i, width // 2**i) for i in halved]
        made = None
        if not self.is_initializing():
            params = self.variables["params"]
            each = [self._coupling_params(params, i) for i in range(self._count())]
            made = [base.extra_channels(*pair) for pair in each]
        conditions.check_images(type(self).__name__, cond.shape, sides, made)

    def _first_halved(self) -> int:
        """How often data are halved before the first coupling."""
        return int(self._squeezes(0))

    def setup(self):
        """Makes the levels and their priors."""
        count = self._count()
        if count < 1:
            raise ValueError(f"levels={count}: expected at least 1")
        self._make_embedder()
        self.stacks = [self._level(i) for i in range(count)]
        self.priors = [SplitPrior() for _ in range(count - 1)]
        self.top = TopPrior()

    def _check(self, event: tuple[int, ...]) -> None:
        squeezes = sum(self._squeezes(i) for i in range(self._count()))
        if len(event) != 3 or any(side % 2**squeezes for side in event[:2]):
            raise ValueError(
                f"{type(self).__name__} of {self._count()} levels halves height and "
                f"width {squeezes} times; data of shape {event} do not fit: expected "
                f"(height, width, channels) with sides that {2**squeezes} divides. "
                "Set model.args.levels accordingly"
            )

    def latent_shapes(self, event: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
        """Shapes of what each level splits off, and of the top."""
        self._check(event)
        height, width, channels = event
        shapes = []
        for i in range(self._count()):
            if self._squeezes(i):
                height, width, channels = height // 2, width // 2, 4 * channels
            if i < self._count() - 1:
                passed = channels // 2
                shapes.append((height, width, channels - passed))
                channels = passed
        return (*shapes, (height, width, channels))

    def _passed(self, levels: Latents) -> Passed:
        return base.leading_halves(levels, len(self.priors))

    def _has_top(self, cond: Context | None) -> bool:
        return self._learn_top() or (cond is not None and cond.ndim == 2)

    def _encode(self, x: Events, cond: Context | None):
        self._check_condition(cond, *x.shape[1:3])
        h, log_det = x, jnp.zeros(x.shape[:1], x.dtype)
        z, levels = [], []
        for i, stack in enumerate(self.stacks):
            h, change = stack.forward(h, cond)
            log_det += change
            levels.append(h)
            if i < len(self.priors):
                half = h.shape[-1] // 2
                h, rest = h[..., :half], h[..., half:]
                latent, change = self.priors[i].standardize(h, rest)
                log_det += change
                z.append(latent)
        if self._has_top(cond):
            h, change = self.top.standardize(h, cond)
            log_det += change
        return (*z, h), log_det, tuple(levels)

    def _decode(self, z: Latents, cond: Context | None):
        *rest, h = z
        log_det = jnp.zeros(h.shape[:1], h.dtype)
        times = 2 ** sum(self._squeezes(i) for i in range(self._count()))
        self._check_condition(cond, h.shape[1] * times, h.shape[2] * times)
        if self._has_top(cond):
            h, change = self.top.restore(h, cond)
            log_det += change
        levels = []
        for i in reversed(range(len(self.stacks))):
            if i < len(self.priors):
                restored, change = self.priors[i].restore(h, rest[i])
                log_det += change
                h = jnp.concatenate([h, restored], axis=-1)
            levels.append(h)
            h, change = self.stacks[i].inverse(h, cond)
            log_det += change
        return h, log_det, tuple(reversed(levels))

    def _block_parameters(self, x: Events, cond: Context | None) -> tuple[Array, ...]:
        found = []
        for stack in self.stacks:
            x, own = stack.parameters(x, cond)
            found += own
            x = x[..., : x.shape[-1] // 2]
        return tuple(found)


def _sum(log_scale: Array) -> LogDet:
    size = math.prod(log_scale.shape[1:])
    return jnp.sum(log_scale.reshape(-1, size), axis=1)
