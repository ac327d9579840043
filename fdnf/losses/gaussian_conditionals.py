"""Distillation of Gaussian conditionals in closed form, as ClariNet does it.

Where student and teacher are autoregressive with one Gaussian a dimension, what the
student draws at t given the noise before, q(x_t | z_<t), and what the teacher expects
at t given the student's samples before, p(x_t | x_<t), have a KL without sampling
error. `clarinet` is the loss of two flows; all other functions take the conditionals as
arrays, whatever network gave them.

Reference: Ping et al. (2018), "ClariNet", section 3.3.
"""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fdnf.ops import entering
from fdnf.types import Aux, Flow, Given, Scalar, Variables

# Any shape, one for all: checked by `_check`, whose error says which is which.
Elements = Float[Array, "..."]

# Below e^-6 a scale counts as e^-6 in the KL, whose 1 / s_p^2 would explode.
FLOOR = -6.0
WEIGHT = 4.0


def kl(
    mean_q: Given,
    log_scale_q: Given,
    mean_p: Given,
    log_scale_p: Given,
    *,
    floor: float = FLOOR,
) -> Elements:
    """KL(q || p) of Gaussians, elementwise, in nats.

    log(s_p / s_q) + (s_q^2 - s_p^2 + (mu_p - mu_q)^2) / (2 s_p^2)

    Args:
      mean_q: mu_q, of the student.
      log_scale_q: log s_q.
      mean_p: mu_p, of the teacher.
      log_scale_p: log s_p.
      floor: least log-scale; a smaller one counts as this, and gets no gradient.

    Returns:
      The divergence of each element, at least 0 up to rounding.

    Reference: Ping et al. (2018), eq. 6.
    """
    mean_q, log_scale_q, mean_p, log_scale_p = map(
        entering.real, (mean_q, log_scale_q, mean_p, log_scale_p)
    )
    _check(mean_q, log_scale_q, mean_p, log_scale_p)
    log_q = jnp.maximum(log_scale_q, floor)
    log_p = jnp.maximum(log_scale_p, floor)
    gap = (mean_p - mean_q) * jnp.exp(-log_p)
    # (s_q^2 - s_p^2) / s_p^2 without the cancellation near equality.
    spread = jnp.expm1(2 * (log_q - log_p))
    return log_p - log_q + 0.5 * (spread + gap**2)


@functools.partial(jax.jit, static_argnames=("weight", "floor"))
def regularized_kl(
    mean_q: Given,
    log_scale_q: Given,
    mean_p: Given,
    log_scale_p: Given,
    *,
    weight: float = WEIGHT,
    floor: float = FLOOR,
) -> tuple[Scalar, Aux]:
    """Mean of KL(q || p) + weight (log s_p - log s_q)^2 over all elements.

    The second term pulls the scales together where the first is flat or too steep:
    both scales are small where the signal is quiet. It sees log-scales as they are,
    below the floor too.

    The gradient goes wherever the arrays lead. To hold a teacher fixed, stop its
    variables, not its conditionals: those depend on the student's samples.

    Args:
      mean_q: mu_q, of the student; `compose` makes it of several flows.
      log_scale_q: log s_q.
      mean_p: mu_p, of the teacher, which has seen the student's samples.
      log_scale_p: log s_p.
      weight: of the second term; 4 in the paper.
      floor: see `kl`.

    Returns:
      The loss, and Aux with the terms "kl" and "reg", each the mean over elements and
      without its weight, and the pairs (mean, log-scale) of both sides.

    Reference: Ping et al. (2018), eq. 7.
    """
    mean_q, log_scale_q, mean_p, log_scale_p = map(
        entering.real, (mean_q, log_scale_q, mean_p, log_scale_p)
    )
    divergence = jnp.mean(kl(mean_q, log_scale_q, mean_p, log_scale_p, floor=floor))
    reg = jnp.mean((log_scale_p - log_scale_q) ** 2)
    terms = {"kl": divergence, "reg": reg}
    pairs = ((mean_q, log_scale_q), (mean_p, log_scale_p))
    return divergence + weight * reg, Aux(terms, (), *pairs)


