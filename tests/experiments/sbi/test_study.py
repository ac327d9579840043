"""The study of posteriors, tiny: what it draws, scores, writes, goes on with, refuses.

Networks are as they start: that they learn is tested where `fit` is.
"""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict
from scipy import stats

from fdnf.data import memory, sbi, sbibm
from fdnf.evaluation.tables import table
from fdnf.experiments.sbi import scoring, study, training
from fdnf.experiments.sbi.training import Budget, Recipe
from fdnf.flows import maf, realnvp
from fdnf.train import preprocess, teachers

TINY = Budget(simulations=100, ensemble=2, steps=10, pairs=200, student_steps=10)
LIKELIHOOD = maf.MAF(steps=1, hidden=(4,))
TEACHER, COUPLINGS = object(), realnvp.RealNVP(steps=1, hidden=(4,))
GIVEN = {
    **{"tasks": ("two_moons",), "observations": 2, "draws": 60, "own": 0},
    **{"judged": ("teacher", "amortised", study.CORRECTED), "progress": False},
}
asked = []


class Noise(teachers.Trained):
    """A teacher that compiles nothing: its draws are a normal about its condition."""

    runs, event = 2, (2,)

    def sample(self, key, n, cond, run, batch_size):
        noise = np.random.default_rng([key, run]).normal(size=(n, 2))
        return np.tanh(cond + noise)

    def log_prob(self, theta, x, run):
        return np.full(len(theta), float(run))

    def save(self, path):
        path.write_text("")


class Likelihood(teachers.Trained):
    """A flow whose density is its own, and whose slow draws are not."""

    sample = Noise.sample


def gap(exact, samples, jobs=1):
    """A number in the place of the classifier test, which has a test of its own."""
    assert len(exact) == len(samples) == GIVEN["draws"]
    return 0.5 + 0.5 * float(np.tanh(np.abs(exact.mean() - samples.mean())))


NOISE = Noise(None, {}, None, {})
REFERENCE, C2ST = sbibm.reference, scoring.c2st


def untrained(flow, x, cond, *, transforms, options, seed, steps, **rest):
    """What `fit` gives, with the first parameters."""
    rows = memory.taken(x, cond)
    data = memory.table(rows, rows, transforms)
    asked.append((flow, x, cond, data, steps, options))
    if flow is TEACHER:
        return NOISE
    keys = jax.random.split(jax.random.key(seed), options.get("runs", 1))
    rows = jnp.asarray(data.train), jnp.asarray(data.conditions[0])
    init = jax.jit(flow.init)
    runs = [init(key, *rows) for key in keys]
    variables = jax.tree.map(lambda *leaves: np.stack(leaves), *runs)
    prepared = preprocess.describe(preprocess.make(ConfigDict(), data))
    meta = {"event": x.shape[1:], "preprocess": prepared, "step": 0}
    kind = Likelihood if flow is LIKELIHOOD else teachers.Trained
    return kind(flow, variables, ConfigDict(), meta)


def loaded(path):
    return NOISE if path.stem == "teacher" else teachers.load(path)


def published(name, path=None):
    del path
    task = sbi.get(name)
    theta, x = task.draw(np.random.default_rng(0), 10)
    posterior = task.prior(np.random.default_rng(1), 600).reshape(10, 60, -1)
    return sbibm.Reference(x, theta, posterior)


@pytest.fixture(scope="module")
def patched():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training.fitting, "fit", untrained)
        patch.setattr(training.fitting, "load", loaded)
        recipe = Recipe(TEACHER, LIKELIHOOD, COUPLINGS)
        patch.setattr(training, "RECIPES", dict.fromkeys(sbi.TASKS, recipe))
        patch.setattr(sbibm, "reference", published)
        patch.setattr(scoring, "REPEATS", 1)
        patch.setattr(scoring, "c2st", gap)
        yield patch


@pytest.fixture(scope="module")
def workdir(patched, tmp_path_factory):
    path = tmp_path_factory.mktemp("sbi")
    study.run(TINY, path, **GIVEN)
    return path


def test_what_it_writes(workdir):
    scores = json.loads((workdir / study.SCORES).read_text())["two_moons"]["0"]
    assert set(scores) == {*GIVEN["judged"]}
    for method in GIVEN["judged"]:
        assert len(scores[method]["c2st"]) == 2
        assert all(0.5 < value <= 1 for value in scores[method]["c2st"])
    assert {"seconds", "log_prob", "training"} <= set(scores["amortised"])
    # The mean density of two runs: log (1 + e) / 2.
    assert abs(scores["teacher"]["log_prob"] - np.log((1 + np.e) / 2)) < 1e-6
    assert "seconds" not in scores["teacher"]
    assert all(0 < value <= 1 for value in scores[study.CORRECTED]["ess"])
    text = (workdir / study.TABLE).read_text()
    assert "| two_moons | 0.606 ± 0.039 " in text
    assert "### Student of NLE against its judge" in text
    for name in ("teacher", "likelihood", "amortised"):
        assert (workdir / "two_moons" / "seed_0" / f"{name}.npz").is_file()


