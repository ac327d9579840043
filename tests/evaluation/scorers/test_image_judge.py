"""What samples of a flow on images are scored to be."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import glow_digits
from fdnf.data import build as datasets
from fdnf.evaluation.models import sampler as samplers
from fdnf.evaluation.models.sampler import Sampler
from fdnf.evaluation.scorers import image_extractors
from fdnf.evaluation.scorers.image_extractors import Available
from fdnf.evaluation.tasks import evaluate
from fdnf.flows import build as flows
from fdnf.metrics import likelihood
from fdnf.metrics.extractors import Extractor
from fdnf.train import preprocess, validation
from fdnf.train.settings import ConfigError
from fdnf.train.teachers import Trained
from tests import floats

CONFIG = glow_digits.get_config("student,smoke")
CONFIG.model.args.update(steps=1)
CONFIG.eval.update(samples=48, interpolations=40, draws=2, temperatures=(1.0, 0.5))
DATA = datasets.build(CONFIG.data)
PREPARED = preprocess.make(CONFIG.data, DATA)
FLOW = flows.build(CONFIG.model)
LIMIT = 3 * 0.5


class Means(Extractor):
    """Means of the quarters of an image."""

    def __init__(self):
        super().__init__("means@00000000", "0" * 64, 4, lambda params, x: x, None)

    def __call__(self, images):
        assert images.dtype == np.uint8
        cut = images.reshape(len(images), 2, 4, 2, 4)
        return cut.mean(axis=(2, 4)).reshape(len(images), 4).astype(np.float32)


@pytest.fixture(scope="module", autouse=True)
def means():
    """Judges take one small extractor, and say so."""
    with pytest.MonkeyPatch.context() as patch:
        found = Available((Means(),), ("by means.",))
        patch.setattr(image_extractors, "available", lambda *args: found)
        yield


@pytest.fixture(scope="module")
def trained():
    keys = jax.random.split(jax.random.key(0), 2)
    x = PREPARED.encode(keys[0], jnp.asarray(DATA.train[:64]))[0]
    variables = {"constants": {}, **jax.vmap(FLOW.init, (0, None))(keys, x)}
    noise = iter(jax.random.split(jax.random.key(1), 1000))
    variables["params"] = jax.tree.map(
        lambda leaf: leaf + 0.05 * jax.random.normal(next(noise), leaf.shape),
        variables["params"],
    )
    meta = {"event": DATA.event, "preprocess": {"levels": 256}}
    return Trained(FLOW, variables, CONFIG, meta)


@pytest.fixture(scope="module")
def judge():
    return evaluate.judge(DATA, PREPARED, CONFIG.eval)


@pytest.fixture(scope="module")
def found(trained, judge):
    return evaluate.evaluate(trained, DATA, "student", [0, 0], judge)


def test_names_counts_and_floors(found):
    names = {f"{k}_means@00000000" for k in ("precision", "recall", "coverage")}
    names |= {f"{k}_means@00000000" for k in ("fd", "density")}
    expected = names | {f"{name}/t0.5" for name in names} | {"kid_means@00000000"}
    expected |= {f"fd_means@00000000/interpolation_{t}" for t in ("t1.0", "t0.5")}
    for record in found:
        assert record.counts.keys() == record.floors.keys() == expected
        assert set(record.metrics) - expected == {
            "exploded_percent",
            "exploded_percent/t0.5",
            "exploded_percent/interpolation_t1.0",
            "exploded_percent/interpolation_t0.5",
        }
        assert record.counts["fd_means@00000000"] == (48, 48)
        assert record.counts["fd_means@00000000/interpolation_t1.0"] == (20, 48)
        assert record.floors["fd_means@00000000"] < record.metrics["fd_means@00000000"]
        assert record.notes[-1] == "by means."
    assert found[0].metrics != found[1].metrics
    assert found[0].floors == found[1].floors


def test_bits_per_dim(found, trained):
    whole = validation.make_log_prob(FLOW, 64, PREPARED, draws=2)
    params = {k: trained.variables[k] for k in ("params", "constants")}
    nats = whole(*params.values(), DATA.test)
    for record, row in zip(found, nats, strict=True):
        bits = likelihood.bits_per_dim(row.astype(np.float64), DATA.dim, 1)
        mean, error = record.bits_per_dim["test"]
        floats.assert_close(mean, bits.mean(), rtol=1e-6)
        floats.assert_close(error, bits.std(ddof=1) / len(bits) ** 0.5)
        assert "mean of log p(x + u) over 2 draws" in record.notes[0]


def test_size_and_cost(found):
    for record in found:
        assert (record.arch, record.settings["levels"]) == ("Glow", 2)
    # Taken of the first seed, which alone has them.
    timed, other = found
    assert (timed.time_batch, other.time_batch) == (8, None)
    assert timed.density_mib is not None
    assert timed.sampling_mib is not None
    # Parameters, in float32, are among what the programs take.
    assert min(timed.density_mib, timed.sampling_mib) > timed.parameters / 2**18


def test_scores_are_of_the_samples_of_a_seed(found, trained):
    sampler = samplers.of(trained, 1, CONFIG.eval.time_batch)
    drawn = sampler.samples(DATA.event, 48, temperature=1.0, seed=1)
    share = 100 * np.mean(~(drawn.reach <= LIMIT))
    assert found[1].metrics["exploded_percent"] == pytest.approx(share)
    features = Means()(drawn.images[np.isfinite(drawn.reach)])
    assert len(features) == found[1].counts["fd_means@00000000"][0]


def test_what_is_not_finite_is_counted_and_left_out(trained, judge, monkeypatch):
    batches = Sampler.batches

    def broken(sampler, event, count, **kwargs):
        for i, part in enumerate(batches(sampler, event, count, **kwargs)):
            # Of six batches of eight, two are not finite and one is far out.
            reach = [np.nan, np.inf, 2.0, 0.4, 0.4, 0.4][i]
            yield part._replace(reach=np.full(len(part.reach), reach))

    monkeypatch.setattr(Sampler, "batches", broken)
    fields = judge(trained, 0, 0)
    assert fields["metrics"]["exploded_percent"] == 50
    assert fields["counts"]["fd_means@00000000"] == (32, 48)


def test_unknown_extractor():
    evaluation = CONFIG.eval.copy_and_resolve_references()
    evaluation.extractors = ("vgg",)
    with pytest.raises(ConfigError, match=r"eval.extractors has \['vgg'\]; known"):
        image_extractors.check(evaluation)
