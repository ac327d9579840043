"""Inverse of a MADE block, in the time of about one evaluation.

The block is u_i = T(x_i; raw_i(x_<i)) with a map T of one number, increasing in x_i, so
its inverse is the fixed point x = g(x) = T^-1(z; raw(x)), and the Jacobian of g is
strictly lower triangular. Evaluating the whole net once per column costs dim passes.
Here each unit is evaluated once, in the step at which its last input is known
(`autoregressive_solvers`).

Derivatives are implicit, in both modes and of every order. dx = dg + (dg/dx) dx, where
dg is the change of g at x, is a linear MADE; the adjoint lam = x_bar + (dg/dx)^T lam is
one with its columns in reverse order. The same sweep solves both.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

from fdnf.ops import autoregressive_solvers as solvers
from fdnf.ops import fixed_point, rules
from fdnf.ops.autoregressive_solvers import Form, Net, Transformer, evaluate

__all__ = ["METHODS", "Form", "Inverse", "Net", "Transformer", "evaluate", "invert"]

METHODS = ("auto", "exact", "blocked", "jacobi", "passes")


class Inverse(NamedTuple):
    """A solution x, with what one evaluation at x tells about it.

    Attributes:
      x: Solution of u(x) = z.
      log_slope: log dx_i/dz_i; the inverse's log_det is its sum over dim, in nats.
      residual: max_i |u_i(x) - z_i| of each row; inf where x is not finite.
      iterations: of the whole net from a start, in each row; 0 without one.
    """

    x: Float[Array, "batch dim"]
    log_slope: Float[Array, "batch dim"]
    residual: Float[Array, " batch"]
    iterations: Int[Array, " batch"]


def invert(
    net: Net,
    z: Float[Array, "batch dim"],
    *,
    form: Form,
    transformer: Transformer,
    method: str = "auto",
    block: int = 8,
    chunk: int = 512,
    tol: float = 1e-5,
    lowest: int = 1,
    start: Float[Array, "batch dim"] | None = None,
) -> Inverse:
    """Solves T(x; raw(x)) = z for x.

    Gradients with respect to `net` and `z` are implicit and cost about as much as
    the inverse and one training step of the block. Forward mode and second derivatives
    are there too. Works under `jit`, `vmap` and `scan`. A row whose solution is not
    finite, or so large that its derivatives might not be, affects no other row, and
    affects no gradient either if the loss does not read it; if it does, that is nan.

    Args:
      net: A MADE whose hidden units have the degrees of `conditioners.made_degrees`,
        kernels already multiplied by `conditioners.made_masks`; see `Net`. The first
        bias may be [batch, out], one offset per row (a condition).
      z: Values of u.
      form: The net's activation and whether it is residual. The same objects in every
        call: they key the compiled program.
      transformer: T, likewise.
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
      start: An approximation of the solution, finite. With one, the whole net is
        iterated from there, whatever the method, each row until its residual is within
        tol or does not change any more, dim times at most; see `fixed_point.settle`.

    Returns:
      The solution, its log-slopes, and the residual of each row.

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
    _check_shapes(net, z, form, transformer.outputs)
    dtype = jnp.result_type(z, *jax.tree.leaves(net))
    net, z = jax.tree.map(lambda leaf: leaf.astype(dtype), (net, z))
    plan = solvers.Plan(form, transformer, method, block, chunk, tol, lowest)
    count = jnp.zeros(z.shape[:1], jnp.int32)
    if start is not None:
        x, count = _settle(plan, net, z, start.astype(dtype))
    else:
        x = _passes(plan, net, z) if method == "passes" else _solve(plan, net, z)
    # Zeros stand in for rows that exploded: the gradient of a discarded 0 is 0, while
    # that of a discarded inf is nan.
    finite = jnp.all(jnp.isfinite(x), axis=-1, keepdims=True)
    at, target = jnp.where(finite, x, 0), jnp.where(finite, z, 0)
    value, log_slope = transformer.forward(evaluate(form, net, at), at)
    residual = jnp.max(jnp.abs(value - target), axis=-1)
    return Inverse(
        x=x,
        log_slope=jnp.where(finite, -log_slope, jnp.nan),
        residual=jnp.where(finite[:, 0], residual, jnp.inf),
        iterations=count,
    )


def _check_shapes(net: Net, z: Array, form: Form, outputs: int) -> None:
    if z.ndim != 2:
        raise ValueError(f"invert: z has shape {z.shape}, expected [batch, dim].")
    dim, layers = z.shape[-1], net.layers
    shapes = [kernel.shape for kernel, _ in layers]
    if len(layers) < 2:
        raise ValueError(
            f"invert: {len(layers)} layers, expected at least one hidden layer and the "
            "output layer."
        )
    factors = outputs if net.head is None else net.head.shape[0]
    if net.head is not None and net.head.shape != (factors, outputs):
        raise ValueError(
            f"invert: head {net.head.shape}, expected [factors, {outputs}]."
        )
    hidden = [shape[1] for shape in shapes[:-1]]
    ends = [dim, *hidden, factors * dim]
    if shapes != list(zip(ends[:-1], ends[1:], strict=True)):
        raise ValueError(
            f"invert: z {z.shape}, kernels {shapes}; expected kernels [in, out] from "
            f"dim through hidden layers to {factors} dim."
        )
    if form.residual and (len(hidden) % 2 == 0 or len({*hidden[::2]}) > 1):
        raise ValueError(
            f"invert: hidden layers of {hidden} units, expected of a residual net one "
            "and then pairs of layers, the second of each pair as wide as the first "
            "layer."
        )
    for index, (kernel, bias) in enumerate(layers):
        last = index == len(layers) - 1
        allowed = [(outputs * dim,) if last else kernel.shape[1:]]
        if index == 0:
            allowed.append((z.shape[0], kernel.shape[1]))
        if bias.shape not in allowed:
            raise ValueError(
                f"invert: bias {index} has shape {bias.shape}, expected one of "
                f"{allowed}."
            )


