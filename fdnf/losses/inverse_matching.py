"""Inverse matching: a sampler S learns to undo the teacher's encoding T.

All three losses are 0 where S = T^-1, and none needs a density of the student. Noise
and latents are the caller's to draw.

Reference: Huang et al. (2019), "Probability distillation: a caveat and alternatives",
section 4.
"""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array

from fdnf.losses import levels
from fdnf.ops import entering
from fdnf.ops import rows as of_rows
from fdnf.types import Aux, Decoding, Flow, Given, LogDet, Scalar, Variables

Latents = tuple[Array, ...]

MIXED = "mixed"
DISTANCES = (*levels.DISTANCES, MIXED)

_STATIC = ("student", "teacher", "distance", "reduction")
_SAMPLING = (*_STATIC, "earlier")


def rowwise(
    a: Array | Latents, b: Array | Latents, distance: str, reduction: str
) -> LogDet:
    """`levels.rowwise`, which also knows "mixed": (l1 + l2) / 2.

    Raises:
      ValueError: for other names, or shapes that differ.
    """
    if distance not in DISTANCES:
        raise ValueError(f"unknown distance {distance!r}; known: {sorted(DISTANCES)}")
    if distance != MIXED:
        return levels.rowwise(a, b, distance, reduction)
    l1, l2 = (levels.rowwise(a, b, name, reduction) for name in ("l1", "l2"))
    return 0.5 * (l1 + l2)


@functools.partial(jax.jit, static_argnames=_STATIC)
def z_reconstruction(
    student: Flow,
    teacher: Flow,
    student_variables: Variables,
    teacher_variables: Variables,
    z: Given,
    cond: Given | None = None,
    *,
    distance: str = "l2",
    reduction: str = "mean",
) -> tuple[Scalar, Aux]:
    """d(z, T(S(z))) (Huang et al., section 4, 1): the teacher decodes the student.

    The gradient goes through the teacher into the student's samples, and never into
    the teacher's variables.

    Args:
      student: flow to train; static. Only its `decode` is used.
      teacher: flow to invert; static. Only its `encode` is used.
      student_variables: its variables.
      teacher_variables: its variables; held fixed.
      z: draws from the prior.
      cond: context, for both.
      distance: "l1", "l2" or "mixed", (l1 + l2) / 2.
      reduction: over the event, "mean" or "sum".

    Returns:
      The loss, and Aux with the term "z", the distance of each latent as `per_level`,
      the student's Decoding and the teacher's Encoding of it.
    """
    z, cond = entering.reals(z), entering.maybe(cond)
    drawn = student.apply(student_variables, z, cond, method="decode")
    fixed = jax.lax.stop_gradient(teacher_variables)
    back = teacher.apply(fixed, drawn.x, cond, method="encode")
    loss = jnp.mean(rowwise(back.z, z, distance, reduction))
    parts = tuple(
        jnp.mean(rowwise(a, b, distance, reduction))
        for a, b in zip(back.z, z, strict=True)
    )
    return loss, Aux({"z": loss}, parts, drawn, back)


def by_pass(
    student: Decoding, x: Array, distance: str, reduction: str, earlier: float
) -> tuple[LogDet, tuple[LogDet, ...]]:
    """Distances of the student's samples to `x`, those of earlier passes added.

    sum_k earlier^(K - k) d(x^k, x) over the images x^1 to x^K of K passes, so that each
    pass learns from the sample itself and not through those after it alone. The powers
    are not divided by their sum: the last pass counts as without the others.

    Args:
      student: what it made; of several passes, unless `earlier` is 0.
      x: `[batch, ...]`, what all passes are to come to.
      distance: "l1", "l2" or "mixed", (l1 + l2) / 2.
      reduction: over the event, "mean" or "sum".
      earlier: how much a pass counts beside the next one, from 0 for the last alone.

    Returns:
      `[batch]`, the sum; and the distances of each pass, `[batch]`, the last one's
      last; none where `earlier` is 0.

    Raises:
      ValueError: for another `earlier`, or for a student of one pass.
    """
    check_passes(student, earlier)
    rows = rowwise(student.x, x, distance, reduction)
    if not earlier:
        return rows, ()
    before = [rowwise(image, x, distance, reduction) for image in student.earlier]
    count = len(before)
    total = sum((earlier ** (count - k) * d for k, d in enumerate(before)), rows)
    return total, (*before, rows)


def check_passes(student: Decoding, earlier: float) -> None:
    """Refuses weights of earlier passes of a student that has none.

    Args:
      student: what it makes, or shapes of it.
      earlier: as of `by_pass`.

    Raises:
      ValueError: as `by_pass`.
    """
    if not 0 <= earlier < float("inf"):
        raise ValueError(f"earlier={earlier}: expected a finite number from 0")
    if earlier and not student.earlier:
        raise ValueError(
            f"earlier={earlier} weighs the images of earlier passes, and the student "
            "samples in one pass: its decode gives no `earlier`. Set it to 0, or give "
            "the student several passes (PixelIAF's passes=3)"
        )


