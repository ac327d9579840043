"""Exact samples of a slow flow, iterated from a student's.

The student's sample S(z) is near the teacher's T^-1(z). Two iterations end at T^-1(z)
itself, the teacher's sample of that latent. Nothing is weighed or rejected.

`refine` starts the teacher's own inverse there: each autoregressive layer iterates
x <- g(x), its whole network at once, until F(x) is z. How many rounds a good start
saves is a matter of how errors travel: one of a pixel moves those after it, and has to
die out along the way even if it is small. `iterations` says it for each layer and row.

`decode_through` asks the student again, for a latent that is moved by what T found
wrong: z_0 = z, z_k+1 = z_k + z - T(S(z_k)), Stetter's iterated defect correction. The
student carries errors to where they belong, and a round leaves the share of them by
which T(S(z)) - z changes with z: of a student near its teacher a tenth or less. Where
the slopes of the two differ more, as at a jump of the density, an element of z moves by
a part of its defect that is made smaller where the defect changes its sign, and larger
where it lasts. It needs nothing of either but a pass of `encode` and `decode`, whatever
flows they are, and no density of the student; but latents have to mean the same to
both, which a student that learned by reverse KL alone was never told.

Where a sequential inverse that computes each unit once costs few passes of the network,
as on a CPU, that stays the faster way.

Reference: Song, Meng, Liao, Ermon (2021), Accelerating feedforward computation via
parallel nonlinear equation solving; Liu, Qin (2025), Accelerate TarFlow sampling with
GS-Jacobi iteration; Stetter (1978), The defect correction principle and discretization
methods (version B); Riedmiller, Braun (1993) for a step of each element by signs.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from fdnf.flows.base import FlowModule, StackFlow, standard_normal_log_prob
from fdnf.ops import rows as of_rows
from fdnf.types import Decoding, Encoding, Events, Flow, Given, LogDet, Variables

# Rounds after which a row is left to the teacher.
ROUNDS = 16
# An element of which a round leaves more than this share moves by another part of its
# defect from then on: by so much less where the sign changed, or so much more.
_SLOW, _LESS, _MORE, _MOST = 0.35, 0.6, 1.5, 8.0


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


class Round(NamedTuple):
    """One round of `defect_round`.

    Attributes:
      x: `[n, *event]`, the student's decoding of what was aimed at.
      aim: what to decode next, in parts as z.
      pace: how much of its defect each element moves by.
      defects: z - T(x), in parts as z.
      residual: `[n]`, largest |T(x) - z|; NaN where that is not finite.
      log_prob: `[n]`, log density of x under the teacher, in nats.
      log_weight: `[n]`, that less the log density of x under the student; NaN where
        the student does not know it.
    """

    x: Events
    aim: tuple[Array, ...]
    pace: tuple[Array, ...]
    defects: tuple[Array, ...]
    residual: Float[Array, " n"]
    log_prob: LogDet
    log_weight: LogDet


@functools.partial(jax.jit, static_argnames=("student", "teacher"))
def defect_round(
    student: Flow,
    teacher: Flow,
    student_variables: Variables,
    teacher_variables: Variables,
    z: tuple[Array, ...],
    aim: tuple[Array, ...],
    pace: tuple[Array, ...],
    before: tuple[Array, ...],
    cond: Given | None = None,
) -> Round:
    """A round of iterated defect correction: x = S(aim), aim <- aim + pace (z - T(x)).

    Args:
      student: only its `decode` is used; static.
      teacher: only its `encode` is used; static.
      student_variables: its variables.
      teacher_variables: its variables.
      z: latents of which the teacher's samples are sought, `[n, ...]` each part.
      aim: what the student is to decode, in parts as z; z in the first round.
      pace: of the round before, in parts as z; ones in the first.
      before: its defects, in parts as z; zeros in the first round.
      cond: context of both, `[n, ...]`.

    Reference: Stetter (1978), version B, with paces after Riedmiller, Braun (1993).

    Raises:
      ValueError: the latents of the two differ in shape.
    """
    given = () if cond is None else (cond,)
    drawn: Decoding = student.apply(student_variables, aim, *given, method="decode")
    found: Encoding = teacher.apply(teacher_variables, drawn.x, *given, method="encode")
    shapes = [[part.shape for part in parts] for parts in (z, found.z)]
    if shapes[0] != shapes[1]:
        raise ValueError(
            f"the teacher's latents have the shapes {shapes[1]}, the student's "
            f"{shapes[0]}: a student is corrected by what its teacher makes of the "
            "same latents"
        )
    defects = tuple(jnp.subtract(*pair) for pair in zip(z, found.z, strict=True))
    log_weight = jnp.full_like(found.log_prob, jnp.nan)
    if drawn.log_det is not None:
        log_weight = found.log_prob - (standard_normal_log_prob(aim) - drawn.log_det)
    worst = functools.reduce(jnp.maximum, map(of_rows.largest, defects))
    paces = tuple(map(_paced, pace, before, defects))
    return Round(
        x=drawn.x,
        aim=tuple(a + p * d for a, p, d in zip(aim, paces, defects, strict=True)),
        pace=paces,
        defects=defects,
        residual=jnp.where(jnp.isfinite(worst), worst, jnp.nan),
        log_prob=found.log_prob,
        log_weight=log_weight,
    )


def _paced(pace: Array, before: Array, defects: Array) -> Array:
    """The next pace of each element."""
    slow = jnp.abs(defects) > _SLOW * jnp.abs(before)
    turned = before * defects < 0.0
    other = jnp.where(turned, _LESS * pace, jnp.minimum(_MORE * pace, _MOST))
    return jnp.where(slow & (before != 0.0), other, pace)


class Through(NamedTuple):
    """The teacher's samples of given latents, by its student.

    Attributes:
      x: `[n, *event]`.
      log_prob: `[n]`, their log density under the teacher, in nats.
      rounds: `[n]`, passes of both flows that each row took.
      residual: `[n]`, largest |T(x) - z| of the round that was taken; of rows that the
        teacher decoded the least that any round had.
      direct: `[n]`, True where the rounds did not end, and the teacher's `decode` took
        over.
      log_weight: `[n]`, log density of the student's own sample S(z) under the teacher
        less that under the student, in nats; NaN of a student without a density.
    """

    x: np.ndarray
    log_prob: np.ndarray
    rounds: np.ndarray
    residual: np.ndarray
    direct: np.ndarray
    log_weight: np.ndarray


def decode_through(
    student: Flow,
    teacher: Flow,
    student_variables: Variables,
    teacher_variables: Variables,
    z: tuple[Any, ...],
    cond: Any = None,
    *,
    rounds: int = ROUNDS,
    tolerance: float | None = None,
    batch: int = 4096,
) -> Through:
    """The teacher's decoding of `z`, by rounds of its student and its own `encode`.

    Rows take as many rounds as each needs: those that are done make room in the batch
    for the next. Not for use within `jit`.

    Args:
      student: sampler of the teacher's latents; only its `decode` is used.
      teacher: only its `encode` is used, and its `decode` for rows that do not settle.
      student_variables: its variables, of one run.
      teacher_variables: likewise.
      z: latents, `[n, ...]` each part.
      cond: condition of each row, `[n, ...]`, or one for all, `[1, ...]`.
      rounds: most of a row.
      tolerance: largest |T(x) - z| that is left; None for the square root of the
        float's precision.
      batch: rows at once, of one compiled program.

    Raises:
      ValueError: for numbers that cannot be, other latents than the teacher's, or rows
        that do not settle of a teacher that cannot decode.
    """
    # In the precision of the programs, which may be less than that of what is given.
    z = tuple(np.asarray(jnp.asarray(part)) for part in z)
    n = len(z[0])
    if cond is not None:
        cond = np.broadcast_to(cond, (n, *np.shape(cond)[1:]))
    close = float(np.finfo(z[0].dtype).eps) ** 0.5 if tolerance is None else tolerance
    if rounds < 1 or batch < 1 or n < 1 or not close > 0:
        raise ValueError(
            f"decode_through: rounds={rounds}, batch={batch}, {n} rows and tolerance="
            f"{close}: expected at least one of each, and a tolerance above 0"
        )
    size = min(batch, n)
    flows = (student, teacher, student_variables, teacher_variables)
    aim, pace, before = (
        tuple(of(part) for part in z) for of in (np.copy, np.ones_like, np.zeros_like)
    )
    took, x = np.zeros(n, np.int32), None
    log_prob, residual, log_weight = np.full((3, n), np.inf, z[0].dtype)
    waiting = np.arange(n)

    def batched(rows: np.ndarray, *arrays: Any) -> Any:
        """These rows of all arrays, some of them more than once to fill a batch."""
        full = np.resize(rows, size)
        return jax.tree.map(lambda leaf: leaf[full], arrays)

    while len(waiting):
        rows = waiting[:size]
        state = batched(rows, z, aim, pace, before, cond)
        now = _of_rows(defect_round(*flows, *state), len(rows))
        x = np.zeros((n, *now.x.shape[1:]), now.x.dtype) if x is None else x
        log_weight[rows] = np.where(took[rows], log_weight[rows], now.log_weight)
        took[rows] += 1
        for parts, news in ((aim, now.aim), (pace, now.pace), (before, now.defects)):
            for part, new in zip(parts, news, strict=True):
                part[rows] = new
        better = now.residual < residual[rows]
        for whole, new in ((x, now.x), (log_prob, now.log_prob)):
            whole[rows[better]] = new[better]
        residual[rows] = np.fmin(residual[rows], now.residual)
        done = (residual[rows] <= close) | (took[rows] == rounds)
        done |= np.isnan(now.residual)
        waiting = np.concatenate([rows[~done], waiting[size:]])
    assert x is not None
    direct = ~(residual <= close)
    for rows in np.array_split(np.flatnonzero(direct), -(-direct.sum() // size) or 1):
        if len(rows):
            whole = _decoded(teacher, teacher_variables, *batched(rows, z, cond))
            for part, new in zip((x, log_prob), whole, strict=True):
                part[rows] = np.asarray(new)[: len(rows)]
    return Through(x, log_prob, took, residual, direct, log_weight)


def _of_rows(tree: Any, rows: int) -> Any:
    """The first `rows` of every array, on the host."""
    return jax.tree.map(lambda leaf: np.asarray(leaf)[:rows], tree)


@functools.partial(jax.jit, static_argnames="teacher")
def _decoded(
    teacher: Flow, variables: Variables, z: tuple[Array, ...], cond: Given | None
) -> tuple[Events, LogDet]:
    """Samples and their log density, by the teacher's own `decode`."""
    given = () if cond is None else (cond,)
    found: Any = teacher.apply(variables, z, *given, method="decode")
    return found.x, standard_normal_log_prob(z) - found.log_det
