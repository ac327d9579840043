"""The expansion signal: how often reverse KL pushes samples away from a centre.

Reference: Huang et al. (2019), "Probability distillation: a caveat and alternatives",
section 3.1.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fdnf.losses import density
from fdnf.ops import entering
from fdnf.types import Context, Flow, Given, Scalar, Variables

Latents = tuple[Array, ...]
# One event for all rows, or one a row.
Centre = Float[Array, "*batch_and_event"]


@functools.partial(jax.jit, static_argnames=("student", "teacher", "log_prior"))
def expansion_signal(
    student: Flow,
    teacher: Flow,
    student_variables: Variables,
    teacher_variables: Variables,
    z: Given,
    cond: Given | None = None,
    *,
    centre: Given,
    log_prior: density.LogPrior = density.standard_normal,
) -> Scalar:
    """P[(x - centre)^T g_x > 0], the mean over rows of `expanding`.

    Takes what that takes, and gives the share of rows, from 0 to 1.
    """
    rows = expanding(
        student,
        teacher,
        student_variables,
        teacher_variables,
        z,
        cond,
        centre=centre,
        log_prior=log_prior,
    )
    return jnp.mean(rows)


@functools.partial(jax.jit, static_argnames=("student", "teacher", "log_prior"))
def expanding(
    student: Flow,
    teacher: Flow,
    student_variables: Variables,
    teacher_variables: Variables,
    z: Given,
    cond: Given | None = None,
    *,
    centre: Given,
    log_prior: density.LogPrior = density.standard_normal,
) -> Float[Array, " batch"]:
    """(x - centre)^T g_x > 0, g_x = grad_x (log p_T - log q)(x), x = S(z), row by row.

    -g_x is what the path derivative of reverse KL sends back to a sample (eq. 6), so
    that a step of gradient descent moves the sample along g_x: out from the centre
    where the product is positive. The slopes are those at a fixed point x; that of
    log q is `density.density_slope`, with a reverse pass a dimension. For logging, a
    few rows are enough (the standard error of a share of 16 rows is at most 0.125).

    Args:
      student: the sampler; static. Only its `decode` is used; rows must not touch.
      teacher: flow whose density judges; static. Only its `encode` is used.
      student_variables: its variables.
      teacher_variables: its variables.
      z: draws from the student's prior.
      cond: context, for both.
      centre: `[*event]`, or one a row; `CENTRES` has the paper's and another.
      log_prior: log density of the student's prior, `z -> [batch]`; static.

    Returns:
      1 or 0 a row; a row that is not finite does not count as expanding. No gradient
      flows into anything.

    Raises:
      ValueError: if the centre has another shape than an event or a batch.

    Reference: Huang et al. (2019), section 3.1 and figure 3.
    """
    z, cond, centre = entering.reals(z), entering.maybe(cond), entering.real(centre)
    student_variables, teacher_variables, z, centre = jax.lax.stop_gradient(
        (student_variables, teacher_variables, z, centre)
    )
    x = student.apply(student_variables, z, cond, method="decode").x
    if centre.shape not in (x.shape, x.shape[1:]):
        raise ValueError(
            f"centre has shape {centre.shape}: expected that of an event, "
            f"{x.shape[1:]}, or of the batch, {x.shape}"
        )

    def judged(x):
        encoding = teacher.apply(teacher_variables, x, cond, method="encode")
        return jnp.sum(encoding.log_prob)

    own = density.density_slope(student, student_variables, z, cond, log_prior)
    along = (x - centre) * (jax.grad(judged)(x) - own)
    outward = jnp.sum(along.reshape(x.shape[0], -1), axis=1) > 0
    return outward.astype(jnp.float32)


def teacher_mode(
    student: Flow,
    teacher: Flow,
    student_variables: Variables,
    teacher_variables: Variables,
    z: Latents,
    cond: Context | None = None,
) -> Centre:
    """T^-1(0), the paper's centre: the mode of an affine Gaussian teacher.

    Of another teacher, the image of its prior's mode. An autoregressive teacher
    decodes step by step: where it stays fixed, compute this once.

    Args:
      student: not used; the arguments are those of all centres.
      teacher: flow to decode with.
      student_variables: not used.
      teacher_variables: the teacher's variables.
      z: latents of the shapes that the teacher decodes; their values are not used.
      cond: context, each row of which then has a centre of its own.
    """
    del student, student_variables
    return _middle(teacher, teacher_variables, z, cond)


def student_mean(
    student: Flow,
    teacher: Flow,
    student_variables: Variables,
    teacher_variables: Variables,
    z: Latents,
    cond: Context | None = None,
) -> Centre:
    """S(0), the mean of an affine Gaussian student; takes what `teacher_mode` does.

    About it, the signal asks whether the student grows, wherever it is.
    """
    del teacher, teacher_variables
    return _middle(student, student_variables, z, cond)


CENTRES: dict[str, Callable[..., Centre]] = {
    "teacher_mode": teacher_mode,
    "student_mean": student_mean,
}


def _middle(
    flow: Flow, variables: Variables, z: Latents, cond: Context | None
) -> Centre:
    rows = 1 if cond is None else z[0].shape[0]
    zeros = tuple(jnp.zeros((rows, *part.shape[1:]), part.dtype) for part in z)
    x = flow.apply(variables, zeros, cond, method="decode").x
    return jax.lax.stop_gradient(x[0] if cond is None else x)
