"""Tables from small hand-made records."""

import json
import math

import numpy as np
import pytest

from fdnf.evaluation.core import records
from fdnf.evaluation.tables import cells, markup, tables

SOURCE = "BSDS300 patches drawn from the images, a re-split"


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


def lines(table):
    """Markdown lines without the padding."""
    found = markup.to_markdown(table).splitlines()
    return [" ".join(line.split()) for line in found]


def test_table_1():
    found = lines(tables.likelihood_table(study(), "test"))
    assert found[0] == "### Test log-likelihood (nats)"
    assert found[2] == "| Arch | Model | bsds300 |"
    assert found[4:9] == [
        # 4.302653 * 1 / sqrt(3).
        "| MAF | Student | 145.000 ± 2.484 |",
        "| MAF | LKD | - |",
        "| MAF | ILKD | 145.533 ± 2.609 |",
        "| MAF | SKD | - |",
        "| MAF | Teacher | 148.000 (n=1) |",
    ]
    assert "- Missing on test: MAF bsds300 LKD; MAF bsds300 SKD." in found
    assert (
        "- Steps skipped because not finite: MAF bsds300 ILKD seed 1: 2 of 30000; "
        "MAF bsds300 ILKD seed 2: 4 of 30000." in found
    )
    assert any("one run: 0.200 nats" in line for line in found)


def test_validation_is_a_table_of_its_own():
    found = lines(tables.likelihood_table(study(), "val"))
    assert found[0] == "### Validation log-likelihood (nats)"
    assert "| MAF | Teacher | 159.000 (n=1) |" in found


def test_rows_and_columns_stand_in_the_papers_order():
    runs = [
        make(arch="MAF", data="patches"),
        make(arch="Glow", data="bsds300"),
        make("skd+samples", arch="Glow", data="power"),
    ]
    table = tables.likelihood_table(runs)
    assert table.header == ("Arch", "Model", "power", "bsds300", "patches")
    assert [row[:2] for row in table.rows[:7]] == [
        ("Glow", "Student"),
        ("Glow", "LKD"),
        ("Glow", "ILKD"),
        ("Glow", "SKD"),
        ("Glow", "skd+samples"),
        ("Glow", "Teacher"),
        ("MAF", "Student"),
    ]


def test_lost_seed_is_named():
    runs = [run for run in study() if (run.method, run.seed) != ("ilkd", 1)]
    notes = tables.likelihood_table(runs).notes
    assert any("MAF bsds300 ILKD seed 1" in n for n in notes if "Missing" in n)
    # Students may share one teacher.
    assert not any("Teacher" in note for note in notes)


def test_diverged_seed_is_left_out_and_named():
    runs = [make(seed=0, test=1.0), make(seed=1, test=3.0), make(seed=2, test=math.nan)]
    table = tables.likelihood_table(runs)
    assert table.rows[0][2] == "2.000 ± 12.706"
    assert any(
        n.startswith("Diverged") and "MAF bsds300 Student seed 2" in n
        for n in table.notes
    )


@pytest.mark.parametrize(
    ("source", "note"),
    [
        (
            "UCI POWER, subset of 4.6 %.",
            "bsds300: subset, not comparable with published numbers "
            "(UCI POWER, subset of 4.6 %).",
        ),
        (SOURCE, f"bsds300: not comparable with published numbers ({SOURCE})."),
        ("published archive", "bsds300: published archive."),
    ],
)
def test_source_is_footnoted(source, note):
    assert cells.sources([make(source=source), make(seed=1, source=source)]) == [note]
    assert note in tables.likelihood_table([make(source=source)]).notes


def test_table_2():
    found = lines(tables.cost_table(study()))
    assert found[4:13] == [
        "| MAF | Student | Density (ms) | 1.00 (0.90-1.25) |",
        "| MAF | Student | Sampling (ms) | 20.0 (19.0-22.0) |",
        "| MAF | Student | Params (K) | 21.8 |",
        "| MAF | Teacher | Density (ms) | 2.00 (1.80-2.50) |",
        "| MAF | Teacher | Sampling (ms) | 50.0 (48.0-51.0) |",
        "| MAF | Teacher | Params (K) | 43.6 |",
        "| MAF | Teacher / Student | Density | 2.00x |",
        "| MAF | Teacher / Student | Sampling | 2.50x |",
        "| MAF | Teacher / Student | Params | 2.00x |",
    ]
    assert not any("Missing" in line for line in found)


def test_table_2_names_what_was_not_timed():
    table = tables.cost_table([make(sampling_ms=None)])
    missing = next(note for note in table.notes if note.startswith("Missing"))
    assert missing == "Missing: MAF bsds300 Student Sampling (ms); MAF bsds300 Teacher."
    assert [row[-1] for row in table.rows[-3:]] == ["-", "-", "-"]


def test_comparison():
    table = tables.comparison(study(), "MAF", "bsds300")
    found = lines(table)
    assert found[2] == (
        "| Model | Test (nats) | Validation (nats) | Sliced W2 | Params | "
        "Density (ms) | Sampling (ms) |"
    )
    assert found[4:7] == [
        "| Teacher | 148.000 (n=1, se 0.200) | 159.000 (n=1, se 0.300) | "
        "0.0300 (n=1) | 43,572 | 2.00 (1.80-2.50) | 50.0 (48.0-51.0) |",
        "| Student | 145.000 ± 2.484 (se 0.200) | 155.000 ± 0.000 (se 0.300) | "
        "0.0500 ± 0.0000 | 21,786 | 1.00 (0.90-1.25) | 20.0 (19.0-22.0) |",
        "| ILKD | 145.533 ± 2.609 (se 0.200) | 155.000 ± 0.000 (se 0.300) | "
        "0.0500 ± 0.0000 | 21,786 | 1.00 (0.90-1.25) | 20.0 (19.0-22.0) |",
    ]
    # Methods that were not asked for here are not missing.
    assert not any("Missing" in note for note in table.notes)
    with pytest.raises(ValueError, match="no record of Glow on gas"):
        tables.comparison(study(), "Glow", "gas")


