"""Samples of one flow, weighed by another: log w = log p_T(x) - log q(x), in nats.

A student that samples in one pass proposes, a teacher that scores in one pass weighs;
nothing is inverted. What is made of weighed proposals is in `fdnf.corrected`.

References: Hastings (1970); Liu (1996), "Metropolized independent sampling with
comparisons to rejection sampling and importance sampling".
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from fdnf.flows import base
from fdnf.types import Context, Events, Flow, LogDet, Variables

NO_DENSITY = (
    "{} has no density of its samples, by which a teacher could weigh them: correct a "
    "student that is a flow, such as IAF"
)


def latents(
    student: Flow, variables: Variables, key: Array, shape: tuple[int, ...]
) -> tuple[Array, ...]:
    """Standard normal latents of `shape`, `(rows, *event)`, in the student's parts."""
    if hasattr(student, "draw"):
        z: Any = student.apply(variables, key, shape, method="draw")
        return z
    return (jax.random.normal(key, shape),)  # Of another library: one latent.


@functools.partial(jax.jit, static_argnames=("student", "teacher", "shape"))
def proposed(
    student: Flow,
    teacher: Flow,
    student_variables: Variables,
    teacher_variables: Variables,
    key: Array,
    shape: tuple[int, ...],
    cond: Context | None = None,
) -> tuple[Events, LogDet]:
    """Samples of the student, and log w = log p_T(x) - log q(x) of each, in nats.

    log q(S(z)) = log p(z) - log |det dS/dz|, which `decode` gives; -inf stands for a
    sample that is not finite, or has no finite weight.

    Args:
      student: flow whose `decode` proposes; static.
      teacher: flow whose `encode` weighs; static.
      student_variables: its variables.
      teacher_variables: its variables.
      key: randomness.
      shape: `(rows, *event)`; static.
      cond: a condition a row.

    Raises:
      ValueError: the student has no density.
    """
    given = () if cond is None else (cond,)
    z = latents(student, student_variables, key, shape)
    decoding = student.apply(student_variables, z, *given, method="decode")
    if decoding.log_det is None:
        raise ValueError(NO_DENSITY.format(type(student).__name__))
    log_q = base.standard_normal_log_prob(z) - decoding.log_det
    encoding = teacher.apply(teacher_variables, decoding.x, *given, method="encode")
    log_w = encoding.log_prob - log_q
    return decoding.x, jnp.where(jnp.isfinite(log_w), log_w, -jnp.inf)


@functools.partial(jax.jit, static_argnames=("student", "teacher"))
def moved(
    student: Flow,
    teacher: Flow,
    student_variables: Variables,
    teacher_variables: Variables,
    key: Array,
    x: Events,
    log_w: LogDet,
    cond: Context | None = None,
) -> tuple[Events, LogDet, LogDet, Array]:
    """One step of each chain: to the next proposal y with probability w(y) / w(x).

    Args:
      student: flow whose `decode` proposes; static.
      teacher: flow whose `encode` weighs; static.
      student_variables: its variables.
      teacher_variables: its variables.
      key: randomness.
      x: where the chains stand.
      log_w: what that weighs; -inf of a chain that stands nowhere yet, which takes any
        proposal that has a weight.
      cond: a condition a row.

    Returns:
      Where they stand then, what that weighs, what the proposals weigh, and which were
      accepted.
    """
    y, log_y = proposed(
        *(student, teacher, student_variables, teacher_variables),
        *(jax.random.fold_in(key, 0), x.shape, cond),
    )
    u = jax.random.uniform(jax.random.fold_in(key, 1), log_w.shape)
    nowhere = log_w == -jnp.inf
    # Not `log_y - log_w` where both are -inf.
    ratio = log_y - jnp.where(nowhere, 0.0, log_w)
    accepted = (log_y > -jnp.inf) & (nowhere | (jnp.log(u) < ratio))
    wide = accepted.reshape(-1, *(1,) * (x.ndim - 1))
    return (
        jnp.where(wide, y, x),
        jnp.where(accepted, log_y, log_w),
        log_y,
        accepted,
    )
