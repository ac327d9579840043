"""Monotone rational-quadratic splines, both directions and their derivatives.

Elementwise: every element has raw numbers of its own, [outputs, *shape] for elements of
[*shape], so that each of them is one array and nothing is gathered.

Reference: Durkan et al. (2019), Neural spline flows, eq. 4-8 and appendix A.
"""

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fdnf.ops import rules


@dataclasses.dataclass(frozen=True)
class Spline:
    """What is fixed of a spline; see `bijectors.RationalQuadratic`."""

    bins: int = 8
    box: float = 3.0
    min_width: float = 1e-3
    min_height: float = 1e-3
    min_slope: float = 1e-3
    circular: bool = False

    def __post_init__(self):
        self._check("bins", self.bins >= 2, "at least 2")
        self._check("box", 0 < self.box < math.inf, "a finite number above 0")
        # Below, float32 cannot tell two knots apart.
        for name in ("min_width", "min_height"):
            share = getattr(self, name)
            wanted = f"at least 1e-5 and below 1 / bins = {1 / self.bins:.4g}"
            self._check(name, 1e-5 <= share < 1 / self.bins, wanted)
        wanted = "at least 1e-5 and below 1"
        self._check("min_slope", 1e-5 <= self.min_slope < 1, wanted)

    @property
    def outputs(self) -> int:
        """Widths, heights and slopes; those at the ends are 1 unless circular."""
        return 3 * self.bins - (0 if self.circular else 1)

    def _split(self, raw: Array) -> tuple[Array, Array, Array]:
        """Raw widths, heights and slopes."""
        return raw[: self.bins], raw[self.bins : 2 * self.bins], raw[2 * self.bins :]

    @property
    def _offset(self) -> float:
        """What softplus makes 1 - min_slope of."""
        return math.log(math.expm1(1 - self.min_slope))

    def _slope_index(self, knot: int) -> int | None:
        """Which raw slope is that of a knot; None at an end of slope 1."""
        if self.circular:
            return knot % self.bins
        return knot - 1 if 0 < knot < self.bins else None

    def _check(self, name: str, holds: bool, wanted: str) -> None:
        if not holds:
            value = getattr(self, name)
            raise ValueError(
                f"{type(self).__name__}({name}={value!r}): expected {wanted}"
            )


def forward(
    spline: Spline, raw: Float[Array, "outputs *shape"], x: Float[Array, "*shape"]
) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"]]:
    """(y, log dy/dx in nats), eq. 4 and 5."""
    return _where_inside(_found, spline, raw, x)


def inverse(
    spline: Spline, raw: Float[Array, "outputs *shape"], y: Float[Array, "*shape"]
) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"]]:
    """(x, log dx/dy in nats), eq. 6-8.

    The derivative is implicit, dx = (dy - T_raw draw) / T_x, to every order.
    """
    return _where_inside(_inverse, spline, raw, y)


def _where_inside(
    of: Callable, spline: Spline, raw: Array, v: Array
) -> tuple[Array, Array]:
    """`of` inside the box, the identity outside.

    Elements outside stand at the edge: finite there is every derivative, and an
    element that one rounding has inside and another outside is no matter.
    """
    inside = jnp.abs(v) <= spline.box
    at = jnp.where(inside, v, jnp.clip(v, -spline.box, spline.box))
    mapped, log_slope = of(spline, raw, at)
    return jnp.where(inside, mapped, v), jnp.where(inside, log_slope, 0)


class _Bin(NamedTuple):
    """The bin of each element.

    Corners and sizes are in units of `_Side.scale`, from the left end of the box.
    """

    x: Array
    width: Array
    y: Array
    height: Array
    slope: Array
    next_slope: Array


class _Side(NamedTuple):
    """One axis of the box.

    A bin's size is a softmax's part and `least`, which has no product in it: a knot is
    a plain sum, and so the same number wherever a compiler computes it again. Else an
    element at a knot might have the corner of one bin and the size of the next.
    """

    least: float
    scale: float
    box: float

    def within(self, v: Array) -> Array:
        """From the left end of the box."""
        return (v + self.box) / self.scale

    def back(self, u: Array) -> Array:
        return self.scale * u - self.box


def _side(spline: Spline, side: int) -> _Side:
    """0 is x, 1 is y."""
    least = (spline.min_width, spline.min_height)[side]
    free = 1 - spline.bins * least
    return _Side(least / free, 2 * spline.box * free, spline.box)


def _value(spline: Spline, at: _Bin, t: Array) -> tuple[Array, Array]:
    """The rational quadratic and the log of its slope, eq. 4 and 5.

    Args:
      spline: has the units of `at`.
      at: the bin.
      t: the place in it, 0 at its left end and 1 at its right.
    """
    mean, rest = _mean_slope(spline, at), 1 - t
    both = t * rest
    # Of positive terms only: s + (d_0 + d_1 - 2 s) t (1 - t), at least s / 2.
    below = mean * (1 - 2 * both) + (at.slope + at.next_slope) * both
    u = at.y + at.height * t * (mean * t + at.slope * rest) / below
    ratio = mean / below
    slope = at.next_slope * t * t + 2 * mean * both + at.slope * rest * rest
    return _side(spline, 1).back(u), jnp.log(slope * ratio * ratio)


def _mean_slope(spline: Spline, at: _Bin) -> Array:
    unit = _side(spline, 1).scale / _side(spline, 0).scale
    return unit * at.height / at.width


