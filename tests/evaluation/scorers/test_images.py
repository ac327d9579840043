"""What samples of a flow on images are scored to be."""

import jax
import numpy as np
import pytest

from configs import glow_digits
from fdnf.data import build as datasets
from fdnf.evaluation.models import sampler as samplers
from fdnf.evaluation.models.sampler import Sampler
from fdnf.evaluation.scorers import extractors, images
from fdnf.evaluation.scorers.context import Context, Evaluation
from fdnf.evaluation.scorers.extractors import Available
from fdnf.evaluation.tasks import evaluate
from fdnf.flows import build as flows
from fdnf.metrics import fid, inception, kid, likelihood, prdc
from fdnf.metrics.extractors import Extractor
from fdnf.train import preprocess, validation
from fdnf.train.settings import ConfigError
from fdnf.train.teachers import Trained
from tests import floats
from tests.evaluation import whole

CONFIG = glow_digits.get_config("student,smoke")
# The flow that is traced fastest.
CONFIG.model = {"name": "nice", "args": {"steps": 2, "hidden": (8,)}}
CONFIG.eval.update(samples=48, interpolations=40, draws=2, temperatures=(1.0, 0.5))
DATA = datasets.build(CONFIG.data)
PREPARED = preprocess.make(CONFIG.data, DATA)
FLOW = flows.build(CONFIG.model)
LIMIT = 3 * 0.5
MEANS = "means@00000000"


class Means(Extractor):
    """Means of the quarters of an image."""

    def __init__(self):
        super().__init__(MEANS, "0" * 64, 4, lambda params, x: x, None)

    def __call__(self, images):
        assert images.dtype == np.uint8
        cut = images.reshape(len(images), 2, 4, 2, 4)
        return cut.mean(axis=(2, 4)).reshape(len(images), 4).astype(np.float32)


@pytest.fixture(scope="module", autouse=True)
def means():
    """Judges take one small extractor, and say so."""
    with pytest.MonkeyPatch.context() as patch:
        found = Available((Means(),), ("by means.",))
        patch.setattr(extractors, "available", lambda *args: found)
        yield


@pytest.fixture(scope="module")
def trained():
    @jax.jit
    def init(keys, images):
        x = PREPARED.encode(keys[0], images)[0]
        return jax.vmap(FLOW.init, (0, None))(keys, x)

    keys = jax.random.split(jax.random.key(0), 2)
    variables = {"constants": {}, **init(keys, DATA.train[:64])}
    rng = np.random.default_rng(1)
    variables["params"] = jax.tree.map(
        lambda leaf: leaf + 0.05 * rng.standard_normal(leaf.shape, np.float32),
        variables["params"],
    )
    meta = {"event": DATA.event, "preprocess": {"levels": 256}}
    return Trained(FLOW, variables, CONFIG, meta)


@pytest.fixture(scope="module")
def evaluation(trained):
    return Evaluation(DATA, CONFIG.eval, {"student": trained})


@pytest.fixture(scope="module")
def results(evaluation):
    return evaluate.measure(evaluation)


@pytest.fixture(scope="module")
def found(results):
    return whole.of_method(results, "student")


def test_scores_their_numbers_and_floors(results, found):
    others = {"fd", "precision", "recall", "density", "coverage"}
    expected = {(name, given) for name in others for given in ("", "t0.5")}
    expected |= {("fd", f"interpolation_{t}") for t in ("t1.0", "t0.5")}
    expected.add(("kid", ""))
    floor = results[0]
    assert (floor.run.method, floor.run.kind) == ("real", "images")
    assert {(s.metric, s.given) for s in floor.scores} == expected
    for result in found:
        over = {s for s in result.scores if s.features}
        assert {(s.metric, s.given) for s in over} == expected
        assert {(s.features, s.split) for s in over} == {(MEANS, "test")}
        shares = [s for s in result.scores if s.metric == "exploded_percent"]
        assert [s.given for s in shares] == [
            *("", "interpolation_t1.0", "t0.5", "interpolation_t0.5")
        ]
        assert result.get("fd", given="").n == 48
        assert result.get("fd", given="interpolation_t1.0").n == 20
        assert floor.get("fd", given="interpolation_t1.0").n == 20
        assert floor.get("fd", given="").value < result.get("fd", given="").value
        assert result.run.facts["notes"][1:] == (
            "by means.",
            "Scores of images are of 48 samples and 20 interpolations, against 48 test "
            "images.",
        )
    assert found[0].get("fd") != found[1].get("fd")


def test_bits_per_dim(found, trained):
    whole = validation.make_log_prob(FLOW, 64, PREPARED, draws=2)
    params = {k: trained.variables[k] for k in ("params", "constants")}
    nats = whole(*params.values(), DATA.test)
    for result, row in zip(found, nats, strict=True):
        bits = likelihood.bits_per_dim(row.astype(np.float64), DATA.dim, 1)
        score = result.get("bits_per_dim", split="test")
        floats.assert_close(score.value, bits.mean(), rtol=1e-6)
        floats.assert_close(score.se, bits.std(ddof=1) / len(bits) ** 0.5)
        assert "mean of log p(x + u) over 2 draws" in result.run.facts["notes"][0]


