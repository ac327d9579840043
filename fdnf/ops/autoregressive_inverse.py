"""Inverse of a MADE affine block, in the time of about one evaluation.

The block is u_i = (x_i - shift_i(x_<i)) exp(-a_i(x_<i)), so its inverse is the fixed
point x = g(x) = shift(x) + z exp(a(x)), and the Jacobian of g is strictly lower
triangular. Evaluating the whole net once per column costs dim passes. Here each unit is
evaluated once, in the step at which its last input is known (`autoregressive_solvers`).

Derivatives are implicit, in both modes and of every order. dx = dg + (dg/dx) dx, where
dg is the change of g at x, is a linear MADE; the adjoint lam = x_bar + (dg/dx)^T lam is
one with its columns in reverse order. The same sweep solves both.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from fdnf.ops import autoregressive_solvers as solvers
from fdnf.ops import rules

Layers = solvers.Layers
Elementwise = solvers.Elementwise

METHODS = ("auto", "exact", "blocked", "jacobi", "passes")


class Inverse(NamedTuple):
    """A solution x, with what one evaluation at x tells about it.

    Attributes:
      x: Solution of u(x) = z.
      log_scale: a(x); the inverse's log_det is its sum over dim, in nats.
      residual: max_i |u_i(x) - z_i| of each row; inf where x is not finite.
    """

    x: Float[Array, "batch dim"]
    log_scale: Float[Array, "batch dim"]
    residual: Float[Array, " batch"]


def shift_and_log_scale(
    layers: Layers,
    x: Float[Array, "batch dim"],
    *,
    activation: Elementwise,
    log_scale: Elementwise,
) -> tuple[Float[Array, "batch dim"], Float[Array, "batch dim"]]:
    """Evaluates the net: (shift, a) with a = log_scale(raw).

    Args:
      layers: Pairs (kernel [in, out], already masked, bias), as for `invert`.
      x: Inputs.
      activation: Elementwise function between layers.
      log_scale: Elementwise function of the second half of the outputs.
    """
    h = x
    for kernel, bias in layers[:-1]:
        h = activation(solvers.dot(h, kernel) + bias)
    kernel, bias = layers[-1]
    shift, raw = jnp.split(solvers.dot(h, kernel) + bias, 2, axis=-1)
    return shift, log_scale(raw)


def invert(
    layers: Layers,
    z: Float[Array, "batch dim"],
    *,
    activation: Elementwise,
    log_scale: Elementwise,
    method: str = "auto",
    block: int = 8,
    chunk: int = 512,
    tol: float = 1e-5,
    lowest: int = 1,
) -> Inverse:
    """Solves (x - shift(x)) exp(-a(x)) = z for x.

    Gradients with respect to `layers` and `z` are implicit and cost about as much as
    the inverse and one training step of the block. Forward mode and second derivatives
    are there too. Works under `jit`, `vmap` and `scan`. A row whose solution is not
    finite, or so large that its derivatives might not be, affects no other row, and
    affects no gradient either if the loss does not read it; if it does, that is nan.

    Args:
      layers: Pairs (kernel [in, out], bias [out]) of a MADE whose hidden units have the
        degrees of `conditioners.made_degrees`, kernels already multiplied by
        `conditioners.made_masks`. The last kernel is [hidden, 2 dim] and gives shift,
        then raw. The first bias may be [batch, out], one offset per row (a condition).
      z: Values of u.
      activation: Elementwise function between layers, the same object in every call
        (it keys the compiled program).
      log_scale: Elementwise function with a = log_scale(raw), likewise.
      method: "exact" evaluates each unit once. "blocked" takes columns in blocks and
        iterates each block to a fixed point. "jacobi" iterates the whole net, the
        fewest and largest operations. "passes" evaluates the whole net dim times and
        is differentiated as written: the reference for tests. "auto" is "exact":
        measured on two CPU cores, nothing exact or not is clearly faster up to 63
        columns; at 256 columns and 512 units "blocked" with blocks of 16 took two
        thirds of its time.
      block: Columns in a block of "blocked".
      chunk: Rows solved together by "exact" and "blocked", so that their hidden units
        stay in cache.
      tol: The iterations stop when no column moves by more than tol (1 + |x|); they
        are exact at the latest after `block` or dim evaluations.
      lowest: Smallest hidden degree, as in `conditioners.made_degrees`.

    Returns:
      The solution, a(x), and the residual of each row.

    Raises:
      ValueError: If the shapes are not those of such a MADE, or an option is unknown.

    Reference: Papamakarios et al. (2017), MAF, eq. 4 and 5.
    """
    if method not in METHODS:
        raise ValueError(f"invert: method is {method!r}, expected one of {METHODS}.")
    if min(block, chunk) < 1 or not tol >= 0:
        raise ValueError(
            f"invert: block is {block}, chunk is {chunk}, tol is {tol}; expected "
            "block and chunk of at least 1 and tol of at least 0."
        )
    _check_shapes(layers, z)
    dtype = jnp.result_type(z, *jax.tree.leaves(layers))
    layers, z = jax.tree.map(lambda leaf: leaf.astype(dtype), (layers, z))
    plan = solvers.Plan(activation, log_scale, method, block, chunk, tol, lowest)
    x = _passes(plan, layers, z) if method == "passes" else _solve(plan, layers, z)
    # Zeros stand in for rows that exploded: the gradient of a discarded 0 is 0, while
    # that of a discarded inf is nan.
    finite = jnp.all(jnp.isfinite(x), axis=-1, keepdims=True)
    at, target = jnp.where(finite, x, 0), jnp.where(finite, z, 0)
    shift, a = shift_and_log_scale(
        layers, at, activation=activation, log_scale=log_scale
    )
    residual = jnp.max(jnp.abs((at - shift) * jnp.exp(-a) - target), axis=-1)
    return Inverse(
        x=x,
        log_scale=jnp.where(finite, a, jnp.nan),
        residual=jnp.where(finite[:, 0], residual, jnp.inf),
    )


def _check_shapes(layers: Layers, z: Array) -> None:
    if z.ndim != 2:
        raise ValueError(f"invert: z has shape {z.shape}, expected [batch, dim].")
    shapes = [kernel.shape for kernel, _ in layers]
    expected = "expected kernels [in, out] from dim through hidden layers to 2 dim"
    if len(layers) < 2:
        raise ValueError(
            f"invert: {len(layers)} layers, expected at least one hidden layer and the "
            "output layer."
        )
    ends = [z.shape[-1], *(shape[1] for shape in shapes[:-1]), 2 * z.shape[-1]]
    if shapes != list(zip(ends[:-1], ends[1:], strict=True)):
        raise ValueError(f"invert: z {z.shape}, kernels {shapes}; {expected}.")
    for index, (kernel, bias) in enumerate(layers):
        allowed = [kernel.shape[1:]]
        if index == 0:
            allowed.append((z.shape[0], kernel.shape[1]))
        if bias.shape not in allowed:
            raise ValueError(
                f"invert: bias {index} has shape {bias.shape}, expected one of "
                f"{allowed}."
            )


def _fixed_map(plan: solvers.Plan, layers: Layers, z: Array, x: Array) -> Array:
    shift, a = shift_and_log_scale(
        layers, x, activation=plan.activation, log_scale=plan.log_scale
    )
    return shift + z * jnp.exp(a)


def _passes(plan: solvers.Plan, layers: Layers, z: Array) -> Array:
    def body(_: Array, x: Array) -> Array:
        return _fixed_map(plan, layers, z, x)

    return lax.fori_loop(0, z.shape[-1], body, jnp.zeros_like(z))


@functools.partial(jax.jit, static_argnums=0)
def _solution(plan: solvers.Plan, layers: Layers, z: Array) -> Array:
    if plan.method == "jacobi":
        step = functools.partial(_fixed_map, plan, layers, z)
        return solvers.iterate(
            lambda x: (step(x), ()), z, (), 1.0, z.shape[-1], plan.tol
        )[0]
    solver = solvers.blocked if plan.method == "blocked" else solvers.exact
    solve_rows = functools.partial(solver, plan, layers)
    return _in_chunks(solve_rows, plan.chunk, z, layers[0][1])


@rules.ruled(statics=1)
def _solve(plan: solvers.Plan, layers: Layers, z: Array) -> Array:
    return _solution(plan, layers, z)


@_solve.defjvp
def _solve_jvp(plan: solvers.Plan, primals: Any, tangents: Any) -> tuple[Array, Array]:
    layers, z = primals
    found = _solve(plan, layers, z)
    # The gradient of a row that the loss does not read is 0, also where x is inf, or
    # where what the net makes of x is.
    largest = float(jnp.finfo(z.dtype).max) ** 0.4
    peak = jnp.maximum(jnp.abs(found), jnp.abs(z))
    safe = jnp.all(peak <= largest, axis=-1, keepdims=True)
    z, x = jnp.where(safe, z, 0), jnp.where(safe, found, 0)

    # Nothing of it is kept for the reverse pass but its arguments.
    @functools.partial(jax.checkpoint, prevent_cse=False)
    def at_x(layers: Layers, z: Array, x: Array) -> Array:
        return _fixed_map(plan, layers, z, x)

    _, change = jax.jvp(
        lambda layers, z: at_x(layers, z, x), (layers, z), (tangents[0], tangents[1])
    )

    def residual(v: Array) -> Array:
        step = functools.partial(_fixed_map, plan, layers, z)
        return v - jax.jvp(step, (x,), (v,))[1]

    def solve(solver: Callable, b: Array) -> Array:
        read = jnp.any(b != 0, axis=-1, keepdims=True)
        return jnp.where(safe | ~read, solver(plan, layers, z, x, b), jnp.nan)

    d_x = lax.custom_linear_solve(
        residual,
        change,
        lambda _, b: solve(_tangent, b),
        transpose_solve=lambda _, b: solve(_adjoint, b),
    )
    return found, d_x


@functools.partial(jax.jit, static_argnums=0)
def _tangent(
    plan: solvers.Plan, layers: Layers, z: Array, x: Array, change: Array
) -> Array:
    """Solves v = change + (dg/dx) v."""
    if plan.method == "jacobi":
        step = functools.partial(_fixed_map, plan, layers, z)
        return _iterated(plan, jax.linearize(step, x)[1], change)
    solve_rows = functools.partial(solvers.tangent, plan, layers)
    rows = jnp.stack([z, x, change], axis=1)
    return _in_chunks(solve_rows, plan.chunk, rows, layers[0][1])


@functools.partial(jax.jit, static_argnums=0)
def _adjoint(
    plan: solvers.Plan, layers: Layers, z: Array, x: Array, x_bar: Array
) -> Array:
    """Solves lam = x_bar + (dg/dx)^T lam."""
    if plan.method == "jacobi":
        _, pull = jax.vjp(functools.partial(_fixed_map, plan, layers, z), x)
        return _iterated(plan, lambda lam: pull(lam)[0], x_bar)
    solve_rows = functools.partial(solvers.adjoint, plan, layers)
    rows = jnp.stack([z, x, x_bar], axis=1)
    return _in_chunks(solve_rows, plan.chunk, rows, layers[0][1])


def _iterated(plan: solvers.Plan, apply: Callable[[Array], Array], b: Array) -> Array:
    """Solves v = b + A v for a strictly triangular A, see `solvers.iterate`."""
    peak = jnp.max(jnp.abs(b), axis=-1, keepdims=True)
    return solvers.iterate(
        lambda v: (b + apply(v), ()), b, (), peak, b.shape[-1], plan.tol
    )[0]


def _in_chunks(
    solve: Callable[[Array, Array], Array], chunk: int, rows: Array, bias: Array
) -> Array:
    """Maps solve(rows, bias) over equal chunks; pads the last with copies of a row."""
    batch = rows.shape[0]
    pieces = -(-batch // chunk)
    if pieces <= 1:
        return solve(rows, bias)
    size = -(-batch // pieces)

    def split(array: Array) -> Array:
        padding = [(0, pieces * size - batch)] + [(0, 0)] * (array.ndim - 1)
        padded = jnp.pad(array, padding, mode="edge")
        return padded.reshape(pieces, size, *array.shape[1:])

    if bias.ndim == 2:
        solved = lax.map(lambda at: solve(*at), (split(rows), split(bias)))
    else:
        solved = lax.map(lambda at: solve(at, bias), split(rows))
    return solved.reshape(pieces * size, -1)[:batch]
