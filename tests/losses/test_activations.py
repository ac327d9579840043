"""What activations are compared by: students that are exact, and units."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.flows.maf import IAF, MAF
from fdnf.losses import guided
from tests import floats, laws

DIM = 3

# Students that are exact: one linear block has a closed form, and so has a block whose
# network says the same of all rows.


def linear_pair(blocks, dim, seed):
    """Variables of a MAF of linear blocks and of its exact inverse.

    Block k: u = (x - A x - c) exp(-a) with A strictly lower in the order that it sees,
    so that x = c' + B u + exp(a) u, B strictly lower: (I - A)^-1 (E u + c), E = exp(a).
    Two hidden units a column, relu(x) and relu(-x), make the network linear.
    """
    draw = np.random.default_rng(seed)
    width = 2 * (dim - 1)
    first = np.zeros((dim, width))
    for i in range(dim - 1):
        first[i, 2 * i : 2 * i + 2] = 1, -1

    def made(matrix, shift, log_scale):
        last = np.zeros((width, 2 * dim))
        last[:, :dim] = np.repeat(matrix[:, :-1].T, 2, axis=0)
        last[1::2] *= -1
        raw = 5 * np.arctanh(log_scale / 5)
        return {
            "dense_0_kernel": first,
            "dense_0_bias": np.zeros(width),
            "dense_1_kernel": last,
            "dense_1_bias": np.concatenate([shift, raw]),
        }

    of_teacher, of_student = [], []
    for _ in range(blocks):
        matrix = np.tril(draw.normal(size=(dim, dim)), -1)
        shift, log_scale = draw.normal(size=(2, dim))
        inverse = np.linalg.inv(np.eye(dim) - matrix)
        off = (inverse - np.eye(dim)) * np.exp(log_scale)
        of_teacher.append(made(matrix, shift, log_scale))
        of_student.append(made(off, inverse @ shift, log_scale))
    stack = functools.partial(jax.tree.map, lambda *leaves: np.stack(leaves))
    return tuple(
        {"params": {"stack": {"step": {"parts_0": part}}}}
        for part in (
            {"bijector": {"made": stack(*of_student)}},
            {"made": stack(*of_teacher)},
        )
    )


@pytest.mark.parametrize(
    ("blocks", "dtype"),
    [
        (1, np.float32),
        pytest.param(2, np.float64, marks=pytest.mark.slow),
        (3, np.float64),
    ],
)
def test_students_of_linear_blocks_are_exact(blocks, dtype):
    teacher = MAF(blocks, (2 * DIM,), unroll=1)
    student = IAF.of(teacher)
    draw = np.random.default_rng(blocks)
    x, z = draw.normal(size=(2, 5, DIM + 1))

    @jax.jit
    def both(own, other, x, z):
        terms = guided.guided(
            *(student, teacher, own, other, x, (z,)),
            weights=dict.fromkeys(guided.TERMS, 1.0),
        )[1].terms
        flows = (student, own), (teacher, other)
        return terms, [f.apply(v, (z,), method="decode").x for f, v in flows]

    with jax.enable_x64(dtype == np.float64):
        given = laws.cast((*linear_pair(blocks, DIM + 1, blocks), x, z), dtype)
        terms, (own, other) = jax.device_get(both(*given))
    allowed = 1e-12 if dtype == np.float64 else 1e-5
    floats.assert_close(own, other, rtol=allowed)
    assert np.max(np.abs(other - z)) > 0.5
    assert terms.pop("rejected") == 0
    for term, value in terms.items():
        # Squares of rounding, and for the densities rounding itself.
        small = 10 * allowed if "kl" in term else allowed
        assert abs(value) < small, term


SPLINE = {"name": "spline", "bins": 2, "box": 2.0}


@functools.cache
def constant_pair():
    """Flows with splines, linear maps and marginals whose networks are constant."""
    both = {"name": "compose", "parts": ("affine", SPLINE)}
    teacher = MAF(2, (3,), unroll=1, transformer=both, mixing="lu", marginal=SPLINE)
    student = IAF.of(teacher)
    x = jnp.zeros((4, DIM))
    draw = np.random.default_rng(6)
    shapes = [jax.eval_shape(f.init, jax.random.key(0), x) for f in (student, teacher)]
    own = jax.tree.map(lambda leaf: np.zeros(leaf.shape), shapes[0])
    other = jax.tree.map(lambda leaf: 0.4 * draw.normal(size=leaf.shape), shapes[1])
    other["params"]["stack"]["step"]["parts_1"]["made"]["dense_1_kernel"] *= 0
    own = student.taken_over(own, other)
    bias = other["params"]["stack"]["step"]["parts_1"]["made"]["dense_1_bias"]
    own["params"]["stack"]["step"]["parts_1"]["bijector"]["made"]["dense_1_bias"] = bias
    return student, teacher, own, other, 1.5 * draw.normal(size=(4, DIM))


def test_students_of_splines_and_linear_maps_are_exact():
    student, teacher, own, other, x = constant_pair()
    terms = ("local", "parameters", "path_x")
    weights = dict.fromkeys(terms, 1.0)

    @jax.jit
    def compared(own):
        flows = student, teacher, own, other
        return guided.guided(*flows, x, weights=weights, screen=False)

    with jax.enable_x64(True):
        loss, aux = compared(own)
        assert abs(loss) < 1e-20
        assert set(aux.terms) == {*terms, "rejected"}
        # Not by chance: without the teacher's linear maps it is far off.
        zeros = jax.tree.map(np.zeros_like, own)
        step = {**zeros["params"]["stack"]["step"]}
        step["parts_1"] = own["params"]["stack"]["step"]["parts_1"]
        assert compared({"params": {"stack": {"step": step}}})[0] > 0.1


def test_scales_are_those_of_the_jacobian():
    _, teacher, _, variables, x = constant_pair()

    @jax.jit
    def found(x):
        encoding, blocks = teacher.apply(variables, x, method="encode_with_blocks")
        sides = jnp.stack([x, *encoding.levels[:-1]])

        def row(i):
            def out(side):
                whole = sides.at[:, i].set(side)
                return teacher.apply(variables, whole, method="encode_blocks").out[:, i]

            return jax.jacfwd(out)(sides[:, i])

        return blocks, row(0)

    with jax.enable_x64(True):
        blocks, jacobian = jax.device_get(found(x))
    for k in range(2):
        back = np.linalg.inv(jacobian[k, :, k])
        wanted = 0.5 * np.log(np.sum(back**2, axis=1))
        np.testing.assert_allclose(
            blocks.log_scale[k, 0], wanted, rtol=1e-8, atol=1e-10
        )
        slope = np.linalg.slogdet(jacobian[k, :, k])[1]
        np.testing.assert_allclose(blocks.log_det[k, 0], slope, rtol=1e-8, atol=1e-10)
        assert not np.any(jacobian[k, :, 1 - k])
    assert np.ptp(blocks.log_scale) > 0.5
