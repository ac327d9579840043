"""Distances between what a student and its teacher make of data, block by block.

The parts of which `guided` is made: what a teacher says of data, in which units errors
of its activations are measured, and the two terms that ask each block alone.
"""

import functools
import math
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from fdnf.losses import levels
from fdnf.losses.levels import Pairs
from fdnf.ops import rows as of_rows
from fdnf.ops import statistics
from fdnf.types import (
    BlockKind,
    Blocks,
    Decoding,
    Encoding,
    Flow,
    Scalar,
    Variables,
)

UNITS = ("teacher", "level", "plain")
ENDS = 'train it by the terms "path_x", "path_z" and "kl"'

Rows = Array
Tree = TypeVar("Tree")


def kind_of(flow: Flow) -> BlockKind | None:
    """What the equal blocks of a flow are; None of one that does not tell."""
    told = getattr(flow, "block_kind", None)
    return None if told is None else told()


class Settings(NamedTuple):
    """Everything static of a call."""

    terms: tuple[str, ...]
    units: str
    robust: float | None
    limit: float | None
    pairs: str | Pairs | None
    screen: bool
    axis: str | None
    cap: float | None
    forward_share: float


class Taught(NamedTuple):
    """What a teacher says of data.

    Attributes:
      x: the data.
      encoding: of the data.
      blocks: of the teacher, None where nobody asks.
      bad: rows that are not finite, or beyond the limit.
      spreads: of the columns of h_0 .. h_K and of each latent, where errors are
        measured by them, see `measured`.
    """

    x: Array
    encoding: Encoding
    blocks: Blocks | None
    bad: Rows
    spreads: tuple[Array, ...] = ()

    @property
    def sides(self) -> tuple[Array, ...]:
        """h_0 .. h_K, data side first."""
        return (self.x, *self.encoding.levels)


def teach(
    teacher: Flow, variables: Variables, x: Array, cond: Array | None, how: Settings
) -> Taught:
    """One pass of the teacher, whose variables are held fixed."""
    variables = jax.lax.stop_gradient(variables)
    asked = how.units == "teacher" or "parameters" in how.terms
    blocks = None
    if asked and kind_of(teacher) is not None:
        encoding, blocks = teacher.apply(
            variables, x, cond, method="encode_with_blocks"
        )
    else:
        encoding = teacher.apply(variables, x, cond, method="encode")
        encoding = encoding._replace(levels=tuple(encoding.levels))
    return Taught(x, encoding, blocks, far((x, *encoding.levels), how.limit))


def measured(taught: Taught, how: Settings) -> Taught:
    """The same with spreads, where these are the units. No gradient."""
    if how.units != "level":
        return taught
    arrays, bad = (*taught.sides, *taught.encoding.z), taught.bad
    arrays, bad = whole(arrays, bad, how)
    found = (statistics.robust_spread(array, ~bad) for array in arrays)
    return taught._replace(
        spreads=tuple(jnp.where(spread > 0, spread, 1) for spread in found)
    )


def whole(
    arrays: tuple[Array, ...], bad: Rows, how: Settings
) -> tuple[tuple[Array, ...], Rows]:
    """The rows of all devices, without gradient; those here where there is no axis."""
    arrays, bad = jax.lax.stop_gradient((arrays, bad))
    if how.axis is None:
        return arrays, bad
    rows = len(bad)
    parts = [array.reshape(rows, -1) for array in arrays]
    ends = np.cumsum([part.shape[1] for part in parts])
    # As one array: XLA's CPU backend does not survive collectives side by side.
    parts = [*parts, bad[:, None].astype(parts[0].dtype)]
    joined = jax.lax.all_gather(jnp.concatenate(parts, 1), how.axis, tiled=True)
    *parts, marks = jnp.split(joined, ends, axis=1)
    shapes = [(-1, *array.shape[1:]) for array in arrays]
    found = (part.reshape(s) for part, s in zip(parts, shapes, strict=True))
    return tuple(found), marks[:, 0] > 0


def after(given: Tree, done: Any, how: Settings) -> Tree:
    """What is given, once the rest is done: what follows gathers rows, as that did."""
    if how.axis is None:
        return given
    return jax.lax.optimization_barrier((given, jax.lax.stop_gradient(done)))[0]


def far(arrays: tuple[Array, ...], limit: float | None) -> Rows:
    """Rows of which something is not finite or beyond the limit."""
    found = [of_rows.exploded(array, limit) for array in arrays]
    return functools.reduce(jnp.logical_or, found)


def condition(bad: Rows, cond: Array | None) -> Array | None:
    """A condition of each row, with 0 in bad ones; of all rows, as it is."""
    if cond is None or cond.ndim < 2 or cond.shape[0] != bad.shape[0]:
        return cond
    return of_rows.zeroed(bad, cond)


