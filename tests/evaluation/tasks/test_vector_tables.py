"""Tables of flows on vectors, from hand-made results."""

import math

import pytest

from fdnf.evaluation.core.scores import Result, Run, Score
from fdnf.evaluation.tables import missing, table, view
from fdnf.evaluation.tasks import vectors
from tests.evaluation.tables import cells

SOURCE = "BSDS300 patches drawn from the images, a re-split"


def make(method="student", seed=0, test=144.0, val=155.0, *, scores=None, **changes):
    """A run; `scores` replace its metrics and times."""
    facts = {"parameters": 21786, "steps": 30000, "skipped_steps": 0, "source": ""}
    facts |= {k: changes.pop(k) for k in list(changes) if k in facts}
    if scores is None:
        scores = timed(1.0, 20.0), Score("sliced_wasserstein", 0.05, "test")
    fits = (
        Score("log_likelihood", test, "test", se=0.2),
        Score("log_likelihood", val, "val", se=0.3),
    )
    own = {"arch": "MAF", "data": "bsds300", "kind": "vectors"} | changes
    flat = [s for each in scores for s in ([each] if type(each) is Score else each)]
    return Result(Run(method=method, seed=seed, facts=facts, **own), (*fits, *flat))


def timed(density, sampling):
    return (
        Score("density_ms", density, low=0.9 * density, high=1.25 * density),
        Score("sampling_ms", sampling, low=0.95 * sampling, high=1.1 * sampling),
    )


def study():
    teacher = timed(2.0, 50.0), Score("sliced_wasserstein", 0.03, "test")
    plain = [make(seed=seed, test=144.0 + seed) for seed in range(3)]
    distilled = [
        make("ilkd", seed, 144.5 + seed + 0.1 * (seed == 2), skipped_steps=2 * seed)
        for seed in range(3)
    ]
    large = make("teacher", 0, 148.0, 159.0, scores=teacher, parameters=43572)
    return [*plain, *distilled, large]


def build(which, results):
    (found,) = view.build(which, results)
    return found


def test_table_1():
    found = build(vectors.LIKELIHOODS[0], study())
    assert found.title == "Test log-likelihood (nats)"
    assert found.header == ("Arch", "Model", "bsds300")
    assert found.texts() == [
        # 4.302653 * 1 / sqrt(3).
        ["MAF", "Student", "145.000 ± 2.484 (se 0.200)"],
        ["MAF", "ILKD", "145.533 ± 2.609 (se 0.200)"],
        ["MAF", "Teacher", "148.000 (n=1, se 0.200)"],
    ]
    assert (
        "Steps skipped because not finite: MAF bsds300 ILKD seed 1: 2 of 30000; "
        "MAF bsds300 ILKD seed 2: 4 of 30000." in found.notes
    )


def test_validation_is_a_table_of_its_own():
    found = build(vectors.LIKELIHOODS[1], study())
    assert found.title == "Validation log-likelihood (nats)"
    assert found.texts()[-1] == ["MAF", "Teacher", "159.000 (n=1, se 0.300)"]


def test_rows_and_columns_stand_in_the_papers_order():
    runs = [
        make(arch="MAF", data="patches"),
        make("skd+samples", arch="Glow", data="power"),
        *(make(m, arch="Glow") for m in ("teacher", "skd", "lkd", "student", "ilkd")),
    ]
    found = build(vectors.LIKELIHOODS[0], runs)
    assert found.header == ("Arch", "Model", "power", "bsds300", "patches")
    assert [row[:2] for row in found.texts()] == [
        ["Glow", "Student"],
        ["Glow", "LKD"],
        ["Glow", "ILKD"],
        ["Glow", "SKD"],
        ["Glow", "skd+samples"],
        ["Glow", "Teacher"],
        ["MAF", "Student"],
    ]


def test_lost_seed_is_named():
    runs = [r for r in study() if (r.run.method, r.run.seed) != ("ilkd", 1)]
    notes = build(vectors.LIKELIHOODS[0], runs).notes
    # Students may share one teacher.
    assert "Missing: MAF bsds300 ILKD seed 1." in notes


def test_diverged_seed_is_left_out_and_named():
    runs = [make(seed=0, test=1.0), make(seed=1, test=3.0), make(seed=2, test=math.nan)]
    found = build(vectors.LIKELIHOODS[0], runs)
    assert found.texts()[0][2] == "2.000 ± 12.706 (se 0.200) (2 of 3)"
    (told,) = (note for note in found.notes if note.startswith("Diverged"))
    assert told.endswith("MAF bsds300 Student seed 2.")


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
    runs = [make(source=source), make(seed=1, source=source)]
    assert missing.sources(runs) == [note]
    assert note in build(vectors.LIKELIHOODS[0], runs).notes


