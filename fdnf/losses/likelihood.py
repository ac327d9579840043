"""Maximum likelihood."""

import functools
import math

import jax
import jax.numpy as jnp

from fdnf.ops import entering
from fdnf.types import Aux, Encoding, Flow, Given, Scalar, Variables

UNITS = ("nats", "bits_per_dim")


@functools.partial(jax.jit, static_argnames=("student", "units"))
def nll(
    student: Flow,
    student_variables: Variables,
    x: Given,
    cond: Given | None = None,
    *,
    units: str = "nats",
) -> tuple[Scalar, Aux]:
    """Negative log-likelihood, -mean log p_s(x).

    Args:
      student: the flow; static.
      student_variables: its variables.
      x: data.
      cond: context.
      units: "nats" per row, or "bits_per_dim" of the data as the flow sees them, whose
        scale does not depend on their size.

    Returns:
      The loss, and Aux with the term "nll" and the student's Encoding.

    Reference: Walton et al. (2023), eq. 4, as the expectation that it stands for.
    """
    x, cond = entering.real(x), entering.maybe(cond)
    encoding = student.apply(student_variables, x, cond, method="encode")
    loss = negative_mean(encoding, units)
    return loss, Aux({"nll": loss}, (), encoding, None)


def negative_mean(encoding: Encoding, units: str = "nats") -> Scalar:
    """-mean log p of an encoded batch.

    Raises:
      ValueError: for unknown units.
    """
    if units not in UNITS:
        raise ValueError(f"unknown units {units!r}; known: {UNITS}")
    loss = -jnp.mean(encoding.log_prob)
    if units == "nats":
        return loss
    dim = sum(math.prod(part.shape[1:]) for part in encoding.z)
    return loss / (dim * math.log(2))
