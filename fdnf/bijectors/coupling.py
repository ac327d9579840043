"""Coupling layers: one part of the event, or the condition, moves the other."""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array

from fdnf.bijectors import transformers
from fdnf.bijectors.base import Bijector, Inspection, Moves
from fdnf.bijectors.transformers import Elements, Mapped, Raw, Transformer
from fdnf.ops import conditioners
from fdnf.types import Context, Events, LogDet

PARTITIONS = ("half", "alternating", "checkerboard")
LOG_SCALES = ("sigmoid", "tanh")


@dataclasses.dataclass(frozen=True)
class ShiftScale(Transformer):
    """y = (x + shift) exp(log_scale), raw = (shift, b): the couplings' affine map.

    Args:
      log_scale: "sigmoid", log_scale in (log floor, 0), as Glow, of which raw = 0 is
        near the identity only; or "tanh", soft_clamp(b), in (-bound, bound).
      floor: smallest scale of "sigmoid", what the inverse divides by.
      bound: of "tanh".

    Reference: Dinh et al. (2017), section 3.2; Kingma and Dhariwal (2018), table 1.
    """

    log_scale: str = "sigmoid"
    floor: float = 1e-3
    bound: float = 5.0

    def __post_init__(self):
        for name, holds, wanted in (
            ("log_scale", self.log_scale in LOG_SCALES, f"one of {LOG_SCALES}"),
            ("floor", 0 <= self.floor < 1, "at least 0 and below 1"),
            ("bound", self.bound > 0, "a number above 0"),
        ):
            if not holds:
                raise ValueError(
                    f"ShiftScale({name}={getattr(self, name)!r}): expected {wanted}"
                )

    @property
    def outputs(self) -> int:
        """Shift and raw log-scale."""
        return 2

    def _parts(
        self, raw: Raw | list[Array], moves: Array | None
    ) -> tuple[Elements, Elements]:
        """Shift and log-scale."""
        shift, log_scale = raw
        if self.log_scale == "tanh":
            log_scale = conditioners.soft_clamp(log_scale, self.bound)
        else:
            log_scale = conditioners.sigmoid_log_scale(log_scale, self.floor)
        if moves is None:
            return shift, log_scale
        return shift * moves, log_scale * moves

    def forward(
        self, raw: Raw | list[Array], x: Elements, moves: Array | None = None
    ) -> Mapped:
        """Shifts, then scales.

        Args:
          raw: shift and b.
          x: the elements.
          moves: 0 for elements that stay as they are, else 1.
        """
        shift, log_scale = self._parts(raw, moves)
        return (x + shift) * jnp.exp(log_scale), log_scale

    def inverse(
        self, raw: Raw | list[Array], y: Elements, moves: Array | None = None
    ) -> Mapped:
        """Scales back, then shifts back; arguments as of `forward`."""
        shift, log_scale = self._parts(raw, moves)
        return y * jnp.exp(-log_scale) - shift, -log_scale


@dataclasses.dataclass(frozen=True)
class Shift(Transformer):
    """y = x + shift, raw = (shift,): the couplings' additive map.

    Reference: Dinh et al. (2015), NICE, section 3.2.
    """

    @property
    def outputs(self) -> int:
        """The shift."""
        return 1

    def forward(
        self, raw: Raw | list[Array], x: Elements, moves: Array | None = None
    ) -> Mapped:
        """Shifts; `moves` as of `ShiftScale.forward`."""
        shift = raw[0] if moves is None else raw[0] * moves
        return x + shift, jnp.zeros_like(x)

    def inverse(
        self, raw: Raw | list[Array], y: Elements, moves: Array | None = None
    ) -> Mapped:
        """Shifts back."""
        shift = raw[0] if moves is None else raw[0] * moves
        return y - shift, jnp.zeros_like(y)


# Of couplings, whose affine maps shift first, by what is added.
COUPLED: dict[str, type[Transformer]] = {
    **transformers.TRANSFORMERS,
    "affine": ShiftScale,
    "additive": Shift,
}


def of_coupling(value: Any, **affine: Any) -> Transformer:
    """The transformer that a coupling flow's attribute names.

    Args:
      value: as of `make`, names as in `COUPLED`.
      affine: settings of "affine", where `value` does not give them.

    Raises:
      ValueError: as `make`.
    """
    settings = dict(value) if hasattr(value, "items") else {"name": value}
    if settings.get("name") == "affine":
        value = {**affine, **settings}
    return transformers.make(value, COUPLED)


