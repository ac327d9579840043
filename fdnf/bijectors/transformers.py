"""Monotone maps of one element, which the layers of a flow are made with.

A masked or a coupling layer has a network that gives some raw numbers per element, and
a transformer that maps the element by them: y = T(x; raw), dy/dx > 0. All raw numbers
are allowed, raw = 0 is the identity, and every slope has bounds.

Raw numbers come first, [outputs, *shape] for elements of [*shape], so that each of them
is one array and nothing is gathered.
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fdnf.ops import conditioners, splines, statistics

Raw = Float[Array, "outputs *shape"]
Elements = Float[Array, "*shape"]
Mapped = tuple[Float[Array, "*shape"], Float[Array, "*shape"]]


@dataclasses.dataclass(frozen=True)
class Transformer:
    """A map y = T(x; raw) of one element, increasing in x; frozen and hashable."""

    @property
    def outputs(self) -> int:
        """How many raw numbers an element takes."""
        raise NotImplementedError

    def forward(self, raw: Raw, x: Elements) -> Mapped:
        """The map.

        Args:
          raw: a network's outputs, of any size.
          x: the elements.

        Returns:
          y, and log dy/dx of each element in nats.
        """
        raise NotImplementedError

    def inverse(self, raw: Raw, y: Elements) -> Mapped:
        """The x with T(x; raw) = y.

        Returns:
          x, and log dx/dy of each element in nats.
        """
        raise NotImplementedError

    def gains(self, raw: Raw, y: Elements) -> Raw:
        """dx/d raw of the inverse at y: what the tangent of a masked layer reads."""
        x, pull = jax.vjp(lambda raw: self.inverse(raw, y)[0], raw)
        return pull(jnp.ones_like(x))[0]

    def start(
        self, x: Float[Array, "batch dim"], raw: Float[Array, "outputs batch dim"]
    ) -> Float[Array, "outputs dim"] | None:
        """What to add to `raw` so that a new layer makes a first batch standard.

        Args:
          x: the first batch.
          raw: what the new network says of it.

        Returns:
          A bias for each column, or None: the layer starts near the identity.
        """
        del x, raw


@dataclasses.dataclass(frozen=True)
class Affine(Transformer):
    """y = (x - m) exp(-a), raw = (m, b), a = soft_clamp(b).

    Args:
      bound: largest |a|; slopes are within exp(-bound) and exp(bound).

    Reference: Papamakarios et al. (2017), eq. 3-5.
    """

    bound: float = 5.0

    def __post_init__(self):
        if not self.bound > 0:
            raise ValueError(f"Affine(bound={self.bound}): expected a number above 0")

    @property
    def outputs(self) -> int:
        """Shift and raw log-scale."""
        return 2

    def forward(self, raw: Raw, x: Elements) -> Mapped:
        """Shifts, then scales."""
        log_scale = conditioners.soft_clamp(raw[1], self.bound)
        return (x - raw[0]) * jnp.exp(-log_scale), -log_scale

    def inverse(self, raw: Raw, y: Elements) -> Mapped:
        """Scales back, then shifts back."""
        log_scale = conditioners.soft_clamp(raw[1], self.bound)
        return raw[0] + y * jnp.exp(log_scale), log_scale

    def gains(self, raw: Raw, y: Elements) -> Raw:
        """1 of the shift, and of the scale y times what it changes by."""
        clamp = functools.partial(conditioners.soft_clamp, bound=self.bound)
        a, slope = jax.jvp(clamp, (raw[1],), (jnp.ones_like(y),))
        return jnp.stack([jnp.ones_like(y), y * jnp.exp(a) * slope])

    def start(
        self, x: Float[Array, "batch dim"], raw: Float[Array, "outputs batch dim"]
    ) -> Float[Array, "outputs dim"] | None:
        """Mean 0 and variance 1, see `statistics.affine_start`."""
        shift, bias = statistics.affine_start(x - raw[0], raw[1], 0, self.bound)
        return jnp.stack([shift, bias])


@dataclasses.dataclass(frozen=True)
class Additive(Transformer):
    """y = x - m, raw = (m,); all slopes are 1.

    Reference: Dinh et al. (2015), NICE, section 3.2.
    """

    @property
    def outputs(self) -> int:
        """The shift."""
        return 1

    def forward(self, raw: Raw, x: Elements) -> Mapped:
        """Shifts."""
        return x - raw[0], jnp.zeros_like(x)

    def inverse(self, raw: Raw, y: Elements) -> Mapped:
        """Shifts back."""
        return y + raw[0], jnp.zeros_like(y)


@dataclasses.dataclass(frozen=True)
class RationalQuadratic(splines.Spline, Transformer):
    """A monotone spline of rational quadratics on [-box, box], the identity outside.

    raw = (widths of the bins, their heights, slopes at the knots between them). Widths
    and heights are softmaxes, slopes softplus with an offset that makes raw = 0 the
    identity. Bounds: a knot's slope is within `min_slope` and 1 / `min_slope` (what
    softplus says above is cut), a bin's mean slope at least `min_height` and at most
    1 / `min_width`, and no slope above four times the largest of these.

    A circular one maps a circle of circumference 2 box to itself: the slope at both
    ends is the same, and one more raw number. Elements of it are inside the box. The
    point at its ends stays where it is; a layer that should move that too needs a shift
    beside it.

    Values and slopes are continuous, second derivatives not at the knots. Nothing is
    nan for finite x and raw, however large, in float32 too, derivatives included.

    Args:
      bins: how many, at least 2.
      box: half the width of the box, in units of x.
      min_width: least width of a bin, as a part of the box.
      min_height: least height, likewise.
      min_slope: least slope at a knot.
      circular: see above.

    Reference: Durkan et al. (2019), Neural spline flows, eq. 4-8 and appendix A;
    Rezende et al. (2020), Normalizing flows on tori and spheres, section 2.1.2.
    """

    def forward(self, raw: Raw, x: Elements) -> Mapped:
        """Eq. 4 and 5."""
        return splines.forward(self, raw, x)

    def inverse(self, raw: Raw, y: Elements) -> Mapped:
        """Eq. 6-8; the derivative is implicit, dx = (dy - T_raw draw) / T_x."""
        return splines.inverse(self, raw, y)


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


@dataclasses.dataclass(frozen=True)
class Compose(Transformer):
    """One transformer after another, each with raw numbers of its own.

    An affine one before a spline brings an element into the spline's box, and makes it
    standard on the first batch, so that data need not be.

    Args:
      parts: the first one applied first in `forward`; what `make` takes.
    """

    parts: Any = ("affine", "spline")

    def __post_init__(self):
        parts = self.parts
        if not isinstance(parts, tuple | list) or not parts:
            raise ValueError(
                f"Compose(parts={parts!r}): expected several transformers, such as "
                "('affine', 'spline')"
            )
        object.__setattr__(self, "parts", tuple(make(part) for part in parts))

    @property
    def outputs(self) -> int:
        """Those of all parts."""
        return sum(part.outputs for part in self.parts)

    def _split(self, raw: Array) -> list[tuple[Transformer, Array]]:
        """Each part with its raw numbers."""
        found, first = [], 0
        for part in self.parts:
            found.append((part, raw[first : first + part.outputs]))
            first += part.outputs
        return found

    def forward(self, raw: Raw, x: Elements) -> Mapped:
        """One after the other."""
        total = jnp.zeros_like(x)
        for part, own in self._split(raw):
            x, log_slope = part.forward(own, x)
            total = total + log_slope
        return x, total

    def inverse(self, raw: Raw, y: Elements) -> Mapped:
        """From the last to the first."""
        total = jnp.zeros_like(y)
        for part, own in reversed(self._split(raw)):
            y, log_slope = part.inverse(own, y)
            total = total + log_slope
        return y, total

    def start(
        self, x: Float[Array, "batch dim"], raw: Float[Array, "outputs batch dim"]
    ) -> Float[Array, "outputs dim"] | None:
        """That of each part for what the parts before it make of the batch.

        Parts without one are the identity on average.
        """
        biases = []
        for part, own in self._split(raw):
            bias = part.start(x, own)
            if bias is None:
                bias = -jnp.mean(own, axis=1)
            x, _ = part.forward(own + bias[:, None], x)
            biases.append(bias)
        return jnp.concatenate(biases)


TRANSFORMERS: dict[str, type[Transformer]] = {
    "affine": Affine,
    "additive": Additive,
    "spline": RationalQuadratic,
    "compose": Compose,
}


# Of couplings, whose affine maps shift first, by what is added.
COUPLED: dict[str, type[Transformer]] = {
    **TRANSFORMERS,
    "affine": ShiftScale,
    "additive": Shift,
}


def make(
    value: Any, known: Mapping[str, type[Transformer]] = TRANSFORMERS
) -> Transformer:
    """The transformer that a flow's attribute names.

    Args:
      value: a Transformer; a name in `TRANSFORMERS`; or a mapping of "name" and the
        settings that differ from its defaults, {"name": "spline", "bins": 16}.
      known: transformers by name.

    Raises:
      ValueError: for what is none of these, with what is known.
    """
    if isinstance(value, Transformer):
        return value
    # A ConfigDict is no Mapping.
    settings = dict(value) if hasattr(value, "items") else {"name": value}
    name = settings.pop("name", None)
    if not isinstance(name, str) or name not in known:
        raise ValueError(
            f"transformer is {value!r}: expected one of {sorted(known)}, or a "
            'mapping with one of them as "name" and its settings, as '
            '{"name": "spline", "bins": 8}'
        )
    kind = known[name]
    fields = [field.name for field in dataclasses.fields(kind)]
    unknown = sorted(set(settings) - set(fields))
    if unknown:
        raise ValueError(
            f"transformer {name!r} has no {', '.join(map(repr, unknown))}; it has "
            f"{', '.join(fields) or 'no settings'}"
        )
    return kind(**settings)


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
    return make(value, COUPLED)
