"""A study of flows on images, from runs to tables and pictures, and its modes.

The runs are untrained, but where it is said: `train.test_images` trains such flows.
"""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from configs import glow_digits
from fdnf import files, main
from fdnf.data import build as datasets
from fdnf.evaluation.core import methods, stored
from fdnf.evaluation.pictures import images, levels
from fdnf.evaluation.scorers import classifier
from fdnf.experiments import study
from fdnf.train import (
    checkpoint,
    loop,
    models,
    preprocess,
    settings,
    teachers,
    validation,
    writers,
)
from fdnf.train.settings import ConfigError
from tests import floats, laws

FIGURES = (
    *("training", "levels", "samples_t1.0", "samples_t0.7", "reconstructions"),
    *("interpolations", "manifold"),
)
METHODS = ("teacher", "student", "ilkd")


def config(name="nice", **args):
    """A study of the flow that is traced fastest; classes are a condition."""
    built = glow_digits.get_config("ilkd,smoke")
    for part in (built, built.teacher.config):
        part.model = {"name": name, "args": args or {"steps": 1, "hidden": (4,)}}
        part.train.update(steps=10)
        part.data.conditional = True
        part.eval.update(samples=40, interpolations=24)
    return built


@pytest.fixture(scope="module", autouse=True)
def quick():
    """A classifier of a few steps, in a cache of its own."""
    train = classifier.train
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            classifier,
            "train",
            lambda images, **kw: train(images, **{**kw, "steps": 5}),
        )
        yield


def untrained(plan, path, noise):
    """A workdir as if the plan had been trained there, with weights that were drawn."""
    data = datasets.build(plan.data)
    prepared = settings.prepared(plan, data)
    cond = prepared.condition_shape(data.event)
    x, cond = (jax.ShapeDtypeStruct((2, *s), jnp.float32) for s in (data.event, cond))
    made = laws.drawn(models.build(plan.model), x, cond, noise=noise)
    made = jax.tree.map(lambda leaf: np.asarray(leaf)[None], made)
    best = validation.first_best(made["params"], {}, 1)
    about = settings.to_dict(plan)
    meta = {"config": about, "event": list(data.event), "step": plan.train.steps}
    meta["preprocess"] = preprocess.describe(prepared)
    with checkpoint.Checkpointer(path) as checkpointer:
        checkpointer.save(plan.train.steps, {"w": np.zeros(2)}, best, meta)
    steps = {"steps": plan.train.steps, "skipped_steps": [0], "best_step": [0]}
    files.write_json(path / loop.FINISHED, {**steps, "config": about})
    log = writers.Writer(path)
    for step in (5, 10):
        log.write(step, {"loss": np.ones(1), "val_bits_per_dim": np.ones(1)})
    log.close()


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    path = tmp_path_factory.mktemp("study")
    asked = config()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(path / "cache"))
        untrained(asked.teacher.config, path / "teacher", 0.05)
        for method, noise in (("student", 0.1), ("ilkd", 0.15)):
            untrained(study._plan(asked, method, 1), path / method, noise)
        main._one("eval", asked, path)
        yield path


def jitted(trained, method):
    """A method of the flow of a workdir, of its variables and further arguments."""
    flow, variables = teachers.run_of(trained)
    compiled = jax.jit(functools.partial(flow.apply, method=method))
    return functools.partial(compiled, jax.device_put(variables))


def test_results(workdir):
    found = {r.run.method: r for r in stored.read(workdir / "results")}
    assert methods.order(found) == ["real", *METHODS]
    for method in METHODS:
        score = found[method].get("bits_per_dim", split="test")
        # The exact entropy of the data is a bound; 8 bits are those of no model.
        assert 4 < score.value < 16
        assert np.isfinite(score.se)
        assert found[method].get("fd").features.startswith("clf_synthetic")
    assert found["student"].get("fd") != found["ilkd"].get("fd")
    assert found["real"].get("fd").n == 40