class Coupling(Bijector):
    """y1 = x1, y2 = transformer(x2; conditioner(x1)), each element of x2 by itself.

    affine:   y2 = (x2 + shift(x1)) * exp(log_scale(x1))
    additive: y2 = x2 + shift(x1)
    spline:   y2 = a monotone rational-quadratic spline of x2, its knots given by x1

    With `partition="half"`, x1 is the first half of the channels (the smaller one
    when their number is odd), and the conditioner sees and gives only what it needs.
    Otherwise a mask says what x1 is; the conditioner sees the event with x2 zeroed,
    and gives as many channels as the event has, those of x1 unused. Of alternating
    channels moved by a spline or another transformer of many numbers it gives those of
    x2 alone.

    Args:
      conditioner: module called as `conditioner(x1, features, cond)`.
      transformer: "affine", "additive", "spline", a mapping with one of these as its
        `name` and the transformer's attributes, or a `Transformer`.
      log_scale: of "affine": "sigmoid", in (log floor, 0), as Glow; or "tanh", in
        (-5, 5).
      floor: smallest scale of "sigmoid", what the inverse divides by.
      partition: "half", "alternating" (channels), or "checkerboard" (positions).
      swap: exchanges the roles of the two parts.

    Reference: Dinh et al. (2017), section 3.2; Kingma and Dhariwal (2018), table 1;
    Durkan et al. (2019), section 3.
    """

    conditioner: nn.Module
    transformer: Any = "affine"
    log_scale: str = "sigmoid"
    floor: float = 1e-3
    partition: str = "half"
    swap: bool = False

    def __post_init__(self):
        for name, known in (
            ("log_scale", LOG_SCALES),
            ("partition", PARTITIONS),
        ):
            if getattr(self, name) not in known:
                raise ValueError(
                    f"Coupling({name}={getattr(self, name)!r}): expected one of {known}"
                )
        made = self._made()
        # A name stays one: what "affine" is, the attributes beside it say.
        if not isinstance(self.transformer, str):
            self.transformer = made
        super().__post_init__()

    def _made(self) -> Transformer:
        return of_coupling(self.transformer, log_scale=self.log_scale, floor=self.floor)

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
        board = conditioners.checkerboard(x.shape[1], x.shape[2], parity)
        return jnp.asarray(board, x.dtype)[..., None]

    def _parts(self, x: Events) -> tuple[Array, Array, Array | None]:
        """What the conditioner sees, what is moved, and the mask of what is not.

        Without a mask, all of what is moved is.
        """
        if x.shape[-1] < 2 and self.partition != "checkerboard":
            raise ValueError(
                f"a coupling splits the channels and needs at least 2, got {x.shape}"
            )
        if self.partition == "half":
            return *self._split(x), None
        keep = self._mask(x)
        seen = x * keep
        if self._gathers():
            return seen, x[..., 1 - int(self.swap) :: 2], None
        return seen, x, keep

    def _gathers(self) -> bool:
        """Whether x2 is taken out of alternating channels.

        Affine maps are cheap, and their weights are stored with all channels.
        """
        return self.partition == "alternating" and not self._is_affine()

    def _is_affine(self) -> bool:
        return isinstance(self._made(), ShiftScale | Shift)

    def _whole(self, x: Events, x1: Array, moved: Array) -> Events:
        """The event whose part x2 is replaced by `moved`."""
        if self.partition == "half":
            parts = [moved, x1] if self.swap else [x1, moved]
            return jnp.concatenate(parts, axis=-1)
        keep = self._mask(x)
        if self._gathers():
            # Zeros between: a scatter would be slow, and so would its gradient.
            before = 1 - int(self.swap)
            after = x.shape[-1] - before - 2 * moved.shape[-1] + 1
            sides = ((0, 0, 0),) * (x.ndim - 1)
            zero = jnp.zeros((), moved.dtype)
            moved = jax.lax.pad(moved, zero, (*sides, (before, after, 1)))
        return jnp.where(keep > 0, x, moved)

    def _raw(self, x1: Array, x2: Array, cond: Context | None) -> Array:
        """Raw numbers of the transformer, [*x2.shape[:-1], outputs * channels of x2].

        Number j of channel i is column j * channels + i.
        """
        return self.conditioner(x1, self._made().outputs * x2.shape[-1], cond)

    def _apply(
        self, x: Events, cond: Context | None, inverse: bool
    ) -> tuple[Events, LogDet, list[Array], Moves]:
        transformer = self._made()
        x1, x2, keep = self._parts(x)
        out = self._raw(x1, x2, cond)
        numbers = jnp.split(out, transformer.outputs, axis=-1)
        move: Any = transformer.inverse if inverse else transformer.forward
        if self._is_affine():
            moves = None if keep is None else 1 - keep
            moved, log_slope = move(numbers, x2, moves)
        else:
            moved, log_slope = move(jnp.stack(numbers), x2)
            if keep is not None:
                log_slope = jnp.where(keep > 0, 0, log_slope)
        y = (
            moved
            if self._is_affine() and keep is not None
            else self._whole(x, x1, moved)
        )
        log_det = jnp.sum(log_slope, axis=tuple(range(1, log_slope.ndim)))
        slopes = log_slope
        if keep is None:
            slopes = self._whole(jnp.zeros_like(x), jnp.zeros_like(x1), log_slope)
        return y, log_det, numbers, Moves.of_elements(-slopes if inverse else slopes)

    def forward(self, x: Events, cond: Context | None = None) -> tuple[Events, LogDet]:
        """Moves x2."""
        return self._apply(x, cond, inverse=False)[:2]

    def inverse(self, y: Events, cond: Context | None = None) -> tuple[Events, LogDet]:
        """Moves x2 back."""
        return self._apply(y, cond, inverse=True)[:2]

    def parameters(
        self, x: Events, cond: Context | None = None
    ) -> tuple[Events, tuple[Array, ...]]:
        """`forward`, and the raw numbers of what it moves, [batch, outputs, ...]."""
        y, _, numbers, _ = self._apply(x, cond, inverse=False)
        return y, (jnp.stack(numbers, axis=1),)

    def inspect_forward(self, x: Events, cond: Context | None = None) -> Inspection:
        """Of what it moves, and 1 for the rest."""
        y, log_det, numbers, moves = self._apply(x, cond, inverse=False)
        return Inspection(y, log_det, (jnp.stack(numbers, axis=1),), moves)

    def inspect_inverse(self, y: Events, cond: Context | None = None) -> Inspection:
        """As `inspect_forward`."""
        x, log_det, numbers, moves = self._apply(y, cond, inverse=True)
        return Inspection(x, log_det, (jnp.stack(numbers, axis=1),), moves)


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
