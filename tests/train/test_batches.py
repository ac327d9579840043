"""Batches drawn on the device: which rows, and that no two draws share a key."""

import collections
import importlib
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend import random as prng
from jax.scipy import stats

from fdnf.data import build as datasets
from fdnf.flows.base import FlowModule
from fdnf.losses import guided
from fdnf.train import (
    batches,
    objectives,
    optim,
    pools,
    preprocess,
    program,
    settings,
    step,
    teachers,
    validation,
)
from fdnf.train import weights as of_rows
from fdnf.train.preprocess import Preprocess
from fdnf.train.settings import ConfigError
from fdnf.train.step import TrainState
from fdnf.types import Decoding, Encoding
from tests import floats, mixed, tiny

DATA = {
    "train": jnp.arange(10.0)[:, None],
    "generated": 100.0 + jnp.arange(7.0)[:, None],
}


def _drawn(sample, key, devices):
    sample = jax.jit(sample)
    rows = [sample(key, DATA, jnp.asarray(i))["x"] for i in range(devices)]
    return np.concatenate(rows)[:, 0]


def test_rows_of_a_batch_are_training_rows_and_differ_by_device_and_key():
    sample = batches.uniform(10, 8, devices=2)
    first = _drawn(sample, jax.random.key(0), 2)
    assert first.shape == (8,)
    assert set(first) <= set(range(10))
    assert not np.array_equal(first[:4], first[4:])
    assert not np.array_equal(first, _drawn(sample, jax.random.key(1), 2))
    np.testing.assert_array_equal(first, _drawn(sample, jax.random.key(0), 2))


def test_every_row_is_as_likely():
    sample = batches.uniform(10, 8, devices=1)
    keys = jax.random.split(jax.random.key(0), 500)
    many = jax.jit(jax.vmap(lambda key: sample(key, DATA, jnp.asarray(0))["x"]))
    drawn = many(keys)
    counts = np.bincount(np.asarray(drawn, int).ravel(), minlength=10)
    assert counts.min() > 330  # 400 expected, standard deviation 19
    assert counts.max() < 470


@pytest.mark.parametrize("devices", [1, 2])
@pytest.mark.parametrize("batch_size", [10, 64])
def test_a_small_training_set_is_one_batch(devices, batch_size):
    sample = batches.uniform(10, batch_size, devices)
    for seed in range(3):
        drawn = _drawn(sample, jax.random.key(seed), devices)
        np.testing.assert_array_equal(np.sort(drawn), np.arange(10))


def test_an_odd_row_sits_a_step_out_and_not_always_the_same():
    sample = batches.uniform(9, 64, devices=2)
    missing = set()
    for seed in range(20):
        drawn = set(_drawn(sample, jax.random.key(seed), 2))
        assert len(drawn) == 8
        missing |= set(range(9)) - drawn
    assert len(missing) > 3


def test_fewer_rows_than_devices_still_fill_a_batch():
    drawn = _drawn(batches.uniform(1, 4, devices=2), jax.random.key(0), 2)
    np.testing.assert_array_equal(drawn, np.zeros(4))


@pytest.mark.parametrize("rows", [10, 8])
def test_share_of_generated_rows(rows):
    # With as few rows as the batch holds, the batch is no longer the whole set.
    sample = batches.uniform(rows, 8, devices=2, generated=0.25)
    for seed in range(5):
        drawn = _drawn(sample, jax.random.key(seed), 2)
        assert drawn.shape == (8,)
        assert np.sum(drawn >= 100) == 2


def probabilities(found):
    """Of each row, as `alias` says."""
    keep, other = found[of_rows.KEEP].astype(float), found[of_rows.ALIAS]
    every = keep.copy()
    np.add.at(every, other, 1 - keep)
    return every / len(keep)


