"""Causal passes on images: order, inverse, and the teacher's iteration as a start."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.bijectors.pixel_passes import PixelPasses
from fdnf.flows import PixelCNN, PixelIAF
from tests import laws


# In CI one pass obeys the laws in `test_laws`, and several are compared below.
@pytest.mark.slow
@pytest.mark.usefixtures("x64")
def test_inverse_order_and_derivatives():
    case = laws.Case(
        "passes",
        PixelPasses(2, 1, 1, passes=2, tolerance=1e-13),
        (2, 3, 2),
        context=2,
        noise=0.7,
        start=False,
    )
    variables, u, cond, v = laws.cast(
        (case.variables, case.data(), case.cond(), case.data(5)), np.float64
    )
    rows, size = len(u), u[0].size
    u, cond = laws.surrounded(case, u, cond)

    @jax.jit
    def run(u, v):
        apply = functools.partial(case.module.apply, variables)
        x, log_det = apply(u, cond)
        inverse = functools.partial(
            apply, cond=cond[-rows:], method="inverse_with_report"
        )
        return x, log_det, *jax.jvp(inverse, (x[-rows:],), (v,))

    x, log_det, (back, undone, report), (moved, *_) = jax.device_get(run(u, v))
    matrices = laws.jacobians(case, x)
    x, u, log_det = x[-rows:], u[-rows:], log_det[-rows:]
    assert np.std(x - u) > 0.1
    np.testing.assert_allclose(back, u, atol=1e-10)
    np.testing.assert_allclose(log_det + undone, 0, atol=1e-10)
    assert report.residual.max() < 1e-12
    assert 2 < report.iterations.max() <= 6
    assert np.abs(np.triu(matrices, 1)).max() == 0
    assert np.mean(np.abs(matrices[0][np.tril_indices(size, -1)]) > 0) > 0.8
    np.testing.assert_allclose(np.linalg.slogdet(matrices)[1], log_det, atol=1e-10)
    expected = np.linalg.solve(matrices, v.reshape(len(v), size, 1))
    np.testing.assert_allclose(moved.reshape(expected.shape), expected, atol=1e-9)


def test_a_student_starts_as_its_teachers_iteration():
    """With a pass for each pixel that is exact, block by block of the other order."""
    settings = {"steps": 2, "features": 2, "blocks": 1, "stages": 1}
    teacher, student = PixelCNN(**settings), PixelIAF(**settings, passes=3)
    case = laws.Case("pixels", teacher, (1, 3, 2), start=False, noise=0.7)
    z = (case.data(),)
    own = laws.drawn(student, z[0])
    taken = student.inherit(own, case.variables)

    # All passes have the same operations, so that nothing is compiled as a whole.
    whole = teacher.apply(case.variables, z, method="decode")
    found = student.apply(taken, z, method="decode")
    assert np.std(whole.x - z[0]) > 0.1
    np.testing.assert_allclose(found.x, whole.x, atol=2e-5)
    np.testing.assert_allclose(found.log_det, whole.log_det, atol=2e-5)
    for mine, theirs in zip(found.levels, whole.levels, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=2e-5)
    # Each round of the iteration settles one more pixel of the step beside the data.
    pixels = [image.reshape(len(image), 3, -1) for image in (*found.earlier, whole.x)]
    assert len(pixels) == 3
    for rounds, image in enumerate(pixels[:-1], start=1):
        gap = np.abs(image - pixels[-1]).max(axis=(0, 2))
        np.testing.assert_allclose(gap[:rounds], 0, atol=2e-5)
        assert np.all(gap[rounds:] > 1e-3)
    assert whole.earlier == ()
    # Nothing is taken over that was not asked for, or that is of no use.
    for apart in (PixelIAF(**settings), student.clone(inherits=False)):
        assert apart.inherit(own, case.variables) is own
    for other in ({"steps": 1}, {"features": 3}):
        shapes = jax.eval_shape(
            PixelIAF(**settings | other, passes=2).init, jax.random.key(0), z[0]
        )
        small = PixelIAF(**settings | other, passes=2)
        with pytest.raises(ValueError, match=r"does not fit .* inherits=False"):
            small.inherit(shapes, case.variables)


def test_wrong_uses():
    x = jnp.zeros((2, 2, 2, 1))
    with pytest.raises(ValueError, match="passes=0: expected at least 1"):
        jax.eval_shape(PixelPasses(2, 1, 1, passes=0).init, jax.random.key(0), x)
    with pytest.raises(ValueError, match=r"expected images .* there is MAF"):
        jax.eval_shape(PixelPasses(2, 1, 1).init, jax.random.key(0), x[:, 0, 0])
