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

    def affine(self, raw: Raw) -> Mapped | None:
        """Shift m and log-scale a with x = m + y exp(a); None of other maps."""
        del raw

    def units(self, raw: Raw) -> Raw:
        """The size of each raw number that changes the map noticeably.

        1, or, of a number in the units of x, how far x moves where y moves by 1.
        """
        return jnp.ones_like(raw)

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

    def affine(self, raw: Raw) -> Mapped:
        """The shift and the clamped log-scale."""
        return raw[0], conditioners.soft_clamp(raw[1], self.bound)

    def units(self, raw: Raw) -> Raw:
        """Of the shift, the scale."""
        _, log_scale = self.affine(raw)
        return jnp.stack([jnp.exp(log_scale), jnp.ones_like(log_scale)])

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

    def affine(self, raw: Raw) -> Mapped:
        """The shift, and 0."""
        return raw[0], jnp.zeros_like(raw[0])


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

    def units(self, raw: Raw) -> Raw:
        """Those of each part, in the units of what it is given."""
        return jnp.concatenate([part.units(own) for part, own in self._split(raw)])

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


@dataclasses.dataclass(frozen=True)
class Inverse(Transformer):
    """Another transformer with its directions swapped; raw numbers mean the same.

    y = T^-1(x; raw). What a masked layer of T does, one of T's inverse undoes by the
    same raw numbers, read off the other side. An affine map has an affine inverse, but
    that of a rational-quadratic spline is no such spline.

    It starts near the identity, unless T is affine.

    Args:
      of: T; what `make` takes.
    """

    of: Any = "affine"

    def __post_init__(self):
        object.__setattr__(self, "of", make(self.of))

    @property
    def outputs(self) -> int:
        """Those of T."""
        return self.of.outputs

    def forward(self, raw: Raw, x: Elements) -> Mapped:
        """T's inverse."""
        return self.of.inverse(raw, x)

    def inverse(self, raw: Raw, y: Elements) -> Mapped:
        """T."""
        return self.of.forward(raw, y)

    def affine(self, raw: Raw) -> Mapped | None:
        """That of T, solved for the other side."""
        found = self.of.affine(raw)
        if found is None:
            return None
        shift, log_scale = found
        return -shift * jnp.exp(-log_scale), -log_scale

    def units(self, raw: Raw) -> Raw:
        """Those of T, whose numbers these are."""
        return self.of.units(raw)

    def start(
        self, x: Float[Array, "batch dim"], raw: Float[Array, "outputs batch dim"]
    ) -> Float[Array, "outputs dim"] | None:
        """Mean 0 and variance 1 of an affine T on average, see `Affine.start`."""
        if not isinstance(self.of, Affine):
            return None
        bound, raw_scale = self.of.bound, statistics.raw_log_scale(x, 0, self.of.bound)
        bias = raw_scale - jnp.mean(raw[1], axis=0)
        scaled = x * jnp.exp(conditioners.soft_clamp(raw[1] + bias, bound))
        return jnp.stack([-jnp.mean(raw[0] + scaled, axis=0), bias])


def inverse_of(transformer: Transformer) -> Transformer:
    """`Inverse` of a transformer; of an `Inverse`, what it inverts."""
    if isinstance(transformer, Inverse):
        return transformer.of
    return Inverse(transformer)


def inverts_affine(value: Any) -> bool:
    """Whether what a flow is given names the inverse of an affine map and no bound.

    The flow's own bound is then that map's.
    """
    if value == "inverse":
        return True
    if not isinstance(value, Mapping) or value.get("name") != "inverse":
        return False
    return value.get("of", "affine") in ("affine", {"name": "affine"})


TRANSFORMERS: dict[str, type[Transformer]] = {
    "affine": Affine,
    "additive": Additive,
    "spline": RationalQuadratic,
    "compose": Compose,
    "inverse": Inverse,
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