def units_of(taught: Taught, how: Settings) -> list[Array]:
    """Of h_0 .. h_K: what an error of 1 is, in bad rows 1. No gradient.

    Raises:
      ValueError: for the teacher's units, of one that does not tell them.
    """
    sides, bad = taught.sides, taught.bad
    if how.units == "plain":
        return [jnp.ones((), side.dtype) for side in sides]
    if how.units == "level":
        return list(taught.spreads[: len(sides)])
    if taught.blocks is None or taught.blocks.log_scale is None:
        raise ValueError(
            'units="teacher": the teacher\'s blocks have no scale for each element; '
            'measure in units="level" or "plain"'
        )
    scales = jnp.exp(jax.lax.stop_gradient(taught.blocks.log_scale))
    units = [jnp.where(of_rows.beside(bad, s), 1, s) for s in jnp.unstack(scales)]
    return [*units, jnp.ones((), sides[-1].dtype)]


def distance(a: Array, b: Array, unit: Array, bad: Rows, how: Settings) -> Scalar:
    """Mean over all rows of robust((a - b) / unit), in which bad ones have 0.

    Args:
      a: the student's, [batch, ...], finite in bad rows.
      b: the teacher's, likewise.
      unit: of each element, or of all.
      bad: rows that do not count.
      how: static.

    Raises:
      ValueError: for unlike shapes.
    """
    if a.shape != b.shape:
        raise ValueError(
            f"the student has activations of shape {a.shape[1:]}, the teacher of "
            f"{b.shape[1:]}: pair levels of equal shape by pairs=((student, teacher), "
            "...), or none by pairs=()"
        )
    each = statistics.robust((a - b) / unit, how.robust)
    rows = jnp.mean(each.reshape(each.shape[0], -1), axis=1)
    return jnp.mean(jnp.where(bad, 0, rows))


def levels_of(taught: Decoding, teaching: Encoding, how: Settings) -> Pairs:
    """Pairs of levels to compare, (student, teacher); the ends are not among them."""
    counts = len(taught.levels), len(teaching.levels)
    pairs = how.pairs
    if pairs is None:
        pairs = "index" if counts[0] == counts[1] else ()
    found = levels.pairs_of(pairs, *counts)
    found = tuple((s % counts[0], t % counts[1]) for s, t in found)
    if len(teaching.z) > 1:
        return found
    return tuple(pair for pair in found if pair != (counts[0] - 1, counts[1] - 1))


class Found(NamedTuple):
    """A term: its value, that of each thing compared, and which rows do not count."""

    value: Scalar
    per_level: tuple[Scalar, ...]
    bad: Rows


def mean_of(gaps: list[Scalar], bad: Rows) -> Found:
    """The term that is the mean of these."""
    return Found(sum(gaps[1:], gaps[0]) / len(gaps), tuple(gaps), bad)


def ratio(log_a: Array, log_b: Array, bad: Rows, cap: float | None) -> Found:
    """Mean of log a - log b over rows that count.

    With a cap, in nats, a row's r beyond it, to either side, counts as
    sign(r) cap (1 + log(|r| / cap)): the slope goes on, and falls as 1 / |r|. Of draws
    of a, r is below -c with a probability of e^-c at most: such rows are rounding
    errors of densities far out.
    """
    bad = bad | ~jnp.isfinite(log_a) | ~jnp.isfinite(log_b)
    rows = jnp.where(bad, 0, log_a) - jnp.where(bad, 0, log_b)
    if cap is not None:
        size = jnp.abs(rows)
        beyond = jnp.sign(rows) * cap * (1 + jnp.log(jnp.maximum(size, cap) / cap))
        rows = jnp.where(size > cap, beyond, rows)
    return Found(jnp.mean(rows), (), bad)


def forward_kl(
    student: Flow,
    variables: Variables,
    taught: Taught,
    cond: Array | None,
    how: Settings,
) -> Found:
    """The student encodes some of the rows, which a sampler does slowly."""
    rows = math.ceil(how.forward_share * len(taught.x))
    bad, x = taught.bad[:rows], taught.x[:rows]
    if cond is not None and cond.ndim > 1 and len(cond) == len(taught.x):
        cond = cond[:rows]

    def encoded(variables: Variables, bad: Rows) -> Encoding:
        given = of_rows.zeroed(bad, x), condition(bad, cond)
        return student.apply(variables, *given, method="encode")

    if how.screen:
        # Column by column, the error of a row that the student does not know grows.
        trial = encoded(jax.lax.stop_gradient(variables), bad)
        bad = bad | far((*trial.z, *trial.levels), how.limit)
        bad = bad | far((trial.log_prob,), None)
    own = encoded(variables, bad)
    log_p = taught.encoding.log_prob[:rows]
    found = ratio(log_p, own.log_prob, bad, how.cap)
    others = jnp.zeros(len(taught.x) - rows, bool)
    return found._replace(bad=jnp.concatenate([found.bad, others]))


