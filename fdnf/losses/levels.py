"""How the levels of two flows are compared: pairs, units, learned heads, distances.

    compared = levels.compared(student, teacher, latents="levels", pairs="ratio")
    heads = levels.identity(compared, learned=True, measured=True)
    levels.gaps(compared, heads, distance="l1")  # one scalar a pair

Unequal networks need not agree in what they make on the way. A head is a map of one
level of the student's, learned beside it: the level is asked to tell the teacher's, and
not to be it. Heads are dropped when training ends.

Reference: Lu et al. (2025), Bidirectional normalizing flow (arXiv 2512.10953), where
activations as they are make a student worse, and learned projections better.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Shaped

from fdnf.types import Encoding, LogDet, Scalar

Pairs = tuple[tuple[int, int], ...]
# What is compared as one: the arrays of the student, and as many of the teacher.
Compared = Sequence[tuple[tuple[Array, ...], tuple[Array, ...]]]
# By the number of the array, in the order of what is compared: "kernel" [C, C'] and
# "bias" [C'] of a learned map, h + h kernel + bias, and "spread" [C'], the units.
Heads = Mapping[str, Mapping[str, Array]]

# Where they are in a tree of parameters that is trained, beside the student's.
HEADS = "_heads"

DISTANCES: dict[str, Callable[[Array], Array]] = {"l1": jnp.abs, "l2": jnp.square}
COSINE = "cosine"
OF_LEVELS = (*DISTANCES, COSINE)
REDUCTIONS = ("mean", "sum")
PAIRINGS = ("index", "ratio", "released")
LATENTS = ("levels", "final")
OVER_LEVELS = ("mean", "sum")


def rowwise(
    a: Array | tuple[Array, ...],
    b: Array | tuple[Array, ...],
    distance: str = "l1",
    reduction: str = "mean",
) -> LogDet:
    """Distance of each row of `a` to the same row of `b`.

    Args:
      a: `[batch, ...]`, or a tuple of such arrays, taken as one long event.
      b: the same shapes.
      distance: "l1", |a - b|; "l2", (a - b)^2; or "cosine", 1 - cos(a, b), between 0
        and 2, of the whole event.
      reduction: over the event, "mean" (per dimension, as the released code) or
        "sum" (as a log-likelihood in nats is a sum). A cosine is one number anyway.

    Raises:
      ValueError: for other names, or shapes that differ.
    """
    if distance not in OF_LEVELS:
        raise ValueError(f"unknown distance {distance!r}; known: {OF_LEVELS}")
    if reduction not in REDUCTIONS:
        raise ValueError(f"unknown reduction {reduction!r}; known: {REDUCTIONS}")
    parts_a = a if isinstance(a, tuple) else (a,)
    parts_b = b if isinstance(b, tuple) else (b,)
    shapes_a, shapes_b = [p.shape for p in parts_a], [p.shape for p in parts_b]
    if shapes_a != shapes_b:
        raise ValueError(f"student has shapes {shapes_a}, teacher {shapes_b}")
    if distance == COSINE:
        return 1 - _cosine(parts_a, parts_b)
    total = jnp.zeros(parts_a[0].shape[:1], jnp.result_type(*parts_a, *parts_b))
    size = 0
    for part_a, part_b in zip(parts_a, parts_b, strict=True):
        gap = DISTANCES[distance](part_a - part_b)
        total += jnp.sum(gap.reshape(gap.shape[0], -1), axis=1)
        size += gap[0].size
    return total / size if reduction == "mean" else total


def _cosine(a: tuple[Array, ...], b: tuple[Array, ...]) -> LogDet:
    """Of the angle between each row of `a` and of `b`; 0 where one of them is 0."""
    one, two = (
        jnp.concatenate([part.reshape(part.shape[0], -1) for part in parts], axis=1)
        for parts in (a, b)
    )
    squares = jnp.sum(one * one, axis=1) * jnp.sum(two * two, axis=1)
    # Chosen before the root, whose slope at 0 is infinite.
    none = squares == 0
    lengths = jnp.sqrt(jnp.where(none, 1, squares))
    return jnp.where(none, 0, jnp.sum(one * two, axis=1) / lengths)


def pairs_of(pairs: str | Pairs, student_levels: int, teacher_levels: int) -> Pairs:
    """Static (student, teacher) indices of the levels to compare.

    Args:
      pairs: "index", equal indices, for flows of equally many levels (Glow's
        scales); "ratio", student step i of S with teacher step ceil(i T / S) of T
        (counted from 1), so that the ends meet and every student step stands for
        T / S teacher steps; "released", as the released code of Walton et al.: of
        equally many levels each, otherwise every second step of the student and its
        last with every fourth of the teacher and its last; or the pairs themselves,
        indices from 0, negative ones from the end.
      student_levels: S.
      teacher_levels: T.

    Raises:
      ValueError: if the numbers differ for "index", T < S for "ratio", the steps of
        "released" are not as many, an index is out of range, or the name is unknown.
    """
    S, T = student_levels, teacher_levels
    if pairs in ("index", "released") and S == T:
        return tuple((i, i) for i in range(S))
    if pairs == "index":
        how = 'pair them by pairs="ratio" or by ((student, teacher), ...)'
        raise ValueError(f"student has {S} levels, teacher {T}: {how}")
    if pairs == "released":
        student, teacher = (
            [i for i in range(n) if not (i + 1) % every or i == n - 1]
            for n, every in ((S, 2), (T, 4))
        )
        if len(student) != len(teacher):
            raise ValueError(
                f"the released code compares levels {student} of {S} with {teacher} of "
                f"{T}, which are not as many: pair them by "
                'pairs="ratio" or by ((student, teacher), ...)'
            )
        return tuple(zip(student, teacher, strict=True))
    if pairs == "ratio":
        if T < S:
            raise ValueError(
                f"student has {S} levels, more than the teacher's {T}: "
                "give the pairs as ((student, teacher), ...)"
            )
        return tuple((i, math.ceil(round((i + 1) * T / S, 9)) - 1) for i in range(S))
    if isinstance(pairs, str):
        raise ValueError(f"unknown pairs {pairs!r}; known: {PAIRINGS}")
    for s, t in pairs:
        if not (-S <= s < S and -T <= t < T):
            given = f"pair ({s}, {t}) is out of range for"
            raise ValueError(f"{given} {S} student and {T} teacher levels")
    return tuple((int(s), int(t)) for s, t in pairs)


def compared(
    student: Encoding,
    teacher: Encoding,
    *,
    latents: str = "levels",
    pairs: str | Pairs = "index",
    parts: str = "passed",
) -> Compared:
    """What of two encodings is compared, pair by pair.

    Args:
      student: its encoding of data.
      teacher: that of the same data.
      latents: "levels", all that are paired, or "final", the latents, as one pair.
      pairs: which levels, see `pairs_of`.
      parts: of the levels, or of the latents, of a multi-scale flow.

    Raises:
      ValueError: as `pairs_of`, `Encoding.part` and `Encoding.latents`.
    """
    if latents == "final":
        return [(student.latents(parts), teacher.latents(parts))]
    counts = (len(student.levels), len(teacher.levels))
    return [
        ((student.part(s % counts[0], parts),), (teacher.part(t % counts[1], parts),))
        for s, t in pairs_of(pairs, *counts)
    ]


def identity(given: Compared, *, learned: bool = True, measured: bool = True) -> Heads:
    """Heads as they are before training.

    Args:
      given: what is compared, of a first batch. Where nothing is measured, shapes will
        do, under `jax.eval_shape`.
      learned: whether there is a map of each level of the student: the identity at
        first, of as many channels as both have.
      measured: whether distances are in units of the spread that each channel of the
        teacher's has in this batch; of one that does not vary, 1.

    Raises:
      ValueError: for pairs that differ in more than their channels, or in these where
        nothing is learned.
    """
    heads: dict[str, Mapping[str, Array]] = {}
    for ours, theirs in given:
        for a, b in zip(ours, theirs, strict=True):
            if a.shape[:-1] != b.shape[:-1] or not (learned or a.shape == b.shape):
                raise ValueError(
                    f"a level of the student has shape {a.shape[1:]}, that of the "
                    f"teacher {b.shape[1:]}: a head is a map of the last axis alone"
                )
            head = _linear(a, b.shape[-1]) if learned else {}
            if measured:
                head["spread"] = _spread(b)
            heads[str(len(heads))] = head
    return heads


def split(params: Any) -> tuple[dict[str, Any], Heads | None]:
    """The student's own parameters, and the heads beside them, if there are any."""
    own = {name: tree for name, tree in params.items() if name != HEADS}
    return own, params.get(HEADS)