def _fixed_map(plan: solvers.Plan, net: Net, z: Array, x: Array) -> Array:
    return plan.transformer.inverse(evaluate(plan.form, net, x), z)[0]


def _passes(plan: solvers.Plan, net: Net, z: Array) -> Array:
    def body(_: Array, x: Array) -> Array:
        return _fixed_map(plan, net, z, x)

    return lax.fori_loop(0, z.shape[-1], body, jnp.zeros_like(z))


@functools.partial(jax.jit, static_argnums=0)
def _solution(plan: solvers.Plan, net: Net, z: Array) -> Array:
    if plan.method == "jacobi":
        step = functools.partial(_fixed_map, plan, net, z)
        return solvers.iterate(
            lambda x: (step(x), ()), z, (), 1.0, z.shape[-1], plan.tol
        )[0]
    solver = solvers.blocked if plan.method == "blocked" else solvers.exact
    solve_rows = functools.partial(solver, plan, net)
    return _in_chunks(solve_rows, plan.chunk, z, net.layers[0][1])


@rules.ruled(statics=1)
def _solve(plan: solvers.Plan, net: Net, z: Array) -> Array:
    return _solution(plan, net, z)


@_solve.defjvp
def _solve_jvp(plan: solvers.Plan, primals: Any, tangents: Any) -> tuple[Array, Array]:
    found = _solve(plan, *primals)
    return found, _implicit(plan, primals, tangents, found)


@rules.ruled(statics=1)
def _settle(
    plan: solvers.Plan, net: Net, z: Array, start: Array
) -> tuple[Array, Array]:
    def step(x: Array) -> tuple[Array, Array]:
        raw = evaluate(plan.form, net, x)
        gap = plan.transformer.forward(raw, x)[0] - z
        return plan.transformer.inverse(raw, z)[0], jnp.max(jnp.abs(gap), axis=-1)

    limit = z.shape[-1]
    found = fixed_point.settle(step, start, tolerance=plan.tol, limit=limit)
    return found.x, found.iterations


@_settle.defjvp
def _settle_jvp(plan: solvers.Plan, primals: Any, tangents: Any) -> Any:
    found, count = _settle(plan, *primals)
    none: Any = np.zeros(count.shape, jax.dtypes.float0)
    return (found, count), (_implicit(plan, primals[:2], tangents[:2], found), none)


def _implicit(plan: solvers.Plan, primals: Any, tangents: Any, found: Array) -> Array:
    """The tangent of the solution that was found."""
    net, z = primals
    # The gradient of a row that the loss does not read is 0, also where x is inf, or
    # where what the net makes of x is.
    largest = float(jnp.finfo(z.dtype).max) ** 0.4
    peak = jnp.maximum(jnp.abs(found), jnp.abs(z))
    safe = jnp.all(peak <= largest, axis=-1, keepdims=True)
    z, x = jnp.where(safe, z, 0), jnp.where(safe, found, 0)

    # Nothing of it is kept for the reverse pass but its arguments.
    @functools.partial(jax.checkpoint, prevent_cse=False)
    def at_x(net: Net, z: Array, x: Array) -> Array:
        return _fixed_map(plan, net, z, x)

    _, change = jax.jvp(
        lambda net, z: at_x(net, z, x), (net, z), (tangents[0], tangents[1])
    )

    def residual(v: Array) -> Array:
        step = functools.partial(_fixed_map, plan, net, z)
        return v - jax.jvp(step, (x,), (v,))[1]

    def solve(solver: Callable, b: Array) -> Array:
        read = jnp.any(b != 0, axis=-1, keepdims=True)
        return jnp.where(safe | ~read, solver(plan, net, z, x, b), jnp.nan)

    return lax.custom_linear_solve(
        residual,
        change,
        lambda _, b: solve(_tangent, b),
        transpose_solve=lambda _, b: solve(_adjoint, b),
    )


@functools.partial(jax.jit, static_argnums=0)
def _tangent(plan: solvers.Plan, net: Net, z: Array, x: Array, change: Array) -> Array:
    """Solves v = change + (dg/dx) v."""
    if plan.method == "jacobi":
        step = functools.partial(_fixed_map, plan, net, z)
        return _iterated(plan, jax.linearize(step, x)[1], change)
    solve_rows = functools.partial(solvers.tangent, plan, net)
    rows = jnp.stack([z, x, change], axis=1)
    return _in_chunks(solve_rows, plan.chunk, rows, net.layers[0][1])


@functools.partial(jax.jit, static_argnums=0)
def _adjoint(plan: solvers.Plan, net: Net, z: Array, x: Array, x_bar: Array) -> Array:
    """Solves lam = x_bar + (dg/dx)^T lam."""
    if plan.method == "jacobi":
        _, pull = jax.vjp(functools.partial(_fixed_map, plan, net, z), x)
        return _iterated(plan, lambda lam: pull(lam)[0], x_bar)
    solve_rows = functools.partial(solvers.adjoint, plan, net)
    rows = jnp.stack([z, x, x_bar], axis=1)
    return _in_chunks(solve_rows, plan.chunk, rows, net.layers[0][1])


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
