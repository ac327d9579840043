"""A function with a rule of its own, wherever it stands."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.ops import rules
from tests import floats


@rules.ruled(statics=1)
def root(start, weight):
    """x = weight^(1/2) by a loop that cannot be differentiated, and its iterations."""

    def body(state):
        x, count, _ = state
        new = 0.5 * (x + weight / x)
        return new, count + 1, jnp.max(jnp.abs(new - x))

    state = (jnp.full_like(weight, start), 0, jnp.asarray(jnp.inf, weight.dtype))
    x, count, _ = jax.lax.while_loop(lambda state: state[2] > 1e-6, body, state)
    return {"x": x, "count": count}


@root.defjvp
def _root_jvp(start, primals, tangents):
    found = root(start, *primals)
    change = tangents[0] / (2 * found["x"])
    return found, {"x": change, "count": np.zeros((), jax.dtypes.float0)}


def plain(weight):
    return weight**0.5


def own(weight):
    return root(1.0, weight)["x"]


def in_loop(function, weight):
    """One part of it depends on the step, the other is taken out of the loop."""

    def body(carry, row):
        return carry + jnp.sin(function(row)) * function(weight[0]), None

    return jnp.sum(jax.lax.scan(body, jnp.zeros(weight.shape[1:]), weight)[0])


PLACES = {
    "alone": lambda f, w: jnp.sum(jnp.sin(f(w))),
    "jit": lambda f, w: jnp.sum(jnp.sin(jax.jit(f)(w))),
    "vmap": lambda f, w: jnp.sum(jnp.sin(jax.vmap(jax.vmap(f))(w)) ** 2),
    "scan": in_loop,
    "remat": lambda f, w: jnp.sum(jnp.sin(jax.checkpoint(f)(w))),
}
WAYS = {
    "value": lambda f: f,
    "gradient": jax.grad,
    "jvp": lambda f: lambda w: jax.jvp(f, (w,), (jnp.cos(w),)),
    "reverse twice": lambda f: jax.grad(lambda w: jnp.sum(jax.grad(f)(w) ** 3)),
    "hessian": jax.hessian,
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("way", WAYS)
def test_derivatives_are_those_of_the_plain_function(place, way, x64):
    weight = jnp.asarray(np.random.default_rng(0).uniform(0.5, 3, size=(3, 2)))

    def both(weight):
        ways = (functools.partial(PLACES[place], f) for f in (own, plain))
        return [WAYS[way](f)(weight) for f in ways]

    found, expected = (both if place == "alone" else jax.jit(both))(weight)
    for one, two in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-11, atol=1e-12)


def test_over_devices_as_on_one(x64):
    weight = jnp.asarray(np.random.default_rng(0).uniform(0.5, 3, size=(2, 4)))
    gradient = jax.grad(lambda w: jnp.sum(jnp.sin(own(w))))
    found = jax.pmap(gradient)(weight)
    floats.assert_close(found, gradient(weight), rtol=1e-12)


def test_a_program_of_any_number_of_rows_can_be_exported():
    rows = jax.export.symbolic_shape("rows, 2")
    shape = jax.ShapeDtypeStruct(rows, jnp.float32)
    program = jax.export.export(jax.jit(lambda w: own(w)))(shape)
    weight = jnp.asarray([[1.0, 4.0], [9.0, 16.0], [2.0, 3.0]])
    floats.assert_close(program.call(weight), weight**0.5, rtol=1e-6)