def test_table_2():
    found = build(vectors.COST, study())
    assert found.header[3:] == ("Density (ms)", "Sampling (ms)", "Params (K)")
    assert [row[2:] for row in found.texts()] == [
        ["Teacher", "2.00 (1.80-2.50)", "50.0 (47.5-55.0)", "43.6"],
        ["Student", "1.00 (0.90-1.25)", "20.0 (19.0-22.0)", "21.8"],
        ["Teacher / Student", "2.00x", "2.50x", "2.00x"],
    ]


def test_times_are_those_of_the_seeds_that_were_timed():
    runs = [make(), make(seed=1, scores=()), make("teacher", scores=[timed(3.0, 9.0)])]
    rows = cells.by_row(build(vectors.COST, runs), 2)
    found = build(vectors.COST, [*runs, make(seed=2, scores=[timed(3.0, 40.0)])])
    assert [row[4] for row in found.texts()] == [
        *("9.00 (8.55-9.90)", "30.0 (28.5-33.0)", "0.30x")
    ]
    assert len(rows) == 1
    alone = build(vectors.COST, [make(), make("teacher", scores=())])
    assert [row[3] for row in alone.texts()] == ["-", "1.00 (0.90-1.25)", ""]


def test_comparison():
    floor = Result(
        Run("bsds300", "training", kind="vectors"),
        (Score("sliced_wasserstein", 0.01, "test"),),
    )
    found = build(vectors.COMPARISON, [floor, *study()])
    assert found.title == "MAF on bsds300"
    assert found.header == (
        *(
            "Model",
            "Test log-likelihood (nats) ↑",
            "Validation log-likelihood (nats) ↑",
        ),
        *("Sliced W2 ↓", "Params", "Density (ms)", "Sampling (ms)"),
    )
    assert found.texts() == [
        ["Training data", "-", "-", "0.0100", "-", "-", "-"],
        [
            *("Teacher", "148.000 (n=1, se 0.200)", "159.000 (n=1, se 0.300)"),
            *("0.0300 (n=1)", "43,572", "2.00 (1.80-2.50)", "50.0 (47.5-55.0)"),
        ],
        [
            *("Student", "145.000 ± 2.484 (se 0.200)", "155.000 ± 0.000 (se 0.300)"),
            *("0.0500 ± 0.0000", "21,786", "1.00 (0.90-1.25)", "20.0 (19.0-22.0)"),
        ],
        [
            *("ILKD", "145.533 ± 2.609 (se 0.200)", "155.000 ± 0.000 (se 0.300)"),
            *("0.0500 ± 0.0000", "21,786", "1.00 (0.90-1.25)", "20.0 (19.0-22.0)"),
        ],
    ]
    # Methods that were not asked for here are not missing.
    assert not any("Missing" in note for note in found.notes)


def test_a_table_for_each_architecture_and_data_set():
    runs = [*study(), make(arch="Glow"), make(data="gas")]
    titles = [t.title for t in view.build(vectors.COMPARISON, runs)]
    assert titles == ["Glow on bsds300", "MAF on gas", "MAF on bsds300"]


def test_small_metrics_keep_three_digits():
    runs = [
        make(scores=[Score("mmd", 1.234e-4, "test")]),
        make("lkd", scores=[Score("mmd", 1.114e-4, "test")]),
    ]
    rows = cells.by_row(build(vectors.COMPARISON, runs))
    assert rows["Student"]["MMD² ↓"] == "0.000123 (n=1)"
    rows = cells.by_row(build(vectors.DIFFERENCES, runs), 3)
    assert rows["MAF"]["MMD² ↓"] == "-0.000012 (n=1)"


def test_differences_are_paired_by_seed():
    found = build(vectors.DIFFERENCES, study())
    assert found.texts() == [
        ["MAF", "bsds300", "Teacher", "+4.000 (n=1)", "+4.000 (n=1)", "-0.0200 (n=1)"],
        # 0.5, 0.5, 0.6: far less than the spread over seeds.
        [
            *("MAF", "bsds300", "ILKD", "+0.533 ± 0.143 *", "0.000 ± 0.000"),
            "0.0000 ± 0.0000",
        ],
    ]


def test_unequal_training_is_told():
    runs = [make(), make("lkd", steps=90000)]
    told = "MAF bsds300 LKD took 90000 steps, the plain student 30000"
    assert any(told in note for note in build(vectors.DIFFERENCES, runs).notes)
    equal = build(vectors.DIFFERENCES, [make(), make("lkd")]).notes
    assert not any("took" in note for note in equal)


def test_settings_that_differ_are_columns():
    runs = [make("ilkd", settings={"weight": w}) for w in (10, 0.5, 2)]
    found = build(vectors.LIKELIHOODS[0], [*runs, make()])
    assert found.header[:3] == ("Arch", "Model", "weight")
    assert [row[2] for row in found.texts()] == ["", "0.5", "2", "10"]


def test_what_two_tables_note_stands_once():
    found = view.page(vectors.VIEWS, study())
    notes = [note for each in found for note in each.notes]
    assert len(notes) == len(set(notes))
    assert len(found) == 5
    for each in found:
        assert all(len(row) == len(each.header) for row in each.rows)
        assert r"\begin{tabular}" in table.to_latex(each)
