"""Heads and units of levels, and distances that are more than elementwise."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.flows.maf import MAF
from fdnf.losses import distillation, levels
from fdnf.types import Encoding
from tests import floats, laws

X = jax.random.normal(jax.random.key(1), (12, 3))
STUDENT, TEACHER = MAF(1, (6,)), MAF(2, (8,))


def encoding_of(*arrays):
    none = jnp.zeros(len(arrays[0]))
    return Encoding(arrays[-1:], none, arrays, none)


def drawn(seed, *shape):
    return jax.random.normal(jax.random.key(seed), shape)


def given(width=3):
    """Two levels of a student's beside two of a teacher's."""
    student = encoding_of(drawn(1, 12, 3), drawn(2, 12, 3))
    teacher = encoding_of(5 * drawn(3, 12, width), 1 + 0.1 * drawn(4, 12, width))
    return levels.compared(student, teacher)


def test_cosine_is_of_the_angle_between_whole_events():
    a = jnp.array([[1.0, 0.0], [1.0, 1.0], [2.0, 0.0], [0.0, 0.0]])
    b = jnp.array([[0.0, 3.0], [2.0, 2.0], [-1.0, 0.0], [1.0, 0.0]])
    expected = np.array([1.0, 0.0, 2.0, 1.0])
    for reduction in levels.REDUCTIONS:
        got = levels.rowwise(a, b, "cosine", reduction)
        floats.assert_close(got, expected, rtol=1e-6)
    halves = levels.rowwise((a[:, :1], a[:, 1:]), (b[:, :1], b[:, 1:]), "cosine")
    floats.assert_close(halves, expected, rtol=1e-6)
    slope = jax.grad(lambda a: jnp.sum(levels.rowwise(a, b, "cosine")))(a)
    assert np.isfinite(slope).all()


def test_heads_start_as_the_identity():
    plain = levels.gaps(given())
    heads = levels.identity(given(), measured=False)
    floats.assert_close(levels.gaps(given(), heads), plain, rtol=1e-6)
    assert {name: head["kernel"].shape for name, head in heads.items()} == {
        "0": (3, 3),
        "1": (3, 3),
    }


def test_units_are_the_teachers_spread_of_each_channel():
    heads = levels.identity(given(), learned=False)
    (_, (first,)), (_, (second,)) = given()
    floats.assert_close(heads["0"]["spread"], np.std(first, 0), rtol=1e-5)
    floats.assert_close(heads["1"]["spread"], np.std(second, 0), rtol=1e-5)
    (ours, _), _ = given()
    expected = np.mean(np.abs(np.asarray(ours[0] - first)) / np.std(first, 0))
    found = levels.gaps(given(), heads)[0]
    floats.assert_close(found, expected, rtol=1e-5)


def test_a_channel_that_does_not_vary_has_the_unit_one():
    flat = encoding_of(jnp.ones((4, 2)))
    heads = levels.identity(levels.compared(flat, flat), learned=False)
    np.testing.assert_array_equal(heads["0"]["spread"], np.ones(2))


def test_a_head_makes_the_teachers_channels_of_the_students():
    heads = levels.identity(given(5), measured=False)
    kernel, bias = drawn(5, 3, 5), drawn(6, 5)
    heads = {**heads, "0": {"kernel": kernel, "bias": bias}}
    (ours, theirs), _ = given(5)
    whole = ours[0] @ (np.eye(3, 5) + kernel) + bias
    expected = np.mean((np.asarray(whole) - np.asarray(theirs[0])) ** 2)
    found = levels.gaps(given(5), heads, distance="l2")[0]
    floats.assert_close(found, expected, rtol=1e-5)


def test_least_squares_are_reached_by_training_a_head():
    """The bound that a head has: the residual of the linear regression."""
    pair = given()[:1]
    a, b = (np.asarray(side[0]) for side in pair[0])
    design = np.concatenate([a, np.ones((len(a), 1))], 1)
    residual = b - design @ np.linalg.lstsq(design, b, rcond=None)[0]
    heads = levels.identity(pair, measured=False)

    @jax.jit
    def step(heads):
        slope = jax.grad(lambda h: levels.gaps(pair, h, distance="l2")[0])(heads)
        return jax.tree.map(lambda h, s: h - 0.3 * s, heads, slope)

    for _ in range(400):
        heads = step(heads)
    found = levels.gaps(pair, heads, distance="l2")[0]
    floats.assert_close(found, np.mean(residual**2), rtol=1e-4)


@pytest.mark.parametrize("function", ["lkd", "ilkd", "combined"])
def test_losses_take_heads_and_give_them_gradients(function):
    variables = laws.drawn(STUDENT, X), laws.drawn(TEACHER, X)
    call = getattr(distillation, function)
    settings = {} if function == "lkd" else {"pairs": "ratio"}
    if function == "combined":
        settings["weights"] = (0.0, 1.0, 0.0)

    def loss(heads):
        return call(STUDENT, TEACHER, *variables, X, heads=heads, **settings)[0]

    encodings = [
        flow.apply(v, X) for flow, v in zip((STUDENT, TEACHER), variables, strict=True)
    ]
    heads = levels.identity(levels.compared(*encodings, pairs="ratio"), measured=False)
    value, slope = jax.jit(jax.value_and_grad(loss))(heads)
    floats.assert_close(value, jax.jit(loss)(None), rtol=1e-6)
    assert min(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(slope)) > 1e-4


def test_units_are_not_trained():
    heads = levels.identity(given())
    slope = jax.grad(lambda h: sum(levels.gaps(given(), h)))(heads)
    for head in slope.values():
        np.testing.assert_array_equal(head["spread"], 0)
        assert np.abs(head["kernel"]).max() > 0


def test_heads_that_do_not_fit_are_refused():
    heads = levels.identity(given())
    with pytest.raises(ValueError, match=r"heads \['0'\] for 2 pairs"):
        levels.gaps(given(), {"0": heads["0"]})
    with pytest.raises(ValueError, match=r"shape \(3,\).*\(5,\).*last axis"):
        levels.identity(given(5), learned=False)
    images = [((jnp.zeros((2, 4, 4, 3)),), (jnp.zeros((2, 2, 2, 3)),))]
    with pytest.raises(ValueError, match="map of the last axis alone"):
        levels.identity(images)


def test_split_takes_heads_from_beside_a_students_parameters():
    params = {"stack": {"w": jnp.ones(2)}}
    assert levels.split(params) == (params, None)
    heads = levels.identity(given())
    own, found = levels.split({**params, levels.HEADS: heads})
    assert own == params
    assert found is heads


def test_the_mean_of_teachers_is_that_of_their_levels():
    each = [laws.drawn(TEACHER, X, noise=n) for n in (0.1, 0.3)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *each)
    mean = distillation.mean_of(TEACHER)
    assert mean is distillation.mean_of(MAF(2, (8,)))
    found = mean.apply(stacked, X, method="encode")
    one, two = (TEACHER.apply(variables, X) for variables in each)
    for got, a, b in zip(found.levels, one.levels, two.levels, strict=True):
        floats.assert_close(got, (a + b) / 2, rtol=1e-5)
    floats.assert_close(found.log_prob, (one.log_prob + two.log_prob) / 2, rtol=1e-5)
    student = laws.drawn(STUDENT, X)
    loss, _ = distillation.lkd(STUDENT, mean, student, stacked, X)
    assert float(loss) > 0
    with pytest.raises(ValueError, match="no 'decode'"):
        mean.apply(stacked, (X,), method="decode")
