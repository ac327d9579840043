"""Samples of a teacher iterated from a student's: exact whatever the start."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf import flows
from fdnf.flows import refined
from fdnf.types import Decoding, ExternalFlow
from tests import floats, laws

ROWS = 6
SPLINE = {"name": "compose", "parts": ("affine", "spline")}
# The simplest inverses, as the references.
PASSES = {"inverse": "passes"}
CASES = {
    "maf": laws.Case(
        "maf",
        flows.MAF(2, (8,), transformer=SPLINE, mixing="lu", **PASSES),
        (5,),
        context=2,
        start=False,
    ),
    "pixels": laws.Case(
        "pixels",
        flows.PixelCNN(1, 2, 1, 1, inverse="naive"),
        (3, 3, 2),
        start=False,
        noise=0.6,
    ),
    "tokens": laws.Case(
        "tokens",
        flows.TarFlow(2, 1, 4, 2, 2, inverse="naive", segment=3, unroll=1),
        (4, 4, 1),
        start=False,
        noise=1.0,
    ),
}
# Its variables are its samples.
STUDENT = ExternalFlow(decode=lambda x, z, cond=None: Decoding(x, None, ()))


@functools.partial(jax.jit, static_argnums=0)
def samples(name, variables, cond):
    """The teacher's samples and their density, and those from a student's by one key.

    The student's first three are near no sample: one overflows, one is not finite. The
    others are the teacher's own.
    """
    teacher, key, event = CASES[name].module, jax.random.key(4), CASES[name].event
    x = teacher.apply(variables, key, (ROWS, *event), 1.0, cond, method="sample")
    start = x.at[0].set(20.0).at[1].set(1e30).at[2].set(jnp.nan)
    found = refined.refined_sample(
        *(STUDENT, teacher, start, variables, key, ROWS, cond),
        event=event,
        tolerance=1e-11,
    )
    return x, teacher.apply(variables, x, cond, method="log_prob"), found


@pytest.mark.parametrize("name", CASES)
@pytest.mark.usefixtures("x64")
def test_any_start_ends_at_the_exact_sample(name):
    case = CASES[name]
    given = laws.cast((case.variables, case.cond(batch=ROWS)), np.float64)
    x, log_prob, found = samples(name, *given)
    layers, size = len(found.iterations), np.prod(x.shape[1:3])
    assert layers == {"maf": 2, "pixels": 1, "tokens": 2}[name]
    assert found.x.dtype == np.float64
    assert found.iterations.shape == found.residual.shape == (layers, ROWS)
    np.testing.assert_allclose(found.x, x, atol=1e-9)
    np.testing.assert_allclose(found.log_prob, log_prob, atol=1e-8)
    assert found.residual.max() < 1e-10
    # Starts without use take as long as any, and are no reason to decode.
    assert not found.direct.any()
    assert (found.iterations[:, :3].max(0) > 2).all()
    assert found.iterations.max() <= size
    # There is nothing to do from the solution.
    np.testing.assert_array_equal(found.iterations[:, 3:], 0)
    np.testing.assert_allclose(found.moved[3:], 0, atol=1e-12)
    assert np.isfinite(found.moved).tolist() == [True, True, False] + 3 * [True]


@functools.cache
def small():
    """A MAF of one block, its variables, and both ways to decode in one program."""
    teacher, z = flows.MAF(1, (4,), **PASSES), CASES["maf"].data(batch=4)
    variables = laws.drawn(teacher, z, noise=0.7)

    @jax.jit
    def run(variables, z, start):
        found = [
            refined.refine(teacher, variables, (z,), start, tolerance=tolerance)
            for tolerance in (None, 0.5)
        ]
        return teacher.apply(variables, (z,), method="decode"), *found

    return run, variables, z


def test_tolerance_and_rows_that_do_not_settle_in_float32():
    run, variables, z = small()
    whole, usual, loose = run(variables, z, z)
    np.testing.assert_allclose(usual.x, whole.x, atol=1e-4)
    assert usual.residual.max() <= 1e-5
    assert usual.iterations.min() > loose.iterations.min()
    assert 1e-3 < loose.residual.max() <= 0.5
    assert np.abs(loose.x - whole.x).max() > 1e-3
    assert not loose.direct.any()
    # A sample that is not finite has no residual: it is decoded, and no other.
    _, found, _ = run(variables, z.at[1].set(jnp.inf), z)
    assert found.direct.tolist() == [False, True, False, False]
    np.testing.assert_array_equal(found.x[::2], usual.x[::2])


def test_gradients_do_not_depend_on_the_start():
    run, variables, z = small()

    @functools.partial(jax.jit, static_argnums=3)
    @functools.partial(jax.grad, argnums=(0, 1))
    def slope(variables, z, start, refine):
        whole, found, _ = run(variables, z, start)
        prior = -0.5 * jnp.sum(z**2)
        value = jnp.sum(found.log_prob) if refine else prior - jnp.sum(whole.log_det)
        return value + jnp.sum(jnp.sin(found.x if refine else whole.x))

    found, expected = (slope(variables, z, 0 * z, refine) for refine in (True, False))
    close = functools.partial(floats.assert_close, rtol=1e-4)
    jax.tree.map(close, found, expected)


@pytest.mark.parametrize(
    ("teacher", "given", "message"),
    [
        (flows.IAF(1, (4,)), {}, "IAF is not inverted by iteration.*decode"),
        (flows.RealNVP(2, (4,)), {}, "RealNVP is not inverted by iteration"),
        (flows.MAF(1, (4,)), {"tolerance": -1.0}, "tolerance is -1.0"),
        (flows.MAF(1, (4,)), {"start": (2, 5)}, "start has 2 rows.* 3"),
        (flows.MAF(1, (4,)), {"start": (3, 4)}, r"data.*\(3, 4\)"),
    ],
    ids=str,
)
def test_wrong_uses(teacher, given, message):
    x = jnp.zeros((3, 5))
    variables = jax.eval_shape(teacher.init, jax.random.key(0), x)
    settings = dict(given)
    start = jnp.zeros(settings.pop("start", (3, 5)))
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(
            lambda v: refined.refine(teacher, v, (x,), start, **settings), variables
        )
