"""Linear algebra of small matrices that stays fast when runs train side by side.

Under `vmap`, XLA replaces LAPACK's triangular solves on CPU by loops of its own, which
take many times longer to compile and to run. The functions here therefore go through
the runs of a `vmap` one after another on CPU, and have derivatives that are matrix
products. On other backends they are the plain batched operations.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.scipy import linalg
from jaxtyping import Array, Float

Matrix = Float[Array, "n n"]


def _one_by_one(function: Callable, *args: Array) -> Array:
    if jax.default_backend() != "cpu":
        return function(*args)
    return jax.custom_batching.sequential_vmap(function)(*args)


def _matmul(a: Array, b: Array) -> Array:
    return jnp.matmul(a, b, precision="highest")


def _log_abs_det(weight: Matrix) -> Array:
    return jnp.linalg.slogdet(weight)[1]


@jax.custom_jvp
def log_abs_det(weight: Matrix) -> Float[Array, ""]:
    """Gives log |det W|, with derivative <W^-T, dW>."""
    return _one_by_one(_log_abs_det, weight)


@log_abs_det.defjvp
def _log_abs_det_jvp(primals, tangents):
    (weight,), (change,) = primals, tangents
    inverse = _one_by_one(jnp.linalg.inv, weight)
    return log_abs_det(weight), jnp.sum(inverse.T * change)


@jax.custom_jvp
def solve(weight: Matrix, right: Float[Array, "n columns"]) -> Array:
    """W^-1 B: by the inverse (an LU factorisation) and one step of refinement.

    For a small W and many columns, three matrix products take a seventh of the time
    of LAPACK's triangular solves, and the refinement brings their accuracy back.
    """
    inverse = _one_by_one(jnp.linalg.inv, weight)
    x = _matmul(inverse, right)
    return x + _matmul(inverse, right - _matmul(weight, x))


@solve.defjvp
def _solve_jvp(primals, tangents):
    (weight, right), (d_weight, d_right) = primals, tangents
    x = solve(weight, right)
    inverse = _one_by_one(jnp.linalg.inv, weight)
    return x, _matmul(inverse, d_right - _matmul(d_weight, x))


def _solve_triangular(weight: Matrix, right: Array, *, lower: bool) -> Array:
    return linalg.solve_triangular(weight, right, lower=lower)


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def solve_triangular(
    weight: Matrix, right: Float[Array, "n columns"], lower: bool
) -> Array:
    """T^-1 B for a triangular T; its other half must be zero."""
    function = functools.partial(_solve_triangular, lower=lower)
    return _one_by_one(function, weight, right)


@solve_triangular.defjvp
def _solve_triangular_jvp(lower, primals, tangents):
    (weight, right), (d_weight, d_right) = primals, tangents
    x = solve_triangular(weight, right, lower)
    identity = jnp.eye(weight.shape[-1], dtype=weight.dtype)
    inverse = solve_triangular(weight, identity, lower)
    return x, _matmul(inverse, d_right - _matmul(d_weight, x))
