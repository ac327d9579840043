"""Solutions of x = g(x), g with a strictly triangular Jacobian, and their derivatives.

That is what inverts an autoregressive map: what comes first is known, and each part
follows from those before it. A `Problem` says what one round g is, and how its solution
is found part by part; any start gets there by rounds of the whole, each row in as many
as it takes, and at the latest in as many as there are parts.

Derivatives are implicit, in both modes and of every order: dx = dg + (dg/dx) dx and the
adjoint lam = x_bar + (dg/dx)^T lam are triangular too, and solved by iteration.

Reference: Song, Meng, Liao, Ermon (2021), Accelerating feedforward computation via
parallel nonlinear equation solving, algorithm 1.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

from fdnf.ops import autoregressive_solvers as solvers
from fdnf.ops import fixed_point, rules

Events = Float[Array, "batch *event"]
Rows = Float[Array, " batch"]


class Problem:
    """x = g(x) for given numbers. Static: hashable, equal ones share programs.

    Attributes:
      tolerance: of residuals, and of gradients.
    """

    tolerance: float

    def round(self, weights: Any, given: Array, unknown: Array) -> tuple[Array, Rows]:
        """g(unknown), and how far each row is from its solution."""
        raise NotImplementedError

    def parts(self, given: Array) -> int:
        """Rounds after which any start is the solution."""
        raise NotImplementedError

    def found(self, weights: Any, given: Array) -> Array:
        """The solution, part by part; differentiated by no one."""
        raise NotImplementedError

    def settled(
        self, weights: Any, given: Array, start: Array
    ) -> tuple[Array, Int[Array, " batch"]]:
        """The solution by rounds from a start, and the rounds of each row."""
        step = functools.partial(self.round, weights, given)
        limit, tolerance = self.parts(given), self.tolerance
        found = fixed_point.settle(step, start, tolerance=tolerance, limit=limit)
        return found.x, found.iterations


@functools.partial(jax.jit, static_argnums=0)
def _found(problem: Problem, weights: Any, given: Array) -> Array:
    return problem.found(weights, given)


@rules.ruled(statics=1)
def solve(problem: Problem, weights: Any, given: Events) -> Any:
    """The solution, found part by part.

    Derivatives go to `weights` and `given`. A row that is not finite touches no other
    row.

    Args:
      problem: static.
      weights: what its functions take, in the dtype of `given`.
      given: numbers of each row, of the shape of the unknown.
    """
    return _found(problem, weights, given)


@solve.defjvp
def _solve_jvp(problem: Problem, primals: Any, tangents: Any) -> tuple[Array, Array]:
    found = solve(problem, *primals)
    return found, _implicit(problem, primals, tangents, found)


@rules.ruled(statics=1)
def settle(problem: Problem, weights: Any, given: Events, start: Events) -> Any:
    """The solution for any start, by rounds.

    Each row stops when its residual is within the tolerance or a round does not move
    it, and at the latest after as many rounds as there are parts.

    Args:
      problem: static.
      weights: as of `solve`.
      given: likewise.
      start: of the unknown; it has no derivative.

    Returns:
      The solution, and the rounds of each row.
    """
    return problem.settled(weights, given, start)


@settle.defjvp
def _settle_jvp(problem: Problem, primals: Any, tangents: Any) -> Any:
    found, count = settle(problem, *primals)
    none: Any = np.zeros(count.shape, jax.dtypes.float0)
    return (found, count), (_implicit(problem, primals[:2], tangents[:2], found), none)


def repeated(problem: Problem, weights: Any, given: Events) -> Events:
    """The solution by as many rounds as there are parts, differentiated as written.

    The reference for tests, and for what the other ways save.
    """

    def body(_: Array, x: Array) -> Array:
        return problem.round(weights, given, x)[0]

    return lax.fori_loop(0, problem.parts(given), body, jnp.zeros_like(given))


def _implicit(problem: Problem, primals: Any, tangents: Any, found: Array) -> Array:
    """The tangent of the solution that was found."""
    weights, z = primals
    # The gradient of a row that the loss does not read is 0, also where x is inf, or
    # where what the network makes of x is.
    axes = tuple(range(1, z.ndim))
    largest = float(jnp.finfo(z.dtype).max) ** 0.4
    peak = jnp.maximum(jnp.abs(found), jnp.abs(z))
    safe = jnp.all(peak <= largest, axis=axes, keepdims=True)
    z, x = jnp.where(safe, z, 0), jnp.where(safe, found, 0)

    # Nothing of it is kept for the reverse pass but its arguments.
    @functools.partial(jax.checkpoint, prevent_cse=False)
    def at_x(weights: Any, z: Array, x: Array) -> Array:
        return problem.round(weights, z, x)[0]

    _, change = jax.jvp(
        lambda weights, z: at_x(weights, z, x), (weights, z), tuple(tangents)
    )

    def step(x: Array) -> Array:
        return problem.round(weights, z, x)[0]

    def solve(apply: Callable[[Array], Array], b: Array) -> Array:
        """Solves v = b + A v for a strictly triangular A."""
        size = jnp.max(jnp.abs(b), axis=axes, keepdims=True)
        v, _ = solvers.iterate(
            lambda v: (b + apply(v), ()),
            b,
            (),
            size,
            problem.parts(z),
            problem.tolerance,
        )
        return jnp.where(safe | (size == 0), v, jnp.nan)

    return lax.custom_linear_solve(
        lambda v: v - jax.jvp(step, (x,), (v,))[1],
        change,
        lambda _, b: solve(jax.linearize(step, x)[1], b),
        transpose_solve=lambda _, b: solve(_transposed(step, x), b),
    )


def _transposed(step: Callable[[Array], Array], x: Array) -> Callable[[Array], Array]:
    _, pull = jax.vjp(step, x)
    return lambda v: pull(v)[0]
