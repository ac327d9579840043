"""Certificates of affine Gaussian students, and when they are made anew."""

import hashlib
import json
import math

import numpy as np
import pytest

from fdnf.data.tabular import DataError
from fdnf.evaluation import certificate
from fdnf.evaluation.certificate import Models
from fdnf.evaluation.core import scores
from fdnf.evaluation.core.scores import Result, Run, Score
from fdnf.evaluation.scorers import teacher as scorer
from fdnf.evaluation.scorers.context import Context, Evaluation
from fdnf.evaluation.tasks import evaluate
from fdnf.train import teachers, workdirs
from fdnf.train.settings import ConfigError
from tests.evaluation import transfer_pair, whole

DATA = transfer_pair.data()
FAR, NEAR = (0.4, 0.8), (0.05, 1.02)


def student(*runs, **fields):
    return transfer_pair.trained(list(runs), "kl", **fields)


def teacher():
    return transfer_pair.trained([(0.0, 1.0)], "nll")


def by_name(content):
    return {measure["name"]: measure for measure in content["measures"]}


def scored(value=0.5, **more):
    where = {"n": 400, **more}
    return [
        Score("c2st", value, "teacher", se=0.02, n=400),
        Score("c2st", 0.6, "test", se=0.02, n=400),
        Score("c2st", 0.01, "teacher", "p"),
        Score("reverse_kl", 1.5, "teacher", se=0.1, n=100),
        Score("reverse_kl", math.inf, "teacher", "q99.9", n=100),
        Score("reverse_kl", 0.75, "teacher", "possible", se=0.01, n=399),
        Score("impossible_percent", 0.25, "teacher", **where),
        Score("ess_share", 0.25, "teacher", se=0.01, **where),
        Score("khat", 0.3, "teacher", **where),
        Score("exploded_percent", 1.0, "test", n=7),
        Score("exploded_percent", 2.0, "teacher", n=100),
    ]


def test_what_is_in_a_certificate():
    models = Models(student(FAR), teacher(), "kl")
    floor = [Score("c2st", 0.49, "teacher", n=400), Score("ess_share", 1.0, "teacher")]
    content = certificate.of(models, scored(0.55), floor, data=DATA)
    found = by_name(content)
    told = dict(found["C2ST against the teacher"])
    assert told.pop("definition").startswith("Share of held-out rows")
    assert told == {
        "name": "C2ST against the teacher",
        **{"value": 0.55, "se": 0.02, "rows": 400, "floor": 0.49},
        **{"unit": "", "better": "lower"},
    }
    assert found["ESS/N of importance weights"]["better"] == "higher"
    assert "floor" not in found["C2ST against data"]
    assert found["reverse KL, 99.9 % quantile"]["value"] == "inf"
    assert found["exploded draws"]["value"] == 2.0
    told = dict(found["reverse KL, mean without impossible draws"])
    assert told.pop("definition").startswith("Mean of log q - log p_T over the draws")
    del told["name"]
    assert told == {
        **{"value": 0.75, "se": 0.01, "rows": 399, "unit": "nats", "better": "lower"}
    }
    told = found["impossible draws"]
    assert (told["value"], told["rows"], told["unit"]) == (0.25, 400, "%")
    assert "above 1,000 nats" in told["definition"]
    assert "spread given a condition" not in found
    assert content["weights_reliable"] is True
    assert content["speeds"] == []
    assert content["student"]["parameters"] == 12
    assert content["student"]["weights_sha256"] != content["teacher"]["weights_sha256"]
    assert content["data"] == {"name": "gaussian", "source": DATA.source}
    # It is the same at any time, and strict JSON.
    again = certificate.of(models, scored(0.55), floor, data=DATA)
    assert json.dumps(content, allow_nan=False) == json.dumps(again)
    for measure in content["measures"]:
        assert measure["definition"].endswith(".")


@pytest.mark.parametrize(
    ("khat", "share", "rows", "reliable"),
    [
        (0.69, 0.1, 20_000, True),
        (0.71, 0.1, 20_000, False),
        (0.55, 0.5, 100, False),
        (math.inf, 0.0, 20_000, False),
        (math.nan, 1.0, 20_000, True),
    ],
)
def test_when_weights_are_reliable(khat, share, rows, reliable):
    found = [Score("khat", khat, "teacher", n=rows)]
    found.append(Score("ess_share", share, "teacher", n=rows))
    models = Models(student(FAR), teacher(), "kl")
    content = certificate.of(models, found, [], data=DATA)
    assert content["weights_reliable"] is reliable
    assert certificate.of(models, [], [], data=DATA)["weights_reliable"] is None


