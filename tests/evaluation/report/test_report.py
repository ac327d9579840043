"""Reports of sweeps whose directories are made by hand."""

import json
import re

import pytest

from fdnf.evaluation.core import records
from fdnf.evaluation.report import report, report_gather, report_settings

GAIN = {"teacher": 4.0, "student": 0.0, "ilkd": 0.5}
FAILED = "500 steps <in a row> were not finite: lower optim.lr"


def put(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    text = content if isinstance(content, str) else json.dumps(content)
    path.write_text(text, encoding="utf-8")


def record(method, seed, data="bsds300", test=None):
    test = 144.0 + seed + GAIN.get(method, 1.0) if test is None else test
    return records.Record(
        arch="MAF",
        data=data,
        method=method,
        seed=seed,
        log_likelihood={"test": (test, 0.2), "val": (test + 1, 0.3)},
        parameters=21786,
        density_ms=(1.0, 0.9, 1.25),
        sampling_ms=(20.0, 19.0, 22.0),
        metrics={},
        steps=100,
        skipped_steps=0,
        source="BSDS300, a re-split",
    )


class Sweep:
    """A sweep's directory, filled point by point."""

    def __init__(self, root):
        self.root, self.points = root, []

    def point(self, method, seed, state="done", data="bsds300", label="", **overrides):
        overrides = {key.replace("_", "."): value for key, value in overrides.items()}
        told = "+".join([*(f"{k}={v}" for k, v in overrides.items()), f"seed={seed}"])
        name = f"{data}-{method}/{told}".replace(" ", "")
        config = f"configs/maf_{data}.py:{method}"
        given = {**overrides, "seed": seed} | ({"label": label} if label else {})
        entry = {"name": name, "workdir": name, "config": config, "after": []}
        entry["overrides"] = given
        self.points.append(entry)
        put(self.root / name / "point.json", {**entry, "command": f"run {name}"})
        if state != "waiting":
            self.begin(self.root / name, method, seed, data, label, overrides)
        if state == "failed":
            put(self.root / name / "failed.json", {"error": FAILED})
        if state == "done":
            self.finish(self.root / name, method, seed, data, label, overrides)
        return self.root / name

    def begin(self, folder, method, seed, data, label, overrides):
        loss = "nll" if method in ("teacher", "student") else method
        role = "teacher" if method == "teacher" else "student"
        config = {
            "model": {"name": "maf", "args": {"steps": 5}},
            "data": {"name": data, "args": {}},
            "loss": {"method": loss},
            "train": {"steps": overrides.get("train.steps", 100)},
            **{"role": role, "label": label, "seed": seed, "runs": 1},
        }
        if "loss.weight" in overrides:
            config["loss"]["weight"] = overrides["loss.weight"]
        put(folder / "config.json", config)
        lines = [{"step": s, "nll": [-s], "val_log_prob": [s]} for s in (50, 100)]
        put(folder / "log.jsonl", "".join(json.dumps(row) + "\n" for row in lines))

    def finish(self, folder, method, seed, data, label, overrides):
        name = label or method
        test = 144.0 + seed + GAIN[method] - overrides.get("loss.weight", 0.0)
        found = record(name, seed, data, test)
        put(folder / f"results/{name}/seed_{seed}/result.json", found.to_json())
        put(folder / "finished.json", {"steps": 100})
        put(folder / "table.md", "")
        versions = {"versions": {"jax": "9.8.7", "flax": "0.1"}}
        put(folder / "checkpoints/100/meta/metadata", versions)
        put(folder / "checkpoints/20/meta/metadata", {"versions": {"jax": "9.0"}})

    def write(self, **changes):
        whole = {"sweep": "mine", "arguments": {"seeds": 2}, "created_by": "launch it"}
        put(self.root / "sweep.json", {**whole, "points": self.points, **changes})
        return self.root


@pytest.fixture
def sweep(tmp_path):
    return Sweep(tmp_path / "root")


def small(sweep, **states):
    for seed in (0, 1):
        for method in GAIN:
            sweep.point(method, seed, states.get(f"{method}{seed}", "done"))
    return sweep.write()


def read(root):
    return (root / "report.html").read_text(encoding="utf-8")


def titles(text):
    return re.findall(r"^##+ (.*)$", text, re.MULTILINE)


def test_whole_sweep(sweep):
    root = small(sweep)
    written = report.write(root, latex=True)
    assert written.wrong == ()
    assert [path.name for path in written.paths] == [
        *("report.html", "table.md", "table.tex")
    ]
    assert titles(written.markdown) == [
        *("State", "Tables", "MAF on bsds300", "Difference to the plain student"),
        *("Time and size", "Versions", "Data", "Commands"),
    ]
    for text in (written.markdown, read(root)):
        assert "6 points: 6 done." in text
        assert "+0.500 ± 0.000 *" in text
        assert "launch it" in text
        assert "run bsds300-ilkd/seed=1" in text
        assert "6 runs, as trained" in text
        assert "9.8.7" in text
        assert "not comparable with published numbers" in text
        # Of this directory, nothing.
        assert str(root) not in text
    assert "<title>mine</title>" in read(root)
    assert read(root).count("image/svg+xml") == 1
    assert "loss.method = ilkd" in read(root)
    assert list(root.glob(".*")) == []


def test_the_same_directory_gives_the_same_pages(sweep):
    root = small(sweep, ilkd1="failed")
    first = report.write(root).markdown, read(root)
    second = report.write(root).markdown, read(root)
    assert first == second


def test_what_is_wrong_comes_first_and_gives_a_status(sweep, capsys):
    root = small(sweep, ilkd1="failed", student1="waiting")
    assert report.main([str(root), "--quiet"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "missing: bsds300-ilkd/seed=1 (failed: 500 steps" in err
    assert "missing: bsds300-student/seed=1 (waiting: not begun)" in err
    page, text = read(root), (root / "table.md").read_text(encoding="utf-8")
    assert text.index("1 failed, 1 waiting, 4 done") < text.index("## Tables")
    assert page.index("1 failed, 1 waiting, 4 done") < page.index("<nav>")
    assert "Missing on test: Student seed 1 (waiting: not begun); ILKD seed 1" in text
    assert "&lt;in a row&gt;" in page
    assert "<in a row>" not in page + text
    assert "144.500 (n=1" in text


def test_unreadable_result_is_named_and_the_others_shown(sweep):
    root = small(sweep)
    path = root / "bsds300-ilkd/seed=1/results/ilkd/seed_1/result.json"
    path.write_text(path.read_text()[:50])
    written = report.write(root)
    assert len(written.wrong) == 1
    assert written.wrong[0].startswith(
        "bsds300-ilkd/seed=1/results/ilkd/seed_1/result.json: not JSON"
    )
    assert "1 unreadable, 5 done" in written.markdown
    assert "144.500 (n=1" in written.markdown


def test_only_failed_and_missing_points(sweep):
    root = small(sweep, **{f"{m}{s}": "waiting" for m in GAIN for s in (0, 1)})
    put(root / "bsds300-teacher/seed=0/failed.json", {"error": FAILED})
    assert report.main([str(root), "--quiet"]) == 1
    assert "6 points: 1 failed, 5 waiting." in read(root)
    assert "No results yet" in read(root)


def test_broken_sweep_file_is_a_problem(sweep):
    root = small(sweep)
    (root / "sweep.json").write_text("{")
    written = report.write(root)
    assert written.wrong[0].startswith("sweep.json: cannot be read")
    assert "6 points: 6 done." in written.markdown


def test_cell_of_which_nothing_was_begun_is_named(sweep):
    small(sweep)
    sweep.point("skd", 0, "waiting")
    text = report.write(sweep.write()).markdown
    assert "Missing, and not begun: bsds300-skd/seed=0." in text


def test_missing_seed_is_known_by_its_like(sweep):
    small(sweep)
    sweep.point("ilkd", 2, "waiting")
    found = report_gather.gather(sweep.write())
    assert found.unknown == ()
    (asked,) = found.asked() or ()
    assert asked == ("MAF", "bsds300", "ilkd", 2, "waiting: not begun")


def weights(sweep, label):
    for seed in (0, 1):
        sweep.point("teacher", seed)
        sweep.point("student", seed)
        for w in (0.1, 0.25, 10.0):
            told = label.format(w)
            sweep.point("ilkd", seed, "done", "bsds300", told, loss_weight=w)
    return sweep.write()


@pytest.mark.parametrize("label", ["", "ilkd w={:g}"])
def test_pivot_of_weights(sweep, label):
    found = report_gather.gather(weights(sweep, label))
    (table,) = report_settings.pivots(found.runs)
    assert table.title == "MAF on bsds300 by setting"
    assert table.header[:4] == ("Model", "weight", "Test (nats)", "Δ Test (nats)")
    assert [row[:4] for row in table.rows] == [
        ("Teacher", "-", "148.500 ± 6.353", "+4.000 ± 0.000 *"),
        ("Student", "-", "144.500 ± 6.353", "-"),
        ("ILKD", "0.1", "144.900 ± 6.353", "+0.400 ± 0.000 *"),
        ("ILKD", "0.25", "144.750 ± 6.353", "+0.250 ± 0.000 *"),
        ("ILKD", "10", "135.000 ± 6.353", "-9.500 ± 0.000 *"),
    ]
    assert "Columns: weight: loss.weight." in table.notes
    methods = [m for m in dict.fromkeys(r.method for r in found.runs) if "=" in m]
    first = "ilkd w=0.1" if label else "ilkd weight=0.1"
    assert sorted(methods)[0] == first
    assert report.main([str(found.root), "--quiet"]) == 0


def test_plain_student_of_the_same_setting(sweep):
    for seed in (0, 1):
        for steps in (100, 200):
            sweep.point("student", seed, train_steps=steps)
            sweep.point("ilkd", seed, train_steps=steps)
    root = sweep.write()
    found = report_gather.gather(root)
    assert {run.method for run in found.runs} == {
        *("student steps=100", "student steps=200"),
        *("ilkd steps=100", "ilkd steps=200"),
    }
    (table,) = report_settings.pivots(found.runs)
    assert [row[:2] for row in table.rows] == [
        *(("Student", "100"), ("Student", "200")),
        *(("ILKD", "100"), ("ILKD", "200")),
    ]
    assert [row[3] for row in table.rows] == ["-", "-", *["+0.500 ± 0.000 *"] * 2]
    # Unlike budgets are not averaged.
    comparison = report.write(root).markdown.partition("### MAF on bsds300\n")[2]
    comparison = comparison.partition("###")[0]
    assert comparison.count("| ilkd steps=") == 2


def test_lost_seed_of_a_setting(sweep):
    weights(sweep, "")
    sweep.point("ilkd", 2, "failed", loss_weight=0.1)
    (table,) = report_settings.pivots(report_gather.gather(sweep.write()).runs)
    assert table.rows[2][-1] == "0, 1; lost 2"


def test_twice_the_same_without_a_sweep_is_refused(tmp_path):
    for name in ("a", "b"):
        put(tmp_path / name / "result.json", record("student", 0).to_json())
    with pytest.raises(ValueError, match="a and b both hold MAF bsds300 student"):
        report.write(tmp_path)
    assert not (tmp_path / "table.md").exists()


def test_what_differs_between_configs(sweep):
    found = report_gather.gather(weights(sweep, ""))
    table = report_settings.differing(found.runs)
    assert table is not None
    assert table.header == ("Arch", "Data", "Model", "weight", "Seeds")
    assert ("MAF", "bsds300", "Student, Teacher", "-", "0, 1") in table.rows


def test_study_without_points(tmp_path):
    for method in ("teacher", "student"):
        for seed in (3, 4):
            path = tmp_path / f"results/{method}/seed_{seed}/result.json"
            put(path, record(method, seed).to_json())
        put(tmp_path / method / "config.json", {"seed": 3, "runs": 2})
        lines = [{"step": s, "nll": [-s, s]} for s in (50, 100)]
        text = "".join(json.dumps(row) + "\n" for row in lines)
        put(tmp_path / method / "log.jsonl", text)
    found = report_gather.gather(tmp_path)
    assert {(run.folder.name, run.index) for run in found.runs} == {
        *(("teacher", 0), ("teacher", 1), ("student", 0), ("student", 1))
    }
    assert found.asked() is None
    report.write(tmp_path)
    assert "4 runs with results." in read(tmp_path)
    assert read(tmp_path).count("image/svg+xml") == 1


def test_nothing_to_report(tmp_path):
    with pytest.raises(FileNotFoundError, match="no result.json under"):
        report.write(tmp_path)
    with pytest.raises(FileNotFoundError, match="is not a directory"):
        report.write(tmp_path / "absent")
