"""A folded WaveGlow is the same map and solves nothing."""

import jax
import numpy as np
import pytest

from fdnf.flows import surgery
from tests import floats, laws
from tests.flows.test_waveglow import CASE, FLOW, decode, encode


@pytest.fixture(scope="module")
def pair():
    variables = CASE.variables
    return variables, *surgery.fold(FLOW, variables)


def test_is_the_same_map(pair):
    variables, folded, its = pair
    x, cond = CASE.data(), CASE.cond()
    z = FLOW.draw(jax.random.key(1), x.shape)
    for run, given in ((encode, x), (decode, z)):
        expected = run(FLOW, variables, given, cond)
        laws.assert_close(expected, run(folded, its, given, cond), 1e-5, "folded")


def test_variables_are_those_that_init_makes(pair):
    _, folded, its = pair
    x, cond = CASE.data(), CASE.cond()
    shapes = jax.eval_shape(folded.init, jax.random.key(0), x, cond)
    assert jax.tree.structure(its) == jax.tree.structure(shapes)
    for one, two in zip(jax.tree.leaves(its), jax.tree.leaves(shapes), strict=True):
        assert one.shape == two.shape
        assert one.dtype == two.dtype


def test_inverses_are_exact(pair):
    _, _, its = pair
    for i in range(3):
        linear = its["params"][f"stages_{i}"]["step"]["parts_0"]
        wide = np.asarray(linear["weight"], np.float64)
        expected = np.linalg.inv(wide).astype(np.float32)
        floats.assert_close(linear["inverse"], expected, rtol=2e-7)
        floats.assert_close(linear["log_det"], np.linalg.slogdet(wide)[1])


def test_sampling_solves_nothing(pair):
    variables, folded, its = pair
    z = FLOW.draw(jax.random.key(1), (3, 12, 1))
    cond = CASE.cond()

    def program(flow, variables):
        def decode(z):
            return flow.apply(variables, z, cond, method="decode").x

        return str(jax.make_jaxpr(decode)(z))

    assert "triangular_solve" in program(FLOW, variables)
    assert "triangular_solve" not in program(folded, its)


def test_a_folded_one_is_refused(pair):
    _, folded, its = pair
    with pytest.raises(ValueError, match="folded already"):
        surgery.fold(folded, its)
