"""Causal passes on images: order, inverse, and the teacher's iteration as a start."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.bijectors.pixel_passes import PixelPasses
from fdnf.flows import PixelCNN, PixelIAF
from tests import laws


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
    apply = functools.partial(case.module.apply, variables, cond=cond)
    size = u[0].size

    @jax.jit
    def run(u, v):
        forward = functools.partial(apply, method="forward")
        inverse = functools.partial(apply, method="inverse_with_report")

        def column(i):
            """Rows are apart, so one direction has a column of each row's Jacobian."""
            entry = (jnp.arange(size) == i).astype(u.dtype).reshape(u.shape[1:])
            return jax.jvp(forward, (u,), (jnp.broadcast_to(entry, u.shape),))

        (xs, log_dets), (columns, _) = jax.lax.map(column, jnp.arange(size))
        found, moved = jax.jvp(inverse, (xs[0],), (v,))
        return xs[0], log_dets[0], found, moved[0], columns

    x, log_det, (back, undone, report), moved, columns = jax.device_get(run(u, v))
    assert np.std(x - u) > 0.1
    np.testing.assert_allclose(back, u, atol=1e-10)
    np.testing.assert_allclose(log_det + undone, 0, atol=1e-10)
    assert report.residual.max() < 1e-12
    assert 2 < report.iterations.max() <= 6
    matrices = np.moveaxis(columns.reshape(size, len(u), size), 0, 2)
    assert np.abs(np.triu(matrices, 1)).max() == 0
    assert np.mean(np.abs(matrices[0][np.tril_indices(size, -1)]) > 0) > 0.8
    np.testing.assert_allclose(np.linalg.slogdet(matrices)[1], log_det, atol=1e-10)
    expected = np.linalg.solve(matrices, v.reshape(len(v), size, 1))
    np.testing.assert_allclose(moved.reshape(expected.shape), expected, atol=1e-9)


def test_a_student_starts_as_its_teachers_iteration():
    """With a pass for each pixel that is exact, block by block of the other order."""
    settings = {"steps": 2, "features": 2, "blocks": 1, "stages": 1}
    teacher, student = PixelCNN(**settings), PixelIAF(**settings, passes=4)
    case = laws.Case("pixels", teacher, (2, 2, 2), start=False, noise=0.7)
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
    pixels = [image.reshape(len(image), 4, -1) for image in (*found.earlier, whole.x)]
    assert len(pixels) == 4
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
