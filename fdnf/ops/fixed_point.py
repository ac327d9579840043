"""Inverse of a map by fixed-point iteration, all dimensions at once.

Triangular maps: F has a triangular Jacobian J in some order of the dimensions, the same
for every x, and a positive diagonal. Then x <- x + step (y - F(x)) / diag J(x)
converges near the solution for 0 < step < 2: the Jacobian of the iteration,
1 - step J / diag, is triangular with 1 - step on its diagonal. With step 1 that is
zero, so where F is affine in each dimension given those before it (a Gaussian
autoregressive model) the iteration is Jacobi's, and exact after as many rounds as there
are dimensions. The order itself is not needed, nor is its direction.

Residual maps: F(x) = x + g(x) where g is a contraction, of a Lipschitz constant c below
1. With 1 in the place of the diagonal and step 1, x <- y - g(x) is Banach's iteration:
the error shrinks by c in each step.

The transposed system of the adjoint is solved by the same iteration, so gradients are
implicit in both modes.

Reference: Song, Meng, Ermon (2019), MintNet, algorithm 1 and proposition 2; Song, Meng,
Liao, Ermon (2021), Accelerating feedforward computation via parallel nonlinear
equation solving, algorithm 1; Behrmann et al. (2019), Invertible residual networks,
algorithm 1.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend import core
from jaxtyping import Array, Float, Int

from fdnf.ops import rows as rows_of
from fdnf.ops import rules

Map = Callable[[Array], tuple[Array, Array]]
Events = Float[Array, "batch *event"]

# A row whose step was halved this often and still gets no better has met the rounding
# of F, or has no solution.
HALVINGS = 4


class Solution(NamedTuple):
    """A solution x of F(x) = y, row by row.

    Attributes:
      x: the iterate of the smallest residual.
      residual: max |F(x) - y| / (1 + |y|) over the event; inf where F is not finite.
      iterations: steps taken, one evaluation of F each besides that of the start.
    """

    x: Float[Array, "batch *event"]
    residual: Float[Array, " batch"]
    iterations: Int[Array, " batch"]


class _Plan(NamedTuple):
    step: float
    tolerance: float
    limit: int
    patience: int | None
    adjoint_limit: int | None


def solve(
    forward: Map,
    y: Events,
    start: Float[Array, "batch *other"],
    *,
    step: float = 1.0,
    tolerance: float = 1e-6,
    limit: int,
    patience: int | None = None,
    adjoint_limit: int | None = None,
) -> Solution:
    """Solves F(x) = y for x by x <- x + step (y - F(x)) / diag.

    Each row stops by itself: when its residual is within the tolerance, when that is of
    the order of rounding and a step does not lessen it, when a step no longer moves
    the row, or at the limit. A step to where F is not finite is undone and the
    row's step halved, and so is a run of `patience` steps none of which was better
    than all before; after a few halvings the row is given up. What is returned is the
    best iterate with its residual in any case. Rows do not touch each other, whatever
    is in them.

    Differentiable in both modes and to any order, by the implicit function theorem,
    with respect to `y` and everything that `forward` closes over:
    dx = J^-1 (dy - dF). Rows whose residual
    is inf get the derivatives of F at 0, which are finite: a loss that does not read
    them has no nan from them.

    Args:
      forward: x -> (F(x), diagonal of its Jacobian, or ones for a residual map), both
        of the shape of x. Rows must not touch each other.
      y: values of F.
      start: first iterate.
      step: 1 for maps that are affine in each dimension given those before; below 1
        where F bends, in (0, 2) in any case.
      tolerance: of the residual, see `Solution`, and of the adjoint relative to its
        right-hand side's largest entry.
      limit: steps at most. Affine maps are solved after as many as there are
        dimensions.
      patience: None never doubts the step. Errors travel from dimension to dimension,
        so on the way to an exact solution the residual may stay for as many steps as
        there are dimensions, or grow.
      adjoint_limit: steps of the adjoint's iteration at most. None, for triangular
        maps, is as many as there are dimensions, after which it is exact.

    Raises:
      ValueError: if shapes differ or an option is out of its range.

    Reference: Song, Meng, Ermon (2019), MintNet, algorithm 1.
    """
    if y.shape != start.shape:
        raise ValueError(
            f"solve: y has shape {y.shape}, start {start.shape}; expected the same."
        )
    if not (0 < step < 2 and tolerance >= 0 and limit >= 1):
        raise ValueError(
            f"solve: step is {step}, tolerance {tolerance}, limit {limit}; expected a "
            "step in (0, 2), a tolerance of at least 0 and a limit of at least 1."
        )
    if patience is not None and patience < 1:
        raise ValueError(f"solve: patience is {patience}, expected at least 1 or None.")
    if adjoint_limit is not None and adjoint_limit < 1:
        raise ValueError(
            f"solve: adjoint_limit is {adjoint_limit}, expected at least 1 or None."
        )
    dtype = jnp.result_type(y, start)
    y, start = y.astype(dtype), start.astype(dtype)
    pure, closed = _opened(forward, start)
    plan = _Plan(step, tolerance, limit, patience, adjoint_limit)
    return _solve(pure, plan, closed, y, start)


def _opened(forward: Map, x: Array) -> tuple[Callable, list[Any]]:
    """`forward` with the floats that it closes over as arguments, and these.

    Not `jax.closure_convert`, which leaves in what it takes for fixed: under `vmap`
    also rows of it.
    """
    program = jax.make_jaxpr(forward)(x)
    floats = [jnp.issubdtype(c.dtype, jnp.inexact) for c in program.consts]
    pairs = list(zip(program.consts, floats, strict=True))
    closed = [const for const, is_float in pairs if is_float]
    kept = [None if is_float else const for const, is_float in pairs]

    def pure(x: Array, *closed: Array) -> tuple[Array, Array]:
        rest = iter(closed)
        consts = [next(rest) if const is None else const for const in kept]
        value, diag = core.jaxpr_as_fun(core.ClosedJaxpr(program.jaxpr, consts))(x)
        return value, diag

    return pure, closed


def settle(
    step: Callable[[Array], tuple[Array, Float[Array, " batch"]]],
    start: Events,
    *,
    tolerance: float,
    limit: int,
) -> Solution:
    """Iterates x <- g(x), where the Jacobian of g is strictly triangular.

    After as many rounds as there are dimensions x is the solution, from any start.
    Each row stops by itself: when its residual is within the tolerance, when a round
    does not move it, or at the limit. What of g(x) is not finite becomes 0, so that a
    start from which the map overflows ends as one from there.

    Not differentiable: a caller has a rule for its own solution.

    Args:
      step: x -> (g(x), residual of x).
      start: first iterate; what of it is not finite becomes 0.
      tolerance: of the residual.
      limit: rounds at most.

    Reference: Song, Meng, Liao, Ermon (2021), algorithm 1.
    """

    def judged(x: Array) -> tuple[Array, Array]:
        new, residual = step(x)
        residual = jnp.where(jnp.isfinite(residual), residual, jnp.inf)
        return jnp.where(jnp.isfinite(new), new, 0), residual

    def moving(x: Array, new: Array, residual: Array, count: Array) -> Array:
        moves = jnp.any((new != x).reshape(x.shape[0], -1), axis=1)
        return moves & (residual > tolerance) & (count < limit)

    def body(state: tuple[Array, ...]) -> tuple[Array, ...]:
        x, new, residual, count = state
        going = moving(*state)
        x = jnp.where(rows_of.beside(going, x), new, x)
        after, left = judged(x)
        return (
            x,
            jnp.where(rows_of.beside(going, x), after, new),
            jnp.where(going, left, residual),
            count + going,
        )

    counts = jnp.zeros(start.shape[:1], jnp.int32)
    start = jnp.where(jnp.isfinite(start), start, 0)
    state = (start, *judged(start), counts)
    state = lax.while_loop(lambda state: jnp.any(moving(*state)), body, state)
    return Solution(state[0], *state[2:])


@rules.ruled(statics=2)
def _solve(pure: Callable, plan: _Plan, closed: Any, y: Array, start: Array):
    return _iterate(lambda x: pure(x, *closed), plan, y, start)


@_solve.defjvp
def _solve_jvp(pure: Callable, plan: _Plan, primals: Any, tangents: Any):
    closed, y, _ = primals
    d_closed, d_y, _ = tangents
    solution = _solve(pure, plan, *primals)
    x = jnp.where(rows_of.beside(jnp.isfinite(solution.residual), y), solution.x, 0)
    _, d_value = jax.jvp(lambda *given: pure(x, *given)[0], closed, d_closed)
    _, linear, diag = jax.linearize(lambda x: pure(x, *closed), x, has_aux=True)
    diag = lax.stop_gradient(diag)

    def solve_linear(apply: Callable[[Array], Array], b: Array) -> Array:
        return _linear(apply, diag, plan, b)

    d_x = lax.custom_linear_solve(
        linear, d_y - d_value, solve_linear, transpose_solve=solve_linear
    )
    none: Any = np.zeros(solution.iterations.shape, jax.dtypes.float0)
    return solution, Solution(d_x, jnp.zeros_like(solution.residual), none)


def _linear(
    apply: Callable[[Array], Array], diag: Array, plan: _Plan, b: Array
) -> Array:
    """J^-1 b, or J^-T b: both are triangular with this diagonal, or residual."""
    peak = jnp.max(jnp.abs(b), axis=tuple(range(1, b.ndim)))
    peak = rows_of.beside(jnp.where(peak > 0, peak, 1), b)
    limit = plan.adjoint_limit or max(int(np.prod(b.shape[1:])), 1)
    plan = plan._replace(step=1.0, limit=limit)
    scaled = b / peak
    return peak * _iterate(lambda v: (apply(v), diag), plan, scaled, scaled / diag).x


class _State(NamedTuple):
    x: Array
    move: Array
    best: Array
    best_move: Array
    error: Array
    scale: Array
    since: Array
    count: Array


def _iterate(forward: Map, plan: _Plan, y: Array, start: Array) -> Solution:
    axes, weight = tuple(range(1, y.ndim)), 1 / (1 + jnp.abs(y))
    rounding = 16 * float(jnp.finfo(y.dtype).eps)

    def measure(x: Array) -> tuple[Array, Array]:
        value, diag = forward(x)
        gap = y - value
        error = rows_of.largest(gap * weight)
        return gap / diag, jnp.where(jnp.isfinite(error), error, jnp.inf)

    def rows(value: Array, like: Array = y) -> Array:
        return rows_of.beside(value, like)

    def active(state: _State) -> Array:
        return (
            (state.error > plan.tolerance)
            & (state.count < plan.limit)
            & (state.scale > plan.step * 0.5**HALVINGS)
        )

    def body(state: _State) -> _State:
        moving = active(state)
        x = state.x + rows(state.scale) * state.move
        move, error = measure(x)
        better = error < state.error
        since = jnp.where(better, 0, state.since + 1)
        failed = ~jnp.isfinite(error)
        if plan.patience is not None:
            failed |= since >= plan.patience
        best = jnp.where(rows(better), x, state.best)
        best_move = jnp.where(rows(better), move, state.best_move)
        scale = jnp.where(failed, state.scale / 2, state.scale)
        # Where rounding decides what is better, another step is as good as none.
        done = (state.error <= rounding) & (since >= 2)
        done |= jnp.all(x == state.x, axis=axes)
        new = _State(
            x=jnp.where(rows(failed), best, x),
            move=jnp.where(rows(failed), best_move, move),
            best=best,
            best_move=best_move,
            error=jnp.where(better, error, state.error),
            scale=jnp.where(done, 0, scale),
            since=jnp.where(failed, 0, since),
            count=state.count + 1,
        )
        return jax.tree.map(lambda a, b: jnp.where(rows(moving, a), a, b), new, state)

    def unfinished(state: _State) -> Array:
        return jnp.any(active(state))

    move, error = measure(start)
    counts = jnp.zeros(y.shape[:1], jnp.int32)
    scale = jnp.full(y.shape[:1], plan.step, y.dtype)
    state = _State(start, move, start, move, error, scale, counts, counts)
    state = lax.while_loop(unfinished, body, state)
    return Solution(state.best, state.error, state.count)