def test_speeds_beside_the_teachers():
    mine = [Score("batch_ms", 2.0, given="100", n=100, low=1.0, high=4.0)]
    floor = [
        Score("batch_ms", 20.0, given="100", n=100),
        Score("batch_naive_ms", 50.0, given="100", n=10),
        Score("batch_ms", 1.0, given="1", n=1),
    ]
    models = Models(student(FAR), teacher(), "kl")
    (found,) = certificate.of(models, mine, floor, data=DATA)["speeds"]
    assert found == {
        **{"batch": 100, "rows": 100, "draws_per_second": 50_000},
        **{"low": 25_000, "high": 100_000},
        **{"teacher_per_second": 5_000, "teacher_rows": 100, "times_teacher": 10},
        "one_pass_a_dimension_per_second": 200,
        **{"one_pass_a_dimension_rows": 10, "times_one_pass_a_dimension": 250},
    }


def test_each_run_of_an_evaluation_has_its_own():
    models = {"teacher": teacher(), "kl": student(FAR, NEAR), "student": teacher()}
    section = models["kl"].config.eval
    both = Evaluation(DATA, section, models)

    def result(method, seed, *found):
        return Result(Run("gaussian", method, seed), found)

    times = Score("batch_ms", 1.0, given="1", n=1)
    results = [
        result("teacher_again", 0, *scored(0.5), times),
        result("teacher", 0),
        result("kl", 0, Score("ks", 0.1, "teacher"), *scored(0.7), times),
        result("kl", 1, Score("ks", 0.1, "teacher"), *scored(0.6)),
        result("student", 0, Score("sampling_ms", 1.0)),
    ]
    found = list(certificate.of_evaluation(both, results))
    assert [(run.method, run.seed) for run, _ in found] == [("kl", 0), ("kl", 1)]
    told = [by_name(c)["C2ST against the teacher"] for _, c in found]
    assert [(t["value"], t["floor"]) for t in told] == [(0.7, 0.5), (0.6, 0.5)]
    assert [c["student"]["seed"] for _, c in found] == [0, 1]
    # Times are taken of first runs.
    assert all(content["speeds"] for _, content in found)
    sums = {content["student"]["weights_sha256"] for _, content in found}
    assert len(sums) == 2
    del models["teacher"]
    assert not list(certificate.of_evaluation(both, results))


def test_evaluation_writes_it_beside_the_results(tmp_path, monkeypatch):
    models = {"teacher": teacher(), "kl": student(FAR)}
    ks = Score("ks", 0.1, "teacher")
    measured = [
        Result(Run("gaussian", "teacher_again", kind="vectors"), tuple(scored(0.5))),
        Result(Run("gaussian", "kl", arch="IAF", kind="vectors"), (ks, *scored(0.7))),
    ]
    task = evaluate.of(DATA)._replace(draw=())
    monkeypatch.setattr(evaluate, "of", lambda data: task)
    monkeypatch.setattr(evaluate, "measure", lambda *given: measured)
    text = whole.of(tmp_path, models, DATA, models["kl"].config.eval)
    assert "certificate, how far students are from their teacher" in text
    (path,) = tmp_path.rglob(certificate.NAME)
    assert path == tmp_path / "results" / "kl" / "seed_0" / certificate.NAME
    told = by_name(json.loads(path.read_text()))["C2ST against the teacher"]
    assert (told["value"], told["floor"]) == (0.7, 0.5)


def test_the_sum_of_weights_is_of_all_that_they_are():
    variables = transfer_pair.variables(*FAR)
    known = certificate.weights_sha256(variables)
    assert known == certificate.weights_sha256(transfer_pair.variables(*FAR))
    params = variables["params"]
    moved = params["mu"].at[0].add(1e-6)
    for other in (
        {**params, "mu": moved},
        {**params, "mu": params["mu"][None]},
        {**params, "mu": params["mu"].astype(np.float16)},
        {"nu": params["mu"], "R": params["R"]},
    ):
        assert certificate.weights_sha256({"params": other}) != known


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A study's directory with a teacher and a student, and what loads them."""
    trained = student(FAR)
    trained.config.teacher = {"workdir": str(tmp_path / "teacher")}
    (tmp_path / "teacher").mkdir()
    (tmp_path / "teacher" / workdirs.FINISHED).write_text("{}")
    monkeypatch.setattr(teachers, "load", lambda path: teacher())
    monkeypatch.setattr(certificate.datasets, "build", lambda config: DATA)
    folder = tmp_path / "kl" / "export" / "run_0"
    folder.mkdir(parents=True)
    (folder / "weights.npz").write_bytes(b"weights")
    return trained, tmp_path / "kl", folder


