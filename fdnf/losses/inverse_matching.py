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

from fdnf.losses import distillation
from fdnf.ops import entering
from fdnf.ops import rows as of_rows
from fdnf.types import Aux, Flow, Given, LogDet, Scalar, Variables

Latents = tuple[Array, ...]

MIXED = "mixed"
DISTANCES = (*distillation.DISTANCES, MIXED)

_STATIC = ("student", "teacher", "distance", "reduction")


def rowwise(
    a: Array | Latents, b: Array | Latents, distance: str, reduction: str
) -> LogDet:
    """`distillation.rowwise`, which also knows "mixed": (l1 + l2) / 2.

    Raises:
      ValueError: for other names, or shapes that differ.
    """
    if distance not in DISTANCES:
        raise ValueError(f"unknown distance {distance!r}; known: {sorted(DISTANCES)}")
    if distance != MIXED:
        return distillation.rowwise(a, b, distance, reduction)
    l1, l2 = (distillation.rowwise(a, b, name, reduction) for name in ("l1", "l2"))
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


@functools.partial(jax.jit, static_argnames=_STATIC)
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

    Returns:
      The loss, and Aux with the term "x", the student's Decoding of the encodings
      (with their noise) and the teacher's Encoding (without).
    """
    x, cond = entering.real(x), entering.maybe(cond)
    encoded = teacher.apply(teacher_variables, x, cond, method="encode")
    encoded = jax.lax.stop_gradient(encoded)
    z = _noised(encoded.z, noise)
    drawn = student.apply(student_variables, z, cond, method="decode")
    loss = jnp.mean(rowwise(drawn.x, x, distance, reduction))
    return loss, Aux({"x": loss}, (), drawn, encoded)


@functools.partial(jax.jit, static_argnames=(*_STATIC, "limit"))
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
        far samples are off by many powers of ten.

    Returns:
      The loss, the mean over all rows, and Aux with the terms "oracle" and, with a
      limit, "rejected", the share of rows left out; the student's Decoding and the
      teacher's (None where `x` was given).
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
        terms["rejected"] = jnp.mean(bad.astype(target.dtype))
        # Not only their loss: 0 times an infinite slope is no number.
        z = of_rows.zeroed(bad, z)
    drawn = student.apply(student_variables, z, cond, method="decode")
    rows = rowwise(drawn.x, target, distance, reduction)
    loss = jnp.mean(jnp.where(bad, 0.0, rows))
    return loss, Aux({"oracle": loss, **terms}, (), drawn, teaching)


def _noised(z: Latents, noise: Given | None) -> Latents:
    if noise is None:
        return z
    noise = entering.reals(noise)
    shapes, given = [p.shape for p in z], [n.shape for n in noise]
    if shapes != given:
        raise ValueError(f"latents have shapes {shapes}, their noise {given}")
    return tuple(part + extra for part, extra in zip(z, noise, strict=True))
