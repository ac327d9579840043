"""Flow to flow: likelihood, latent, intermediate and synthesized distillation.

Each loss is a jitted pure function of two hashable flows and their variables. The
teacher's results pass through `stop_gradient`. Latents are the caller's to draw: the
same `z` goes to both flows.

    loss, aux = ilkd(student, teacher, student_variables, teacher_variables, x)
    jax.value_and_grad(ilkd, argnums=2, has_aux=True)(student, teacher, ...)

The last is for flows whose variables are all parameters; of others, such as a Glow in
PLU form, `ops.trees.split_variables` tells what to differentiate.

Reference: Walton et al. (2023), "Distilling Normalizing Flows", section 3.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import core
from jaxtyping import Array, PRNGKeyArray

from fdnf.ops import entering
from fdnf.ops import rows as of_rows
from fdnf.types import Aux, Encoding, Flow, Given, LogDet, Scalar, Variables

Pairs = tuple[tuple[int, int], ...]
# Three numbers, or an array [3], in the order of TERMS; traced ones are welcome.
Weights = Any

TERMS = ("nll", "latents", "samples")
UNITS = ("nats", "bits_per_dim")
DISTANCES: dict[str, Callable[[Array], Array]] = {"l1": jnp.abs, "l2": jnp.square}
REDUCTIONS = ("mean", "sum")
PAIRINGS = ("index", "ratio", "released")
LATENTS = ("levels", "final")
OVER_LEVELS = ("mean", "sum")

_STATIC = ("student", "teacher", "distance", "reduction")
_LATENT = (*_STATIC, "parts")


@functools.partial(jax.jit, static_argnames=("student", "units"))
def nll(
    student: Flow,
    student_variables: Variables,
    x: Given,
    cond: Given | None = None,
    *,
    units: str = "nats",
    key: PRNGKeyArray | None = None,
) -> tuple[Scalar, Aux]:
    """Negative log-likelihood, -mean log p_s(x).

    Args:
      student: the flow; static.
      student_variables: its variables.
      x: data.
      cond: context.
      units: "nats" per row, or "bits_per_dim" of the data as the flow sees them, whose
        scale does not depend on their size.
      key: of a flow that estimates its log-determinant; others leave it alone.

    Returns:
      The loss, and Aux with the term "nll" and the student's Encoding.

    Reference: Walton et al. (2023), eq. 4, as the expectation that it stands for.
    """
    encoding = _encoded(student, student_variables, x, cond, key)
    loss = _negative_mean(encoding, units)
    return loss, Aux({"nll": loss}, (), encoding, None)


def _negative_mean(encoding: Encoding, units: str) -> Scalar:
    if units not in UNITS:
        raise ValueError(f"unknown units {units!r}; known: {UNITS}")
    loss = -jnp.mean(encoding.log_prob)
    if units == "nats":
        return loss
    dim = sum(math.prod(part.shape[1:]) for part in encoding.z)
    return loss / (dim * math.log(2))


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
      distance: "l1", |a - b|, or "l2", (a - b)^2.
      reduction: over the event, "mean" (per dimension, as the released code) or
        "sum" (as a log-likelihood in nats is a sum).

    Raises:
      ValueError: for other names, or shapes that differ.
    """
    if distance not in DISTANCES:
        raise ValueError(f"unknown distance {distance!r}; known: {sorted(DISTANCES)}")
    if reduction not in REDUCTIONS:
        raise ValueError(f"unknown reduction {reduction!r}; known: {REDUCTIONS}")
    parts_a = a if isinstance(a, tuple) else (a,)
    parts_b = b if isinstance(b, tuple) else (b,)
    shapes_a, shapes_b = [p.shape for p in parts_a], [p.shape for p in parts_b]
    if shapes_a != shapes_b:
        raise ValueError(f"student has shapes {shapes_a}, teacher {shapes_b}")
    total = jnp.zeros(parts_a[0].shape[:1], jnp.result_type(*parts_a, *parts_b))
    size = 0
    for part_a, part_b in zip(parts_a, parts_b, strict=True):
        gap = DISTANCES[distance](part_a - part_b)
        total += jnp.sum(gap.reshape(gap.shape[0], -1), axis=1)
        size += gap[0].size
    return total / size if reduction == "mean" else total


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


def _encoded(flow, variables, x, cond, key=None) -> Encoding:
    x, cond = entering.real(x), entering.maybe(cond)
    key = {} if key is None else {"rngs": {"probes": key}}
    return flow.apply(variables, x, cond, method="encode", **key)


def _encode_both(
    student, teacher, student_variables, teacher_variables, x, cond, key=None
) -> tuple[Encoding, Encoding]:
    taught = _encoded(student, student_variables, x, cond, key)
    teaching = _encoded(teacher, teacher_variables, x, cond)
    return taught, jax.lax.stop_gradient(teaching)