def test_who_sees_what(workdir):
    (flow, theta, x, data, steps, options), likelihood, amortised = asked[:3]
    assert flow is TEACHER
    assert options["runs"] == TINY.ensemble
    assert (len(theta), len(x), steps) == (TINY.simulations, TINY.simulations, 10)
    assert [column.kind for column in data.columns.columns] == ["box", "box"]
    flow, x_again, theta_again, data, *_ = likelihood
    assert flow is LIKELIHOOD
    assert np.array_equal(x_again, x)
    assert np.array_equal(theta_again, theta)
    assert [column.kind for column in data.columns.columns] == ["standardise"] * 2
    flow, prior, drawn, *_, options = amortised
    assert flow is COUPLINGS
    assert 150 < len(prior) == len(drawn) <= TINY.pairs
    assert not {row.tobytes() for row in prior} & {row.tobytes() for row in theta}
    assert "runs" not in options


def test_a_student_learns_from_its_teachers_draws(workdir, patched):
    networks = training.Study(
        sbi.get("two_moons"), TINY, 0, workdir / "two_moons" / "seed_0", False
    )
    count = len(asked)
    networks._known = {"likelihood": NOISE, "teacher": NOISE}
    networks._student()
    ((flow, theta, x, data, *_),) = asked[count:]
    assert flow is COUPLINGS
    assert np.abs(theta).max() < 1
    # A draw of the teacher follows its condition, row by row.
    assert np.corrcoef(theta[:, 0], x[:, 0])[0, 1] > 0.3
    assert data.conditions[0].shape == (len(theta), 2)


def test_it_goes_on_where_it_stood(workdir, patched):
    path = workdir / "two_moons" / "seed_0" / "teacher.json"
    before = json.loads(path.read_text())
    path.write_text(json.dumps(before | {"c2st": before["c2st"][:1]}))
    count = len(asked)
    study.run(TINY, workdir, **GIVEN)
    assert len(asked) == count
    again = json.loads(path.read_text())
    assert again["c2st"] == before["c2st"]
    assert again["training"] == before["training"]


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"tasks": ("sir",)}, r"tasks \['sir'\]: expected some of \['two_moons'"),
        ({"judged": ()}, r"judged \[\]: expected some of \['teacher'"),
        ({"observations": 11}, "1 seeds, 11 observations, 60 draws: expected a seed"),
        ({"seeds": ()}, "0 seeds"),
        ({"budget": Budget(steps=11)}, "holds networks with ensemble=2, pairs=200"),
    ],
)
def test_wrong_commands(wrong, text, workdir):
    given = {"budget": TINY, "workdir": workdir, **GIVEN, **wrong}
    with pytest.raises(study.StudyError, match=text):
        study.run(**given)


def test_missing_reference_is_one_message(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sbibm, "reference", REFERENCE)
    missing = f"--reference={tmp_path / 'no.whl'}"
    assert study.main([f"--workdir={tmp_path / 'runs'}", missing]) == 2
    said = capsys.readouterr().err
    assert "No such file" in said
    assert "pip download" in said
    assert not (tmp_path / "runs").exists()


def test_classifier_test_by_the_benchmarks_rule():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 250, 2))
    assert abs(C2ST(x, y) - 0.5) < 0.1
    # The best classifier of N(0, I) and N(shift, I), in whatever units.
    shift = 2.0
    found = C2ST(1e3 * x + 5, 1e3 * (y + [shift, 0]) + 5)
    assert abs(found - stats.norm.cdf(shift / 2)) < 0.07
    with pytest.raises(ValueError, match=r"shape \(250, 1\) beside \(250, 2\)"):
        C2ST(x, y[:, :1])


def test_table_over_seeds():
    def scores(shift):
        one = {"c2st": [0.6, 0.7]}
        return {"teacher": one, "student": {"c2st": [v + shift for v in one["c2st"]]}}

    found = {"slcp": {"0": scores(0.01), "1": scores(0.03)}}
    text = table.to_markdown(study._accuracies(found))
    assert "| slcp | 0.901 ± 0.047  | 0.650 ± 0.071 " in text
    # Half the range times t of one degree of freedom: 12.7 * 0.0141 / sqrt(2).
    assert "+0.020 ± 0.127" in text