def _place(spline: Spline, at: _Bin, y: Array) -> Array:
    """The t with that value, eq. 6-8.

    With v = (y - y_k) / height and b' = d_0 (1 - v) - d_1 v, the discriminant of eq. 8
    over height^2 is b'^2 + 4 s^2 v (1 - v), a sum of what is not negative, and the root
    2 c / (-b - sqrt(b^2 - 4 a c)) is 2 s v / (2 s v + b' + sqrt(...)). Where b' is
    negative, b' + sqrt(b'^2 + q) is q / (sqrt(b'^2 + q) - b'): nothing cancels.
    """
    mean = _mean_slope(spline, at)
    v = jnp.clip((_side(spline, 1).within(y) - at.y) / at.height, 0, 1)
    rest = 1 - v
    b = at.slope * rest - at.next_slope * v
    q = 4 * mean * mean * v * rest
    far = jnp.abs(b) + jnp.sqrt(b * b + q)
    part = 2 * mean * v
    return part / (part + jnp.where(b < 0, q / far, far))


def _found(spline: Spline, raw: Array, x: Array) -> tuple[Array, Array]:
    at, _ = _bin(spline, 0, raw, jax.lax.stop_gradient(x))
    t = (_side(spline, 0).within(x) - at.x) / at.width
    return _value(spline, at, _clipped(t, 0.0, 1.0))


def _clipped(x: Array, low: float, high: float) -> Array:
    """What rounding moved out of its range is moved back; the slope is 1 everywhere."""
    return x - jax.lax.stop_gradient(x - jnp.clip(x, low, high))


@rules.ruled(statics=2)
def _bin(spline: Spline, side: int, raw: Array, v: Array) -> tuple[_Bin, Array]:
    """The bin of each element, and its number.

    Args:
      spline: says how raw numbers are read.
      side: 0 to look v up among the knots along x, 1 along y.
      raw: [outputs, *shape].
      v: inside the box.
    """
    *shares, slopes = spline._split(raw)
    # One number for all comparisons, which else may be computed more than once.
    u = jax.lax.optimization_barrier(_side(spline, side).within(v))
    zero = jnp.zeros_like(v)
    corners, sizes = [], []
    for axis, share in enumerate(shares):
        size = list(jax.nn.softmax(share, axis=0) + _side(spline, axis).least)
        sizes.append(size)
        corners.append([zero, *itertools.accumulate(size[:-1])])

    def raw_slope(knot: int) -> Array:
        index = spline._slope_index(knot)
        return zero if index is None else slopes[index]

    at_knots = [raw_slope(knot) for knot in range(spline.bins + 1)]
    columns = [corners[0], sizes[0], corners[1], sizes[1], at_knots[:-1], at_knots[1:]]
    found, number = [column[0] for column in columns], jnp.zeros_like(v, jnp.int32)
    for k in range(1, spline.bins):
        passed = u >= corners[side][k]
        number = jnp.where(passed, k, number)
        found = [
            jnp.where(passed, column[k], before)
            for column, before in zip(columns, found, strict=True)
        ]
    x, width, y, height, slope, next_slope = found
    ends = (_slope(spline, each) for each in (slope, next_slope))
    return _Bin(x, width, y, height, *ends), number


def _slope(spline: Spline, raw: Array) -> Array:
    slope = spline.min_slope + jax.nn.softplus(raw + spline._offset)
    return jnp.minimum(slope, 1 / spline.min_slope)


@_bin.defjvp
def _bin_jvp(
    spline: Spline, side: int, primals: Any, tangents: Any
) -> tuple[tuple[_Bin, Array], tuple[_Bin, Array]]:
    """The bin's number does not change; its corners do by the softmaxes' slopes."""
    (raw, v), change = primals, spline._split(tangents[0])
    found, number = _bin(spline, side, raw, v)
    bins = jnp.arange(spline.bins).reshape(-1, *[1] * v.ndim)
    below, own = bins < number, bins == number

    def corner(raw: Array, change: Array) -> tuple[Array, Array]:
        part = jax.nn.softmax(raw, axis=0)
        moved = part * change
        moved = moved - part * jnp.sum(moved, axis=0)
        low, size = (jnp.where(which, moved, 0) for which in (below, own))
        return jnp.sum(low, axis=0), jnp.sum(size, axis=0)

    def end(slope: Array, offset: int) -> Array:
        index = [spline._slope_index(k + offset) for k in range(spline.bins)]
        terms = [
            jnp.where(number == k, change[2][i], 0)
            for k, i in enumerate(index)
            if i is not None
        ]
        # The derivative of softplus, said by its value.
        by_raw = -jnp.expm1(spline.min_slope - slope)
        return jnp.where(slope < 1 / spline.min_slope, by_raw, 0) * sum(terms)

    widths, heights, _ = spline._split(raw)
    moved = _Bin(
        *corner(widths, change[0]),
        *corner(heights, change[1]),
        end(found.slope, 0),
        end(found.next_slope, 1),
    )
    return (found, number), (moved, number)


@rules.ruled(statics=1)
def _inverse(spline: Spline, raw: Array, y: Array) -> tuple[Array, Array]:
    at, _ = _bin(spline, 1, raw, y)
    t = _place(spline, at, y)
    # Rounding may leave the box.
    x = jnp.clip(_side(spline, 0).back(at.x + at.width * t), -spline.box, spline.box)
    return x, -_value(spline, at, t)[1]


@_inverse.defjvp
def _inverse_jvp(spline: Spline, primals: Any, tangents: Any) -> Any:
    (raw, y), (d_raw, d_y) = primals, tangents
    x, log_slope = _inverse(spline, raw, y)
    value = functools.partial(_found, spline)
    _, (by_raw, _) = jax.jvp(value, (raw, x), (d_raw, jnp.zeros_like(x)))
    d_x = (d_y - by_raw) * jnp.exp(log_slope)
    _, (_, change) = jax.jvp(value, (raw, x), (d_raw, d_x))
    return (x, log_slope), (d_x, -change)
