"""The fixed-point solver on maps whose solutions and derivatives are known."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.ops import fixed_point
from tests import floats

ROWS, DIM = 5, 12


def parameters(seed=0, dtype=np.float64, off=0.6):
    draw = np.random.default_rng(seed).normal
    return {
        "lower": np.tril(off * draw(size=(DIM, DIM)), -1).astype(dtype),
        "scale": np.exp(0.3 * draw(size=DIM)).astype(dtype),
    }


def gaussian(params):
    """(x_i - m_i) exp(-a_i), m and a bounded functions of the dimensions before."""

    def forward(x):
        h = jnp.tanh(x @ params["lower"].T)
        diag = jnp.exp(-0.5 * h) * params["scale"]
        return (x - 2 * h) * diag, diag

    return forward


def bent(params, slope=0.02):
    """Slopes between `slope` and 1: a Newton step from the flat side overshoots."""

    def forward(x):
        outside = jnp.sin(x @ params["lower"].T)
        value = slope * x + (1 - slope) * jnp.tanh(x) + outside
        return value, slope + (1 - slope) * (1 - jnp.tanh(x) ** 2)

    return forward


@functools.partial(
    jax.jit, static_argnames=("make", "step", "tolerance", "limit", "patience")
)
def solved(make, params, y, start, **settings):
    """The solution for the map `make(params)`, compiled once for equal settings."""
    return fixed_point.solve(make(params), y, start, **settings)


def targets(seed=1, dtype=np.float64, size=1.0):
    draw = np.random.default_rng(seed).normal(size=(ROWS, DIM))
    return jnp.asarray(size * draw, dtype)


def test_affine_maps_are_exact_after_as_many_steps_as_dimensions(x64):
    params = parameters(off=3.0)
    forward, x = gaussian(params), targets()
    y = forward(x)[0]
    start = jnp.zeros_like(y)
    found = solved(gaussian, params, y, start, tolerance=1e-13, limit=DIM)
    np.testing.assert_allclose(found.x, x, atol=1e-9)
    assert found.residual.max() <= 1e-10
    # Fewer would mean that the map is too easy to tell.
    assert found.iterations.max() > DIM // 2
    short = solved(gaussian, params, y, start, tolerance=1e-13, limit=DIM // 3)
    assert short.residual.max() > 1e-3
    np.testing.assert_array_equal(short.iterations, DIM // 3)


@pytest.mark.parametrize("step", [0.3, 0.7, 1.0])
def test_residual_is_what_is_left(step):
    params = parameters(dtype=np.float32)
    forward = gaussian(params)
    y = targets(dtype=np.float32, size=4.0)
    found = solved(
        gaussian, params, y, y, step=step, tolerance=2e-6, limit=200, patience=20
    )
    left = np.max(np.abs(forward(found.x)[0] - y) / (1 + np.abs(y)), axis=1)
    np.testing.assert_allclose(found.residual, left, atol=3e-7)
    assert found.residual.max() <= 2e-6
    assert 2 < found.iterations.max() < 60


def test_rows_that_are_done_stop():
    params = parameters(dtype=np.float32)
    x = targets(dtype=np.float32)
    y = gaussian(params)(x)[0]
    start = x.at[1:].set(0)
    solve = functools.partial(solved, gaussian, params, tolerance=1e-5, limit=50)
    found = solve(y, start)
    assert found.iterations[0] == 0
    np.testing.assert_array_equal(found.x[0], x[0])
    assert (np.asarray(found.iterations[1:]) > 0).all()
    alone = solve(y[2:3], start[2:3])
    # Another batch may be rounded otherwise: one step more or less.
    assert abs(int(alone.iterations[0]) - int(found.iterations[2])) <= 1
    np.testing.assert_allclose(alone.x[0], found.x[2], atol=1e-6)


def test_overshooting_is_damped(x64):
    params, x = parameters(off=0.1), targets(size=0.5)
    y, start = bent(params)(x)[0], jnp.full((ROWS, DIM), 3.0)
    wild = solved(bent, params, y, start, tolerance=1e-10, limit=400)
    assert wild.residual.max() > 1e-3, "the map is too easy to need a guard"
    tamed = solved(
        bent, params, y, start, step=0.5, tolerance=1e-10, limit=400, patience=10
    )
    np.testing.assert_allclose(tamed.x, x, atol=1e-7)


def test_what_is_not_finite_neither_hangs_nor_spreads():
    params = parameters(dtype=np.float32)
    solve = functools.partial(solved, gaussian, params, tolerance=1e-5, limit=10_000)
    y = targets(dtype=np.float32)
    usual = solve(y, y)
    for bad in (np.nan, np.inf):
        worse = y.at[2, 3].set(bad)
        found = solve(worse, worse)
        assert np.isinf(found.residual[2])
        assert found.iterations.max() < 50
        for row in (0, 1, 3, 4):
            np.testing.assert_array_equal(found.x[row], usual.x[row])


def test_unattainable_tolerance_ends_early():
    params = parameters(dtype=np.float32)
    y = targets(dtype=np.float32, size=100.0)
    found = solved(
        gaussian, params, y, y, step=0.9, tolerance=0.0, limit=10_000, patience=5
    )
    assert found.iterations.max() < 200
    assert found.residual.max() < 1e-6


def dense_inverse_jacobian(forward, x):
    """One of each row of `x`."""
    jacobian = jax.jacfwd(lambda row: forward(row[None])[0][0])
    return np.linalg.inv(jax.jit(jax.vmap(jacobian))(x))


def test_derivatives_with_respect_to_y_are_the_inverse_jacobian(x64):
    forward, x = bent(parameters(), 0.3), targets(size=0.7)
    y = forward(x)[0]

    def inverse(y):
        return fixed_point.solve(forward, y, x + 0.1, tolerance=1e-13, limit=300).x

    expected = dense_inverse_jacobian(forward, x)
    v = targets(seed=5)
    _, tangent = jax.jit(lambda y, v: jax.jvp(inverse, (y,), (v,)))(y, v)
    np.testing.assert_allclose(
        tangent, jnp.einsum("bij,bj->bi", expected, v), atol=1e-9
    )
    (cotangent,) = jax.jit(lambda y, v: jax.vjp(inverse, y)[1](v))(y, v)
    np.testing.assert_allclose(
        cotangent, jnp.einsum("bij,bi->bj", expected, v), atol=1e-9
    )


def test_derivatives_with_respect_to_parameters_against_differences(x64):
    params, y = parameters(), targets()
    weights = targets(seed=9)

    @jax.jit
    def loss(params):
        found = fixed_point.solve(
            gaussian(params), y, y, tolerance=1e-14, limit=4 * DIM
        )
        return jnp.sum(weights * found.x**2)

    gradient = jax.jit(jax.grad(loss))(params)
    size = 1e-6
    for name, at in (("lower", (7, 2)), ("lower", (11, 10)), ("scale", 4)):
        up, down = (
            {**params, name: jnp.asarray(params[name]).at[at].add(sign * size)}
            for sign in (1, -1)
        )
        slope = (loss(up) - loss(down)) / (2 * size)
        floats.assert_close(gradient[name][at], slope, rtol=1e-5)
    # The map sees the entries above the diagonal too, but not those of dimension 0.
    assert np.all(np.isfinite(gradient["lower"]))


def test_rows_without_a_solution_give_no_gradient_to_a_loss_that_skips_them(x64):
    params, y = parameters(), targets()

    def loss(params, y):
        found = fixed_point.solve(gaussian(params), y, y, tolerance=1e-12, limit=50)
        good = jnp.isfinite(found.residual)
        return jnp.sum(jnp.where(good[:, None], found.x, 0) ** 2)

    gradient = jax.jit(jax.grad(loss))
    bad = gradient(params, y.at[0].set(jnp.nan))
    kept = gradient(params, y[1:])
    for name in params:
        np.testing.assert_allclose(bad[name], kept[name], atol=1e-9)


def test_inside_scan_and_vmap(x64):
    params, x = parameters(), targets()
    several = {name: jnp.stack([leaf, 0.5 * leaf]) for name, leaf in params.items()}

    def inverse(params, y):
        return fixed_point.solve(gaussian(params), y, y, tolerance=1e-12, limit=50).x

    def there(params, y):
        return gaussian(params)(y)[0]

    y = jax.vmap(there, (0, None))(several, x)
    np.testing.assert_allclose(
        jax.jit(jax.vmap(inverse))(several, y), np.stack([x, x]), atol=1e-9
    )

    def loss(several):
        last, _ = jax.lax.scan(lambda y, p: (inverse(p, y), None), x, several)
        return jnp.sum(jnp.sin(last))

    scanned = jax.jit(jax.grad(loss))(several)

    def unrolled(several):
        parts = [jax.tree.map(lambda leaf, i=i: leaf[i], several) for i in (0, 1)]
        return jnp.sum(jnp.sin(inverse(parts[1], inverse(parts[0], x))))

    direct = jax.jit(jax.grad(unrolled))(several)
    for name in params:
        np.testing.assert_allclose(scanned[name], direct[name], atol=1e-9)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"step": 2.0, "limit": 3}, "step is 2.0"),
        ({"tolerance": -1.0, "limit": 3}, "tolerance -1.0"),
        ({"limit": 0}, "limit 0"),
        ({"limit": 3, "patience": 0}, "patience is 0"),
    ],
)
def test_errors_name_what_was_given(settings, message):
    y = jnp.ones((2, 3))
    with pytest.raises(ValueError, match=message):
        fixed_point.solve(lambda x: (x, jnp.ones_like(x)), y, y, **settings)
    with pytest.raises(ValueError, match=r"\(2, 3\), start \(2, 4\)"):
        fixed_point.solve(lambda x: (x, x), y, jnp.ones((2, 4)), limit=1)
