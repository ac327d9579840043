"""Tables of students of a density, from stored scores, and where they go."""

import json
import pathlib

import numpy as np
import pytest

from fdnf import files
from fdnf.evaluation.core import stored
from fdnf.evaluation.core.scores import Result, Run, Score
from fdnf.evaluation.scorers import cost
from fdnf.evaluation.scorers import teacher as scorer
from fdnf.evaluation.scorers.context import Evaluation
from fdnf.evaluation.tables import cell, view
from fdnf.evaluation.tasks import teacher
from tests.evaluation import transfer_pair
from tests.evaluation.tables.cells import by_row

STORED = pathlib.Path(__file__).parents[1] / "core" / "stored" / "transfer"
FLOOR, DATA, KL = "Teacher (floor)", "Training data", "KL student"


@pytest.fixture(scope="module")
def results():
    """Of a smoke study, as its records had it before runs and scores."""
    return stored.read(STORED)


def only(made, results):
    (table,) = view.build(made, results)
    return by_row(table)


def test_samples(results):
    found = only(teacher.SAMPLES, results)
    heads = {
        "log p_T, median": ("-7.65 ± 2.25", "-7.11 ± 0.52", "-8.02 ± 1.34"),
        "mean minus teacher's": ("-0.06 ± 0.49", "0.22 ± 1.63", "-0.47 ± 0.58"),
        "KS of log p_T ↓": ("0.082 ± 0.152", "0.114 ± 0.254", "0.131 ± 0.140"),
        "C2ST, teacher ↓": ("0.495 ± 0.165", "0.774 ± 0.076", "0.585 ± 0.006"),
        "C2ST, data ↓": ("0.766 ± 0.222", "0.502 ± 0.006", "0.792 ± 0.235"),
        "Sliced W2 ↓": ("0.1017 ± 0.0925", "0.2188 ± 0.0828", "0.2308 ± 0.0176"),
        "1000 MMD² ↓": ("-0.03 ± 6.47", "7.89 ± 12.80", "12.96 ± 0.79"),
        "Exploded samples (%) ↓": ("0.00 ± 0.00",) * 3,
        "Samples": ("500",) * 3,
        "judged": ("500",) * 3,
    }
    assert set(found) == {FLOOR, DATA, KL}
    for head, values in heads.items():
        assert tuple(found[row][head] for row in (FLOOR, DATA, KL)) == values
    assert set(found[KL]) == set(heads)


def test_divergences(results):
    found = only(teacher.DIVERGENCES, results)
    assert list(found[KL].values()) == [
        *("0.20 ± 0.22 (se 0.03)", "0.16 ± 0.24", "0.21 ± 0.29 (se 0.03)"),
        *("0.24 ± 0.18", "-7.88 ± 0.02 (se 0.09)", "-7.32 ± 0.55"),
    ]
    assert list(found[FLOOR].values()) == [
        *("-", "-", "-", "-"),
        *("-7.54 ± 0.09 (se 0.08)", "-7.16 ± 0.14"),
    ]
    assert set(found) == {FLOOR, KL}


def test_p_values_are_the_largest_of_a_seed(results):
    found = only(teacher.P_VALUES, results)
    assert list(found[FLOOR].values()) == ["0.1725", "0.8797", "0.8790", "0.0000"]
    assert list(found[DATA].values()) == ["0.0241", "0.4575", "0.0000", "0.4874"]
    assert list(found[KL].values()) == ["0.0015", "0.0004", "0.0000", "0.0000"]


def test_speed(results):
    found = only(teacher.SPEED, results)
    assert set(found) == {FLOOR, KL}
    assert list(found[FLOOR].values()) == [
        *("369,365", "1.50x", "1.00x", "64", "0.173 (0.169-0.191)", "822,871"),
        *("245,700", "64", "0.260 (0.237-0.307)"),
    ]
    assert list(found[KL].values())[:6] == [
        *("1,783,798", "7.26x", "4.83x", "64", "0.0359 (0.0351-0.0374)", "323,786")
    ]


def run(method, *scores, seed=0, **fields):
    return Result(Run("gaussian", method, seed, kind="vectors", **fields), scores)


