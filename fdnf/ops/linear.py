"""Linear algebra of small matrices that stays fast when runs train side by side.

Under `vmap`, XLA replaces LAPACK's triangular solves on CPU by loops of its own, which
take many times longer to compile and to run. The functions here therefore go through
the runs of a `vmap` one after another on CPU, and have derivatives that are matrix
products, of every order and inside of loops (`rules`). On other backends they are the
plain batched operations with the same derivatives.
"""

import math

import jax.numpy as jnp
from jax.scipy import linalg
from jaxtyping import Array, Float

from fdnf.ops import rules

Matrix = Float[Array, "n n"]


def _matmul(a: Array, b: Array) -> Array:
    return jnp.matmul(a, b, precision="highest")


@rules.ruled(one_by_one=True)
def _inverse(weight: Matrix) -> Matrix:
    return jnp.linalg.inv(weight)


@_inverse.defjvp
def _inverse_jvp(primals, tangents):
    (weight,), (change,) = primals, tangents
    inverse = _inverse(weight)
    return inverse, -_matmul(inverse, _matmul(change, inverse))


@rules.ruled(one_by_one=True)
def _log_abs_det(weight: Matrix) -> Float[Array, ""]:
    return jnp.linalg.slogdet(weight)[1]


@_log_abs_det.defjvp
def _log_abs_det_jvp(primals, tangents):
    (weight,), (change,) = primals, tangents
    return _log_abs_det(weight), jnp.sum(_inverse(weight).T * change)


@rules.ruled()
def _inverses(weights: Float[Array, "batch n n"]) -> Array:
    return jnp.linalg.inv(weights)


@_inverses.defjvp
def _inverses_jvp(primals, tangents):
    (weights,), (change,) = primals, tangents
    inverses = _inverses(weights)
    return inverses, -_matmul(inverses, _matmul(change, inverses))


@rules.ruled()
def _log_abs_dets(weights: Float[Array, "batch n n"]) -> Float[Array, " batch"]:
    return jnp.linalg.slogdet(weights)[1]


@_log_abs_dets.defjvp
def _log_abs_dets_jvp(primals, tangents):
    (weights,), (change,) = primals, tangents
    slope = _inverses(weights).swapaxes(1, 2)
    return _log_abs_dets(weights), jnp.sum(slope * change, axis=(1, 2))


def log_abs_dets(weights: Float[Array, "batch n n"]) -> Float[Array, " batch"]:
    """Gives log |det| of each matrix of a batch, as `log_abs_det` of one."""
    return _log_abs_dets(weights)


def log_abs_det(weight: Matrix) -> Float[Array, ""]:
    """Gives log |det W|, with derivative <W^-T, dW>."""
    return _log_abs_det(weight)


@rules.ruled()
def _solve(weight: Matrix, right: Array) -> Array:
    inverse = _inverse(weight)
    x = _matmul(inverse, right)
    return x + _matmul(inverse, right - _matmul(weight, x))


@_solve.defjvp
def _solve_jvp(primals, tangents):
    (weight, right), (d_weight, d_right) = primals, tangents
    x = _solve(weight, right)
    return x, _matmul(_inverse(weight), d_right - _matmul(d_weight, x))


def solve(weight: Matrix, right: Float[Array, "n columns"]) -> Array:
    """W^-1 B: by the inverse (an LU factorisation) and one step of refinement.

    For a small W and many columns, three matrix products take a seventh of the time
    of LAPACK's triangular solves, and the refinement brings their accuracy back.
    """
    return _solve(weight, right)


@rules.ruled(statics=1, one_by_one=True)
def _solve_triangular(lower: bool, weight: Matrix, right: Array) -> Array:
    return linalg.solve_triangular(weight, right, lower=lower)


@_solve_triangular.defjvp
def _solve_triangular_jvp(lower, primals, tangents):
    (weight, right), (d_weight, d_right) = primals, tangents
    x = _solve_triangular(lower, weight, right)
    identity = jnp.eye(weight.shape[-1], dtype=weight.dtype)
    inverse = _solve_triangular(lower, weight, identity)
    return x, _matmul(inverse, d_right - _matmul(d_weight, x))


def solve_triangular(
    weight: Matrix, right: Float[Array, "n columns"], lower: bool
) -> Array:
    """T^-1 B for a triangular T; its other half must be zero."""
    return _solve_triangular(lower, weight, right)


Channels = Float[Array, "batch *position channels"]


def multiply(x: Channels, weight: Float[Array, "channels channels"]) -> Channels:
    """W x at every position, as one product of two matrices.

    At full precision: a GPU's default one breaks round trips.
    """
    rows = x.reshape(-1, x.shape[-1])
    return jnp.matmul(rows, weight.T, precision="highest").reshape(x.shape)


def total_log_det(each: Float[Array, ""], x: Channels) -> Float[Array, " batch"]:
    """`[batch]`: every position contributes the log-determinant of the one map."""
    return jnp.broadcast_to(math.prod(x.shape[1:-1]) * each, x.shape[:1])
