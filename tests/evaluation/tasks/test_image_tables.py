"""Tables 4 to 6 and the comparison of flows on images, from hand-made results."""

from fdnf.evaluation.core import quantities
from fdnf.evaluation.core.scores import Result, Run, Score
from fdnf.evaluation.tables import table, view
from fdnf.evaluation.tasks import evaluate, images
from tests.evaluation.tables import cells

VGG = "vgg16_relu5_3_gap_min32@2ecbe4ce"
SOURCE = "10,000 of 202,599 images, subset; lossy JPEG"


def fd(value, given="", features=VGG):
    return Score("fd", value, "test", given, features, n=5000)


def timed(density, mib):
    return (
        Score("density_ms", density, n=64, low=0.9 * density, high=1.25 * density),
        Score("sampling_ms", 20.0, n=64, low=19.0, high=22.0),
        Score("density_mib", mib, n=64),
        Score("sampling_mib", 50.0, n=64),
    )


def make(method="student", seed=0, test=2.5, more=(), times=None, **changes):
    facts = {"parameters": 7_946_544, "steps": 1000, "source": SOURCE}
    facts |= {k: changes.pop(k) for k in list(changes) if k in facts}
    own = {"data": "celeba64", "arch": "Glow", "kind": "images"}
    own["settings"] = {"levels": 3, "steps": 16, "hidden": 256}
    fits = ()
    if test is not None:
        fits = (
            Score("bits_per_dim", test, "test", se=0.004),
            Score("bits_per_dim", test + 0.1, "val", se=0.004),
        )
    more = more or (fd(12.0), Score("precision", 0.5, "test", "", VGG, n=5000))
    times = timed(10.0, 100.0) if times is None else times
    run = Run(method=method, seed=seed, facts=facts, **(own | changes))
    return Result(run, (*fits, *more, *times))


def real(*scores, data="celeba64"):
    run = Run(data, "real", kind="images", facts={"source": SOURCE})
    return Result(run, scores or (fd(1.5),))


def study():
    return [
        real(),
        *(make(seed=seed, test=2.5 + 0.01 * seed) for seed in range(3)),
        *(make("ilkd", seed, 2.4 + 0.01 * seed) for seed in range(3)),
        make(
            *("teacher", 0, 2.3, (fd(10.0),), timed(25.0, 250.0)),
            parameters=44_152_176,
            settings={"levels": 3, "steps": 32, "hidden": 512},
        ),
    ]


def interpolated(results, *temperatures):
    def more(result):
        base = 1.0 if result.run.method == "real" else 20.0
        new = (
            fd(base + (10 * t if base > 1 else 0), f"interpolation_t{t}")
            for t in temperatures
        )
        idle = Score("exploded_percent", 0.0, "test", "interpolation_t1.0")
        return result._replace(scores=(*result.scores, *new, idle))

    return [more(result) for result in results]


def build(which, results):
    (found,) = view.build(which, results)
    return found


def test_table_4():
    found = build(images.QUALITY, study())
    assert found.title == "Test bits per dimension and Frechet distance"
    assert found.header == (
        "Arch",
        "Model",
        "celeba64 bits/dim ↓",
        "celeba64 FD vgg16 ↓",
    )
    assert found.texts() == [
        ["Glow", "Teacher", "2.300 (n=1, se 0.004)", "10.000 (n=1)"],
        # 4.302653 * 0.01 / sqrt(3).
        ["Glow", "Student", "2.510 ± 0.025 (se 0.004)", "12.000 ± 0.000"],
        ["Glow", "ILKD", "2.410 ± 0.025 (se 0.004)", "12.000 ± 0.000"],
        ["", "Real images", "-", "1.500"],
    ]
    notes = " ".join(found.notes)
    assert f"vgg16: over the features {VGG}." in notes
    assert "is not FID" in notes
    assert f"subset, not comparable with published numbers ({SOURCE})" in notes


def test_table_4_of_the_reference_network_says_fid():
    run = make(more=(Score("fid", 37.46, "test", n=5000),))
    found = build(images.QUALITY, [run])
    assert found.header[2:] == ("celeba64 bits/dim ↓", "celeba64 FID ↓")
    assert not any("is not FID" in note for note in found.notes)


def test_table_4_leaves_scores_of_other_conditions_to_their_tables():
    found = build(images.QUALITY, interpolated(study(), 1.0, 0.7))
    assert len(found.header) == 4


def test_data_sets_side_by_side():
    digits = (fd(3.0, features="clf_mnist@01234567"),)
    runs = [make(), make(data="mnist", more=digits, source="complete")]
    found = build(images.QUALITY, runs)
    assert found.header[2:] == (
        *("celeba64 bits/dim ↓", "celeba64 FD vgg16 ↓"),
        *("mnist bits/dim ↓", "mnist FD clf ↓"),
    )
    assert found.texts()[0][3::2] == ["12.000 (n=1)", "3.000 (n=1)"]


def test_table_5():
    found = build(images.SIZE, study())
    assert found.header == (
        *("Arch", "Data", "Model", "Levels (L)", "Steps (K)", "Hidden", "Params"),
        *("Density (ms)", "Sampling (ms)", "Density (MiB) ↓", "Sampling (MiB) ↓"),
    )
    rows = [row[2:] for row in found.texts()]
    assert rows == [
        [
            *("Teacher", "3", "32", "512", "44,152,176", "25.0 (22.5-31.2)"),
            *("20.0 (19.0-22.0)", "250.0", "50.0"),
        ],
        [
            *("Student", "3", "16", "256", "7,946,544", "10.0 (9.0-12.5)"),
            *("20.0 (19.0-22.0)", "100.0", "50.0"),
        ],
        [
            *("Teacher / Student", "", "", "", "5.56x", "2.50x", "1.00x"),
            *("2.50x", "1.00x"),
        ],
    ]
    assert any("K under Levels and L under Depth" in note for note in found.notes)


