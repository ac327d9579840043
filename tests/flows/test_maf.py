"""MAF and IAF: order of the levels, initialisation, cost of each direction."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.flows.maf import IAF, MAF
from fdnf.losses import distillation
from tests import floats, laws

DIM = 5


def batch(seed=0, rows=256):
    draw = np.random.default_rng(seed)
    mix = draw.normal(size=(DIM, DIM))
    data = draw.normal(size=(rows, DIM)) @ mix * 3.0 + 7.0
    return jnp.asarray(data, jnp.float32)


def near_identity(flow, x):
    """Variables at which every block is the identity."""
    shapes = jax.eval_shape(flow.init, jax.random.key(0), x)
    return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)


def compiled(flow, method):
    """`flow.apply` of one method, as one program."""
    return jax.jit(lambda variables, x: flow.apply(variables, x, method=method))


@pytest.mark.parametrize(("steps", "unroll"), [(3, None), (4, 1)])
def test_every_block_starts_normalised(steps, unroll):
    flow = MAF(steps=steps, hidden=(8, 8), unroll=unroll)
    x = batch()
    variables = jax.jit(flow.init)(jax.random.key(0), x)
    encoding = compiled(flow, "encode")(variables, x)
    assert len(encoding.levels) == steps
    for level in encoding.levels:
        np.testing.assert_allclose(np.mean(level, axis=0), np.zeros(DIM), atol=2e-4)
        np.testing.assert_allclose(np.std(level, axis=0), np.ones(DIM), atol=2e-4)


def test_first_rows_do_not_depend_on_the_batch_that_follows_init():
    flow = MAF(unroll=1, steps=2, hidden=(8,))
    x = batch()
    variables = jax.jit(flow.init)(jax.random.key(0), x)
    encode = compiled(flow, "encode")
    whole = encode(variables, 5.0 * x).z[0]
    alone = encode(variables, 5.0 * x[:2]).z[0]
    np.testing.assert_allclose(whole[:2], alone, rtol=1e-5, atol=1e-5)
    assert np.max(np.std(whole, axis=0)) > 2.0


@pytest.mark.parametrize("steps", [1, 2, 3])
@pytest.mark.parametrize("flow", [MAF, IAF])
def test_levels_and_latents_are_in_the_order_of_the_data(flow, steps):
    flow = flow(steps=steps, hidden=(8,), unroll=1)
    x = batch(rows=4)
    variables = near_identity(flow, x)
    encoding = compiled(flow, "encode")(variables, x)
    for level in (*encoding.levels, encoding.z[0]):
        np.testing.assert_allclose(level, x, atol=1e-5)
    decoding = compiled(flow, "decode")(variables, encoding.z)
    for level in (*decoding.levels, decoding.x):
        np.testing.assert_allclose(level, x, atol=1e-5)


def test_last_level_is_the_latent():
    for steps in (2, 3):
        case = laws.Case("maf", MAF(unroll=1, steps=steps, hidden=(8,)), (DIM,))
        encoding = case.apply(case.data(), method="encode")
        np.testing.assert_array_equal(encoding.levels[-1], encoding.z[0])


def test_student_and_teacher_of_unequal_parity_are_compared_in_order():
    teacher, student = (
        MAF(unroll=1, steps=4, hidden=(8,)),
        MAF(unroll=1, steps=3, hidden=(8,)),
    )
    x = batch(rows=4)
    loss, _ = distillation.ilkd(
        student,
        teacher,
        near_identity(student, x),
        near_identity(teacher, x),
        x,
        pairs="ratio",
    )
    assert loss == pytest.approx(0.0, abs=1e-5)


def primitives(function, *args):
    """Names of all primitives that a function is made of, at any depth."""

    def walk(jaxpr):
        for equation in jaxpr.eqns:
            yield equation.primitive.name
            for inner in jax.tree.leaves(
                tuple(equation.params.values()),
                is_leaf=lambda p: hasattr(p, "eqns") or hasattr(p, "jaxpr"),
            ):
                inner = getattr(inner, "jaxpr", inner)
                if hasattr(inner, "eqns"):
                    yield from walk(inner)

    return list(walk(jax.make_jaxpr(function)(*args).jaxpr))


def test_iaf_samples_and_maf_encodes_in_one_pass():
    x = batch(rows=4)
    for flow, cheap, costly in (
        (IAF(unroll=1, steps=2, hidden=(8,)), "decode", "encode"),
        (MAF(unroll=1, steps=2, hidden=(8,)), "encode", "decode"),
    ):
        variables = near_identity(flow, x)

        def run(method, flow=flow, variables=variables):
            value = (x,) if method == "decode" else x
            return primitives(lambda v: flow.apply(variables, v, method=method), value)

        # The one loop is the stack itself; inside it are dense layers.
        assert run(cheap).count("while") == 0
        assert run(cheap).count("scan") == 1
        assert run(cheap).count("dot_general") == 2
        loops = run(costly).count("while") + run(costly).count("scan")
        assert loops > 1


def test_iaf_decodes_by_maf_blocks():
    # With the same parameters, one block of IAF decodes what one of MAF encodes.
    maf, iaf = MAF(unroll=1, steps=1, hidden=(8,)), IAF(unroll=1, steps=1, hidden=(8,))
    case = laws.Case("maf", maf, (DIM,))
    block = case.variables["params"]["stack"]["step"]["parts_0"]
    inverted = {"params": {"stack": {"step": {"parts_0": {"bijector": block}}}}}
    x = case.data()
    encoding = case.apply(x, method="encode")
    decoding = compiled(iaf, "decode")(inverted, (x,))
    np.testing.assert_allclose(decoding.x, encoding.z[0], rtol=1e-5, atol=1e-5)
    floats.assert_close(decoding.log_det, encoding.log_det, rtol=1e-5)
