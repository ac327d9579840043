"""Row-wise distances against hand-computed numbers."""

import jax.numpy as jnp
import pytest

from fdnf.losses import distillation
from tests import floats

A = jnp.asarray([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]])
B = jnp.asarray([[1.0, 0.0, 6.0], [1.0, -1.0, 2.0]])


@pytest.mark.parametrize(
    ("name", "reduction", "expected"),
    [
        ("l1", "sum", [5.0, 4.0]),
        ("l1", "mean", [5.0 / 3, 4.0 / 3]),
        ("l2", "sum", [13.0, 6.0]),
        ("l2", "mean", [13.0 / 3, 2.0]),
    ],
)
def test_values(name, reduction, expected):
    got = distillation.rowwise(A, B, name, reduction)
    floats.assert_close(got, expected, rtol=1e-6)


def test_a_tuple_is_one_long_event():
    whole = distillation.rowwise(A, B, "l2", "mean")
    parts = distillation.rowwise(
        (A[:, :1], A[:, 1:]), (B[:, :1], B[:, 1:]), "l2", "mean"
    )
    floats.assert_close(parts, whole, rtol=1e-6)


def test_images_are_reduced_over_all_axes():
    a, b = A.reshape(2, 1, 3, 1), B.reshape(2, 1, 3, 1)
    floats.assert_close(distillation.rowwise(a, b), distillation.rowwise(A, B))


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ((A, B, "l3"), r"unknown distance 'l3'; known: \['l1', 'l2'\]"),
        ((A, B, "l1", "max"), "unknown reduction 'max'"),
        ((A, B[:, :2]), r"student has shapes \[\(2, 3\)\], teacher \[\(2, 2\)\]"),
        (((A, A), B), "student has shapes"),
    ],
)
def test_errors(arguments, match):
    with pytest.raises(ValueError, match=match):
        distillation.rowwise(*arguments)
