"""Whole reports of directories that are made by hand."""

import pathlib
import re
import shutil

import pytest

from fdnf.evaluation.core import scores
from fdnf.evaluation.core.scores import Result, Run, Score
from fdnf.evaluation.report import __main__ as command
from fdnf.evaluation.report.write import write
from tests.evaluation.report import made
from tests.evaluation.report.made import put, small

EVIL = '<img src=x onerror="alert(1)">'


def html(root):
    return (root / "report.html").read_text(encoding="utf-8")


def titles(text):
    return re.findall(r"^##+ (.*)$", text, re.MULTILINE)


def rows(text, title):
    """The cells of the first table of a title, row by row."""
    part = text.partition(f"### {title}\n")[2].partition("###")[0]
    lines = [line for line in part.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]


def test_whole_sweep(tmp_path):
    root = small(tmp_path / "root").root
    written = write(root, latex=True)
    assert written.wrong == ()
    names = ["report.html", "table.md", "table.tex"]
    assert [path.name for path in written.paths] == names
    found = titles(written.markdown)
    assert found[:2] == ["State", "Tables"]
    assert {"MAF on bsds300", "Difference to the plain student"} <= {*found}
    assert found[-3:] == ["Versions", "Data", "Commands"]
    for text in (written.markdown, html(root)):
        assert "6 points: 6 done." in text
        assert "+0.500 ± 0.000 *" in text
        assert "launch it" in text
        assert "run bsds300-ilkd/seed=1" in text
        assert "6 runs, as trained" in text
        assert "9.8.7" in text
        assert "not comparable with published numbers" in text
        # Of this directory, nothing.
        assert str(root) not in text
    assert r"\begin{tabular}" in (root / "table.tex").read_text(encoding="utf-8")
    assert "<title>mine</title>" in html(root)
    assert html(root).count("image/svg+xml") == 1
    assert "loss.method = ilkd" in html(root)
    assert list(root.glob(".*")) == []


def test_the_same_directory_gives_the_same_pages(tmp_path):
    root = small(tmp_path / "root", ilkd1="failed").root
    first = write(root).markdown, html(root)
    assert first == (write(root).markdown, html(root))