def _linear(a: Array, width: int) -> dict[str, Array]:
    kernel = jnp.zeros((a.shape[-1], width), a.dtype)
    return {"kernel": kernel, "bias": jnp.zeros(width, a.dtype)}


def _spread(b: Array) -> Shaped[Array, " channels"]:
    spread = jnp.std(b.reshape(-1, b.shape[-1]), axis=0)
    return jnp.where(jnp.isfinite(spread) & (spread > 0), spread, 1)


def _through(head: Mapping[str, Array], a: Array, b: Array) -> tuple[Array, Array]:
    """A level of the student's and its teacher's, as they are compared."""
    if "kernel" in head:
        kernel = head["kernel"]
        eye = jnp.eye(*kernel.shape, dtype=kernel.dtype)
        a = jnp.matmul(a, eye + kernel, precision="highest") + head["bias"]
    if "spread" in head:
        units = jax.lax.stop_gradient(head["spread"])
        a, b = a / units, b / units
    return a, b


def gaps(
    given: Compared,
    heads: Heads | None = None,
    *,
    distance: str = "l1",
    reduction: str = "mean",
) -> tuple[Scalar, ...]:
    """One distance a pair, the mean over the batch.

    Args:
      given: what is compared.
      heads: see `identity`; None compares it as it is.
      distance: see `rowwise`.
      reduction: likewise.

    Raises:
      ValueError: as `rowwise`, or for heads of other pairs.
    """
    count = sum(len(ours) for ours, _ in given)
    if heads is not None and sorted(heads) != sorted(str(i) for i in range(count)):
        raise ValueError(
            f"heads {sorted(heads)} for {count} pairs: expected one for each, as "
            "`levels.identity` makes them"
        )
    found, at = [], 0
    for ours, theirs in given:
        if heads is not None:
            pairs = [
                _through(heads[str(at + i)], a, b)
                for i, (a, b) in enumerate(zip(ours, theirs, strict=True))
            ]
            ours, theirs = (tuple(side) for side in zip(*pairs, strict=True))
        at += len(ours)
        found.append(jnp.mean(rowwise(ours, theirs, distance, reduction)))
    return tuple(found)


def over_levels(gaps: Sequence[Scalar], how: str) -> Scalar:
    """Mean, or sum, of the distances of pairs.

    Raises:
      ValueError: for another name.
    """
    if how not in OVER_LEVELS:
        raise ValueError(f"unknown over_levels {how!r}; known: {OVER_LEVELS}")
    total = sum(gaps[1:], gaps[0])
    return total / len(gaps) if how == "mean" else total