def test_certificate():
    made = []
    for seed, share in ((0, 0.1), (1, 0.2), (2, 0.3)):
        scores = (
            Score("c2st", 0.5 + share, "teacher", n=200, se=0.03),
            Score("auc", 0.6 + share, "teacher", n=200, se=0.02),
            Score("reverse_kl", 1.0, "teacher", n=100, se=0.1),
            Score("reverse_kl", 9.0, "teacher", "q99.9", n=100),
            Score("reverse_kl", 0.5 + seed, "teacher", "possible", n=19_999),
            Score("impossible_percent", 0.005, "teacher", n=20_000),
            Score("ess_share", share, "teacher", n=20_000, se=0.01),
            Score("khat", float("inf"), "teacher", n=20_000),
            Score("tail", 3.0 + seed, "teacher", "columns", n=100),
            Score("spread_ratio", 0.5, "teacher", "condition", n=100),
            Score("weights", 1234.0, "teacher"),
        )
        made.append(run("kl", *scores, seed=seed, arch="IAF"))
    floor = Score("c2st", 0.5, "teacher", n=200), Score("ess_share", 1.0, "teacher")
    made.append(run("teacher_again", *floor, Score("weights", 99.0, "teacher")))
    (table,) = view.build(teacher.CERTIFICATE, made)
    # Models stand side by side.
    assert table.header[1:] == (FLOOR, KL)
    found = {
        row[0]: [str(c) if isinstance(c, str) else c for c in row] for row in table.rows
    }
    share = found["ESS/N of weights ↑"]
    assert (share[1].value, share[2].value) == (1.0, pytest.approx(0.2))
    assert share[2].half_width == pytest.approx(4.303 * 0.1 / 3**0.5, rel=1e-3)
    assert found["Worst tail of a column (factor) ↓"][2].value == pytest.approx(4.0)
    assert found["Reverse KL, 99.9 % quantile (nats) ↓"][2].value == 9.0
    possible = found["Reverse KL, mean without impossible draws (nats) ↓"][2]
    assert possible.value == pytest.approx(1.5)
    assert cell.text(found["Impossible draws (%) ↓"][2]).startswith("0.005")
    assert found["of the worst condition"][2].value == 0.5
    assert [cell.value for cell in found["Weights"][1:]] == [99, 1234]
    assert found["draws weighed"][2].value == 20_000
    assert found["Pareto k-hat of weights ↓"][2].value == float("inf")
    # What nobody has is left out, such as spreads over columns.
    assert "of the worst column" not in found
    for legend in ("ESS/N: effective share", "Impossible draws: those of"):
        assert any(legend in note for note in table.notes)


def test_sampling_by_batch():
    sizes = ("1", "100", "10000")
    student = [Score("batch_ms", 2.0, given=k, n=int(k)) for k in sizes]
    floor = [Score("batch_ms", 20.0, given=k, n=int(k)) for k in sizes]
    slow = [Score("batch_naive_ms", 50.0, given=k, n=min(int(k), 500)) for k in sizes]
    other = Score("sampling_ms", 3.0, given=cost.ALONE, n=64)
    made = [run("kl", *student, other, arch="IAF"), run("teacher_again", *floor, *slow)]
    (table,) = view.build(teacher.BATCHES, made)
    assert [row[:2] for row in table.rows] == [
        (size, name) for size in sizes for name in (FLOOR, KL)
    ]
    heads = list(table.header)
    kl = [row for row in table.rows if row[1] == KL]
    rates = [row[heads.index("Samples per second ↑")].value for row in kl]
    assert rates == [500, 50_000, 5_000_000]
    faster = [row[heads.index("against one pass a dimension")].value for row in kl]
    # The slow one was timed on 500 rows of the largest batch.
    assert faster == pytest.approx([25, 25, 500])
    inverse = [
        row[heads.index("against the teacher's fast inverse")].value for row in kl
    ]
    assert inverse == pytest.approx([10, 10, 10])


def test_rows_left_out_and_a_single_seed():
    kl = Run("gaussian", "kl", kind="vectors")
    scores = (
        Score("reverse_kl", 0.5, "teacher", n=100, se=0.05),
        Score("reverse_kl", 0.4, "teacher", "median", n=100),
        Score("forward_kl", 0.25, "teacher", n=1),
        Score("forward_kl", float("inf"), "teacher", "median", n=100),
        Score("forward_kl", 99.0, "teacher", "left_out", n=100),
        Score("teacher_log_prob", -0.9, "teacher", "median"),
        Score("log_prob_shift", -1.5, "teacher", low=-2.0, high=-1.0),
    )
    found = only(teacher.DIVERGENCES, [Result(kl, scores)])[KL]
    assert found["Reverse KL, mean ↓"] == "0.50 (n=1, se 0.05)"
    assert found["Forward KL, left out"] == "99"
    assert found["Forward KL, median ↓"].startswith("inf")
    found = only(teacher.SAMPLES, [Result(kl, scores)])[KL]
    assert found["mean minus teacher's"] == "-1.50 [-2.00, -1.00]"