def test_what_is_wrong_comes_first_and_gives_a_status(tmp_path, capsys):
    root = small(tmp_path / "root", ilkd1="failed", student1="waiting").root
    assert command.main([str(root), "--quiet"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "missing: bsds300-ilkd/seed=1 (failed: 500 steps" in err
    assert "missing: bsds300-student/seed=1 (waiting)" in err
    text = (root / "table.md").read_text(encoding="utf-8")
    page = html(root)
    assert text.index("1 failed, 1 waiting, 4 done") < text.index("## Tables")
    assert page.index("1 failed, 1 waiting, 4 done") < page.index("<nav>")
    assert "&lt;in a row&gt;" in page
    assert "<in a row>" not in page + text
    assert "144.500 (n=1" in text


def test_only_failed_and_missing_points(tmp_path):
    states = {f"{m}{s}": "waiting" for m in ("student", "ilkd") for s in (0, 1)}
    root = small(
        tmp_path / "root", **states, teacher0="failed", teacher1="waiting"
    ).root
    assert command.main([str(root), "--quiet"]) == 1
    assert "6 points: 1 failed, 5 waiting." in html(root)
    assert "No results yet" in html(root)
    # What the failed one came to is drawn.
    assert html(root).count("image/svg+xml") == 1


def test_damaged_result_is_named_and_the_others_shown(tmp_path):
    root = small(tmp_path / "root").root
    path = root / "bsds300-ilkd/seed=1/results/ilkd/seed_1/result.json"
    path.write_text(path.read_text()[:50])
    written = write(root)
    assert len(written.wrong) == 1
    assert written.wrong[0].startswith(
        "bsds300-ilkd/seed=1/results/ilkd/seed_1/result.json: not JSON"
    )
    assert "1 unreadable, 5 done" in written.markdown
    assert "144.500 (n=1" in written.markdown


def weights(root, label=""):
    sweep = made.Sweep(root)
    for seed in (0, 1):
        sweep.point("teacher", seed)
        sweep.point("student", seed)
        for w in (0.1, 0.25, 10.0):
            sweep.point("ilkd", seed, label=label.format(w), loss_weight=w)
    return sweep.write()


def test_settings_are_a_column(tmp_path):
    text = write(weights(tmp_path / "root")).markdown
    found = rows(text, "MAF on bsds300")
    assert found[0][:3] == ["Model", "loss.weight", "Test log-likelihood (nats) ↑"]
    assert [row[:2] for row in found[2:]] == [
        *(["Teacher", ""], ["Student", ""], ["ILKD", "0.1"]),
        *(["ILKD", "0.25"], ["ILKD", "10.0"]),
    ]
    found = rows(text, "Difference to the plain student")
    by_weight = {row[3]: row[4] for row in found[2:]}
    assert by_weight["0.1"] == "+0.400 ± 0.000 *"
    assert by_weight["10.0"] == "-9.500 ± 0.000 *"


def test_a_label_names_a_setting_as_well(tmp_path):
    text = write(weights(tmp_path / "root", "ilkd w={:g}")).markdown
    names = [row[0] for row in rows(text, "MAF on bsds300")[2:]]
    assert names == ["Teacher", "Student", "ilkd w=0.1", "ilkd w=0.25", "ilkd w=10"]


def test_plain_student_of_the_same_setting(tmp_path):
    sweep = made.Sweep(tmp_path / "root")
    for seed in (0, 1):
        for steps in (100, 200):
            sweep.point("student", seed, train_steps=steps)
            sweep.point("ilkd", seed, train_steps=steps, loss_weight=steps / 1000)
    text = write(sweep.write()).markdown
    found = rows(text, "Difference to the plain student")
    # Unlike budgets are not averaged; the student has no weight to differ in.
    assert [row[2:6] for row in found[2:]] == [
        ["ILKD", "100", "0.1", "+0.400 ± 0.000 *"],
        ["ILKD", "200", "0.2", "+0.300 ± 0.000 *"],
    ]


def test_study_without_points(tmp_path):
    for method in ("teacher", "student"):
        for seed in (3, 4):
            scores.write(made.result(method, seed), tmp_path / "results")
        put(tmp_path / method / "config.json", {"seed": 3, "runs": 2})
        made.log(tmp_path / method, [{"step": s, "nll": [-s, s]} for s in (50, 100)])
    made.picture(tmp_path / "figures" / "marginals.png")
    write(tmp_path)
    assert "4 runs with results." in html(tmp_path)
    assert html(tmp_path).count("image/svg+xml") == 1
    assert html(tmp_path).count("image/jpeg") == 1


def test_markup_in_names_and_configs_shows_as_text(tmp_path):
    root = tmp_path / "root"
    sweep = made.Sweep(root)
    folder = sweep.point("ilkd", 0, label=EVIL, data="<b>data</b>")
    made.picture(folder / "figures" / "<i>samples.png")
    sweep.write(sweep=EVIL, created_by=EVIL, arguments={EVIL: EVIL})
    put(root / "other <b>" / "result.json", "{")
    text = write(root).markdown
    page = html(root)
    for given in (EVIL, "<b>", "<i>"):
        assert given not in page
    assert "&lt;img src=x onerror=" in page
    assert "<img src=x" not in text.partition("## Commands")[0]


def of_kind(kind, metric, **fields):
    """Two seeds of a teacher and a student, and real data, of some kind."""
    for method in ("teacher", "student"):
        for seed in (0, 1):
            run = Run("some", method, seed, "Net", kind, facts={"parameters": 10})
            yield Result(run, (Score(metric, 2.0 + seed, **fields),))
    yield Result(Run("some", "real", kind=kind), (Score(metric, 7.125, **fields),))


# Of each kind a metric, or a folder of stored results; and what tables show of them.
STORED = pathlib.Path(__file__).parents[1] / "core" / "stored"
KINDS = {
    "vectors": ("log_likelihood", {"split": "test"}, "2.500 ± 6.353"),
    "images": ("bits_per_dim", {"split": "test"}, "2.500 ± 6.353"),
    "super_resolution": (None, {}, "23.00 ± 12.71"),
    "speech": (None, {}, "3.000 ± 6.572"),
    "gaussian": (None, {}, "+0.51 ± 0.18 *"),
    "transfer": (None, {}, "samples against the teacher"),
    "another": ("own_metric", {}, "2.500 ± 6.353"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_result_has_tables_and_pictures(kind, tmp_path):
    metric, fields, shown = KINDS[kind]
    if metric is None:
        # Samplers had a folder of their own beside the results.
        folder = "transfer" if kind == "transfer" else "results"
        shutil.copytree(STORED / kind, tmp_path / folder)
    else:
        for result in of_kind(kind, metric, **fields):
            scores.write(result, tmp_path / "results")
    made.picture(tmp_path / "figures" / "Set5.png")
    text = write(tmp_path).markdown
    assert shown in text
    for part in (shown, "image/jpeg", 'alt="'):
        assert part in html(tmp_path)


def test_command_line_on_nothing(tmp_path, capsys):
    assert command.main([str(tmp_path)]) == 2
    assert "no result.json under" in capsys.readouterr().err
    assert command.main([str(tmp_path / "absent")]) == 2
    assert "is not a directory" in capsys.readouterr().err
    assert not (tmp_path / "report.html").exists()


def test_command_line_prints_the_page(tmp_path, capsys):
    root = small(tmp_path / "root").root
    assert command.main([str(root)]) == 0
    printed, said = capsys.readouterr()
    assert printed.rstrip("\n") == (root / "table.md").read_text("utf-8").rstrip("\n")
    assert "report.html" in said
