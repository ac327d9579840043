"""Results of vectors and images as they were once written."""

import json
import pathlib
import shutil

import pytest

from fdnf import files
from fdnf.evaluation.core import scores, stored
from fdnf.evaluation.core.scores import Run, Score

STORED = pathlib.Path(__file__).parent / "stored"
CLASSIFIER = "clf_synthetic_images@a11ea731"


def test_vectors():
    ilkd, student = stored.read(STORED / "vectors")
    run = student.run
    assert run[:5] == ("synthetic", "student", 0, "MAF", "vectors")
    assert run.settings == {"hidden": (32, 32), "steps": 3}
    assert (run.facts["parameters"], run.facts["steps"]) == (5028, 20)
    assert run.facts["source"].startswith("synthetic, seed 0")
    assert student.get("log_likelihood", split="test") == Score(
        "log_likelihood", -7.6958820953369145, "test", se=0.0886191149947724
    )
    assert student.get("energy_distance", split="test").value == 0.046422458571792724
    assert student.get("density_ms") == Score(
        *("density_ms", 0.07062150052661309),
        n=64,
        low=0.05671289964084281,
        high=2.109987800395175,
    )
    assert student.get("sampling_mib").value == 0.09700393676757812
    # Cost was taken of the first run alone.
    assert (ilkd.run.method, ilkd.run.seed, ilkd.get("density_ms")) == ("ilkd", 1, None)


def test_images_and_their_floor():
    results = stored.read(STORED / "images")
    assert [(r.run.method, r.run.seed) for r in results] == [
        *(("student", 0), ("real", 0), ("student", 1))
    ]
    student, real, _ = results
    assert student.run.kind == real.run.kind == "images"
    assert real.run == Run(
        *("synthetic_images", "real"),
        kind="images",
        facts={"source": student.run.facts["source"]},
    )
    assert student.get("bits_per_dim", split="val").value == 7.3699158657008255
    assert student.get("fd", given="") == Score(
        *("fd", 388.6624597565076, "test", "", CLASSIFIER), n=64
    )
    assert student.get("fd", given="interpolation_t1.0").n == 16
    assert student.get("exploded_percent", given="interpolation_t1.0").features == ""
    assert real.get("fd", given="").value == 67.14132753570493
    assert student.run.facts["notes"][-2:] == (
        "Scores of images are of 64 samples, against 64 test images.",
        "Scores of images are of 16 interpolations, against 64 test images.",
    )


def record(**changes):
    found = json.loads(
        (STORED / "vectors" / "student" / "seed_0" / "result.json").read_text()
    )
    return json.dumps({k: v for k, v in (found | changes).items() if v is not ...})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": "0"}, "seed is '0'"),
        ({"arch": None}, "arch is None"),
        ({"data": ...}, "KeyError"),
        ({"log_likelihood": {"val": 1.0}}, "TypeError"),
        ({"density_ms": [1.0, 2.0]}, "unpack"),
        ({"metrics": {"mmd": "low"}}, "'low': expected a number"),
        ({"counts": {"fid": [5000]}}, "unpack"),
        ({"settings": [1]}, "settings"),
    ],
)
def test_wrong_fields_are_refused(changes, message, tmp_path):
    (tmp_path / "result.json").write_text(record(**changes))
    with pytest.raises(files.DamagedError, match=message):
        stored.read(tmp_path)


def test_what_diverged_is_not_a_number(tmp_path):
    (tmp_path / "result.json").write_text(record(log_likelihood={"test": [None, 0.2]}))
    score = stored.read(tmp_path)[0].get("log_likelihood")
    assert str(score.value) == "nan"


def test_records_before_images(tmp_path):
    later = ("bits_per_dim", "settings", "density_mib", "sampling_mib", "time_batch")
    early = dict.fromkeys((*later, "floors", "counts", "notes"), ...)
    (tmp_path / "result.json").write_text(record(**early))
    (found,) = stored.read(tmp_path)
    assert (found.run.kind, found.run.settings) == ("vectors", {})
    assert found.get("density_ms").n is None


def test_names_of_metrics():
    found = json.loads(record(metrics={"my_own": 1.0, "kid_clf@01/t0.7": 2.0}))
    (result,) = stored.READERS["result.json"](found)
    assert Score("my_own", 1.0, "test") in result.scores
    assert Score("kid", 2.0, "test", "t0.7", "clf@01") in result.scores


def test_results_of_today_replace_those_beside_them(tmp_path):
    shutil.copytree(STORED / "vectors" / "student", tmp_path / "student")
    before = stored.read(tmp_path)
    for result in before:
        scores.write(result, tmp_path)
    assert stored.read(tmp_path) == before
