"""Stages of a guided training: what each computes, what is kept, what is refused."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import fdnf
from configs import maf_patches
from fdnf import types
from fdnf.flows import IAF, MAF, NICE
from fdnf.losses import guided
from fdnf.train import (
    batches,
    guiding,
    in_memory,
    loop,
    models,
    objectives,
    settings,
    teachers,
    validation,
)
from fdnf.train.batches import Moment
from fdnf.train.rules import ConfigError
from fdnf.train.writers import read_log
from tests import floats, tiny
from tests.train.test_transfer import KEY, STAGES, cases, loss_of, made, small

TERMS = ("local", "path_x", "kl")  # Of `small`.


def staged(**given):
    """A small config of 20 steps, with other settings."""
    config = small("guided")
    config.loss.guided.update(given)
    return config


def test_the_stages_of_a_training():
    config = staged(local=(1.0, 0.0, 20.0), path_z=(0.0, 0.5, 2.0))
    assert guiding.stages(config) == (
        guiding.Stage(0, 10, 1.0, {"local": 1.0}),
        guiding.Stage(10, 5, 0.25, {"path_x": 1.0, "path_z": 0.5}),
        guiding.Stage(
            15, 5, 0.25, {"local": 20.0, "path_x": 2.0, "path_z": 2.0, "kl": 1.0}
        ),
    )
    assert guiding.stages(small("kl")) == ()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"until": (0.5, 0.5, 1.0)}, "until=(0.5, 0.5, 1.0): expected the ends"),
        ({"until": (0.5, 0.7, 0.9)}, "the last one 1.0"),
        ({"until": (0.5, 1.0)}, "lr=(1.0, 0.25, 0.25): expected a number for each of"),
        ({"kl": (1.0,)}, "kl=(1.0,): expected a number for each of the 3 stages"),
        ({"local": (0.0, 1.0, 20.0)}, "stage 1, until 0.5, has no term: give one of"),
        ({"until": (0.5, 0.51, 1.0)}, "stage 2 of train.steps=20 has no step"),
    ],
)
def test_stages_that_cannot_be(given, message):
    with pytest.raises(ConfigError, match=re.escape(message)) as caught:
        settings.check(staged(**given))
    assert len(str(caught.value).splitlines()) == 1


def test_what_a_stage_computes_and_reports():
    config = staged(local=(1.0, 0.5, 20.0))
    objective, student, teacher, x = made(config)
    z = student.module.draw(jax.random.fold_in(KEY, 2), x.shape)
    every = loss_of(
        *(guided.guided, student, teacher, x, z),
        weights=dict.fromkeys(TERMS, 1.0),
        limit=3 * 10.0,
        screen=False,
    )
    for number, stage in enumerate(guiding.stages(config), start=1):
        shown = {name: every[1].terms[name] for name in stage.weights}
        expected = sum(weight * shown[name] for name, weight in stage.weights.items())
        shown = dict.fromkeys((*TERMS, "rejected"), 0.0) | shown | {"stage": number}
        for step in (stage.first, stage.first + stage.steps - 1):
            loss, terms = objective(step)
            floats.assert_close(loss, expected, rtol=1e-5)
            assert terms.keys() == shown.keys()
            for name, value in shown.items():
                floats.assert_close(terms[name], value, rtol=1e-5)


def test_a_term_without_a_weight_is_not_computed():
    """The teacher is asked for the density of samples in the last stage alone."""
    config = staged(units="plain")
    student, teacher, batch = cases(config)
    asked = []

    def encode(variables, x, cond=None):
        jax.debug.callback(lambda: asked.append(1))
        return teacher.module.apply(variables, x, cond, method="encode")

    counted = types.ExternalFlow(encode=encode)
    objective = tiny.compiled(guiding.build(config, student.module, counted, 1.0))
    times = []
    for step in (0, 10, 15):
        given = student.variables, teacher.variables, batch, KEY
        jax.block_until_ready(objective(*given, jnp.asarray(step)))
        jax.effects_barrier()
        times.append(len(asked))
        asked.clear()
    assert times == [1, 1, 2]


def test_only_the_last_stage_has_candidates():
    best = validation.first_best({"kernel": np.zeros((2, 3))}, {}, runs=2)
    steps = {
        # In the first stages the newest count, whatever is measured.
        5: ([1.0, np.nan], [5, 5], [1.0, np.nan]),
        10: ([0.5, 9.0], [10, 10], [0.5, 9.0]),
        # Better than nothing, though not than what an earlier stage has reached.
        15: ([3.0, np.nan], [15, 15], [3.0, np.inf]),
        20: ([4.0, 2.0], [15, 20], [3.0, 2.0]),
        25: ([2.0, np.nan], [25, 20], [2.0, 2.0]),
    }
    for step, (losses, kept, values) in steps.items():
        value = np.array(losses, np.float32)
        params = {"kernel": np.full((2, 3), step)}
        best = jax.device_get(
            validation.update_since(10, best, params, {}, value, step)
        )
        np.testing.assert_array_equal(best.step, kept)
        np.testing.assert_array_equal(best.params["kernel"][:, 0], kept)
        np.testing.assert_array_equal(best.value, values)


def test_rows_that_do_not_count_are_not_to_a_students_credit():
    def objective(variables, fixed, batch, moment):
        far = batch["x"] > 1.0
        rejected = jnp.mean(far.astype(jnp.float32))
        return jnp.mean(jnp.where(far, 0.0, batch["x"])), {"rejected": rejected}

    judged = guiding.held_out(objective)
    value, _ = judged({}, {}, {"x": jnp.array([0.5, 0.7, 9.0, 0.9])}, Moment(KEY))
    floats.assert_close(value, 0.7)
    value, _ = judged({}, {}, {"x": jnp.array([9.0, 9.0])}, Moment(KEY))
    assert not np.isfinite(value)


def test_side_by_side_a_stage_stays_a_branch():
    """Not all of them and a choice, as where each run had a stage of its own."""
    config = staged()
    student, teacher, batch = cases(config)
    objective = guiding.build(config, student.module, teacher.module, 10.0)
    taught = teacher.variables

    def runs(variables, step):
        moment = Moment(KEY, step)
        return jax.vmap(lambda own: objective(own, taught, batch, moment)[0])(variables)

    two = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), student.variables)
    found = jax.make_jaxpr(runs)(two, jnp.asarray(3))
    (branch,) = (e for e in found.jaxpr.eqns if e.primitive.name == "cond")
    assert len(branch.params["branches"]) == 3


def test_two_devices_see_what_one_does_in_units_of_levels():
    """Their spread is that of all rows: they are far apart between the two."""
    config = staged(
        until=(1.0,),
        units="level",
        lr=(1.0,),
        **dict.fromkeys(guided.TERMS, (0.0,)),
    )
    config.loss.guided.update(local=(1.0,), path_z=(0.5,))
    student, teacher, batch = cases(config)
    objective = guiding.build(config, student.module, teacher.module, 10.0)
    given = student.variables, teacher.variables

    def loss(rows, share=batches.WHOLE):
        return objective(*given, {"x": rows}, Moment(KEY, share=share))[0]

    def half(rows):
        share = batches.Share(jax.lax.axis_index("batch"), 2, "batch")
        return jax.lax.pmean(loss(rows, share), "batch"), loss(rows)

    @jax.jit
    def everything(x):
        two = x.reshape(2, 8, -1)
        return loss(x), *jax.vmap(half, axis_name="batch")(two)

    x = batch["x"] + jnp.arange(16)[:, None] / 8
    whole, halves, apart = everything(x)
    floats.assert_close(halves, [whole, whole], rtol=1e-4)
    assert np.abs(np.mean(apart) - whole) > 1e-2 * whole


def whole_config(words="iaf,guided,smoke"):
    """Of a training in 8 calls, whose stages end after 4, 6 and all of them."""
    config = maf_patches.get_config(words)
    for part in (config, config.teacher.config):
        part.model.args.update(steps=1, hidden=(4,))
        part.data.args.update(dim=3, rows=200)
    config.train.update(steps=24, steps_per_call=3, log_every=3, eval_every=3)
    config.train.update(batch_size=16, init_rows=64, keep=4)
    config.loss.guided.update(STAGES | {"path_x": (0.0, 1.0, 0.0)})
    config.teacher.samples = 100
    config.eval.batch_size = 64
    return config


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """The workdir of two teachers."""
    config = whole_config().teacher.config
    return tiny.stored(config, tmp_path_factory.mktemp("teacher"), runs=2)


@pytest.fixture(scope="module")
def trained(teacher, tmp_path_factory):
    """A config, its workdir, and what came of it."""
    config, workdir = whole_config(), tmp_path_factory.mktemp("trained")
    config.teacher.workdir = str(teacher)
    config.optim.ema, config.runs = 0.5, 2
    return config, workdir, loop.train_and_evaluate(config, workdir)


def test_a_training_in_stages(trained):
    _, workdir, result = trained
    rows = read_log(workdir)
    assert [row["stage"][0] for row in rows] == [1, 1, 1, 1, 2, 2, 3, 3]
    assert [row["kl"][0] != 0 for row in rows] == 6 * [False] + 2 * [True]
    assert len({frozenset(row) - {"steps_per_second"} for row in rows}) == 1
    assert {"val_local", "val_kl"} <= {*rows[0]}
    # What the last stage minimises is measured from the first on.
    assert all(row["val_kl"][0] != 0 for row in rows)
    assert {*result["best_step"]} <= {21, 24}
    last = {row["step"]: row["val_loss"] for row in rows[-2:]}
    for run, step in enumerate(result["best_step"]):
        assert last[step][run] == min(losses[run] for losses in last.values())


# Nothing is saved of a stage but the step, as of any training in `test_resume`.
@pytest.mark.slow
def test_it_goes_on_amid_a_stage(trained, tmp_path):
    config, workdir, _ = trained
    tiny.undone(workdir, tmp_path / "resumed", 15)
    loop.train_and_evaluate(config, tmp_path / "resumed")
    tiny.same_rows(read_log(tmp_path / "resumed"), read_log(workdir))
    tiny.same_best(tmp_path / "resumed", workdir)


def test_what_a_student_shares_with_its_teacher_is_taken_over():
    config = whole_config("iaf,guided,lu,smoke")
    flow, x = models.build(config.teacher.config.model), jax.random.normal(KEY, (32, 3))
    variables = filled(flow, x)
    student = models.build(config.model)
    assert guiding.shares(config, student, flow)
    inherited = models.Inheritance(student.taken_over, variables)
    started = models.init_state(
        student, optax.identity(), KEY[None], x[None], 0.0, inherited=[inherited]
    )
    ours = jax.tree.map(lambda leaf: leaf[0], started.params["stack"]["step"])
    theirs = variables["params"]["stack"]["step"]
    jax.tree.map(np.testing.assert_array_equal, ours["parts_0"], theirs["parts_0"])
    # Whose networks are its own, and of a plain MAF there is nothing else.
    kernels = [
        [leaf for leaf in jax.tree.leaves(tree["parts_1"]) if leaf.ndim == 3]
        for tree in (ours, theirs)
    ]
    assert not any(map(np.array_equal, *kernels))
    assert not guiding.shares(config, IAF(steps=2), MAF(steps=2))
    config.loss.method = "x"
    assert not guiding.shares(config, student, flow)


def filled(flow, x):
    """Variables all of whose numbers are the same, for nothing to compile."""
    shapes = jax.eval_shape(functools.partial(models.init, flow), KEY, x)
    return jax.tree.map(lambda leaf: np.full(leaf.shape, 0.1, leaf.dtype), shapes)


def shifted(variables, x, cond=None):
    """An external flow without levels."""
    z = x - variables
    return types.Encoding((z,), jnp.zeros(len(z)), (), -0.5 * jnp.sum(z**2, axis=1))


FOREIGN = types.ExternalFlow(encode=shifted)
MAF2 = MAF(steps=2, hidden=(4,))
REFUSED = {
    "another number of blocks": (IAF(steps=3, hidden=(4,)), MAF2, {}, "blocks"),
    "another mixing": (
        IAF.of(MAF(steps=2, hidden=(4,), mixing="lu")),
        MAF2,
        {},
        "order",
    ),
    "a teacher whose blocks cannot be asked": (
        IAF(steps=2, hidden=(4,)),
        FOREIGN,
        {"units": "teacher"},
        "level",
    ),
    "a teacher without levels": (
        IAF(steps=2, hidden=(4,)),
        FOREIGN,
        {"units": "level"},
        "level",
    ),
    "a teacher of couplings": (
        IAF(steps=2, hidden=(4,)),
        NICE(steps=2, hidden=(4,)),
        {},
        "block",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_flows_that_cannot_be_compared_are_refused_before_training(case):
    student, teacher, settings_, says = REFUSED[case]
    config = staged(**settings_)
    variables = jnp.zeros(3) if teacher is FOREIGN else None
    with pytest.raises(ConfigError, match=rf"loss.method='guided': .*{says}") as caught:
        objectives.check_levels(config, student, teacher, (3,), None, variables)
    assert len(str(caught.value)) < 600


def test_a_condition_on_one_side_is_refused():
    """Of a teacher whose variables are there, made without one."""
    variables = filled(MAF2, jax.ShapeDtypeStruct((4, 3), jnp.float32))
    with pytest.raises(ConfigError, match="loss.method='guided': .*condition"):
        objectives.check_levels(staged(), IAF.of(MAF2), MAF2, (3,), (1,), variables)


def test_a_guided_sampler_in_a_few_lines(monkeypatch):
    """What it is trained by; of foreign teachers, one of which draws no samples."""

    def trained(config, held, *_):
        return teachers.Trained(held.flow, {}, config, {})

    monkeypatch.setattr(in_memory, "trained", trained)
    x, cond = np.random.default_rng(0).normal(size=(2, 200, 3))

    def encode(variables, x, cond=None):
        return shifted(variables, x)

    def decode(variables, z, cond=None):
        return types.Decoding(z[0] + variables, None, ())

    for flow, samples in (
        (types.ExternalFlow(encode=encode), 0),
        (types.ExternalFlow(encode=encode, decode=decode), 50_000),
    ):
        found = fdnf.distil(
            (flow, jnp.zeros(3)),
            IAF.of(MAF2, hidden=(16,)),
            *(x, cond),
            method="guided",
            loss={"guided.units": "level", "guided.kl": (0.0, 2.0)},
        ).config
        assert (found.teacher.samples, found.teacher.share) == (samples, 1.0)
        settings_ = guiding.DEFAULTS | {"units": "level", "kl": (0.0, 2.0)}
        assert found.loss.guided.to_dict() == settings_
        assert "transfer" not in found.loss
        assert models.build(found.model) == IAF.of(MAF2, hidden=(16,))