def test_size_and_cost(found):
    for run, _ in found:
        assert (run.arch, run.settings["steps"]) == ("NICE", 2)
    # Taken of the first seed, which alone has them.
    timed, other = found
    sizes = [timed.get(f"{name}_mib") for name in ("density", "sampling")]
    assert {size.n for size in sizes} == {8}
    assert other.get("density_mib") is other.get("sampling_ms") is None
    # Parameters, in float32, are among what the programs take.
    least = timed.run.facts["parameters"] / 2**18
    assert min(size.value for size in sizes) > least


def test_scores_are_of_the_samples_of_a_seed(found, trained):
    sampler = samplers.of(trained, 1, CONFIG.eval.time_batch)
    drawn = sampler.samples(DATA.event, 48, temperature=1.0, seed=1)
    share = 100 * np.mean(~(drawn.reach <= LIMIT))
    assert found[1].get("exploded_percent", given="").value == pytest.approx(share)
    features = Means()(drawn.images[np.isfinite(drawn.reach)])
    assert len(features) == found[1].get("fd", given="").n


def test_what_is_not_finite_is_counted_and_left_out(evaluation, monkeypatch):
    batches = Sampler.batches

    def broken(sampler, event, count, **kwargs):
        for i, part in enumerate(batches(sampler, event, count, **kwargs)):
            # Of six batches of eight, two are not finite and one is far out.
            reach = [np.nan, np.inf, 2.0, 0.4, 0.4, 0.4][i]
            yield part._replace(reach=np.full(len(part.reach), reach))

    monkeypatch.setattr(Sampler, "batches", broken)
    made = list(images.scores(Context(evaluation, "student", 0)))
    assert made[0][:2] == ("exploded_percent", 50)
    assert made[1][::6] == ("fd", 32)


def test_unknown_extractor():
    section = CONFIG.eval.copy_and_resolve_references()
    section.extractors = ("vgg",)
    with pytest.raises(ConfigError, match=r"eval.extractors has \['vgg'\]; known"):
        evaluate.check(section)


RNG = np.random.default_rng(0)
NOISE = RNG.integers(0, 256, size=(600, 4, 4, 1), dtype=np.uint8)


class Projection(Extractor):
    """Eight random projections of the pixels, which must be uint8."""

    matrix = RNG.normal(size=(16, 8)) / 4

    def __init__(self, id="projection@00000000", sha256="0" * 64):
        super().__init__(id, sha256, 8, lambda params, x: x, None)
        self.seen = 0

    def __call__(self, images):
        assert images.dtype == np.uint8
        self.seen += len(images)
        return (images.reshape(len(images), -1) / 255 @ self.matrix).astype(np.float32)


EXTRACTOR = Projection()
REAL = images.real(EXTRACTOR, NOISE[:200])


def test_scores_are_those_of_the_metrics():
    before = EXTRACTOR.seen
    found = list(images.compared(REAL, NOISE[200:350], given="t0.7"))
    # Those of the real images are there already.
    assert EXTRACTOR.seen == before + 150
    names = ["fd", "kid", "precision", "recall", "density", "coverage"]
    assert [score.metric for score in found] == names
    given = {(s.split, s.given, s.features, s.n) for s in found}
    assert given == {("test", "t0.7", "projection@00000000", 150)}
    real, fake = EXTRACTOR(NOISE[:200]), EXTRACTOR(NOISE[200:350])
    distance = fid.frechet_distance(fid.Statistics(real), fid.Statistics(fake))
    expected = [distance, kid.kid(real, fake).mean, *prdc.prdc(real, fake)]
    floats.assert_close([score.value for score in found], expected, rtol=1e-9)


def test_further_real_images_beat_poor_samples():
    floor = {s.metric: s.value for s in images.compared(REAL, NOISE[200:350])}
    darker = NOISE[200:350] // 2 + 100
    poor = {s.metric: s.value for s in images.compared(REAL, darker)}
    for name in ("fd", "kid"):
        assert floor[name] < 0.2 * poor[name]
    for name in ("recall", "coverage"):
        assert floor[name] > poor[name] + 0.3


def test_fewer_images_than_features():
    few = images.real(EXTRACTOR, NOISE[:7])
    (found,) = images.compared(few, NOISE[200:350], ("fid",))
    features = EXTRACTOR(NOISE[:7]), EXTRACTOR(NOISE[200:350])
    with pytest.warns(fid.FewSamplesWarning):
        expected = fid.frechet_distance(*map(fid.Statistics, features))
    assert found.value == pytest.approx(expected)


def test_only_the_reference_network_gives_fid():
    id = f"inception_v3_tf_2015@{inception.SHA256[:8]}"
    reference, pretender = Projection(id, inception.SHA256), Projection(id)
    for extractor, name in ((reference, ("fid", "")), (pretender, ("fd", id))):
        real = images.real(extractor, NOISE[:200])
        (found,) = images.compared(real, NOISE[200:350], ("fid",))
        assert (found.metric, found.features) == name


def test_wrong_arguments():
    with pytest.raises(ValueError, match=r"which=\['lpips'\]"):
        list(images.compared(REAL, NOISE, ("lpips",)))
    with pytest.raises(ValueError, match="1 samples"):
        list(images.compared(REAL, NOISE[:1]))
