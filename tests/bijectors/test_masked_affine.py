"""Masked affine maps: closed form, initialisation, agreement of the inverses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.bijectors.autoregressive import MADE, MaskedAffine
from fdnf.ops import autoregressive_inverse
from tests import floats, laws

DIM = 4


def case_of(**settings):
    return laws.Case("masked", MaskedAffine(MADE((12,), "tanh"), **settings), (DIM,))


def test_init_normalises_its_batch():
    draw = np.random.default_rng(0)
    x = draw.normal(size=(512, DIM)) @ draw.normal(size=(DIM, DIM)) * 5 + 9
    (u, log_det), _ = case_of().module.init_with_output(
        jax.random.key(0), jnp.asarray(x, jnp.float32)
    )
    np.testing.assert_allclose(np.mean(u, axis=0), np.zeros(DIM), atol=1e-3)
    floats.assert_close(np.std(u, axis=0), np.ones(DIM), rtol=1e-3)
    assert log_det.shape == (512,)


def test_jacobian_is_triangular():
    case = case_of()
    row = case.data()[0]
    jacobian = jax.jit(
        jax.jacfwd(lambda x: case.forward(case.variables, x[None], None).value[0])
    )(row)
    assert np.all(np.asarray(jacobian)[np.triu_indices(DIM, 1)] == 0)
    assert np.all(np.diagonal(jacobian) > 0)


def test_log_scale_is_bounded():
    case = case_of(bound=0.5)
    loud = jax.tree.map(lambda leaf: 100.0 * leaf, case.variables)
    _, log_det = case.module.apply(loud, case.data())
    assert np.all(np.abs(log_det) <= DIM * 0.5 + 1e-5)


@pytest.mark.parametrize("method", autoregressive_inverse.METHODS)
def test_methods_agree(method):
    case, u = case_of(), case_of().data(seed=8)
    expected = case.module.clone(method="passes").apply(
        case.variables, u, method="inverse"
    )
    got = case.module.clone(method=method).apply(case.variables, u, method="inverse")
    laws.assert_close(got, expected, 1e-4, method)


def test_unknown_method_lists_the_known():
    case = case_of(method="newton")
    with pytest.raises(ValueError, match="'newton'.*'exact'"):
        case.module.apply(case_of().variables, case.data(), method="inverse")
