"""From config to loss: weights, fading, and when samples are compared."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.flows import build as flows
from fdnf.flows.continuous import ContinuousFlow
from fdnf.flows.iresnet import IResNet
from fdnf.losses import distillation, flow_matching, presets
from fdnf.train import batches, objectives, settings
from fdnf.train.batches import Moment
from tests import floats, laws, tiny

KEY = jax.random.key(0)
X = jax.random.normal(jax.random.key(1), (16, 3))


def made(config):
    """The objective, jitted, with a student's and another teacher's parameters."""
    student = flows.build(config.model)
    teacher = flows.build(config.teacher.config.model)
    built = tiny.compiled(objectives.build(config, student, teacher, reach=10.0))
    params = perturbed(student, 1)["params"]
    fixed = perturbed(teacher, 2)

    def objective(step, params=params):
        variables = {"params": params}
        return built(variables, fixed, {"x": X}, KEY, jnp.asarray(step))

    return objective, params, (student, teacher, {"params": params}, fixed)


def perturbed(flow, seed):
    return laws.perturb(laws.drawn(flow, X, noise=0.0), 0.2, seed)


def compiled(loss, *flows_, **arguments):
    """A loss of flows, as a function of their variables and more."""
    return jax.jit(lambda *given: loss(*flows_, *given, **arguments))


def test_nll_is_the_negative_mean_log_density():
    config = tiny.config()
    flow = flows.build(config.model)
    variables = perturbed(flow, 1)
    objective = tiny.compiled(objectives.build(config, flow, None, 1.0))
    loss, terms = objective(variables, {}, {"x": X}, KEY, jnp.asarray(0))
    log_prob = jax.jit(functools.partial(flow.apply, method="log_prob"))
    expected = -np.mean(log_prob(variables, X))
    floats.assert_close(loss, expected, rtol=1e-6)
    floats.assert_close(terms["nll"], expected, rtol=1e-6)
    assert not objectives.needs_teacher(config)


def test_flow_matching_is_the_loss_at_latents_and_times_of_their_own():
    config = tiny.config()
    config.loss.method = "flow_matching"
    flow = ContinuousFlow((4,), time_features=2, steps=1)
    variables = perturbed(flow, 1)
    objective = tiny.compiled(objectives.build(config, flow, None, 1.0))
    loss, terms = objective(variables, {}, {"x": X}, KEY, jnp.asarray(0))
    z = flow.draw(batches.fold(KEY, batches.Noise.LATENTS), X.shape)
    t = jax.random.uniform(batches.fold(KEY, batches.Noise.TIMES), (len(X),))
    expected = compiled(flow_matching.flow_matching, flow)(variables, X, z, t)[0]
    floats.assert_close(loss, expected, rtol=1e-6)
    floats.assert_close(terms["flow_matching"], expected, rtol=1e-6)
    assert not objectives.needs_teacher(config)
    assert objectives.weights(config) == (0.0, 0.0, 0.0)


def test_flow_matching_needs_a_velocity():
    config = tiny.config()
    config.loss.method = "flow_matching"
    with pytest.raises(settings.ConfigError, match="velocity, which MAF does not have"):
        settings.check(config)


@pytest.mark.parametrize("method", ["nll", "ilkd"])
def test_a_flow_that_estimates_is_given_a_key_of_its_own(method):
    config = tiny.config(method)
    flow = IResNet(2, (4,), log_det="series")
    objective = objectives.build(config, flow, flow, 1.0)
    given, step = [], jnp.asarray(0)

    class Noted(Exception):
        pass

    def noted(*args, key, **settings):
        given.append(key)
        raise Noted

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distillation, "nll", noted)
        patch.setattr(distillation, "combined", noted)
        for share in (batches.WHOLE, batches.Share(1, 2)):
            with pytest.raises(Noted):
                objective({}, {}, {"x": X}, Moment(KEY, step, None, share))
        plain = objectives.build(config, flows.build(config.model), flow, 1.0)
        with pytest.raises(Noted):
            plain({}, {}, {"x": X}, Moment(KEY, step))
    expected = [batches.fold(KEY, batches.Noise.PROBES, i) for i in range(2)]
    assert given == [*expected, None]


@pytest.mark.parametrize(
    ("method", "preset"),
    [
        *(("lkd", "official"), ("ilkd", "paper")),
        pytest.param("lkd", "paper", marks=pytest.mark.slow),
        pytest.param("ilkd", "official", marks=pytest.mark.slow),
    ],
)
def test_latent_methods_are_combined_with_the_presets_arguments(method, preset):
    config = tiny.config(method)
    config.loss.preset = preset
    assert objectives.needs_teacher(config)
    objective, _, flows_ = made(config)
    loss, terms = objective(0)
    arguments = {"pairs": "ratio"} | presets.preset(preset, method)
    student, teacher, *variables = flows_
    combined = compiled(distillation.combined, student, teacher, **arguments)
    expected, aux = combined(*variables, X)
    floats.assert_close(loss, expected, rtol=1e-5)
    assert set(terms) == set(aux.terms) == {"nll", method}
    assert terms[method] > 1e-3  # the flows do differ


def test_config_overrides_the_preset():
    config = tiny.config("ilkd")
    config.loss.args.weights = (0.5, 2.0, 0.0)
    config.loss.args.distance = "l2"
    config.loss.args.pairs = ((0, 0),)
    assert objectives.arguments(config) == {
        "weights": (0.5, 2.0, 0.0),
        "latents": "levels",
        "distance": "l2",
        "pairs": ((0, 0),),
        "units": "nats",
    }
    objective, _, flows_ = made(config)
    student, teacher, *variables = flows_
    arguments = objectives.arguments(config)
    combined = compiled(distillation.combined, student, teacher, **arguments)
    expected, _ = combined(*variables, X)
    floats.assert_close(objective(0)[0], expected, rtol=1e-5)


def test_distillation_fades_out():
    config = tiny.config("ilkd", steps=100)
    config.loss.fade = (0.5, 0.75)
    objective, _, _ = made(config)
    for step, share in ((0, 1.0), (50, 1.0), (60, 0.6), (75, 0.0), (99, 0.0)):
        loss, terms = objective(step)
        expected = 0.9 * terms["nll"] + share * 0.1 * terms["ilkd"]
        floats.assert_close(loss, expected, rtol=1e-5)


def test_without_fading_the_last_step_counts_in_full():
    objective, _, _ = made(tiny.config("ilkd", steps=100))
    loss, terms = objective(99)
    expected = 0.9 * terms["nll"] + 0.1 * terms["ilkd"]
    floats.assert_close(loss, expected, rtol=1e-5)


def test_samples_are_compared_from_the_start_on():
    config = tiny.config("skd", steps=100)
    config.loss.skd.start = 0.3
    objective, params, (student, teacher, variables, fixed) = made(config)
    loss, terms = objective(29)
    assert terms["skd"] == 0
    floats.assert_close(loss, 0.85 * terms["nll"] + 0.075 * terms["ilkd"], rtol=1e-5)
    loss, terms = objective(30)
    z = student.draw(jax.random.fold_in(KEY, 2), (8, 3))
    skd = compiled(distillation.skd, student, teacher, limit=30.0)
    expected, _ = skd(variables, fixed, z)
    floats.assert_close(terms["skd"], expected, rtol=1e-5)
    assert terms["skd"] > 1e-3
    parts = 0.85 * terms["nll"] + 0.075 * (terms["ilkd"] + terms["skd"])
    floats.assert_close(loss, parts, rtol=1e-5)
    slope = jax.jit(jax.grad(lambda p, step: objective(step, p)[0]))
    gradient, before = slope(params, 30), slope(params, 29)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
    gaps = jax.tree.map(lambda a, b: float(abs(a - b).max()), gradient, before)
    assert max(jax.tree.leaves(gaps)) > 1e-4


def test_two_devices_compare_the_samples_that_one_does():
    config = tiny.config("skd")
    config.loss.args.weights = (0.0, 0.0, 1.0)
    student, teacher = (
        flows.build(config.model),
        flows.build(config.teacher.config.model),
    )
    objective = objectives.build(config, student, teacher, reach=10.0)
    given = perturbed(student, 1), perturbed(teacher, 2)

    @jax.jit
    def loss(rows, index):
        share = batches.Share(index, 16 // len(rows))
        moment = Moment(KEY, jnp.asarray(0), share=share)
        return objective(*given, {"x": rows}, moment)[0]

    halves = [loss(X[:8], 0), loss(X[8:], 1)]
    assert halves[0] != halves[1]
    floats.assert_close(np.mean(halves), loss(X, 0), rtol=1e-5)


def test_samples_beyond_reach_do_not_count():
    config = tiny.config("skd")
    config.loss.skd.reach = 1e-6
    _, terms = made(config)[0](0)
    assert terms["rejected"] == 1
    assert terms["skd"] == 0


def test_a_method_without_its_teacher():
    config = tiny.config("ilkd")
    with pytest.raises(ValueError, match=r"loss.method='ilkd' needs a teacher"):
        objectives.build(config, flows.build(config.model), None, 1.0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_skd_in_64_bit_mode(dtype):
    config = tiny.config("skd")
    student = flows.build(config.model)
    teacher = flows.build(config.teacher.config.model)
    with jax.enable_x64(True):
        x = jnp.asarray(X, dtype)
        mine, theirs = (
            jax.tree.map(
                lambda leaf: jax.ShapeDtypeStruct(leaf.shape, dtype),
                jax.eval_shape(flow.init, KEY, X),
            )
            for flow in (student, teacher)
        )
        objective = objectives.build(config, student, teacher, reach=10.0)
        loss, terms = jax.eval_shape(
            lambda mine, theirs, x, step: objective(
                mine, theirs, {"x": x}, Moment(KEY, step)
            ),
            mine,
            theirs,
            x,
            jnp.asarray(0),
        )
        for leaf in (loss, *terms.values()):
            assert leaf.shape == ()
        assert {term.dtype.name for term in terms.values()} == {"float32"}