@functools.partial(jax.jit, static_argnames=_SAMPLING)
def x_reconstruction(
    student: Flow,
    teacher: Flow,
    student_variables: Variables,
    teacher_variables: Variables,
    x: Given,
    cond: Given | None = None,
    *,
    noise: Given | None = None,
    distance: str = "l2",
    reduction: str = "mean",
    earlier: float = 0.0,
) -> tuple[Scalar, Aux]:
    """d(x, S(T(x))), x data (Huang et al., section 4, 2): the student decodes.

    No gradient goes through the teacher: its encodings are data.

    Args:
      student: flow to train; static. Only its `decode` is used.
      teacher: flow to invert; static. Only its `encode` is used.
      student_variables: its variables.
      teacher_variables: its variables; held fixed.
      x: data.
      cond: context, for both.
      noise: added to the encodings, one array a latent (section 4.1.3).
      distance: "l1", "l2" or "mixed", (l1 + l2) / 2.
      reduction: over the event, "mean" or "sum".
      earlier: how much the image of a pass counts beside the next one's, see `by_pass`.

    Returns:
      The loss, and Aux with the term "x", the distance of the last pass, the student's
      Decoding of the encodings (with their noise) and the teacher's Encoding (without);
      with `earlier` also the term "passes", the loss, and the distance of each pass as
      `per_level`.
    """
    x, cond = entering.real(x), entering.maybe(cond)
    encoded = teacher.apply(teacher_variables, x, cond, method="encode")
    encoded = jax.lax.stop_gradient(encoded)
    z = _noised(encoded.z, noise)
    drawn = student.apply(student_variables, z, cond, method="decode")
    rows, each = by_pass(drawn, x, distance, reduction, earlier)
    loss, each = jnp.mean(rows), tuple(jnp.mean(d) for d in each)
    return loss, Aux(_terms("x", loss, each), each, drawn, encoded)


@functools.partial(jax.jit, static_argnames=(*_SAMPLING, "limit"))
def oracle(
    student: Flow,
    teacher: Flow,
    student_variables: Variables,
    teacher_variables: Variables,
    z: Given,
    cond: Given | None = None,
    *,
    x: Given | None = None,
    noise: Given | None = None,
    distance: str = "l2",
    reduction: str = "mean",
    limit: float | None = None,
    earlier: float = 0.0,
) -> tuple[Scalar, Aux]:
    """d(T^-1(z), S(z)) (Huang et al., section 4): prediction of the teacher's samples.

    An autoregressive T^-1 is slow, so its samples may be made once and given as `x`.

    Args:
      student: flow to train; static. Only its `decode` is used.
      teacher: flow to imitate; static. Its `decode` is used, unless `x` is given.
      student_variables: its variables.
      teacher_variables: its variables; held fixed.
      z: draws from the prior, or the teacher's encodings of `x`.
      cond: context, for both.
      x: the teacher's samples T^-1(z), made before.
      noise: added to the latents that the student sees, one array a latent.
      distance: "l1", "l2" or "mixed", (l1 + l2) / 2.
      reduction: over the event, "mean" or "sum".
      limit: largest |x| of a student's sample that counts, None for all. Another one
        counts as 0 and gives no gradient, which it would decide alone: a flow's rare
        far samples are off by many powers of ten. With `earlier` it holds of the images
        of all passes.
      earlier: how much the image of a pass counts beside the next one's, see `by_pass`.

    Returns:
      The loss, the mean over all rows, and Aux with the terms "oracle", the distance of
      the last pass, and, with a limit, "rejected", the share of rows left out; the
      student's Decoding and the teacher's (None where `x` was given). With `earlier`
      also the term "passes", the loss, and the distance of each pass as `per_level`.
    """
    z, cond = entering.reals(z), entering.maybe(cond)
    target, teaching = None if x is None else entering.real(x), None
    if target is None:
        teaching = teacher.apply(teacher_variables, z, cond, method="decode")
        teaching = jax.lax.stop_gradient(teaching)
        target = teaching.x
    z, terms, bad = _noised(z, noise), {}, False
    if limit is not None:
        fixed = jax.lax.stop_gradient(student_variables)
        trial = student.apply(fixed, z, cond, method="decode")
        bad = of_rows.exploded(trial.x, limit)
        for image in trial.earlier if earlier else ():
            bad |= of_rows.exploded(image, limit)
        terms["rejected"] = jnp.mean(bad.astype(target.dtype))
        # Not only their loss: 0 times an infinite slope is no number.
        z = of_rows.zeroed(bad, z)
    drawn = student.apply(student_variables, z, cond, method="decode")
    counted = functools.partial(jnp.where, bad, 0.0)
    rows, each = by_pass(drawn, target, distance, reduction, earlier)
    loss, each = jnp.mean(counted(rows)), tuple(jnp.mean(counted(d)) for d in each)
    terms = _terms("oracle", loss, each) | terms
    return loss, Aux(terms, each, drawn, teaching)


def _terms(name: str, loss: Scalar, each: tuple[Scalar, ...]) -> dict[str, Scalar]:
    """A reconstruction by its name, which is the last pass's where each has its own."""
    return {name: each[-1], "passes": loss} if each else {name: loss}


def _noised(z: Latents, noise: Given | None) -> Latents:
    if noise is None:
        return z
    noise = entering.reals(noise)
    shapes, given = [p.shape for p in z], [n.shape for n in noise]
    if shapes != given:
        raise ValueError(f"latents have shapes {shapes}, their noise {given}")
    return tuple(part + extra for part, extra in zip(z, noise, strict=True))
