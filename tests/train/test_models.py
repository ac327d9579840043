"""What is trained, its first variables, and what it takes over from others."""

import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from ml_collections import ConfigDict

from configs import maf_patches
from fdnf import types
from fdnf.flows.base import FlowModule
from fdnf.flows.srflow import SRFlow
from fdnf.losses import density, inverse_matching
from fdnf.ops import trees
from fdnf.students.base import Student
from fdnf.students.rrdb import RRDBNet
from fdnf.students.srflow import SRFlowStudent
from fdnf.train import models, optim, settings, teachers
from fdnf.train.settings import ConfigError
from fdnf.train.teachers import Trained
from tests import floats, laws
from tests.test_configs import get
from tests.train import test_generators as tiny

KEY = jax.random.key(0)


def config(name, **args):
    return ConfigDict({"name": name, "args": args})


def test_a_name_is_that_of_a_flow_or_of_a_student():
    assert isinstance(models.build(config("maf", steps=2)), FlowModule)
    assert isinstance(models.build(config("resnet", blocks=2)), Student)
    with pytest.raises(ValueError, match="resnet"):
        models.build(config("renset"))
    with pytest.raises(ValueError, match=r"steps.*blocks"):
        models.build(config("resnet", steps=2))


def test_a_student_takes_its_statistics_from_latents_of_the_prior():
    student = models.build(config("resnet", hidden=4, blocks=1, squeezes=1))
    x = jnp.full((64, 4, 4, 1), 100.0)
    variables = models.init(student, KEY, x)
    z = student.draw(jax.random.key(7), (64, 4, 4, 1))
    _, seen = student.apply(
        variables, z, capture_intermediates=True, mutable=["intermediates"]
    )
    (h,) = seen["intermediates"]["net"]["conv_in"]["__call__"]
    np.testing.assert_allclose(h.std(axis=(0, 1, 2)), 1.0, atol=0.3)


def test_methods_that_need_a_density_refuse_a_student():
    wrong = get("maf_patches", "iaf,kl,smoke")
    wrong.model = config("resnet")
    with pytest.raises(settings.ConfigError, match="'kl' needs a density"):
        settings.check(wrong)
    student = models.build(config("resnet", hidden=4, blocks=1))
    x = jnp.ones((2, 4, 4, 1))
    variables = models.init(student, KEY, x)
    with pytest.raises(ValueError, match="no\\s+density"):
        density.reverse_kl(student, student, variables, variables, (x,))
    with pytest.raises(TypeError, match="feed-forward student"):
        student.apply(variables, x, method="encode")


def test_losses_that_decode_only_take_a_student():
    student = models.build(config("resnet", hidden=4, blocks=1))
    x = jax.random.normal(KEY, (3, 4, 4, 1))
    ours = laws.drawn(student, (x,))

    def encode(variables, x, cond=None):
        nothing = jnp.zeros(len(x))
        return types.Encoding((variables * x,), nothing, (), nothing)

    flow = types.ExternalFlow(encode=encode)
    value, aux = inverse_matching.x_reconstruction(student, flow, ours, 2.0, x)
    sampled = student.apply(ours, (2.0 * x,))
    floats.assert_close(value, jnp.mean((sampled - x) ** 2))
    assert aux.student.log_det is None


KEYS = jax.random.split(jax.random.key(1), 2)
X = jax.random.uniform(jax.random.key(2), (2, 4, 8, 8, 3))
LOW = X[:, :, ::2, ::2]
FLOW: SRFlow = tiny.TEACHER.clone(transitions=0)
NET = RRDBNet(**tiny.TINY)
STUDENT: SRFlowStudent = tiny.STUDENT


def start(model, *inherited):
    return models.init_state(model, optax.sgd(1.0), KEYS, X, 0.0, LOW, inherited)


def drawn(model):
    """Parameters of two models, one a run, without any that are compiled."""
    init = functools.partial(models.init, model)
    shapes = jax.eval_shape(init, KEYS[0], X[0], LOW[0])["params"]
    rng = np.random.default_rng(0)
    return {
        "params": jax.tree.map(
            lambda leaf: jnp.asarray(
                0.3 * rng.normal(size=(2, *leaf.shape)), jnp.float32
            ),
            shapes,
        )
    }


@pytest.fixture(scope="module")
def encoders():
    """Two pretrained networks, whose weights are not the first ones."""
    return drawn(NET)


@jax.jit
def started_with(given, key, x, low):
    """As if the model had been started with what is given."""
    return models.init(FLOW, key, x, low, given)["params"]