def _gaps(
    student: Encoding, teacher: Encoding, latents, pairs, distance, reduction, parts
) -> tuple[Scalar, ...]:
    """One scalar a pair of levels, or the one of the final latents."""
    if latents == "final":
        compared = [(student.latents(parts), teacher.latents(parts))]
    else:
        counts = (len(student.levels), len(teacher.levels))
        compared = [
            (student.part(s % counts[0], parts), teacher.part(t % counts[1], parts))
            for s, t in pairs_of(pairs, *counts)
        ]
    return tuple(jnp.mean(rowwise(a, b, distance, reduction)) for a, b in compared)


@functools.partial(jax.jit, static_argnames=_LATENT)
def lkd(
    student: Flow,
    teacher: Flow,
    student_variables: Variables,
    teacher_variables: Variables,
    x: Given,
    cond: Given | None = None,
    *,
    distance: str = "l1",
    reduction: str = "mean",
    parts: str = "passed",
) -> tuple[Scalar, Aux]:
    """Latent knowledge distillation (Walton et al., eq. 12): d(t(x), s(x)).

    Args:
      student: flow to train; static.
      teacher: flow to imitate; static.
      student_variables: its variables.
      teacher_variables: its variables; held fixed.
      x: data.
      cond: context, for both.
      distance: "l1" or "l2".
      reduction: over the event, "mean" or "sum".
      parts: which latents of a multi-scale flow, see `Encoding.latents`.

    Returns:
      The loss, and Aux with the term "lkd" and both Encodings.
    """
    flows = (student, teacher, student_variables, teacher_variables)
    taught, teaching = _encode_both(*flows, x, cond)
    (loss,) = _gaps(taught, teaching, "final", "index", distance, reduction, parts)
    return loss, Aux({"lkd": loss}, (loss,), taught, teaching)


@functools.partial(jax.jit, static_argnames=(*_LATENT, "pairs", "over_levels"))
def ilkd(
    student: Flow,
    teacher: Flow,
    student_variables: Variables,
    teacher_variables: Variables,
    x: Given,
    cond: Given | None = None,
    *,
    distance: str = "l1",
    reduction: str = "mean",
    pairs: str | Pairs = "index",
    over_levels: str = "mean",
    parts: str = "passed",
) -> tuple[Scalar, Aux]:
    """Intermediate latent distillation (Walton et al., eq. 13): d over levels.

    Args: as `lkd`, and
      pairs: which levels are compared, see `pairs_of`.
      over_levels: "mean" over the pairs, as the released code, or "sum", as printed.
      parts: what of each level of a multi-scale flow, see `Encoding.part`.

    Returns:
      The loss, and Aux with the term "ilkd", one scalar per pair, both Encodings.
    """
    flows = (student, teacher, student_variables, teacher_variables)
    taught, teaching = _encode_both(*flows, x, cond)
    gaps = _gaps(taught, teaching, "levels", pairs, distance, reduction, parts)
    loss = _over_levels(gaps, over_levels)
    return loss, Aux({"ilkd": loss}, gaps, taught, teaching)


def _over_levels(gaps: tuple[Scalar, ...], over_levels: str) -> Scalar:
    if over_levels not in OVER_LEVELS:
        raise ValueError(f"unknown over_levels {over_levels!r}; known: {OVER_LEVELS}")
    total = sum(gaps[1:], gaps[0])
    return total / len(gaps) if over_levels == "mean" else total


@functools.partial(jax.jit, static_argnames=(*_STATIC, "limit", "screen_student"))
def skd(
    student: Flow,
    teacher: Flow,
    student_variables: Variables,
    teacher_variables: Variables,
    z: Given,
    cond: Given | None = None,
    *,
    distance: str = "l1",
    reduction: str = "mean",
    limit: float | None = None,
    screen_student: bool = True,
) -> tuple[Scalar, Aux]:
    """Synthesized distillation (Walton et al., eq. 14): d(t^-1(z), s^-1(z)).

    Rows whose sample is not finite, or leaves [-limit, limit], count as 0 in the mean,
    which is over all rows: then the mean over devices, or over parts of a batch, is
    that of the whole. Masking the loss alone would not keep their gradient out (0 * inf
    is NaN), so such rows are also replaced on the way in, by z = 0. The teacher's
    samples decide first; the student's then need one more decode without gradient,
    which `screen_student=False` saves where the student's scales are bounded.

    Args: as `lkd`, and
      z: latents, the same for both: every part's noise is shared.
      limit: largest |x| of a sample that counts; None for any finite one.
      screen_student: see above.

    Returns:
      The loss (0 if all rows are rejected), and Aux with the terms "skd" and
      "rejected" (share of rows) and both Decodings.
    """
    z, cond = entering.reals(z), entering.maybe(cond)
    teaching = teacher.apply(teacher_variables, z, cond, method="decode")
    teaching = jax.lax.stop_gradient(teaching)
    bad = of_rows.exploded(teaching.x, limit)
    if screen_student:
        fixed = jax.lax.stop_gradient(student_variables)
        kept = of_rows.zeroed(bad, z)
        trial = student.apply(fixed, kept, cond, method="decode")
        bad |= of_rows.exploded(trial.x, limit)
    kept = of_rows.zeroed(bad, z)
    taught = student.apply(student_variables, kept, cond, method="decode")
    target = jnp.where(of_rows.beside(bad, taught.x), taught.x, teaching.x)
    target = jax.lax.stop_gradient(target)
    rows = rowwise(taught.x, target, distance, reduction)
    loss = jnp.mean(jnp.where(bad, 0.0, rows))
    terms = {"skd": loss, "rejected": jnp.mean(bad.astype(loss.dtype))}
    return loss, Aux(terms, (), taught, teaching)


