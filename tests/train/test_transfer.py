"""From config to a sampler: settings, warm start, and the configs of a MAF to IAF."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fdnf import types
from fdnf.flows import IAF, wavenet
from fdnf.flows import build as flows
from fdnf.losses import (
    density,
    expansion,
    gaussian_conditionals,
    inverse_matching,
    spectra,
)
from fdnf.train import batches, objectives, transfer, validation
from fdnf.train.batches import Moment
from fdnf.train.rules import ConfigError
from tests import floats, laws, tiny

KEY = jax.random.key(0)
# ClariNet's loss is of flows in the order of time.
OF_VECTORS = tuple(method for method in transfer.METHODS if method != "clarinet")
EVENT = (3,)
# Of a guided student, by each kind of term.
STAGES = {
    "until": (0.5, 0.75, 1.0),
    "lr": (1.0, 0.25, 0.25),
    "local": (1.0, 1.0, 20.0),
    "path_x": (0.0, 1.0, 2.0),
    "path_z": (0.0, 0.0, 0.0),
    "parameters": (0.0, 0.0, 0.0),
    "kl": (0.0, 0.0, 1.0),
    "forward_kl": (0.0, 0.0, 0.0),
    "screen": False,
    "cap": None,
    "forward_share": 1.0,
}


class Passing(IAF):
    """Whose first pass is off by one."""

    def _decode(self, z, cond):
        x, log_det, levels = super()._decode(z, cond)
        return x, log_det, levels, (x - 1.0,)


def get(data, arg):
    return importlib.import_module(f"configs.maf_{data}").get_config(f"iaf,{arg}")


def small(method, **transfer_settings):
    config = get("patches", f"{method},smoke")
    # A guided student has its teacher's blocks.
    taught = 1 if method == "guided" else 2
    for model, steps in ((config.model, 1), (config.teacher.config.model, taught)):
        model.args.update(steps=steps, hidden=(8,))
    if method == "guided":
        # Of its teacher's shape it would be drawn as its teacher is.
        config.model.args.hidden = (12,)
        config.loss.guided.update(STAGES)
    config.train.steps = 20
    config.loss.transfer.update(warm=0.0)
    config.loss.transfer.update(transfer_settings)
    return config


def cases(config):
    """Student and teacher with perturbed parameters, and a batch of 16 rows."""
    student, teacher = (
        laws.Case(name, flows.build(model), EVENT, noise=0.3, start=False)
        for name, model in (
            ("student", config.model),
            ("teacher", config.teacher.config.model),
        )
    )
    return student, teacher, {"x": teacher.data(batch=16)}


def made(config):
    """The jitted objective as a function of step and parameters, and the cases."""
    student, teacher, batch = cases(config)
    built = transfer.build(config, student.module, teacher.module, reach=10.0)
    built = tiny.compiled(built)

    def objective(step=0, key=KEY):
        given = student.variables, teacher.variables, batch
        return built(*given, key, jnp.asarray(step))

    return objective, student, teacher, batch["x"]


def loss_of(loss, student, teacher, *given, **settings):
    """What a loss says of the two, compiled."""

    def says(ours, theirs, *given):
        return loss(student.module, teacher.module, ours, theirs, *given, **settings)

    return jax.jit(says)(student.variables, teacher.variables, *given)


SLOW = pytest.mark.slow


@pytest.mark.parametrize("path", [pytest.param(False, marks=SLOW), True])
def test_kl_is_the_loss_of_its_name_on_latents_of_the_key(path):
    objective, student, teacher, x = made(small("kl", path=path))
    loss, terms = objective()
    key = jax.random.fold_in(KEY, 2)
    z = student.module.draw(key, x.shape)
    expected, aux = loss_of(density.reverse_kl, student, teacher, z, path=path)
    floats.assert_close(loss, expected, rtol=1e-5)
    assert set(terms) == set(aux.terms) | {"expansion"}
    again, _ = objective(key=jax.random.key(1))
    assert again != loss


VOICE = dict(steps=1, layers=1, cycles=1, channels=2, front=2, hop=4, features=1)
RESOLUTIONS = ((8, 4, 8),)


def spoken(method, **given):
    """Objective, flows and batch of a student that speaks, of 16 samples a row."""
    config = importlib.import_module("configs.wavenet_asterisk")
    config = config.get_config(f"{method},smoke")
    config.loss.transfer.update(warm=0.0, stft=RESOLUTIONS)
    config.loss.transfer.update(given)
    args = VOICE | {"upsampler_taps": 8}
    student, teacher = wavenet.WaveIAF(**args), wavenet.GaussianWaveNet(**args)
    x = 0.1 * jax.random.normal(KEY, (3, 16, 1))
    batch = {"x": x, "cond": jax.random.normal(jax.random.key(1), (3, 5, 2))}
    made = [
        laws.drawn(flow, x, batch["cond"], noise=noise)
        for flow, noise in ((student, 0.3), (teacher, 0.2))
    ]
    built = tiny.compiled(transfer.build(config, student, teacher, reach=10.0))
    found = built(*made, batch, KEY, jnp.asarray(0))
    z = student.draw(jax.random.fold_in(KEY, 2), x.shape)
    return found, (student, teacher, *made, z, batch["cond"]), x


@pytest.mark.parametrize("feature", ["none", "magnitude"])
@pytest.mark.parametrize("method", ["clarinet", "kl"])
def test_a_divergence_and_a_loss_of_spectra_beside_it(method, feature):
    alpha = 0.0 if feature == "none" else 3.0
    (loss, terms), args, x = spoken(method, feature=feature, alpha=alpha)
    own = {"clarinet": gaussian_conditionals.clarinet, "kl": density.reverse_kl}
    expected, aux = own[method](*args)
    assert set(aux.terms) <= set(terms)
    if alpha:
        resolutions = tuple(spectra.Resolution(*each) for each in RESOLUTIONS)
        found = spectra.compare(feature, aux.student.x, x, resolutions)
        floats.assert_close(terms["feature"], found, rtol=1e-5)
        expected += alpha * found
    assert ("feature" in terms) == bool(alpha)
    floats.assert_close(loss, expected, rtol=1e-5)


def test_flows_without_conditionals_are_refused_before_training():
    config = importlib.import_module("configs.wavenet_asterisk")
    config = config.get_config("clarinet,smoke")
    iaf, teacher = IAF(), wavenet.GaussianWaveNet()
    objectives.check_levels(config, wavenet.WaveIAF(), teacher, (64, 1), (2, 8))
    for pair in ((iaf, teacher), (wavenet.WaveIAF(), iaf)):
        with pytest.raises(ConfigError, match="IAF does not tell the Gaussian of each"):
            objectives.check_levels(config, *pair, (64, 1), (2, 8))


def test_a_weight_of_nothing_is_refused():
    with pytest.raises(ValueError, match="loss.transfer.alpha=1.0 weighs no feature"):
        spoken("clarinet", alpha=1.0, feature="none")


def test_a_warm_start_has_no_feature():
    given = dict(feature="power", alpha=100.0, warm=0.5)
    (loss, terms), (student, teacher, ours, theirs, _, cond), x = spoken("kl", **given)
    expected, _ = inverse_matching.x_reconstruction(
        student, teacher, ours, theirs, x, cond, distance="l1"
    )
    floats.assert_close(loss, expected, rtol=1e-5)
    assert terms["warm"] == 1
    assert terms["feature"] == 0


def test_reconstructions_may_be_held_against_spectra_too():
    given = dict(feature="stft", alpha=0.5)
    (loss, terms), (student, teacher, ours, theirs, _, cond), x = spoken("x", **given)
    expected, aux = inverse_matching.x_reconstruction(
        student, teacher, ours, theirs, x, cond, distance="l1"
    )
    resolutions = tuple(spectra.Resolution(*each) for each in RESOLUTIONS)
    found = spectra.compare("stft", aux.student.x, x, resolutions)
    floats.assert_close(terms["feature"], found, rtol=1e-5)
    floats.assert_close(loss, expected + 0.5 * found, rtol=1e-5)


@pytest.mark.parametrize("distance", [pytest.param("l1", marks=SLOW), "mixed"])
def test_z_is_the_loss_of_its_name(distance):
    config = small("z", distance=distance, temperature=0.5, reduction="sum")
    objective, student, teacher, x = made(config)
    loss, terms = objective()
    z = student.module.draw(jax.random.fold_in(KEY, 2), x.shape, 0.5)
    expected, _ = loss_of(
        *(inverse_matching.z_reconstruction, student, teacher, z),
        distance=distance,
        reduction="sum",
    )
    floats.assert_close(loss, expected, rtol=1e-5)
    assert set(terms) == {"z", "kl", "variance", "expansion"}

    def prior(z):
        return jax.scipy.stats.norm.logpdf(z[0], scale=0.5).sum(axis=1)

    # Of what is sampled, which is what latents of this temperature become.
    divergence, aux = loss_of(density.reverse_kl, student, teacher, z, log_prior=prior)
    for name, value in (("kl", divergence), ("variance", aux.terms["variance"])):
        floats.assert_close(terms[name], value, rtol=1e-4)


@pytest.mark.parametrize("method", ["x", "oracle"])
def test_x_and_oracle_learn_from_the_batch(method):
    objective, student, teacher, x = made(small(method))
    loss, terms = objective()
    expected, _ = loss_of(inverse_matching.x_reconstruction, student, teacher, x)
    floats.assert_close(loss, expected, rtol=1e-5)
    assert set(terms) - {"rejected"} == {method}
    # On the teacher's own samples the oracle is the same prediction, made by decode.
    z = teacher.apply(x, method="encode").z
    predicted, _ = loss_of(inverse_matching.oracle, student, teacher, z)
    floats.assert_close(loss, predicted, rtol=1e-4)
    noisy, _ = made(small(method, noise=0.5))[0]()
    assert abs(noisy - loss) > 1e-3


# The oracle's gradient is that of x.
EACH = [
    pytest.param(method, marks=SLOW) if method == "oracle" else method
    for method in OF_VECTORS
]


@pytest.mark.parametrize("method", EACH)
def test_gradients_move_the_student_alone_and_devices_share_the_loss(method):
    config = small(method, noise=0.3, warm=0.5)
    student, teacher, batch = cases(config)
    objective = transfer.build(config, student.module, teacher.module, 1.0)
    ours, theirs = student.variables["params"], teacher.variables

    def loss(params, fixed, rows, step, share=batches.WHOLE):
        moment = Moment(KEY, step, share=share)
        return objective({"params": params}, fixed, {"x": rows}, moment)[0]

    @jax.jit
    def half(rows, index, step):
        return loss(ours, theirs, rows, step, batches.Share(index, 2))

    x, gradient = batch["x"], jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))
    for step in map(jnp.asarray, (0, 15)):
        whole, (of_ours, of_theirs) = gradient(ours, theirs, x, step)
        leaves = jax.tree.leaves(of_ours)
        assert all(np.all(np.isfinite(leaf)) for leaf in leaves)
        assert np.mean([np.any(leaf != 0) for leaf in leaves]) > 0.9
        assert all(np.all(leaf == 0) for leaf in jax.tree.leaves(of_theirs))
        # Two devices see what one does.
        halves = [half(x[8 * i : 8 * i + 8], i, step) for i in range(2)]
        assert halves[0] != halves[1]
        floats.assert_close(np.mean(halves), whole, rtol=1e-5)


@pytest.mark.parametrize("method", ["kl", pytest.param("z", marks=SLOW)])
def test_the_warm_start_is_by_x_reconstruction(method):
    objective, student, teacher, x = made(small(method, warm=0.25))
    alone, _ = made(small(method))[0]()
    expected, _ = loss_of(inverse_matching.x_reconstruction, student, teacher, x)
    for step in (0, 4):
        loss, terms = objective(step)
        floats.assert_close(loss, expected, rtol=1e-5)
        found = (terms["x"], terms["warm"], terms[method])
        floats.assert_close(found, (loss, 1, 0))
    for step in (5, 19):
        loss, terms = objective(step)
        floats.assert_close(loss, alone, rtol=1e-5)
        found = (terms["x"], terms["warm"], terms[method])
        floats.assert_close(found, (0, 0, loss))


def test_the_branch_that_is_not_taken_is_not_computed():
    # A judge that would be asked for a density only once the warm start is over.
    config = small("kl", warm=0.5, expansion=0)
    student, teacher, batch = cases(config)
    calls = []

    def encode(variables, x, cond=None):
        found = teacher.module.apply(variables, x, cond, method="encode")
        jax.debug.callback(lambda: calls.append(1))
        return found

    counted = types.ExternalFlow(encode=encode)
    objective = tiny.compiled(transfer.build(config, student.module, counted, 1.0))
    for step in (0, 15):
        arguments = student.variables, teacher.variables, batch, KEY
        jax.block_until_ready(objective(*arguments, jnp.asarray(step)))
        jax.effects_barrier()
    assert len(calls) == 2


def test_steps_of_the_warm_start():
    assert transfer.warm_steps(small("kl", warm=0.25)) == 5
    assert transfer.warm_steps(small("z")) == 0
    # The others are what it would be, or need none.
    assert transfer.warm_steps(small("x", warm=0.25)) == 0
    assert transfer.warm_steps(small("oracle", warm=0.25)) == 0


def test_the_newest_parameters_are_kept_whatever_held_out_rows_say():
    params = {"kernel": np.ones((2, 3))}
    best = validation.first_best(params, {}, runs=2)
    for step, losses in ((5, [1.0, np.nan]), (10, [np.inf, 2.0])):
        value = np.array(losses, np.float32)
        params = {"kernel": params["kernel"] + 1}
        best = jax.device_get(validation.newest(best, params, {}, value, step))
        np.testing.assert_array_equal(best.params["kernel"], params["kernel"])
        np.testing.assert_array_equal(best.value, value)
        np.testing.assert_array_equal(best.step, [step, step])


# That KL teaches is in `test_judges`.
@pytest.mark.parametrize(
    "method",
    [m if m == "x" else pytest.param(m, marks=SLOW) for m in OF_VECTORS],
)
def test_an_iaf_learns_in_fifty_steps(method):
    optimizer = optax.adam(2e-2)
    config = small(method)
    student, teacher, _ = cases(config)
    objective = transfer.build(config, student.module, teacher.module, 1.0)
    z = (jax.random.normal(jax.random.key(3), (256, *EVENT)),)
    x = teacher.apply(z, method="decode").x

    def step(carry, i):
        params, state = carry
        key = jax.random.fold_in(KEY, i)
        (value, _), slope = jax.value_and_grad(objective, has_aux=True)(
            params, teacher.variables, {"x": x}, Moment(key, i)
        )
        updates, state = optimizer.update(slope, state)
        return (optax.apply_updates(params, updates), state), value

    @jax.jit
    def trained(params):
        start = params, optimizer.init(params)
        return jax.lax.scan(step, start, jnp.arange(50))[1]

    values = trained({"params": student.variables["params"]})
    assert np.all(np.isfinite(values))
    assert values[-10:].mean() < 0.6 * values[:5].mean()


@pytest.mark.parametrize("method", ["x", pytest.param("oracle", marks=SLOW)])
def test_earlier_passes_count_as_the_config_says(method):
    config = small(method, earlier=0.5)
    student, teacher, batch = cases(config)
    passing = Passing(**config.model.args)
    built = tiny.compiled(transfer.build(config, passing, teacher.module, 10.0))
    given = student.variables, teacher.variables, batch, KEY, jnp.asarray(0)
    loss, terms = built(*given)
    z = teacher.apply(batch["x"], method="encode").z
    gap = np.asarray(student.apply(z, method="decode").x - batch["x"])
    last, first = np.mean(gap**2), np.mean((gap - 1.0) ** 2)
    floats.assert_close((loss, terms["passes"]), [last + 0.5 * first] * 2, rtol=1e-4)
    floats.assert_close(terms[method], last, rtol=1e-4)


@pytest.mark.parametrize(
    "method", ["kl", *(pytest.param(m, marks=SLOW) for m in ("z", "x", "oracle"))]
)
def test_only_students_of_several_passes_have_earlier_ones(method):
    words = f"iaf,{method},passes,smoke"
    config = importlib.import_module("configs.pixelcnn_digits").get_config(words)
    assert config.loss.transfer.earlier == 0.5
    assert config.study.recipes.resnet_l1["loss/transfer/earlier"] == 0.0
    passing = flows.build(config.model)
    transfer.check(config, passing, passing, (2, 2, 1))
    config.model.args.passes = 1
    single = flows.build(config.model)
    if method in transfer.EVALUATIVE:
        # Their start compares samples, and they themselves do not.
        config.loss.transfer.warm = 0.0
        transfer.check(config, single, single, (2, 2, 1))
        config.loss.transfer.warm = 0.5
    said = r"^loss.transfer.earlier=0.5 .* samples in one pass"
    with pytest.raises(ValueError, match=said):
        transfer.check(config, single, single, (2, 2, 1))
    config.loss.transfer.earlier = 0.0
    transfer.check(config, single, single, (2, 2, 1))


def test_what_a_method_cannot_have():
    with pytest.raises(ValueError, match="kl needs 1.0"):
        transfer.arguments(small("kl", temperature=0.7))
    config = small("oracle")
    config.teacher.samples = 0
    with pytest.raises(ValueError, match=r"set teacher.samples .* teacher.share=1.0"):
        transfer.arguments(config)
    config = small("x")
    student, _, _ = cases(config)
    with pytest.raises(ValueError, match="needs a teacher"):
        transfer.build(config, student.module, None, 1.0)


@pytest.mark.parametrize(
    ("method", "centre"),
    [
        ("kl", "student_mean"),
        *(
            pytest.param(*each, marks=SLOW)
            for each in (
                ("kl", "teacher_mode"),
                ("z", "student_mean"),
                ("z", "teacher_mode"),
            )
        ),
    ],
)
def test_the_expansion_signal_of_the_first_rows_is_logged(method, centre):
    objective, student, teacher, x = made(small(method, expansion=8, centre=centre))
    _, terms = objective()
    z = student.module.draw(jax.random.fold_in(KEY, 2), x.shape)

    def signal(*args):
        middle = expansion.CENTRES[centre](*args)
        return expansion.expansion_signal(*args, centre=middle)

    expected = loss_of(signal, student, teacher, (z[0][:8],))
    floats.assert_close(terms["expansion"], expected)
    without = small(method, expansion=0)
    built = transfer.build(without, student.module, teacher.module, reach=10.0)
    given = student.variables, teacher.variables, {"x": x}, KEY, jnp.asarray(0)
    assert "expansion" not in jax.eval_shape(tiny.compiled(built), *given)[1]
