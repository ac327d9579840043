"""Linear algebra under vmap against numpy, and maps at every position."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.ops import linear

RUNS, SIZE, COLUMNS = 3, 5, 4


def _arguments(name):
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(RUNS, SIZE, SIZE)) + 3 * np.eye(SIZE)
    right = rng.normal(size=(RUNS, SIZE, COLUMNS))
    if name == "lower":
        weight = np.tril(weight)
    if name == "upper":
        weight = np.triu(weight)
    weight, right = jnp.asarray(weight), jnp.asarray(right)
    return (weight,) if name == "log_abs_det" else (weight, right)


FUNCTIONS = {
    "log_abs_det": (linear.log_abs_det, lambda w: jnp.linalg.slogdet(w)[1]),
    "solve": (linear.solve, jnp.linalg.solve),
    "lower": (
        lambda w, b: linear.solve_triangular(w, b, True),
        lambda w, b: jnp.linalg.solve(jnp.tril(w), b),
    ),
    "upper": (
        lambda w, b: linear.solve_triangular(w, b, False),
        lambda w, b: jnp.linalg.solve(jnp.triu(w), b),
    ),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_values_and_both_derivatives_equal_jax_under_vmap(name):
    ours, theirs = FUNCTIONS[name]
    with jax.enable_x64(True):
        args = _arguments(name)
        tangents = jax.tree.map(lambda a: jnp.cos(a) * (a != 0), args)

        def compare(f):
            def loss(*a):
                return jnp.sum(jnp.sin(f(*a)))

            value, tangent = jax.vmap(lambda a, t: jax.jvp(f, a, t))(args, tangents)
            grads = jax.vmap(jax.grad(loss, argnums=tuple(range(len(args)))))(*args)
            if name in ("lower", "upper"):
                # Ours takes the zero half as given, and says nothing of it.
                half = jnp.tril if name == "lower" else jnp.triu
                grads = (half(grads[0]), grads[1])
            return value, tangent, grads

        found, expected = jax.jit(lambda: (compare(ours), compare(theirs)))()
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11)


def test_solve_refines_in_float32():
    # A condition number of 1e3: the explicit inverse alone loses another digit.
    rng = np.random.default_rng(1)
    u, _, v = np.linalg.svd(rng.normal(size=(30, 30)))
    weight = (u * np.logspace(0, -3, 30)) @ v
    x = rng.normal(size=(30, 7))
    right = (weight @ x).astype(np.float32)
    found = linear.solve(jnp.asarray(weight, jnp.float32), jnp.asarray(right))
    residual = np.abs(np.asarray(weight, np.float32) @ found - right).max()
    assert residual < 3e-6


@pytest.mark.parametrize(
    "name",
    # The others have their derivatives above; in CI one of them is within a loop.
    [pytest.param(n, marks=[pytest.mark.slow] * (n != "solve")) for n in FUNCTIONS],
)
def test_second_derivatives_inside_of_a_loop(name):
    ours, theirs = FUNCTIONS[name]
    with jax.enable_x64(True):
        args = _arguments(name)
        along = jax.tree.map(lambda a: jnp.cos(a) * (a != 0), args)

        def compare(f):
            def loss(args):
                def body(total, row):
                    first = jax.tree.map(lambda a: a[0], args)
                    return total + jnp.sum(jnp.sin(f(*row)) * jnp.cos(f(*first))), None

                return jax.lax.scan(body, 0.0, args)[0]

            def slope(args):
                return jax.jvp(loss, (args,), (along,))[1]

            def steepness(args):
                gradient = jax.grad(loss)(args)
                products = jax.tree.map(lambda a, b: jnp.sum(a * b), gradient, along)
                return sum(jax.tree.leaves(products))

            # Ours takes the zero half as given, and says nothing of it: along a
            # direction within the other half both say the same.
            each = [jax.grad(steepness)(args), jax.grad(slope)(args)]
            half = {"lower": jnp.tril, "upper": jnp.triu}.get(name, lambda a: a)
            return [(half(found[0]), *found[1:]) for found in each]

        found, expected = jax.jit(lambda: (compare(ours), compare(theirs)))()
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("shape", [(3, 4), (3, 2, 5, 4)])
def test_multiply_is_the_product_at_every_position(shape):
    draw = np.random.default_rng(0)
    x, weight = draw.normal(size=shape), draw.normal(size=(4, 4))
    found = linear.multiply(jnp.asarray(x), jnp.asarray(weight))
    np.testing.assert_allclose(found, np.einsum("...c,dc->...d", x, weight), atol=1e-5)


def test_log_det_counts_positions():
    each = jnp.asarray(0.5)
    np.testing.assert_array_equal(
        linear.total_log_det(each, jnp.ones((2, 3))), [0.5, 0.5]
    )
    found = linear.total_log_det(each, jnp.ones((2, 3, 5, 4)))
    np.testing.assert_array_equal(found, [7.5, 7.5])
