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
        widths, heights, slopes = jnp.split(raw, [self.bins, 2 * self.bins])
        return widths, heights, slopes

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

    Corners and sizes are in units of `_Side.scale`, from the left end of the box;
    slopes are raw.
    """

    x: Array
    width: Array
    y: Array
    height: Array
    raw_slope: Array
    next_raw_slope: Array


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
    left, right = _slope(spline, at.raw_slope), _slope(spline, at.next_raw_slope)
    below = mean * (1 - 2 * both) + (left + right) * both
    u = at.y + at.height * t * (mean * t + left * rest) / below
    ratio = mean / below
    slope = right * t * t + 2 * mean * both + left * rest * rest
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
    left, right = _slope(spline, at.raw_slope), _slope(spline, at.next_raw_slope)
    b = left * rest - right * v
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


def _slope(spline: Spline, raw: Array) -> Array:
    slope = spline.min_slope + _softplus(raw + spline._offset)
    return jnp.minimum(slope, 1 / spline.min_slope)


@jax.custom_jvp
def _softplus(x: Array) -> Array:
    return jnp.maximum(x, 0) + jnp.log1p(jnp.exp(-jnp.abs(x)))


@_softplus.defjvp
def _softplus_jvp(primals: Any, tangents: Any) -> tuple[Array, Array]:
    (x,), (change,) = primals, tangents
    return _softplus(x), change / (1 + jnp.exp(-jnp.maximum(x, -40)))


@rules.ruled(statics=2)
def _bin(spline: Spline, side: int, raw: Array, v: Array) -> tuple[_Bin, Array]:
    """The bin of each element, and its number.

    Written out bin by bin: reductions over the first axis, and what they are made of,
    take thirty times as long on CPUs.

    Args:
      spline: says how raw numbers are read.
      side: 0 to look v up among the knots along x, 1 along y.
      raw: [outputs, *shape].
      v: inside the box.
    """
    *shares, slopes = spline._split(raw)
    u, zero = _side(spline, side).within(v), jnp.zeros_like(v)
    corners, sizes, total = [], [], zero
    for axis, share in enumerate(shares):
        peak, total = _normal(share)
        size = [
            jnp.exp(share[k] - peak) / total + _side(spline, axis).least
            for k in range(spline.bins)
        ]
        sizes.append(size)
        corners.append([zero, *itertools.accumulate(size[:-1])])

    def raw_slope(knot: int) -> Array:
        index = spline._slope_index(knot)
        return zero if index is None else slopes[index]

    at_knots = [raw_slope(knot) for knot in range(spline.bins + 1)]
    columns = [corners[0], sizes[0], corners[1], sizes[1], at_knots[:-1], at_knots[1:]]
    found, number = [column[0] for column in columns], zero
    for k in range(1, spline.bins):
        passed = u >= corners[side][k]
        number = jnp.where(passed, float(k), number)
        found = [
            jnp.where(passed, column[k], before)
            for column, before in zip(columns, found, strict=True)
        ]
    return _Bin(*(_kept(each, total) for each in found)), _kept(number, total)


def _normal(raw: Array) -> tuple[Array, Array]:
    """Largest of the raw numbers, and the sum of exp(raw - largest)."""
    peak = jax.lax.stop_gradient(functools.reduce(jnp.maximum, list(raw)))
    total = functools.reduce(jnp.add, [jnp.exp(each - peak) for each in raw])
    return _kept(peak, total), total


def _kept(x: Array, positive: Array) -> Array:
    """The same x, computed once.

    XLA's CPU compiler computes what is cheap again in each loop that reads it, a choice
    among eight bins in each of 23 columns of a gradient. A division is not cheap to it.
    """
    return x / jnp.sign(positive)


@_bin.defjvp
def _bin_jvp(
    spline: Spline, side: int, primals: Any, tangents: Any
) -> tuple[tuple[_Bin, Array], tuple[_Bin, Array]]:
    """The bin's number does not change; its corners do by the softmaxes' slopes.

    A knot is a sum of parts p_j of a softmax, whose change is p_j (d_j - sum_i p_i d_i)
    for that of d of the raw numbers. Said with sums over d alone, so that the reverse
    pass has products only.
    """
    (raw, v), change = primals, spline._split(tangents[0])
    found, number = _bin(spline, side, raw, v)

    def index(count: int) -> Array:
        return jnp.arange(count, dtype=v.dtype).reshape(-1, *[1] * v.ndim)

    def corner(axis: int, low: Array, size: Array) -> tuple[Array, Array]:
        share = spline._split(raw)[axis]
        peak, total = _normal(share)
        least, bins = _side(spline, axis).least, index(spline.bins)
        moved = jnp.exp(share - peak) * change[axis]
        mean = jnp.sum(moved, axis=0) / total
        below = jnp.sum(jnp.where(bins < number, moved, 0), axis=0) / total
        own = jnp.sum(jnp.where(bins == number, moved, 0), axis=0) / total
        return below - (low - number * least) * mean, own - (size - least) * mean

    def end(knot: Array) -> Array:
        slopes = index(change[2].shape[0])
        at = knot % spline.bins if spline.circular else knot - 1
        return jnp.sum(jnp.where(slopes == at, change[2], 0), axis=0)

    moved = _Bin(
        *corner(0, found.x, found.width),
        *corner(1, found.y, found.height),
        end(number),
        end(number + 1),
    )
    return (found, number), (moved, jnp.zeros_like(number))


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