WEIGHTS = {
    "equal": np.ones(7),
    "zeros and ones": np.array([0, 1, 1, 0, 1, 0, 0.0]),
    "whole": np.array([3, 1, 0, 2, 2, 7]),
    "one alone": np.array([0, 0, 5.0]),
    "last is largest": np.array([0.1, 0.2, 1.0, 0.3, 9.0]),
    "many": np.random.default_rng(0).lognormal(0, 2, 5000),
    "with average ones": np.array([1, 1, 0.5, 1, 1.5, 1]),
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_rows_are_drawn_in_proportion_to_weights(name):
    weights = WEIGHTS[name]
    found = of_rows.alias(weights)
    assert (found[of_rows.KEEP] >= 0).all()
    assert (found[of_rows.KEEP] <= 1).all()
    expected = weights / weights.sum()
    error = np.abs(probabilities(found) - expected)
    assert (error < 1e-6 / len(weights)).all()


def test_weights_are_the_same_as_rows_that_stand_there_as_often():
    """0 and 1 drop rows, whole weights repeat them: in the mean of any loss."""
    weights, losses = WEIGHTS["whole"], np.array([1.0, -2, 40, 0.5, 3, 9])
    repeated = np.repeat(losses, weights).mean()
    found = of_rows.alias(weights)
    floats.assert_close(probabilities(found) @ losses, repeated)
    sample = batches.uniform(6, 16_000, devices=1, weighed=True)
    data = {"train": jnp.asarray(losses)} | jax.tree.map(jnp.asarray, found)
    many = sample(jax.random.key(0), data, 0)["x"]
    assert many.size == 16_000
    spread = np.repeat(losses, weights).std() / np.sqrt(many.size)
    assert abs(many.mean() - repeated) < 4 * spread
    # No weight, no draw.
    assert not (np.asarray(many) == 40).any()


@pytest.mark.parametrize("generated", [0.0, 0.25])
def test_equal_weights_draw_the_rows_that_none_draw(generated):
    data = DATA | jax.tree.map(jnp.asarray, of_rows.alias(np.full(10, 2.0)))
    drawn = [
        batches.uniform(10, 8, 1, generated, weighed=weighed)(jax.random.key(3), d, 0)
        for weighed, d in ((True, data), (False, DATA))
    ]
    np.testing.assert_array_equal(drawn[0]["x"], drawn[1]["x"])


def test_with_weights_a_small_training_set_is_drawn_from():
    data = DATA | jax.tree.map(jnp.asarray, of_rows.alias(np.arange(10.0)))
    x = batches.uniform(10, 64, 1, weighed=True)(jax.random.key(0), data, 0)["x"]
    assert x.shape == (64, 1)
    assert 0.0 not in np.asarray(x)


def test_batch_that_does_not_divide():
    with pytest.raises(ConfigError, match=r"train.batch_size=7 .* 2 devices"):
        batches.uniform(10, 7, devices=2)


def test_share_out_of_range():
    with pytest.raises(ConfigError, match=r"teacher.share=1.5"):
        batches.uniform(10, 8, devices=2, generated=1.5)


class Uses:
    """What has been done with each key: names of uses to keys to counts."""

    def __init__(self):
        self.made = collections.defaultdict(collections.Counter)

    def note(self, use, data):
        def write(data):
            self.made[use][tuple(np.asarray(data).tolist())] += 1

        jax.debug.callback(write, data)

    def read(self):
        jax.effects_barrier()
        found, self.made = self.made, collections.defaultdict(collections.Counter)
        return found


USES = Uses()


def threefry(data):
    return jax.random.wrap_key_data(data, impl="threefry2x32")


def bits(data, width, shape):
    USES.note("drawn", data)
    return jax.random.bits(threefry(data), shape, f"uint{width}")


def split(data, shape):
    USES.note("split", data)
    return jax.random.key_data(jax.random.split(threefry(data), shape))


def folded(data, number):
    USES.note("folded", data)
    return jax.random.key_data(jax.random.fold_in(threefry(data), number))


ORDINARY = jax.random.key
NOTED = prng.define_prng_impl(
    key_shape=(2,),
    seed=lambda seed: jax.random.key_data(ORDINARY(seed)),
    split=split,
    random_bits=bits,
    fold_in=folded,
    name="noted",
    tag="noted",
)


@pytest.fixture
def one_device(monkeypatch):
    """Keys that are written down, and a device axis of one, drawn from once."""
    monkeypatch.setattr(jax, "device_count", lambda *_: 1)
    monkeypatch.setattr(jax, "local_device_count", lambda *_: 1)

    def mapped(function, *, axis_name, in_axes=0, out_axes=0, **_):
        @jax.jit
        def call(*args):
            axes = in_axes if isinstance(in_axes, tuple) else (in_axes,) * len(args)
            own = [
                arg if axis is None else jax.tree.map(lambda leaf: leaf[0], arg)
                for arg, axis in zip(args, axes, strict=True)
            ]
            alone = jax.vmap(lambda _: function(*own), axis_name=axis_name)
            found = jax.tree.map(lambda leaf: leaf[0], alone(jnp.zeros(1)))
            if out_axes is None:
                return found
            return jax.tree.map(lambda leaf: jnp.expand_dims(leaf, out_axes), found)

        return call

    monkeypatch.setattr(jax, "pmap", mapped)
    monkeypatch.setattr(jax.random, "key", lambda seed: ORDINARY(seed, impl=NOTED))
    USES.read()


class Plain(FlowModule):
    """As little arithmetic as there can be: data times a number, in three latents.

    What is drawn does not depend on it, and real flows take minutes to compile.
    """

    event: tuple = ()

    def latent_shapes(self, event):
        return ((1,), (1,), (math.prod(event) - 2,))

    def apply(self, variables, given, *args, method):
        scale = variables["params"]["scale"]
        if method == "sample":
            return self.apply(variables, self.draw(given, args[0]), method="decode").x
        if args and args[0] is not None:
            scale *= jnp.mean(args[0])
        if method == "decode":
            x = jnp.concatenate(given, axis=1) * scale
            x = x.reshape(len(x), *self.event)
            return Decoding(x, jnp.zeros(len(x)) + scale, (x,))
        x = given.reshape(len(given), -1) * scale
        if method == "log_prob":
            return x.sum(1)
        z = (x[:, :1], x[:, 1:2], x[:, 2:])
        return Encoding(z, jnp.zeros(len(x)) + scale, (x,), log_prior=-(x**2).sum(1))


class Moving(Plain):
    """In one latent, with a velocity."""

    def latent_shapes(self, event):
        return (event,)

    def velocity(self, x, t, cond):
        raise NotImplementedError

    def apply(self, variables, given, *args, method):
        assert method == "velocity"
        return variables["params"]["scale"] * args[0][:, None] * given


class Trainer:
    """What `program.build` puts together, of plain flows."""

    def __init__(self, config):
        self.config = config
        self.data = data = datasets.build(config.data)
        self.prepared = prepared = settings.prepared(config, data)
        kind = Moving if config.loss.method == "flow_matching" else Plain
        self.flow = kind(data.event)
        self.variables = {"params": {"scale": jnp.ones(())}, "constants": {}}
        self.taught = self.variables
        if config.loss.method == "feed_forward":
            self.taught = {"flow": self.taught, "feature": None}
        reach = prepared.reach(data.train)
        self.objective = objectives.build(config, self.flow, self.flow, reach)

    def steps(self):
        """What the first two steps make of a run's key."""
        config, optimizer = self.config, optim.make(self.config.optim, 12)
        arrays = {"train": self.data.train}
        beside = self.prepared.beside(self.data, 0)
        if beside is not None:
            arrays["beside"] = beside
        weights = of_rows.of(self.data, 0)
        if weights is not None:
            arrays |= of_rows.alias(weights)
        generated = 0.0
        if config.get("teacher") and config.teacher.samples:
            generated = config.teacher.share
            arrays["generated"] = self.data.train[:8]
            if beside is not None:
                arrays["generated_beside"] = beside[:8]
        take = step.make_train_step(
            self.objective,
            optimizer,
            batches.uniform(
                len(arrays["train"]),
                config.train.batch_size,
                1,
                generated,
                weighed=weights is not None,
            ),
            steps=2,
            ema=0.0,
            preprocess=self.prepared,
            accumulate=config.train.get("accumulate", 1),
        )
        params = self.variables["params"]
        run = (params, self.variables["constants"], optimizer.init(params))
        params, constants, moments = jax.tree.map(lambda leaf: leaf[None], run)
        state = TrainState(jnp.zeros((), int), params, None, constants, moments)
        keys = jnp.stack([jax.random.key(config.seed)])
        hyper = step.hyper(keys, 1.0, [objectives.weights(config)])
        stop = jnp.zeros(1, jnp.int32)
        arrays = jax.tree.map(jnp.asarray, arrays)

        take(state, stop, hyper, arrays, self.taught)


def tabular(method, **overrides):
    config = tiny.config(method)
    config.update_from_flattened_dict(overrides)
    return config


def other(name, arg, accumulate=1, **overrides):
    """The smoke variant of a config, some of whose rows make a batch."""
    config = importlib.import_module(f"configs.{name}").get_config(f"{arg},smoke")
    config.train.batch_size = 4
    config.train.accumulate = accumulate
    config.update_from_flattened_dict(overrides)
    return config


def images(method, accumulate=1, **overrides):
    """Mirrored, of which dequantisation draws too."""
    own = {"data.flip": True, "data.args.size": 4, "data.args.rows": 40}
    own |= {} if method == "ilkd" else {"loss.skd.start": 0.0, "loss.skd.batch": 4}
    return other("glow_digits", method, accumulate, **own, **overrides)


def transferred(method, **overrides):
    own = {"loss.transfer.noise": 0.1, "loss.transfer.warm": 0.0}
    return other("maf_patches", f"iaf,{method}", **(own | overrides))


def pixels(method, accumulate=1):
    own = {"loss.transfer.warm": 0.0}
    return other("pixelcnn_digits", f"iaf,{method}", accumulate, **own)


REGRESSION = {"loss.method": "regression"}
MATCHING = {"loss.method": "flow_matching"}
# A guided student without blocks, of the data.
BY_KL = {f"loss.guided.{term}": (0.0,) for term in guided.TERMS}
BY_KL |= {"loss.guided.until": (1.0,), "loss.guided.lr": (1.0,), "teacher.samples": 0}
BY_KL |= {"loss.guided.kl": (1.0,)}
OWN = {"teacher.samples": 8, "teacher.share": 0.5}
# Each with the least number of draws of a step that come to anything. Rows take two,
# as all integers do, and so do the places of windows.
CASES = {
    "nll": (lambda: tabular("nll"), 2),
    "flow_matching": (lambda: tabular("nll", **MATCHING), 4),
    "lkd": (lambda: tabular("lkd"), 2),
    "lkd, the teacher's samples": (lambda: tabular("lkd", **OWN), 4),
    "ilkd": (lambda: tabular("ilkd"), 2),
    "skd": (lambda: tabular("skd"), 5),
    "skd, in parts": (lambda: tabular("skd", **{"train.accumulate": 2}), 8),
    "kl": (lambda: transferred("kl"), 3),
    "kl, warm": (lambda: transferred("kl", **{"loss.transfer.warm": 0.05}), 5),
    "z": (lambda: transferred("z"), 3),
    "x": (lambda: transferred("x"), 5),
    "oracle": (lambda: transferred("oracle"), 5),
    "guided": (lambda: transferred("guided", **BY_KL), 3),
    # Two of rows and one of which stay; noise of whole numbers; latents.
    "table, skd, the teacher's samples": (lambda: mixed.config("skd"), 5),
    "images, nll": (lambda: images("skd", **{"loss.method": "nll"}), 4),
    "images, ilkd": (lambda: images("ilkd"), 4),
    "images, skd": (lambda: images("skd"), 7),
    "images, skd, in parts": (lambda: images("skd", 2), 10),
    "images, skd, the teacher's samples": (lambda: images("skd", **OWN), 9),
    "pixels, kl": (lambda: pixels("kl", 2), 6),
    "pixels, x": (lambda: pixels("x"), 3),
    "pairs, feed-forward": (lambda: other("srflow_bsds300", "student", 2), 10),
    "pairs, regression": (
        lambda: other("srflow_bsds300", "student", 1, **REGRESSION),
        6,
    ),
    "speech, feed-forward": (lambda: other("waveglow_ljspeech", "student", 2), 10),
}


# What draws in these, draws in others too.
TWICE = {
    *("lkd", "lkd, the teacher's samples", "ilkd", "kl", "oracle", "images, nll"),
    *("images, ilkd", "images, skd", "images, skd, in parts", "pixels, x"),
    *("pairs, regression", "skd", "speech, feed-forward"),
}


@pytest.mark.usefixtures("one_device")
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow) if name in TWICE else name
        for name in CASES
    ],
)
def test_no_two_draws_of_steps_share_a_key(name):
    make, least = CASES[name]
    Trainer(make()).steps()
    found = USES.read()
    drawn = found["drawn"]
    assert drawn.total() >= 2 * least  # of two steps
    assert [key for key, times in drawn.items() if times > 1] == []
    # A key's children are named by numbers or made by a split, and `split(key, n)[i]`
    # is `fold_in(key, i)`.
    assert found["folded"].keys() & found["split"].keys() == set()
    assert max(found["split"].values()) == 1