@pytest.mark.parametrize("by_run", [pytest.param(False, marks=pytest.mark.slow), True])
def test_statistics_follow_from_a_pretrained_part(encoders, by_run):
    source = encoders if by_run else trees.take_run(encoders, 1)
    take = functools.partial(models.subtree, "encoder")
    state = start(FLOW, models.Inheritance(take, source, by_run))
    for run in range(2):
        params = trees.take_run(state.params, run)
        given = trees.take_run(encoders, run if by_run else 1)
        theirs = given["params"]["encoder"]
        jax.tree.map(np.testing.assert_array_equal, params["encoder"], theirs)
        key = jax.random.fold_in(KEYS[run], 0)
        expected = started_with(given, key, X[run], LOW[run])
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5),
            params,
            expected,
        )
        # What that is depends on it.
        halved = jax.tree.map(lambda leaf: leaf / 2, given)
        others = started_with(halved, key, X[run], LOW[run])
        rest = [
            {k: v for k, v in p.items() if k != "encoder"} for p in (params, others)
        ]
        gaps = jax.tree.map(lambda a, b: float(jnp.abs(a - b).max()), *rest)
        assert max(jax.tree.leaves(gaps)) > 1e-3


def test_student_takes_over_its_teachers_encoder(encoders):
    source = trees.take_run(encoders, 0)
    state = start(STUDENT, models.Inheritance(STUDENT.inherit, source))
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
            models.Inheritance(functools.partial(models.subtree, "encode"), source),
        )
    wider = FLOW.clone(features=8)
    take = functools.partial(models.subtree, "encoder")
    with pytest.raises(ValueError, match="differ in names or shapes"):
        start(wider, models.Inheritance(take, source))


def descended(optimizer, updates):
    """Parameters after each update, with gradients that grow a hundredfold."""
    params = {"encoder": {"w": jnp.ones(3)}, "rest": {"w": jnp.ones(3)}}
    state, seen = optimizer.init(params), [params]
    for i in range(updates):
        grads = jax.tree.map(lambda leaf, i=i: leaf * (1 + 100 * i), params)
        moves, state = optimizer.update(grads, state, params)
        params = optax.apply_updates(params, moves)
        seen.append(params)
    return [[float(each[k]["w"][0]) for each in seen] for k in ("encoder", "rest")]


@pytest.mark.parametrize(
    ("schedule", "clip"),
    [
        *(("constant", 0.0), ("cosine", 1.0)),
        pytest.param("constant", 1.0, marks=pytest.mark.slow),
        pytest.param("cosine", 0.0, marks=pytest.mark.slow),
    ],
)
def test_frozen_part_stands_still_and_then_moves_by_one_rate(schedule, clip):
    config = maf_patches.get_config().optim
    config.update(
        name="adamw", lr=0.01, weight_decay=0.1, clip=clip, warmup=0, final=0.5
    )
    config.schedule = schedule
    encoder, rest = descended(optim.make(config, 20, frozen=("encoder", 6)), 12)
    assert encoder[:7] == [1.0] * 7
    rate = float(optim.schedule(config, 20)(6))
    # Adam's first step, and the decay; moments of zeros would make it 2.7 of them.
    floats.assert_close(encoder[6] - encoder[7], rate * 1.1, rtol=1e-3)
    assert all(a > b for a, b in zip(encoder[6:], encoder[7:], strict=False))
    _, alone = descended(optim.make(config, 20), 6)
    if not clip:  # Its norm is that of what moves.
        np.testing.assert_array_equal(rest[:7], alone)
    with pytest.raises(ValueError, match="pretrained.into='encode'"):
        optim.make(config, 20, frozen=("encode", 2)).init({"encoder": {}})


def test_all_that_is_taken_over_is_kept():
    given = trees.take_run(drawn(STUDENT), 1)
    parts = ("encoder", "last")
    assert set(parts) < given["params"].keys()
    state = start(
        STUDENT,
        *(
            models.Inheritance(functools.partial(models.subtree, name), given)
            for name in parts
        ),
    )
    for name in parts:
        jax.tree.map(
            np.testing.assert_array_equal,
            trees.take_run(state.params, 0)[name],
            given["params"][name],
        )


@pytest.mark.parametrize("runs", [1, 2])
def test_members_start_from_one_pretrained_model(monkeypatch, runs):
    variables = {"params": {"w": np.arange(runs)}, "constants": {}}
    data = {"name": "synthetic", "args": {}}
    config = ConfigDict({"runs": runs, "data": data, "pretrained": {}})
    found = Trained(None, variables, config, {})  # pyright: ignore[reportArgumentType]
    monkeypatch.setattr(teachers, "load", lambda _: found)
    place = pathlib.Path("there")
    members = [
        settings.Experiment(config.copy_and_resolve_references(), place, None, place)
        for _ in range(3)
    ]
    source = teachers.pretrained_of(members)
    assert source.by_run == (runs > 1)
    expected = [0, 1] * 3 if runs > 1 else 0
    np.testing.assert_array_equal(source.variables["params"]["w"], expected)
    members[0].config.runs = 4
    if runs > 1:
        with pytest.raises(ConfigError, match="there has 2 runs, there 4"):
            teachers.pretrained_of(members[:1])
