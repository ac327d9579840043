"""Degrees, masks by the sparsity of a masked net's Jacobian, patterns."""

import numpy as np
import pytest

from fdnf.ops import conditioners

SIZES = [(1, (4,)), (2, (1,)), (5, ()), (6, (3,)), (4, (9, 7)), (7, (2, 11, 5))]


def jacobian(kernels, dim):
    """Of tanh layers at a point, [out, in], by the chain rule."""
    h, slopes = np.linspace(-0.3, 0.4, dim), np.eye(dim)
    for kernel in kernels[:-1]:
        h = np.tanh(h @ kernel)
        slopes = slopes @ kernel * (1 - h**2)
    return (slopes @ kernels[-1]).T


@pytest.mark.parametrize("lowest", [0, 1])
@pytest.mark.parametrize(("dim", "hidden"), SIZES)
def test_jacobian_is_strictly_lower_triangular(dim, hidden, lowest):
    draw = np.random.default_rng(0).uniform
    kernels = [
        mask * draw(0.5, 1.0, mask.shape)
        for mask in conditioners.made_masks(dim, hidden, lowest=lowest)
    ]
    slopes = jacobian(kernels, dim)
    assert np.all(slopes[np.triu_indices(dim)] == 0)
    # Positive weights and a rising activation: a path cannot be cancelled.
    if min(hidden, default=dim) >= dim:
        assert np.all(slopes[np.tril_indices(dim, -1)] > 0)


@pytest.mark.parametrize("lowest", [0, 1])
@pytest.mark.parametrize(("dim", "hidden"), SIZES)
def test_degrees_are_sorted_and_evenly_spread(dim, hidden, lowest):
    inputs, *layers = conditioners.made_degrees(dim, hidden, lowest=lowest)
    np.testing.assert_array_equal(inputs, np.arange(1, dim + 1))
    highest = max(lowest, dim - 1)
    for width, degrees in zip(hidden, layers, strict=True):
        assert degrees.shape == (width,)
        assert degrees[0] == lowest
        assert degrees[-1] <= highest
        counts = np.bincount(degrees, minlength=highest + 1)[lowest:]
        assert np.ptp(counts) <= 1
        steps = np.diff(degrees)
        assert (steps >= 0).all()
        assert width == 1 or np.ptp(steps) <= 1


def test_narrow_layer_spans_the_whole_range():
    _, degrees = conditioners.made_degrees(64, (3,))
    np.testing.assert_array_equal(degrees, [1, 22, 43])


def test_known_masks():
    first, last = conditioners.made_masks(3, (4,))
    np.testing.assert_array_equal(first, [[1, 1, 1, 1], [0, 0, 1, 1], [0, 0, 0, 0]])
    np.testing.assert_array_equal(last, [[0, 1, 1], [0, 1, 1], [0, 0, 1], [0, 0, 1]])
    assert first.dtype == last.dtype == np.float32


def test_degree_zero_reaches_the_first_output():
    _, last = conditioners.made_masks(3, (3,), lowest=0)
    assert last[0, 0] == 1
    _, last = conditioners.made_masks(3, (3,))
    assert not last[:, 0].any()


def test_patterns():
    np.testing.assert_array_equal(
        conditioners.checkerboard(2, 3), [[1, 0, 1], [0, 1, 0]]
    )
    total = conditioners.checkerboard(3, 3) + conditioners.checkerboard(3, 3, 1)
    np.testing.assert_array_equal(total, np.ones((3, 3)))
    np.testing.assert_array_equal(conditioners.alternating(5), [1, 0, 1, 0, 1])
    np.testing.assert_array_equal(conditioners.alternating(4, 1), [0, 1, 0, 1])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: conditioners.made_degrees(0, (3,)), "dim is 0"),
        (lambda: conditioners.made_masks(3, (4, 0)), r"hidden is \(4, 0\)"),
        (lambda: conditioners.made_masks(3, (4,), lowest=2), "lowest is 2"),
        (lambda: conditioners.checkerboard(0, 3), "0 x 3"),
        (lambda: conditioners.checkerboard(2, 3, 2), "parity is 2"),
        (lambda: conditioners.alternating(0), "dim is 0"),
        (lambda: conditioners.alternating(3, -1), "parity is -1"),
    ],
)
def test_errors_name_what_was_given(call, message):
    with pytest.raises(ValueError, match=message):
        call()