@pytest.mark.usefixtures("one_device")
def test_no_two_draws_of_a_run_share_a_key():
    """Of a run, its teacher's samples and what is measured, all of one seed."""
    config = images("skd", seed=0, **OWN)
    trainer = Trainer(config)
    data, prepared = trainer.data, trainer.prepared
    program.first_batches(data, prepared, 16, [0])
    trainer.steps()
    leading = jax.tree.map(lambda leaf: leaf[None], trainer.variables)
    given = leading["params"], leading["constants"]
    judged = Trainer(pixels("kl"))
    measured = validation.by_loss(
        judged.objective, judged.data, judged.prepared, 8, step=12, teacher_runs=False
    )
    measured(*given, trainer.taught)
    validation.make_log_prob(trainer.flow, 2, prepared, draws=2)(*given, data.val)
    meta = {"event": data.event, "preprocess": preprocess.describe(prepared)}
    teacher = teachers.Trained(trainer.flow, leading, config.teacher.config, meta)
    pools.generate(teacher, 1100, 0)
    found = USES.read()["drawn"]
    assert found.total() > 40
    assert [key for key, times in found.items() if times > 1] == []


@pytest.mark.usefixtures("one_device")
def test_latents_of_skd_are_not_the_dequantisation_noise():
    """Of what an image's step draws, by what reaches the flow."""
    noise = jax.random.wrap_key_data(jnp.uint32([0, 7]))
    trainer = Trainer(images("skd"))
    stored = jnp.zeros((40, 4, 4, 1), jnp.uint8)
    batch = Preprocess(levels=256).train(jax.random.fold_in(noise, 1), {"x": stored})
    seen = []

    class Seen(Plain):
        def draw(self, *args):
            seen.append(super().draw(*args))
            return seen[-1]

    flow = Seen(trainer.data.event)
    objective = objectives.build(trainer.config, flow, flow, 0.5)
    moment = batches.Moment(noise, jnp.zeros((), int))
    objective(trainer.variables, trainer.taught, batch, moment)
    u = np.ravel(256 * (batch["x"] + 0.5))
    ((*parts,),) = seen
    assert len(parts) == 3
    for part in parts:
        # Noise of the same bits is the distribution function of the latents.
        value = stats.norm.cdf(part.ravel() / trainer.config.loss.skd.temperature)
        size = min(value.size, u.size)
        assert np.abs(value[:size] - u[:size]).max() > 0.1
