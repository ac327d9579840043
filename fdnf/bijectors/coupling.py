"""Coupling layers: one part of the event, or the condition, moves the other."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array

from fdnf.bijectors.base import Bijector
from fdnf.ops import conditioners
from fdnf.types import Context, Events, LogDet

TRANSFORMS = ("affine", "additive")
LOG_SCALES = ("sigmoid", "tanh")
PARTITIONS = ("half", "alternating", "checkerboard")


class Coupling(Bijector):
    """Affine or additive coupling; the conditioner is an attribute.

    affine:   y2 = (x2 + shift(x1)) * exp(log_scale(x1)),   y1 = x1
    additive: y2 = x2 + shift(x1),                          y1 = x1

    With `partition="half"`, x1 is the first half of the channels (the smaller one
    when their number is odd), and the conditioner sees and gives only what it needs.
    Otherwise a mask says what x1 is; the conditioner sees the event with x2 zeroed,
    and gives as many channels as the event has.

    Args:
      conditioner: module called as `conditioner(x1, features, cond)`.
      transform: "affine" or "additive".
      log_scale: "sigmoid", in (log floor, 0), as Glow; or "tanh", in (-5, 5).
      floor: smallest scale of "sigmoid", what the inverse divides by.
      partition: "half", "alternating" (channels), or "checkerboard" (positions).
      swap: exchanges the roles of the two parts.

    Reference: Dinh et al. (2017), section 3.2; Kingma and Dhariwal (2018), table 1.
    """

    conditioner: nn.Module
    transform: str = "affine"
    log_scale: str = "sigmoid"
    floor: float = 1e-3
    partition: str = "half"
    swap: bool = False

    def __post_init__(self):
        for name, known in (
            ("transform", TRANSFORMS),
            ("log_scale", LOG_SCALES),
            ("partition", PARTITIONS),
        ):
            if getattr(self, name) not in known:
                raise ValueError(
                    f"Coupling({name}={getattr(self, name)!r}): expected one of {known}"
                )
        super().__post_init__()

    def _split(self, x: Events) -> tuple[Array, Array]:
        """(x1, x2), as wide as they are."""
        half = x.shape[-1] // 2
        if self.swap:
            return x[..., -half:], x[..., : x.shape[-1] - half]
        return x[..., :half], x[..., half:]

    def _mask(self, x: Events) -> Array:
        """1 where x1 is, in the shape of one event."""
        parity = int(self.swap)
        if self.partition == "alternating":
            return jnp.asarray(conditioners.alternating(x.shape[-1], parity), x.dtype)
        if x.ndim != 4:
            raise ValueError(
                f"a checkerboard needs images [batch, height, width, channels], "
                f"got shape {x.shape}"
            )
        board = conditioners.checkerboard(x.shape[1], x.shape[2])
        board = 1 - board if parity else board
        return jnp.asarray(board, x.dtype)[..., None]

    def _shift_and_log_scale(
        self, x1: Array, features: int, cond: Context | None
    ) -> tuple[Array, Array]:
        if self.transform == "additive":
            shift = self.conditioner(x1, features, cond)
            return shift, jnp.zeros_like(shift)
        shift, raw = jnp.split(self.conditioner(x1, 2 * features, cond), 2, axis=-1)
        if self.log_scale == "tanh":
            return shift, conditioners.soft_clamp(raw)
        return shift, conditioners.sigmoid_log_scale(raw, self.floor)

    def _check(self, x: Events) -> None:
        if x.shape[-1] < 2 and self.partition != "checkerboard":
            raise ValueError(
                f"a coupling splits the channels and needs at least 2, got {x.shape}"
            )

    def _apply(self, x: Events, cond: Context | None, inverse: bool):
        self._check(x)
        if self.partition == "half":
            x1, x2 = self._split(x)
            keep = None
        else:
            keep = self._mask(x)
            x1, x2 = x * keep, x
        shift, log_scale = self._shift_and_log_scale(x1, x2.shape[-1], cond)
        if keep is not None:
            shift, log_scale = shift * (1 - keep), log_scale * (1 - keep)
        if inverse:
            moved = x2 * jnp.exp(-log_scale) - shift
        else:
            moved = (x2 + shift) * jnp.exp(log_scale)
        log_det = jnp.sum(log_scale, axis=tuple(range(1, log_scale.ndim)))
        if keep is None:
            parts = [moved, x1] if self.swap else [x1, moved]
            moved = jnp.concatenate(parts, axis=-1)
        return moved, -log_det if inverse else log_det

    def forward(self, x: Events, cond: Context | None = None) -> tuple[Events, LogDet]:
        """Moves x2."""
        return self._apply(x, cond, inverse=False)

    def inverse(self, y: Events, cond: Context | None = None) -> tuple[Events, LogDet]:
        """Moves x2 back."""
        return self._apply(y, cond, inverse=True)


class WaveCoupling(Bijector):
    """y2 = exp(log_s) x2 + b, y1 = x1, with (b, log_s) = conditioner(x1, cond).

    The shift comes after the scale, and the conditioner's outputs are [b, log_s], as
    released. x1 is the leading half of the channels.

    Args:
      conditioner: module called as `conditioner(x1, features, cond)`.
      bound: log_s is softly clamped to (-bound, bound). The released code leaves it
        open; with 7, a voice's log_s is hardly changed, and 12 couplings together
        stay in float32's range.

    Reference: Prenger et al. (2018), eq. 5-7 and released code.
    """

    conditioner: nn.Module
    bound: float = 7.0

    def _parts(
        self, x: Events, cond: Context | None
    ) -> tuple[Array, Array, Array, Array]:
        if x.shape[-1] < 2:
            raise ValueError(
                f"a coupling splits the channels and needs at least 2, got {x.shape}"
            )
        half = x.shape[-1] // 2
        x1, x2 = x[..., :half], x[..., half:]
        out = self.conditioner(x1, 2 * x2.shape[-1], cond)
        b, raw = jnp.split(out, 2, axis=-1)
        return x1, x2, b, conditioners.soft_clamp(raw, self.bound)

    def forward(self, x: Events, cond: Context | None = None) -> tuple[Events, LogDet]:
        """Scales, then shifts x2."""
        x1, x2, b, log_s = self._parts(x, cond)
        y = jnp.concatenate([x1, x2 * jnp.exp(log_s) + b], axis=-1)
        return y, jnp.sum(log_s, axis=tuple(range(1, log_s.ndim)))

    def inverse(self, y: Events, cond: Context | None = None) -> tuple[Events, LogDet]:
        """Takes the shift away, then the scale."""
        y1, y2, b, log_s = self._parts(y, cond)
        x = jnp.concatenate([y1, (y2 - b) * jnp.exp(-log_s)], axis=-1)
        return x, -jnp.sum(log_s, axis=tuple(range(1, log_s.ndim)))


class AffineInjector(Bijector):
    """y = (x + shift(cond)) * exp(log_scale(cond)), over all channels.

    The scale is in (floor, 1), as that of a coupling with `log_scale="sigmoid"`.

    Args:
      conditioner: module called as `conditioner(cond, features)`.
      floor: smallest scale, what the inverse divides by.

    Reference: Lugmayr et al. (2020), SRFlow, section 3 (affine injector).
    """

    conditioner: nn.Module
    floor: float = 1e-4

    def _affine(self, x: Events, cond: Context | None) -> tuple[Array, Array]:
        if cond is None or cond.shape[:-1] != x.shape[:-1]:
            given = None if cond is None else cond.shape
            raise ValueError(
                f"AffineInjector on events of {x.shape} with a condition of {given}: "
                "expected one of equal shape but for the channels"
            )
        shift, raw = jnp.split(self.conditioner(cond, 2 * x.shape[-1]), 2, axis=-1)
        return shift, conditioners.sigmoid_log_scale(raw, self.floor)

    def forward(self, x: Events, cond: Context | None = None) -> tuple[Events, LogDet]:
        """Shifts, then scales."""
        shift, log_scale = self._affine(x, cond)
        return (x + shift) * jnp.exp(log_scale), _sum(log_scale)

    def inverse(self, y: Events, cond: Context | None = None) -> tuple[Events, LogDet]:
        """Scales back, then shifts back."""
        shift, log_scale = self._affine(y, cond)
        return y * jnp.exp(-log_scale) - shift, -_sum(log_scale)


def _sum(log_scale: Array) -> LogDet:
    return jnp.sum(log_scale, axis=tuple(range(1, log_scale.ndim)))
