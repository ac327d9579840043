"""Exact samples of a slow flow, iterated from a student's.

The student's sample S(z) is near the teacher's T^-1(z), and the teacher's own inverse
can start there: each autoregressive layer iterates x <- g(x), its whole network at
once, until F(x) is z. That is the teacher's sample whatever the student is; a good one
saves rounds. Nothing is weighed or rejected, and every latent keeps its sample.

How many rounds that saves is a matter of how errors travel: one of a pixel moves those
after it, and has to die out along the way even if the start is close. `iterations`
says it for each layer and row. Where a sequential inverse that computes each unit once
costs few passes of the network, as on a CPU, that stays the faster way.

Reference: Song, Meng, Liao, Ermon (2021), Accelerating feedforward computation via
parallel nonlinear equation solving; Liu, Qin (2025), Accelerate TarFlow sampling with
GS-Jacobi iteration.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from fdnf.flows.base import FlowModule, StackFlow, standard_normal_log_prob
from fdnf.ops import rows as of_rows
from fdnf.types import Decoding, Flow, Given, Variables


class Refined(NamedTuple):
    """Samples of a teacher that were found from a student's.

    Attributes:
      x: `[n, *event]`, the teacher's samples.
      log_prob: `[n]`, their log density under the teacher, in nats.
      iterations: rounds of each layer, in the order of the data, and row; a round is
        one pass of the layer's network. One more judges the start, and one more gives
        the density.
      residual: max |F(x) - y| of each layer and row.
      moved: `[n]`, largest |x - start| of each row; not finite where the start is not.
      direct: `[n]`, True where the iteration did not end well, and `decode` took over.
    """

    x: Float[Array, "n *event"]
    log_prob: Float[Array, " n"]
    iterations: Int[Array, "layers n"]
    residual: Float[Array, "layers n"]
    moved: Float[Array, " n"]
    direct: Array


def _refusal(teacher: FlowModule) -> str:
    return (
        f"{type(teacher).__name__} is not inverted by iteration from a start: call "
        "`decode` or `sample`, or give an autoregressive flow (MAF, PixelCNN, TarFlow)"
    )


def refine(
    teacher: FlowModule,
    variables: Variables,
    z: Given,
    start: Given,
    cond: Given | None = None,
    *,
    tolerance: float | None = None,
) -> Refined:
    """The teacher's decoding of `z`, iterated from `start`.

    Rows whose iteration leaves more than the square root of the float's precision are
    decoded directly: that costs nothing while there are none.

    Args:
      teacher: a flow of one latent with autoregressive layers (`MAF`, `PixelCNN`,
        `TarFlow`) or residual ones (`IResNet`).
      variables: its variables.
      z: latents, as of `decode`.
      start: data near the result.
      cond: context of the teacher.
      tolerance: of each layer, largest |F(x) - y|; None for the teacher's own.

    Raises:
      ValueError: for a flow whose inverse does not iterate, or other shapes than its
        own.
    """
    if tolerance is not None:
        if not tolerance >= 0:
            raise ValueError(f"refine: tolerance is {tolerance}, expected at least 0")
        if hasattr(teacher, "tolerance"):
            teacher = teacher.clone(tolerance=tolerance)
    if not isinstance(teacher, StackFlow):
        raise ValueError(_refusal(teacher))
    answer: Any = teacher.apply(
        variables, z, cond, method="decode_with_report", start=start
    )
    found, report = answer
    if not len(report.residual):
        raise ValueError(_refusal(teacher))
    close = float(jnp.finfo(found.x.dtype).eps) ** 0.5
    direct = ~(jnp.max(report.residual, axis=0) <= max(close, tolerance or 0.0))

    def decode() -> tuple[Array, Array]:
        whole: Any = teacher.apply(variables, z, cond, method="decode")
        beside = of_rows.beside(direct, whole.x)
        x = jnp.where(beside, whole.x, found.x)
        return x, jnp.where(direct, whole.log_det, found.log_det)

    x, log_det = jax.lax.cond(jnp.any(direct), decode, lambda: (found.x, found.log_det))
    prior = standard_normal_log_prob(tuple(jnp.asarray(part, x.dtype) for part in z))
    moved = of_rows.largest(x - jnp.asarray(start, x.dtype))
    return Refined(
        x=x,
        log_prob=prior - log_det,
        iterations=report.iterations,
        residual=report.residual,
        moved=moved,
        direct=direct,
    )


def refined_sample(
    student: Flow,
    teacher: FlowModule,
    student_variables: Variables,
    teacher_variables: Variables,
    key: PRNGKeyArray,
    n: int,
    cond: Given | None = None,
    *,
    event: tuple[int, ...],
    temperature: float = 1.0,
    tolerance: float | None = None,
) -> Refined:
    """Draws the teacher's samples: the student proposes, the teacher's inverse ends it.

    They are those that `teacher.sample` gives of the same key, with their density and
    what they took. A student is of use that decodes a latent to what the teacher makes
    of it, as those do that learn by `z`, `x`, `oracle` or block by block.

    Args:
      student: a sampler of the teacher's latents; only its `decode` is used.
      teacher: see `refine`.
      student_variables: its variables.
      teacher_variables: its variables.
      key: of the latents.
      n: how many.
      cond: context of both.
      event: shape of one row.
      temperature: standard deviation of the latents.
      tolerance: see `refine`.

    Raises:
      ValueError: as `refine`.
    """
    z: Any = teacher.apply(
        teacher_variables, key, (n, *event), temperature, method="draw"
    )
    given = () if cond is None else (cond,)
    drawn: Decoding = student.apply(student_variables, z, *given, method="decode")
    return refine(teacher, teacher_variables, z, drawn.x, cond, tolerance=tolerance)