def test_tables(workdir):
    table = (workdir / "table.md").read_text()
    for title in (
        "Models of synthetic_images",
        "Difference to the plain student",
        "Test bits per dimension and Frechet distance",
        "Architecture, size and cost",
        "Frechet distance of interpolations in the latent space",
    ):
        assert f"### {title}" in table
    assert not re.search(r"\bnan\b|Missing|Not measured", table)
    assert re.search(r"clf_synthetic_images@\w+ classifies [\d.]+ % of", table)
    assert "1 draw of noise an image" in table
    assert "are of 40 samples and 12 interpolations, against 40 test" in table
    assert re.search(r"\| NICE ILKD +\| Real images", table)


@pytest.mark.parametrize("name", FIGURES)
def test_figures(workdir, name):
    with Image.open(workdir / "figures" / f"{name}.png") as image:
        assert image.format == "PNG"
        assert min(image.size) > 200
        assert len(np.unique(np.asarray(image))) > 50


def test_levels_are_those_of_the_losses(workdir):
    data = datasets.build(config().data)
    teacher, student = (teachers.load(workdir / k) for k in ("teacher", "student"))
    batches = images.encoded(student, data)
    mean, _ = levels.between(student, teacher, batches, parts="both")
    both = [jitted(each, "encode") for each in (student, teacher)]
    gaps = []
    for x, cond in batches:
        pairs = zip(*(encode(x, cond).levels for encode in both), strict=True)
        gaps += zip(*(abs(a - b).mean(axis=(1, 2, 3)) for a, b in pairs), strict=True)
    assert len(gaps) == len(data.test) == 100
    floats.assert_close(mean, np.mean(gaps, axis=0), rtol=1e-4)


def numbers(workdir):
    """All scores but those of time, by run."""
    return {
        run.key: [s for s in own if not s.metric.endswith(("_ms", "_mib"))]
        for run, own in stored.read(workdir / "results")
    }


# In CI the study of `test_study`, of vectors, is trained.
@pytest.mark.slow
def test_a_study_is_trained(tmp_path):
    main._one("train", config("glow", levels=2, steps=1, hidden=4), tmp_path)
    for method in METHODS:
        steps = [row["step"] for row in writers.read_log(tmp_path / method)]
        assert steps[-1] == 10
    assert "| Glow ILKD" in (tmp_path / "table.md").read_text()


# Those of a study of vectors are in `test_study`.
@pytest.mark.slow
def test_eval_and_sample_modes(workdir, capsys):
    before = numbers(workdir)
    main._one("eval", config(), workdir)
    assert (workdir / "table.md").read_text() in capsys.readouterr().out
    assert numbers(workdir) == before
    student = teachers.load(workdir / "student")
    alone = settings.from_dict(settings.to_dict(student.config))
    alone.eval.update(samples=10, temperatures=(0.5,))
    main._one("sample", alone, workdir / "student")
    printed = capsys.readouterr().out.split()
    folder = workdir / "student" / "samples"
    assert printed == [str(folder / f"run_0_t0.5.{kind}") for kind in ("npz", "png")]
    with np.load(printed[0]) as archive:
        assert archive["labels"].tolist() == [0, 1, 2, 3, 0, 1, 2, 3, 0, 1]
        z = (jnp.asarray(archive["z_0"]),)
        cond = jax.nn.one_hot(archive["labels"], 4)
        x = jitted(student, "decode")(z, cond).x
        again = np.asarray(student.preprocess.to_pixels(x)).astype(int)
        # Folded layers round otherwise.
        assert np.mean(again != archive["images"]) < 0.01


def test_faults_before_any_training(tmp_path):
    wrong = config()
    wrong.eval.extractors = ("clip",)
    with pytest.raises(ConfigError, match=r"eval.extractors has \['clip'\]"):
        main._one("train", wrong, tmp_path)
    assert not list(tmp_path.iterdir())
