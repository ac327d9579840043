"""What a model takes over before training, and statistics that follow from it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fdnf.flows.srflow import SRFlow
from fdnf.ops import trees
from fdnf.students.rrdb import RRDBNet
from fdnf.students.srflow import SRFlowStudent
from fdnf.train import initial, models, optim
from tests.train import test_generators as tiny

KEYS = jax.random.split(jax.random.key(1), 2)
X = jax.random.uniform(jax.random.key(2), (2, 4, 8, 8, 3))
LOW = X[:, :, ::2, ::2]
FLOW: SRFlow = tiny.TEACHER
NET = RRDBNet(**tiny.TINY)
STUDENT: SRFlowStudent = tiny.STUDENT


def start(model, *inherited):
    return initial.init_state(model, optax.sgd(1.0), KEYS, X, 0.0, LOW, inherited)


@pytest.fixture(scope="module")
def encoders():
    """Two pretrained networks, one a run, whose weights are not the first ones."""
    state = start(NET)
    return {"params": jax.tree.map(lambda leaf: 1.5 * leaf + 0.1, state.params)}


@pytest.mark.parametrize("by_run", [False, True])
def test_statistics_follow_from_a_pretrained_part(encoders, by_run):
    source = encoders if by_run else trees.take_run(encoders, 1)
    take = functools.partial(initial.subtree, "encoder")
    state = start(FLOW, initial.Inheritance(take, source, by_run))
    plain = start(FLOW)
    for run in range(2):
        params = trees.take_run(state.params, run)
        theirs = trees.take_run(encoders, run if by_run else 1)["params"]["encoder"]
        jax.tree.map(np.testing.assert_array_equal, params["encoder"], theirs)
        # As if the model had been started with it.
        key = jax.random.fold_in(KEYS[run], 0)
        given = {"params": {"encoder": theirs}}
        expected = models.init(FLOW, key, X[run], LOW[run], given)["params"]
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5),
            params,
            expected,
        )
    rest = [
        {k: v for k, v in s.params.items() if k != "encoder"} for s in (state, plain)
    ]
    gaps = jax.tree.map(lambda a, b: float(jnp.abs(a - b).max()), *rest)
    assert max(jax.tree.leaves(gaps)) > 1e-3


def test_student_takes_over_its_teachers_encoder():
    teacher = {"params": start(FLOW).params}
    source = trees.take_run(teacher, 0)
    state = start(STUDENT, initial.Inheritance(STUDENT.inherit, source))
    for run in range(2):
        jax.tree.map(
            np.testing.assert_array_equal,
            trees.take_run(state.params, run)["encoder"],
            source["params"]["encoder"],
        )


def test_part_that_does_not_fit(encoders):
    source = trees.take_run(encoders, 0)
    with pytest.raises(ValueError, match=r"pretrained.into='encode': the model has"):
        start(
            FLOW,
            initial.Inheritance(functools.partial(initial.subtree, "encode"), source),
        )
    wider = FLOW.clone(features=8)
    take = functools.partial(initial.subtree, "encoder")
    with pytest.raises(ValueError, match="differ in names or shapes"):
        start(wider, initial.Inheritance(take, source))


def test_frozen_part_stands_still_and_then_moves():
    params = {"encoder": {"w": jnp.ones(3)}, "rest": {"w": jnp.ones(3)}}
    make = optax.chain(optim.delayed("encoder", 2), optax.adam(0.1))
    state, seen = make.init(params), []
    for _ in range(4):
        grads = jax.tree.map(lambda leaf: 2 * leaf, params)
        updates, state = make.update(grads, state, params)
        params = optax.apply_updates(params, updates)
        seen.append((float(params["encoder"]["w"][0]), float(params["rest"]["w"][0])))
    encoder, rest = zip(*seen, strict=True)
    assert encoder[:2] == (1.0, 1.0)
    assert 1.0 > encoder[2] > encoder[3]
    assert 1.0 > rest[0] > rest[1]
    with pytest.raises(ValueError, match="pretrained.into='encode'"):
        optim.delayed("encode", 2).init(params)
