"""Flow to flow: latent, intermediate latent and synthesized distillation.

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
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import core
from jaxtyping import Array

from fdnf.losses import distance as distances
from fdnf.losses import likelihood, pairing, screening
from fdnf.ops import entering
from fdnf.types import Aux, Encoding, Flow, Given, Scalar, Variables

# Three numbers, or an array [3], in the order of TERMS; traced ones are welcome.
Weights = Any

TERMS = ("nll", "latents", "samples")
LATENTS = ("levels", "final")
OVER_LEVELS = ("mean", "sum")

_STATIC = ("student", "teacher", "distance", "reduction")
_LATENT = (*_STATIC, "parts")


def _encode_both(
    student, teacher, student_variables, teacher_variables, x, cond
) -> tuple[Encoding, Encoding]:
    x, cond = entering.real(x), entering.maybe(cond)
    taught = student.apply(student_variables, x, cond, method="encode")
    teaching = teacher.apply(teacher_variables, x, cond, method="encode")
    return taught, jax.lax.stop_gradient(teaching)


def _latent_gap(
    student: Encoding, teacher: Encoding, distance, reduction, parts
) -> Scalar:
    taught, teaching = (pairing.latents_of(e.z, parts) for e in (student, teacher))
    return jnp.mean(distances.rowwise(taught, teaching, distance, reduction))


def _level_gaps(
    student: Encoding, teacher: Encoding, pairs, distance, reduction, parts
) -> tuple[Scalar, ...]:
    chosen = pairing.pairs_of(pairs, len(student.levels), len(teacher.levels))
    return tuple(
        jnp.mean(
            distances.rowwise(
                pairing.part_of(student, s % len(student.levels), parts),
                pairing.part_of(teacher, t % len(teacher.levels), parts),
                distance,
                reduction,
            )
        )
        for s, t in chosen
    )


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
      parts: which latents of a multi-scale flow, see `pairing.latents_of`.

    Returns:
      The loss, and Aux with the term "lkd" and both Encodings.
    """
    taught, teaching = _encode_both(
        student, teacher, student_variables, teacher_variables, x, cond
    )
    loss = _latent_gap(taught, teaching, distance, reduction, parts)
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
    pairs: str | pairing.Pairs = "index",
    over_levels: str = "mean",
    parts: str = "passed",
) -> tuple[Scalar, Aux]:
    """Intermediate latent distillation (Walton et al., eq. 13): d over levels.

    Args:
      student: flow to train; static.
      teacher: flow to imitate; static.
      student_variables: its variables.
      teacher_variables: its variables; held fixed.
      x: data.
      cond: context, for both.
      distance: "l1" or "l2".
      reduction: over the event, "mean" or "sum".
      pairs: which levels are compared, see `pairing.pairs_of`.
      over_levels: "mean" over the pairs, as the released code, or "sum", as printed.
      parts: what of each level of a multi-scale flow, see `pairing.part_of`.

    Returns:
      The loss, and Aux with the term "ilkd", one scalar per pair, both Encodings.
    """
    taught, teaching = _encode_both(
        student, teacher, student_variables, teacher_variables, x, cond
    )
    gaps = _level_gaps(taught, teaching, pairs, distance, reduction, parts)
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

    Args:
      student: flow to train; static.
      teacher: flow to imitate; static.
      student_variables: its variables.
      teacher_variables: its variables; held fixed.
      z: latents, the same for both: every part's noise is shared.
      cond: context, for both.
      distance: "l1" or "l2".
      reduction: over the event, "mean" or "sum".
      limit: largest |x| of a sample that counts; None for any finite one.
      screen_student: see above.

    Returns:
      The loss (0 if all rows are rejected), and Aux with the terms "skd" and
      "rejected" (share of rows) and both Decodings.
    """
    z, cond = entering.reals(z), entering.maybe(cond)
    teaching = teacher.apply(teacher_variables, z, cond, method="decode")
    teaching = jax.lax.stop_gradient(teaching)
    bad = screening.exploded(teaching, limit)
    if screen_student:
        trial = student.apply(
            jax.lax.stop_gradient(student_variables),
            screening.replace_rows(bad, z),
            cond,
            method="decode",
        )
        bad |= screening.exploded(trial, limit)
    taught = student.apply(
        student_variables, screening.replace_rows(bad, z), cond, method="decode"
    )
    shape = (-1, *(1,) * (taught.x.ndim - 1))
    target = jnp.where(bad.reshape(shape), taught.x, teaching.x)
    target = jax.lax.stop_gradient(target)
    rows = distances.rowwise(taught.x, target, distance, reduction)
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
    pairs: str | pairing.Pairs = "index",
    over_levels: str = "mean",
    parts: str = "passed",
    units: str = "nats",
    limit: float | None = None,
    screen_student: bool = True,
) -> tuple[Scalar, Aux]:
    """Flow distillation (Walton et al., eq. 15, its first sign put right).

    L = -w0 mean log p_s(x) + w1 L_(I)LKD + w2 L_SKD. The paper prints +w0 log p_s,
    which would be minimised by making the data unlikely.

    Args:
      student: flow to train; static.
      teacher: flow to imitate; static.
      student_variables: its variables.
      teacher_variables: its variables; held fixed.
      x: data.
      z: latents for SKD; needed when w2 is not 0.
      cond: context of x, for both.
      z_cond: context of z, where it is not that of x.
      weights: (w0, w1, w2), numbers or traced values: one compiled program serves all
        weights of equal terms, under `vmap` too. See `presets`.
      terms: which of "nll", "latents" and "samples" are computed; the others are left
        out, whatever their weights. By default those whose weight is not the number 0;
        a traced weight counts as not 0.
      latents: "levels" compares all paired levels (ILKD), "final" the latents (LKD).
      distance: "l1" or "l2".
      sample_distance: of SKD, where it is another.
      reduction: over the event, "mean" or "sum".
      pairs: which levels are compared, see `pairing.pairs_of`.
      over_levels: "mean" or "sum".
      parts: of the levels, or of the latents, of a multi-scale flow; as in `ilkd` and
        `lkd`.
      units: of the likelihood: "nats", a sum over dimensions, or "bits_per_dim".
      limit: of SKD.
      screen_student: of SKD.

    Returns:
      The loss, and Aux with the terms present, each without its weight, and as
      `student` and `teacher` the pairs (Encoding, Decoding or None).
    """
    if terms is None or not set(terms) <= set(TERMS):
        raise ValueError(f"unknown terms {terms}; known: {TERMS}")
    if latents not in LATENTS:
        raise ValueError(f"unknown latents {latents!r}; known: {LATENTS}")
    w_nll, w_latent, w_skd = weights
    x, cond = entering.real(x), entering.maybe(cond)
    loss = jnp.zeros((), jnp.float32)
    found: dict[str, Array] = {}
    per_level: tuple[Array, ...] = ()
    taught: Any = None
    teaching: Any = None
    drawn = target = None
    if "latents" in terms:
        taught, teaching = _encode_both(
            student, teacher, student_variables, teacher_variables, x, cond
        )
    elif "nll" in terms:
        taught = student.apply(student_variables, x, cond, method="encode")
    if "nll" in terms:
        found["nll"] = likelihood.negative_mean(taught, units)
        loss += w_nll * found["nll"]
    if "latents" in terms:
        if latents == "levels":
            per_level = _level_gaps(taught, teaching, pairs, distance, reduction, parts)
            gap = found["ilkd"] = _over_levels(per_level, over_levels)
        else:
            gap = found["lkd"] = _latent_gap(
                taught, teaching, distance, reduction, parts
            )
            per_level = (gap,)
        loss += w_latent * gap
    if "samples" in terms:
        if z is None:
            raise ValueError(f"terms {terms} ask for SKD, which needs latents z")
        term, aux = skd(
            student,
            teacher,
            student_variables,
            teacher_variables,
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
    return loss, Aux(found, per_level, (taught, drawn), (teaching, target))
