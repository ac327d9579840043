"""One matrix at every position."""

import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.ops import linear


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