def test_what_is_no_student_of_a_density_has_no_tables():
    plain = Run("gaussian", "student", kind="vectors", arch="MAF")
    scores = (
        Score("log_likelihood", -1.0, "test"),
        Score("exploded_percent", 0.0, "test"),
        Score("sliced_wasserstein", 0.1, "test"),
        Score("sampling_ms", 1.0, n=10),
    )
    assert view.page(teacher.VIEWS, [Result(plain, scores)]) == []


def test_stored_scores_are_those_of_the_file(results):
    (kl, _) = (r for r in results if r.run.method == "kl")
    text = (STORED / "kl" / "seed_0" / "transfer.json").read_text()
    old = json.loads(text)["scores"]
    for metric, name in (
        ("reverse_kl", "reverse_kl"),
        ("forward_kl", "forward_kl"),
        ("teacher_log_prob", "teacher_log_prob"),
    ):
        found = kl.get(metric, given="", split="teacher")
        assert (found.value, found.se, found.n) == (
            *(old[name]["mean"], old[name]["standard_error"], old[name]["rows"]),
        )
        assert kl.get(metric, given="median").value == old[name]["median"]
    fit = kl.get("data_log_prob", split="test", given="")
    assert fit.value == old["data_log_prob"]["mean"]
    for metric, split, name in (
        ("c2st", "teacher", "c2st_teacher"),
        ("c2st", "test", "c2st_data"),
    ):
        assert kl.get(metric, split=split, given="").value == old[name]["accuracy"]
        assert kl.get(metric, split=split, given="p").value == old[name]["p_value"]
    shift = kl.get("log_prob_shift", given="")
    assert [shift.low, shift.high] == [old["shift"]["low"], old["shift"]["high"]]
    assert kl.get("mmd").value == old["mmd"]
    assert kl.get("sampling_ms", given=cost.ALONE).n == 64


def test_a_stored_file_that_lacks_something_is_named(tmp_path):
    path = tmp_path / "kl" / "seed_0" / "transfer.json"
    path.parent.mkdir(parents=True)
    for wrong in ("{}", "{", '{"scores": {"rows": 3}}'):
        path.write_text(wrong)
        with pytest.raises(files.DamagedError, match="kl/seed_0/transfer.json"):
            stored.read(tmp_path)


def test_what_is_not_finite_is_read(tmp_path):
    path = tmp_path / "kl" / "seed_0" / "transfer.json"
    path.parent.mkdir(parents=True)
    fields = json.loads((STORED / "kl" / "seed_0" / "transfer.json").read_text())
    fields["scores"]["forward_kl"] |= {
        **{"mean": 0.25, "standard_error": "nan", "median": "inf"},
        **{"rows": 1, "left_out": 99},
    }
    fields["scores"]["c2st_data"] = fields["speed"] = None
    path.write_text(json.dumps(fields))
    (kl,) = stored.read(tmp_path)
    mean = kl.get("forward_kl", given="")
    assert (mean.value, mean.se, mean.n) == (0.25, None, 1)
    assert kl.get("forward_kl", given="median").value == float("inf")
    assert kl.get("forward_kl", given="left_out").value == 99
    assert kl.get("c2st", split="test") is None
    assert kl.get("sampling_ms") is None


@pytest.mark.parametrize(
    ("data", "kind"), [("mnist_14x14", "images"), ("bsds300", "vectors")]
)
def test_a_stored_run_is_of_the_kind_of_its_data(tmp_path, data, kind):
    path = tmp_path / "kl" / "seed_0" / "transfer.json"
    path.parent.mkdir(parents=True)
    fields = json.loads((STORED / "kl" / "seed_0" / "transfer.json").read_text())
    path.write_text(json.dumps(fields | {"data": data}))
    (kl,) = stored.read(tmp_path)
    assert kl.run.kind == kind


def test_pictures_are_of_what_was_scored(tmp_path):
    models = {
        "teacher": transfer_pair.trained([(0.0, 1.0)], "nll"),
        "kl": transfer_pair.trained([(0.0, 0.5)], "kl"),
    }
    whole = Evaluation(transfer_pair.data(), models["kl"].config.eval, models)
    assert teacher.draw(whole, tmp_path) == []
    rng = np.random.default_rng(0)
    for method in ("kl", "teacher_again", "training"):
        scorer.pictured(whole)[method] = rng.normal(size=50)
    (path,) = teacher.draw(whole, tmp_path)
    assert path == tmp_path / "densities.png"
    scorer.weighed(whole)["kl"] = np.append(rng.normal(size=50), [np.nan, -np.inf])
    paths = teacher.draw(whole, tmp_path)
    assert [path.name for path in paths] == ["densities.png", "weights.png"]
    for path in paths:
        assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