def test_a_quick_one_where_nothing_was_evaluated(place):
    trained, workdir, folder = place
    trained.config.eval.update(samples=300, batch_size=150, time_batch=8)
    path = certificate.write(folder, workdir, trained)
    assert path == folder / "certificate.json"
    content = json.loads(path.read_text())
    assert content["exported"] == {
        "weights.npz": hashlib.sha256(b"weights").hexdigest()
    }
    assert "quick certificate" in content["notes"][0]
    found = by_name(content)
    expected = transfer_pair.divergence(FAR, (0.0, 1.0))
    told = found["reverse KL, mean"]
    assert abs(told["value"] - expected) < 4 * told["se"]
    assert told["rows"] == 300
    # Of the same draws, none of which is impossible.
    other = found["reverse KL, mean without impossible draws"]
    assert other["value"] == pytest.approx(told["value"])
    assert other["rows"] == 300
    assert found["impossible draws"]["value"] == found["impossible draws"]["floor"] == 0
    assert found["ESS/N of importance weights"]["floor"] > 1 - 1e-6
    assert found["C2ST against the teacher"]["rows"] == 600
    assert "forward KL, mean" not in found
    assert [speed["batch"] for speed in content["speeds"]] == [1, 100]
    for speed in content["speeds"]:
        assert speed["teacher_per_second"] > 0
        assert "one_pass_a_dimension_per_second" not in speed
    few = certificate.quick(Models(trained, teacher(), "kl"), DATA, 120)
    assert by_name(few)["reverse KL, mean"]["rows"] == 120
    # What is trained is left as it is.
    assert "density_rows" not in trained.config.eval


@pytest.mark.parametrize("around", [False, True])
def test_that_of_an_evaluation_of_the_same_weights(place, monkeypatch, around):
    trained, workdir, folder = place
    models = Models(trained, teacher(), "kl")
    content = certificate.of(models, scored(0.77), scored(0.5), data=DATA)
    results = (workdir.parent if around else workdir) / "results"
    at = scores.place(Run("gaussian", "kl"), results).with_name(certificate.NAME)
    at.parent.mkdir(parents=True)
    at.write_text(json.dumps(content))
    (results / "kl" / "seed_1").mkdir()
    (results / "kl" / "seed_1" / certificate.NAME).write_text("{")
    quick = []
    monkeypatch.setattr(certificate, "_quick", lambda *args: quick.append(args))
    found = json.loads(certificate.write(folder, workdir, trained).read_text())
    assert found.pop("exported").keys() == {"weights.npz"}
    assert found == content
    # Of other weights, be they the teacher's, there is none.
    monkeypatch.setattr(teachers, "load", lambda path: student(NEAR))
    assert certificate.write(folder, workdir, trained) is None
    assert len(quick) == 1
    assert not (folder / certificate.NAME).exists()


def test_who_learned_no_density_or_has_no_teacher_gets_none(place, caplog, monkeypatch):
    trained, workdir, folder = place
    (folder / certificate.NAME).write_text("of an older model")
    assert certificate.write(folder, workdir, teacher()) is None
    assert not (folder / certificate.NAME).exists()

    def gone(config):
        raise DataError("no such data")

    monkeypatch.setattr(certificate.datasets, "build", gone)
    assert certificate.write(folder, workdir, trained) is None
    assert "gets no certificate: no such data" in caplog.text
    trained.config.teacher = {"workdir": "/nowhere/teacher"}
    (workdir.parent / "teacher" / workdirs.FINISHED).unlink()
    assert certificate.write(folder, workdir, trained) is None
    assert "no finished run in" in caplog.text


def test_who_learned_no_density_cannot_have_a_quick_one():
    with pytest.raises(ConfigError, match="loss.method='nll': expected a student"):
        certificate.quick(Models(teacher(), teacher(), "student"), DATA)


def test_floors_without_slow_times():
    models = {"teacher": teacher(), "kl": student(NEAR)}
    section = models["kl"].config.eval
    section.update(samples=200, density_rows=0, judged_rows=0, time_batch=0)
    both = Evaluation(DATA, section, models)
    floor = scorer.floor(both, models["teacher"], 0)
    found = list(scorer.scores(Context(both, "kl", 0)))
    # The floor has all that a student has, but for divergences.
    mine = {s.key for s in found if s.metric not in ("reverse_kl", "weights")}
    assert mine == {score.key for score in floor}
