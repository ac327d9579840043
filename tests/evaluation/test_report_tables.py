"""Tables as a report has them, and its command line."""

from fdnf.evaluation.core import records
from fdnf.evaluation.report import report
from fdnf.evaluation.tables import cells, tables


def make(method="student", seed=0, test=144.0, val=155.0, **changes):
    fields = {
        "arch": "MAF",
        "data": "bsds300",
        "method": method,
        "seed": seed,
        "log_likelihood": {"test": (test, 0.2), "val": (val, 0.3)},
        "parameters": 21786,
        "density_ms": (1.0, 0.9, 1.25),
        "sampling_ms": (20.0, 19.0, 22.0),
        "metrics": {"sliced_wasserstein": 0.05},
        "steps": 30000,
        "skipped_steps": 0,
        "source": "",
    }
    return records.Record(**fields | changes)


def study():
    teacher = {
        "parameters": 43572,
        "density_ms": (2.0, 1.8, 2.5),
        "sampling_ms": (50.0, 48.0, 51.0),
        "metrics": {"sliced_wasserstein": 0.03},
    }
    plain = [make(seed=seed, test=144.0 + seed) for seed in range(3)]
    distilled = [
        make("ilkd", seed, 144.5 + seed + 0.1 * (seed == 2), skipped_steps=2 * seed)
        for seed in range(3)
    ]
    return [*plain, *distilled, make("teacher", 0, 148.0, 159.0, **teacher)]


def write(folder, record):
    folder.mkdir(parents=True)
    (folder / "result.json").write_text(record.to_json(), encoding="utf-8")


def titles(text):
    return [line[4:] for line in text.splitlines() if line.startswith("### ")]


def test_several_studies_begin_with_table_1():
    runs = [make(), make("ilkd"), make(data="power")]
    found = [table.title for table in tables.every_table(runs)]
    assert found[:3] == [
        "Test log-likelihood (nats)",
        "Validation log-likelihood (nats)",
        "Time and size",
    ]
    assert found[3:5] == ["MAF on bsds300", "MAF on power"]


def test_of_a_sweep_only_what_was_asked_for_is_missing():
    runs = [make(), make(seed=1), make("ilkd"), make("teacher", data="power")]
    asked = [
        cells.Asked("MAF", "bsds300", "ilkd", 1, "failed: not finite"),
        cells.Asked("Glow", "gas", "student", 0, "waiting"),
        cells.Asked("Glow", "gas", "student", 1, "waiting"),
    ]
    table = tables.likelihood_table(runs, "test", asked)
    assert table.header == ("Arch", "Model", "power", "gas", "bsds300")
    assert [row[:2] for row in table.rows] == [
        ("Glow", "Student"),
        ("MAF", "Student"),
        ("MAF", "ILKD"),
        ("MAF", "Teacher"),
    ]
    assert [note for note in table.notes if note.startswith("Missing")] == [
        "Missing on test: Glow gas Student seed 0, 1 (waiting); "
        "MAF bsds300 ILKD seed 1 (failed: not finite)."
    ]
    whole = tables.likelihood_table(runs, "test", [])
    assert not any(note.startswith("Missing") for note in whole.notes)
    notes = tables.comparison(runs, "MAF", "bsds300", asked).notes
    assert "Missing on test: ILKD seed 1 (failed: not finite)." in notes


def test_labels_are_ordered_by_their_numbers():
    names = ["w=10", "w=2", "w=0.1", "w=1e-3", "v", "w=2 v=1"]
    found = sorted(names, key=cells.by_number)
    assert found == ["v", "w=1e-3", "w=0.1", "w=2", "w=2 v=1", "w=10"]


def test_command_line(tmp_path, capsys):
    for run in study():
        write(tmp_path / run.method / str(run.seed), run)
    assert report.main([str(tmp_path), "--latex"]) == 0
    printed, said = capsys.readouterr()
    assert titles(printed) == [
        "MAF on bsds300",
        "Difference to the plain student",
        "Time and size",
    ]
    assert "report.html" in said
    assert (tmp_path / "table.md").read_text(encoding="utf-8") == printed.rstrip(
        "\n"
    ) + "\n"
    assert r"\begin{tabular}" in (tmp_path / "table.tex").read_text(encoding="utf-8")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "145.533 ± 2.609" in page


def test_command_line_on_nothing(tmp_path, capsys):
    assert report.main([str(tmp_path)]) == 2
    assert "no result.json under" in capsys.readouterr().err
    assert report.main([str(tmp_path / "absent")]) == 2
    assert "is not a directory" in capsys.readouterr().err
    assert not (tmp_path / "report.html").exists()


def test_written_tables_are_those_of_the_study(tmp_path):
    for run in study():
        write(tmp_path / run.method / str(run.seed), run)
    text = tables.write(tmp_path)
    assert titles(text)[0] == "MAF on bsds300"
    assert (tmp_path / "table.md").read_text(encoding="utf-8") == text
    assert [path.name for path in tmp_path.glob("*.*")] == ["table.md"]
