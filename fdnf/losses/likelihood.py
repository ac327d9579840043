"""Maximum likelihood."""

import functools

import jax
import jax.numpy as jnp

from fdnf.types import Aux, Context, Encoding, Events, Flow, Scalar, Variables


@functools.partial(jax.jit, static_argnames=("student",))
def nll(
    student: Flow,
    student_variables: Variables,
    x: Events,
    cond: Context | None = None,
) -> tuple[Scalar, Aux]:
    """Negative log-likelihood, -mean log p_s(x), in nats per row.

    Args:
      student: the flow; static.
      student_variables: its variables.
      x: data.
      cond: context.

    Returns:
      The loss, and Aux with the term "nll" and the student's Encoding.

    Reference: Walton et al. (2023), eq. 4, as the expectation that it stands for.
    """
    encoding = student.apply(student_variables, x, cond, method="encode")
    loss = negative_mean(encoding)
    return loss, Aux({"nll": loss}, (), encoding, None)


def negative_mean(encoding: Encoding) -> Scalar:
    """-mean log p of an encoded batch, in nats."""
    return -jnp.mean(encoding.log_prob)