def _stacked(
    student: Flow, variables: Variables, taught: Taught, cond: Array | None
) -> Blocks:
    """The student's blocks, each given the teacher's activation on its latent side.

    Raises:
      ValueError: for a teacher without levels, with another number, or other shapes.
    """
    given = taught.encoding.levels
    own = kind_of(student)
    if not given:
        raise ValueError(
            "local: the teacher's encode gives no levels, the activations after its "
            f"blocks; without them, {ENDS.replace('it', 'the student', 1)}"
        )
    if own is not None and len(given) != own.count:
        raise ValueError(
            f"local: the student has {own.count} blocks, the teacher gives "
            f"{len(given)} levels; give the student as many, or {ENDS}"
        )
    shapes = sorted({side.shape[1:] for side in taught.sides})
    if len(shapes) > 1:
        raise ValueError(
            f"local: the teacher's levels are of shapes {shapes}; expected those of "
            "the data, as a stack of equal blocks has them"
        )
    latent_sides = jnp.stack(of_rows.zeroed(taught.bad, given))
    cond = condition(taught.bad, cond)
    return student.apply(variables, latent_sides, cond, method="decode_blocks")


def _local(seen: Blocks, taught: Taught, how: Settings) -> Found:
    """What each block makes of it, against the teacher's on the data side."""
    targets = of_rows.zeroed(taught.bad, taught.sides[:-1])
    units = units_of(taught, how)
    gaps = [
        distance(own, target, unit, taught.bad, how)
        for own, target, unit in zip(
            jnp.unstack(seen.out), targets, units[:-1], strict=True
        )
    ]
    return mean_of(gaps, taught.bad)


def _parameters(
    student: Flow, teacher: Flow, seen: Blocks, taught: Taught, how: Settings
) -> Found:
    """What the networks of both say, block by block.

    Raises:
      ValueError: for blocks whose numbers do not compare.
    """
    kinds = kind_of(student), kind_of(teacher)
    maps: list[Any] = [kind and kind.transformer for kind in kinds]
    blocks = taught.blocks
    told = None if blocks is None else blocks.parameters
    if None in maps or told is None or seen.parameters is None:
        raise ValueError(
            "parameters: expected blocks of one masked transformer each, such as those "
            'of a MAF and an IAF; leave this term out, "local" takes any'
        )
    mine, theirs = maps
    # [outputs, blocks, batch, dim].
    raws = [jnp.moveaxis(raw, 2, 0) for raw in (seen.parameters, told)]
    if mine == theirs:
        numbers, unit = raws, theirs.units(raws[1])
    else:
        pairs = [made.affine(raw) for made, raw in zip(maps, raws, strict=True)]
        if None in pairs:
            raise ValueError(
                "parameters: seen from the data, the student's blocks map by "
                f"{mine}, the teacher's by {theirs}; their numbers compare where "
                "the student is made with IAF.of(teacher)"
            )
        numbers = [jnp.stack(pair) for pair in pairs]
        size = jnp.exp(pairs[1][1])
        unit = jnp.stack([size, jnp.ones_like(size)])
    own_numbers, numbers = (jnp.moveaxis(each, 0, 2) for each in numbers)
    unit = jnp.moveaxis(unit, 0, 2)
    numbers, unit = jax.lax.stop_gradient((numbers, unit))
    clean = jax.vmap(functools.partial(of_rows.zeroed, taught.bad))
    if how.units == "plain":
        unit = jnp.ones((len(unit), 1), unit.dtype)
    if how.units == "level":
        # One for each output: some columns' numbers are the same in every row.
        over = jax.vmap(
            jax.vmap(statistics.robust_spread, in_axes=(1, None)), in_axes=(0, None)
        )
        rows = after(jnp.moveaxis(numbers, 1, 0), taught.spreads, how)
        (rows,), bad = whole((rows,), taught.bad, how)
        every = jnp.moveaxis(rows, 0, 1)
        spread = jnp.sqrt(jnp.mean(over(every, ~bad) ** 2, axis=-1))
        unit = jnp.where(spread > 0, spread, 1)[:, None, :, None]
    if how.units == "teacher":
        beside = of_rows.beside(taught.bad, unit[0])
        unit = jnp.where(beside, 1, unit)
    gaps = [
        distance(one, two, by, taught.bad, how)
        for one, two, by in zip(own_numbers, clean(numbers), unit, strict=True)
    ]
    return mean_of(gaps, taught.bad)


def blockwise(
    student: Flow,
    teacher: Flow,
    variables: Variables,
    taught: Taught,
    cond: Array | None,
    how: Settings,
) -> tuple[Blocks, dict[str, Found]]:
    """The terms that ask each block alone, from one stacked pass of the student."""
    seen, found = _stacked(student, variables, taught, cond), {}
    if "local" in how.terms:
        found["local"] = _local(seen, taught, how)
    if "parameters" in how.terms:
        found["parameters"] = _parameters(student, teacher, seen, taught, how)
    return seen, found