def terms_of(weights: Weights) -> tuple[str, ...]:
    """The terms of `combined` that weights turn on: those whose weight is not 0.

    A traced weight, whose value is not known, counts as not 0.

    Raises:
      ValueError: unless there are three weights.
    """
    if not isinstance(weights, (tuple, list, core.Tracer)):
        weights = np.asarray(weights)
    if len(weights) != len(TERMS):
        raise ValueError(f"{len(weights)} weights: expected one each of {TERMS}")
    return tuple(
        name
        for name, weight in zip(TERMS, weights, strict=True)
        if isinstance(weight, core.Tracer) or float(weight)
    )


def _jitted(function: Callable) -> Callable:
    """Compiles `combined`: its weights are traced, the terms they turn on static."""
    static = (
        *_LATENT,
        *("terms", "latents", "sample_distance", "pairs", "over_levels", "units"),
        *("limit", "screen_student"),
    )
    compiled = jax.jit(function, static_argnames=static)

    @functools.wraps(function)
    def call(*args, weights: Weights = (0.9, 0.1, 0.0), terms=None, **settings):
        terms = terms_of(weights) if terms is None else tuple(terms)
        return compiled(*args, weights=weights, terms=terms, **settings)

    return call


@_jitted
def combined(
    student: Flow,
    teacher: Flow,
    student_variables: Variables,
    teacher_variables: Variables,
    x: Given,
    z: Given | None = None,
    cond: Given | None = None,
    z_cond: Given | None = None,
    *,
    weights: Weights = (0.9, 0.1, 0.0),
    terms: tuple[str, ...] | None = None,
    latents: str = "levels",
    distance: str = "l1",
    sample_distance: str | None = None,
    reduction: str = "mean",
    pairs: str | Pairs = "index",
    over_levels: str = "mean",
    parts: str = "passed",
    units: str = "nats",
    limit: float | None = None,
    screen_student: bool = True,
    key: PRNGKeyArray | None = None,
) -> tuple[Scalar, Aux]:
    """Flow distillation (Walton et al., eq. 15, its first sign put right).

    L = -w0 mean log p_s(x) + w1 L_(I)LKD + w2 L_SKD. The paper prints +w0 log p_s,
    which would be minimised by making the data unlikely.

    Args: as `ilkd` and `skd`, and
      cond, z_cond: contexts of x and, where it is another one, of z.
      weights: (w0, w1, w2), numbers or traced values: one compiled program serves all
        weights of equal terms, under `vmap` too. See `presets`.
      terms: which of "nll", "latents" and "samples" are computed; the others are left
        out, whatever their weights. By default those whose weight is not the number 0;
        a traced weight counts as not 0. "samples" need `z`.
      latents: "levels" compares all paired levels (ILKD), "final" the latents (LKD).
      sample_distance: of SKD, where it is not `distance`.
      parts: of the levels, or of the latents, of a multi-scale flow.
      units, key: of the likelihood, see `nll`.

    Returns:
      The loss, and Aux with the terms present, each without its weight, and as
      `student` and `teacher` the pairs (Encoding, Decoding or None).
    """
    if terms is None or not set(terms) <= set(TERMS):
        raise ValueError(f"unknown terms {terms}; known: {TERMS}")
    if latents not in LATENTS:
        raise ValueError(f"unknown latents {latents!r}; known: {LATENTS}")
    flows = (student, teacher, student_variables, teacher_variables)
    w_nll, w_latent, w_skd = weights
    loss = jnp.zeros((), jnp.float32)
    found: dict[str, Array] = {}
    gaps: tuple[Array, ...] = ()
    taught: Any = None
    teaching = drawn = target = None
    if "latents" in terms:
        taught, teaching = _encode_both(*flows, x, cond, key)
        gaps = _gaps(taught, teaching, latents, pairs, distance, reduction, parts)
    elif "nll" in terms:
        taught = _encoded(student, student_variables, x, cond, key)
    if "nll" in terms:
        found["nll"] = _negative_mean(taught, units)
        loss += w_nll * found["nll"]
    if "latents" in terms:
        name = "ilkd" if latents == "levels" else "lkd"
        found[name] = _over_levels(gaps, over_levels)
        loss += w_latent * found[name]
    if "samples" in terms:
        if z is None:
            raise ValueError(f"terms {terms} ask for SKD, which needs latents z")
        term, aux = skd(
            *flows,
            z,
            cond if z_cond is None else z_cond,
            distance=sample_distance or distance,
            reduction=reduction,
            limit=limit,
            screen_student=screen_student,
        )
        found.update(aux.terms)
        drawn, target = aux.student, aux.teacher
        loss += w_skd * term
    return loss, Aux(found, gaps, (taught, drawn), (teaching, target))