def compose(
    means: Sequence[Given], log_scales: Sequence[Given]
) -> tuple[Elements, Elements]:
    """The conditional of several inverse autoregressive flows in one order.

    x = mu_n + exp(log s_n) (... mu_1 + exp(log s_1) z), so
    mu_total <- mu_total exp(log s_i) + mu_i and log s_total <- log s_total + log s_i.
    Given z_<t, x_t is Gaussian with these if every flow keeps the order of time, so
    that mu_i and s_i at t depend on z_<t alone; flows in alternating order, such as
    `IAF` of several steps, have no such conditional.

    Args:
      means: mu_i, the flow next to the noise first.
      log_scales: log s_i, in the same order.

    Returns:
      mu_total and log s_total.

    Raises:
      ValueError: for no flow, or unequal numbers.

    Reference: Ping et al. (2018), eq. 5.
    """
    if not means or len(means) != len(log_scales):
        raise ValueError(
            f"{len(means)} means and {len(log_scales)} log-scales: expected one of "
            "each for every flow, and at least one flow"
        )
    (mean, *means), (log_scale, *log_scales) = (
        [entering.real(part) for part in parts] for parts in (means, log_scales)
    )
    for m, s in zip(means, log_scales, strict=True):
        mean, log_scale = mean * jnp.exp(s) + m, log_scale + s
    return mean, log_scale


@functools.partial(jax.jit, static_argnames=("student", "teacher", "weight", "floor"))
def clarinet(
    student: Flow,
    teacher: Flow,
    student_variables: Variables,
    teacher_variables: Variables,
    z: Given,
    cond: Given | None = None,
    *,
    weight: float = WEIGHT,
    floor: float = FLOOR,
) -> tuple[Scalar, Aux]:
    """`regularized_kl` of a parallel student and an autoregressive teacher.

    The student draws x of z in one pass; the teacher says, in one pass, what it expects
    of each x_t given the student's x_{<t}. Gradients go through the student's samples
    into the teacher's conditionals, and never into the teacher's variables.

    Args:
      student: flow to train, whose steps keep one order, such as `WaveIAF`; static.
        Its `decode` and `conditionals` are used.
      teacher: flow to imitate, such as `GaussianWaveNet`; static. Its `conditionals`
        are used.
      student_variables: its variables.
      teacher_variables: its variables; held fixed.
      z: draws from the prior.
      cond: context, for both.
      weight: see `regularized_kl`.
      floor: see `kl`.

    Returns:
      The loss, and Aux with the terms of `regularized_kl`, the student's Decoding, for
      a loss of its spectra to be added, and the teacher's (mean, log-scale).

    Raises:
      ValueError: for a flow that does not tell its conditionals.

    Reference: Ping et al. (2018), section 3.3, algorithm 1.
    """
    check(student, teacher)
    z, cond = entering.reals(z), entering.maybe(cond)
    drawn = student.apply(student_variables, z, cond, method="decode")
    own = student.apply(student_variables, z, cond, method="conditionals")
    fixed = jax.lax.stop_gradient(teacher_variables)
    theirs = teacher.apply(fixed, drawn.x, cond, method="conditionals")
    pairs = compose(*own), compose(*theirs)
    loss, aux = regularized_kl(*pairs[0], *pairs[1], weight=weight, floor=floor)
    return loss, aux._replace(student=drawn)


def check(student: Flow, teacher: Flow) -> None:
    """Refuses flows that `clarinet` cannot compare.

    Raises:
      ValueError: for a flow that does not tell its conditionals.
    """
    for flow in (student, teacher):
        if not hasattr(flow, "conditionals"):
            raise ValueError(
                f"clarinet: {type(flow).__name__} does not tell the Gaussian of each "
                "element; expected flows with `conditionals`, such as GaussianWaveNet "
                "and WaveIAF"
            )


def _check(*arrays: Elements) -> None:
    shapes = [array.shape for array in arrays]
    if len(set(shapes)) != 1:
        raise ValueError(
            "mean_q, log_scale_q, mean_p, log_scale_p have shapes "
            f"{shapes}: expected one shape for all; a mean and a log-scale an element"
        )