def test_table_5_without_a_teacher_or_measurements():
    bare = make(settings={}, times=(), parameters=77_000)
    found = build(images.SIZE, [bare])
    assert found.header == ("Arch", "Data", "Model", "Params")
    assert found.texts() == [["Glow", "celeba64", "Student", "77,000"]]


def test_table_6():
    found = build(images.INTERPOLATIONS, interpolated(study(), 0.7, 1.0))
    assert found.header[2:] == (
        "celeba64 FD vgg16 interpolation temp 1.0 ↓",
        "celeba64 FD vgg16 interpolation temp 0.7 ↓",
    )
    rows = {row[1]: row[2:] for row in found.texts()}
    assert rows["Student"] == ["30.000 ± 0.000", "27.000 ± 0.000"]
    assert rows["Real images"] == ["1.000", "1.000"]
    assert not view.build(images.INTERPOLATIONS, study())


def test_comparison_stands_on_its_side_with_the_floor():
    found = build(images.COMPARISON, interpolated(study(), 1.0))
    assert found.header == (
        "",
        "Glow Teacher",
        "Glow Student",
        "Glow ILKD",
        "Real images",
    )
    rows = {row[0]: row[1:] for row in found.texts()}
    assert rows["Test bits/dim ↓"] == [
        *("2.300 (n=1, se 0.004)", "2.510 ± 0.025 (se 0.004)"),
        *("2.410 ± 0.025 (se 0.004)", "-"),
    ]
    assert rows["FD vgg16 ↓"] == [
        *("10.000 (n=1)", "12.000 ± 0.000", "12.000 ± 0.000", "1.500")
    ]
    assert rows["FD vgg16 interpolation temp 1.0 ↓"][-1] == "1.000"
    assert rows["Params"] == ["44,152,176", "7,946,544", "7,946,544", "-"]
    assert "Precision vgg16 ↑" in rows
    # Under other conditions, exploded samples are shown where there are some.
    assert not any("Exploded" in name for name in rows)


def test_exploded_samples_are_shown_once_a_condition():
    def share(value, given=""):
        return Score("exploded_percent", value, "test", given, n=10)

    def names(*more):
        run = make(more=(fd(1.0), *more))
        return [row[0] for row in build(images.COMPARISON, [run]).texts()]

    label = "Exploded samples (%)"
    found = names(share(0.0), share(0.0, "t0.7"))
    assert [n for n in found if label in n] == [f"{label} ↓"]
    found = names(share(2.0), share(10.0, "t0.7"))
    assert len([n for n in found if "Exploded samples" in n]) == 2


def test_differences_stand_on_their_side():
    found = build(images.DIFFERENCES, study())
    assert found.header == ("", "Glow celeba64 Teacher", "Glow celeba64 ILKD")
    rows = {row[0]: row[1:] for row in found.texts()}
    assert rows["Test bits/dim ↓"] == ["-0.200 (n=1)", "-0.100 ± 0.000 *"]
    assert rows["FD vgg16 ↓"] == ["-2.000 (n=1)", "0.000 ± 0.000"]


def test_students_that_only_decode_stand_beside_the_others():
    free = {"arch": "ResNet", "test": None}
    students = [make("resnet_l1", seed, **free) for seed in (0, 1)]
    runs = [real(), *students, make("teacher", arch="PixelCNN")]
    found = build(images.COMPARISON, runs)
    assert found.header[1:] == ("PixelCNN Teacher", "ResNet ResNet, l1", "Real images")
    rows = {row[0]: row[1:] for row in found.texts()}
    assert rows["Test bits/dim ↓"] == ["2.500 (n=1, se 0.004)", "-", "-"]
    assert rows["FD vgg16 ↓"] == ["12.000 (n=1)", "12.000 ± 0.000", "1.500"]


def test_each_kind_of_data_has_its_tables():
    likelihood = (Score("log_likelihood", 1.0, "test"),)
    vector = Result(Run("gas", "student", 0, "MAF", "vectors"), likelihood)
    own = Result(Run("x", "m", kind="own"), (Score("own_score", 0.5),))
    found = evaluate.tables([own, *interpolated(study(), 1.0), vector])
    assert [made.title for made in found] == [
        *("MAF on gas", "Test log-likelihood (nats)", "Models of celeba64"),
        "Difference to the plain student",
        "Test bits per dimension and Frechet distance",
        "Architecture, size and cost",
        "Frechet distance of interpolations in the latent space",
        "x",
    ]
    assert cells.by_row(found[-1], 2) == {"": {"own score": "0.500 (n=1)"}}
    for made in found:
        assert all(len(row) == len(made.header) for row in made.rows)
        assert r"\begin{tabular}" in table.to_latex(made)


def test_extractors_of_one_network_keep_their_whole_ids():
    ids = ("vgg16_relu5_3@2e", "vgg16_relu4_3@2e", "clf_mnist@01")
    found = quantities.short(ids)
    assert found == {"": "", ids[0]: ids[0], ids[1]: ids[1], ids[2]: "clf"}


def test_conditions_stand_in_order():
    given = ["interpolation_t1.0", "t0.7", "", "t1.0", "interpolation_t0.7"]
    assert sorted(given, key=quantities.place) == [
        *("", "t1.0", "t0.7", "interpolation_t1.0", "interpolation_t0.7")
    ]
    assert quantities.condition("interpolation_t0.7") == "interpolation temp 0.7"