def test_comparison_names_what_was_not_measured():
    runs = [make(), make("ilkd", metrics={}, density_ms=None)]
    table = tables.comparison(runs, "MAF", "bsds300")
    assert "Not measured: ILKD Sliced W2; ILKD Density (ms)." in table.notes


def test_small_metrics_keep_three_digits():
    runs = [make(metrics={"mmd": 1.234e-4}), make("lkd", metrics={"mmd": 1.114e-4})]
    table = tables.comparison(runs, "MAF", "bsds300")
    assert table.rows[0][3] == "0.000123 (n=1)"
    assert tables.paired_differences(runs).rows[0][5] == "-0.000012 (n=1)"


def test_paired_differences():
    table = tables.paired_differences(study())
    # 0.5, 0.5, 0.6: far less than the spread over seeds.
    assert table.rows[0] == (
        *("MAF", "bsds300", "ILKD", "+0.533 ± 0.143 *", "+0.000 ± 0.000"),
        *("+0.0000 ± 0.0000", "0, 1, 2"),
    )
    teacher = table.rows[1]
    assert teacher[2:4] == ("Teacher", "+4.000 (n=1)")
    assert teacher[-2:] == ("-0.0200 (n=1)", "0")


def test_paired_differences_tell_unequal_training():
    runs = [make(), make("lkd", steps=90000)]
    notes = tables.paired_differences(runs).notes
    assert any("LKD took 90000 steps, the plain student 30000" in n for n in notes)
    assert len(tables.paired_differences([make(), make("lkd")]).notes) == 1


def test_latex():
    text = markup.to_latex(tables.likelihood_table([make(data="miniboone_small")]))
    assert r"Arch & Model & miniboone\_small \\" in text
    assert r"MAF & Student & 144.000 (n=1) \\" in text
    two = [make(), make(seed=1)]
    assert r"144.000 $\pm$ 0.000" in markup.to_latex(tables.likelihood_table(two))


def test_record_survives_json():
    record = make(sampling_ms=None, metrics={"mmd": -0.01}, source=SOURCE)
    assert records.Record.from_json(record.to_json()) == record
    measured = make(seed=np.int64(3), metrics={"mmd": np.float32(0.5)})
    assert records.Record.from_json(measured.to_json()).metrics == {"mmd": 0.5}
    diverged = make(test=math.nan)
    assert json.loads(diverged.to_json())["log_likelihood"]["test"] == [None, 0.2]
    back = records.Record.from_json(diverged.to_json())
    assert math.isnan(back.log_likelihood["test"][0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": "0"}, "seed is '0': expected an integer"),
        ({"steps": -1}, "steps is -1"),
        ({"density_ms": [1.0, 2.0]}, r"density_ms is \[1.0, 2.0\]: expected 3 numbers"),
        ({"log_likelihood": {"val": 1.0}}, "log_likelihood.val is 1.0"),
        ({"metrics": {"mmd": "low"}}, "metrics.mmd is 'low'"),
        ({"surprise": 1}, r"unknown: \['surprise'\]"),
        ({"arch": None}, "arch is None: expected a string"),
    ],
)
def test_wrong_fields_are_refused(change, message):
    fields = json.loads(make().to_json()) | change
    with pytest.raises(ValueError, match=message):
        records.Record.from_json(json.dumps(fields))


def test_missing_field_is_refused():
    fields = json.loads(make().to_json())
    del fields["seed"], fields["source"]
    with pytest.raises(ValueError, match=r"missing: \['seed'\]"):
        records.Record.from_json(json.dumps(fields))


def write(folder, record):
    folder.mkdir(parents=True)
    (folder / "result.json").write_text(record.to_json(), encoding="utf-8")


def test_read_records_collects_below(tmp_path):
    for run in study():
        write(tmp_path / run.method / str(run.seed), run)
    found = tables.read_records(tmp_path)
    assert sorted(found, key=lambda r: r[:4]) == sorted(study(), key=lambda r: r[:4])


def test_broken_file_is_named(tmp_path):
    write(tmp_path / "a", make())
    broken = tmp_path / "b" / "result.json"
    broken.parent.mkdir()
    broken.write_text(make().to_json()[:50])
    with pytest.raises(ValueError, match="not JSON") as error:
        tables.read_records(tmp_path)
    assert str(broken) in str(error.value)


def test_one_run_twice_is_refused(tmp_path):
    write(tmp_path / "a", make())
    write(tmp_path / "b", make(test=1.0))
    with pytest.raises(ValueError, match="both hold MAF bsds300 student seed 0"):
        tables.read_records(tmp_path)


def test_table_1_stands_where_it_would_not_be_mostly_dashes():
    titles = [table.title for table in tables.every_table(study())]
    assert "Test log-likelihood (nats)" not in titles
    whole = [make(method=method) for method in tables.cells.METHODS]
    titles = [table.title for table in tables.every_table(whole)]
    assert titles == [
        "MAF on bsds300",
        "Difference to the plain student",
        "Test log-likelihood (nats)",
        "Validation log-likelihood (nats)",
        "Time and size",
    ]
