"""Tables 4 to 6 and the comparison of flows on images, from hand-made records."""

import json

import pytest

from fdnf.evaluation.core import records
from fdnf.evaluation.tables import image_tables, markup, quantities, tables

VGG = "vgg16_relu5_3_gap_min32@2ecbe4ce"
SOURCE = "10,000 of 202,599 images, subset; lossy JPEG"
METRICS = {f"fd_{VGG}": 12.0, f"precision_{VGG}": 0.5}
COUNTS = {f"fd_{VGG}": (5000, 4000), f"precision_{VGG}": (5000, 4000)}


def make(method="student", seed=0, test=2.5, **changes):
    fields = {
        "arch": "Glow",
        "data": "celeba64",
        "method": method,
        "seed": seed,
        "log_likelihood": {"test": (-21290.0, 9.0), "val": (-21300.0, 9.0)},
        "parameters": 7_946_544,
        "density_ms": (10.0, 9.0, 12.5),
        "sampling_ms": (20.0, 19.0, 22.0),
        "metrics": METRICS,
        "steps": 1000,
        "skipped_steps": 0,
        "source": SOURCE,
        "bits_per_dim": {"test": (test, 0.004), "val": (test + 0.1, 0.004)},
        "settings": {"levels": 3, "steps": 16, "hidden": 256},
        "density_mib": 100.0,
        "sampling_mib": 50.0,
        "time_batch": 64,
        "floors": {f"fd_{VGG}": 1.5},
        "counts": COUNTS,
    }
    return records.Record(**fields | changes)


def study():
    teacher = {
        "parameters": 44_152_176,
        "settings": {"levels": 3, "steps": 32, "hidden": 512},
        "density_ms": (25.0, 24.0, 26.0),
        "density_mib": 250.0,
        "metrics": METRICS | {f"fd_{VGG}": 10.0},
    }
    return [
        *(make(seed=seed, test=2.5 + 0.01 * seed) for seed in range(3)),
        *(make("ilkd", seed, 2.4 + 0.01 * seed) for seed in range(3)),
        make("teacher", 0, 2.3, **teacher),
    ]


def lines(table):
    """Markdown lines without the padding."""
    return [" ".join(k.split()) for k in markup.to_markdown(table).splitlines()]


def interpolated(runs, *temperatures):
    def add(run):
        new = {f"fd_{VGG}/interpolation_t{t}": 20.0 + 10 * t for t in temperatures}
        floors = dict.fromkeys(new, 1.25)
        counts = dict.fromkeys(new, (2000, 4000))
        return run._replace(
            metrics={**run.metrics, **new},
            floors={**run.floors, **floors},
            counts={**run.counts, **counts},
        )

    return [add(run) for run in runs]


def test_table_4():
    found = lines(image_tables.quality_table(study()))
    assert found[0] == "### Test bits per dimension and Frechet distance"
    assert found[2] == "| Arch | Model | celeba64 bits/dim | celeba64 FD vgg16 |"
    assert found[4:8] == [
        # 4.302653 * 0.01 / sqrt(3).
        "| Glow | Student | 2.510 ± 0.025 | 12.000 ± 0.000 |",
        "| Glow | ILKD | 2.410 ± 0.025 | 12.000 ± 0.000 |",
        "| Glow | Teacher | 2.300 (n=1) | 10.000 (n=1) |",
        "| | Real images | - | 1.500 |",
    ]
    notes = "\n".join(found[9:])
    assert "Samples scored: 5,000 against 4,000 real." in notes
    assert f"over the features {VGG}. Its Frechet distance (FD) is not FID" in notes
    assert (
        f"celeba64: subset, not comparable with published numbers ({SOURCE})" in notes
    )
    assert "Missing" not in notes


def test_table_4_of_the_reference_network_says_fid():
    found = lines(image_tables.quality_table([make(metrics={"fid": 37.46})]))
    assert found[2] == "| Arch | Model | celeba64 bits/dim | celeba64 FID |"
    assert not any("is not FID" in line for line in found)
    missing = "Missing on test: Glow celeba64 ILKD; Glow celeba64 Teacher."
    assert f"- {missing}" in found


def test_table_4_leaves_scores_of_other_conditions_to_their_tables():
    runs = interpolated(study(), 1.0, 0.7)
    assert len(image_tables.quality_table(runs).header) == 4


def test_data_sets_side_by_side():
    classifier = {"fd_clf_mnist@01234567": 3.0}
    runs = [make(), make(data="mnist", metrics=classifier, source="complete")]
    table = image_tables.quality_table(runs)
    assert table.header[2:] == (
        *("celeba64 bits/dim", "celeba64 FD vgg16"),
        *("mnist bits/dim", "mnist FD clf"),
    )
    assert table.rows[0][2:] == (
        *("2.500 (n=1)", "12.000 (n=1)", "2.500 (n=1)", "3.000 (n=1)"),
    )


def test_table_5():
    found = lines(image_tables.size_table(study()))
    assert found[2] == (
        "| Arch | Data | Model | Levels (L) | Steps (K) | Hidden | Params | "
        "Density (ms) | Sampling (ms) | Density (MiB) | Sampling (MiB) |"
    )
    assert found[4:7] == [
        "| Glow | celeba64 | Student | 3 | 16 | 256 | 7.9 M | 10.0 (9.0-12.5) | "
        "20.0 (19.0-22.0) | 100.0 | 50.0 |",
        "| Glow | celeba64 | Teacher | 3 | 32 | 512 | 44.2 M | 25.0 (24.0-26.0) | "
        "20.0 (19.0-22.0) | 250.0 | 50.0 |",
        "| Glow | celeba64 | Teacher / Student | | | | 5.56x | 2.50x | 1.00x | 2.50x "
        "| 1.00x |",
    ]
    assert any("one batch of 64 images" in line for line in found)
    assert any("K under Levels and L under Depth" in line for line in found)


def test_table_5_without_a_teacher_or_measurements():
    bare = make(settings={}, density_ms=None, density_mib=None, parameters=77_000)
    table = image_tables.size_table([bare])
    assert table.rows[0][3:9] == ("-", "-", "-", "77.0 K", "-", "20.0 (19.0-22.0)")
    assert "Missing: Glow celeba64 Teacher." in table.notes


def test_table_6():
    table = image_tables.interpolation_table(interpolated(study(), 0.7, 1.0))
    assert table.header == (
        *("Arch", "Model", "celeba64 FD vgg16 interpolation temp 1.0"),
        "celeba64 FD vgg16 interpolation temp 0.7",
    )
    assert table.rows[0][2:] == ("30.000 ± 0.000", "27.000 ± 0.000")
    assert table.rows[-1] == ("", "Real images", "1.250", "1.250")
    assert "Interpolations scored: 2,000 against 4,000 real." in table.notes


def test_comparison_stands_on_its_side_with_the_floor_last():
    found = lines(tables.comparison(study(), "Glow", "celeba64"))
    assert found[2] == "| | Teacher | Student | ILKD | Real images |"
    assert found[4] == (
        "| Test (bits/dim) | 2.300 (n=1, se 0.004) | 2.510 ± 0.025 (se 0.004) | "
        "2.410 ± 0.025 (se 0.004) | - |"
    )
    assert found[6] == (
        "| FD vgg16 | 10.000 (n=1) | 12.000 ± 0.000 | 12.000 ± 0.000 | 1.500 |"
    )
    assert found[8] == "| Params | 44,152,176 | 7,946,544 | 7,946,544 | - |"
    words = "Lower is better: FD. Higher is better: Precision."
    assert f"- {words}" in found
    assert any(line.startswith("- Bits/dim: lower is better") for line in found)


def test_differences_stand_on_their_side():
    table = tables.paired_differences(study())
    assert table.header == ("", "Glow celeba64 ILKD", "Glow celeba64 Teacher")
    assert table.rows[0] == ("Test (bits/dim)", "-0.100 ± 0.000 *", "-0.200 (n=1)")
    assert table.rows[-1] == ("Seeds", "0, 1, 2", "0")
    assert "Better is below zero, but above zero for precision." in table.notes[0]


def test_vectors_and_images_get_their_own_tables():
    vector = make(arch="MAF", data="gas", bits_per_dim={}, metrics={"mmd": 0.1})
    titles = [
        table.title
        for table in tables.every_table([*interpolated(study(), 1.0), vector])
    ]
    assert titles == [
        "MAF on gas",
        "Time and size",
        "Glow on celeba64",
        "Difference to the plain student",
        "Test bits per dimension and Frechet distance",
        "Architecture, size and cost",
        "Frechet distance of interpolations in the latent space",
    ]
    for table in tables.every_table(interpolated(study(), 1.0)):
        assert all(len(row) == len(table.header) for row in table.rows)
        assert r"\begin{tabular}" in markup.to_latex(table)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("fid", ("fid", "", "")),
        ("kid_clf@01/t0.7", ("kid", "clf@01", "t0.7")),
        ("sliced_wasserstein", ("sliced_wasserstein", "", "")),
        ("my_own", ("my_own", "", "")),
    ],
)
def test_parts_of_a_metrics_name(name, parts):
    assert quantities.parse(name) == parts


def test_extractors_of_one_network_keep_their_whole_ids():
    ids = ("vgg16_relu5_3@2e", "vgg16_relu4_3@2e", "clf_mnist@01")
    found = quantities.extractor_names([make(metrics={f"fd_{i}": 1.0 for i in ids})])
    assert found == {ids[0]: ids[0], ids[1]: ids[1], ids[2]: "clf"}


def test_record_survives_json():
    record = make(settings={"hidden": (64, 64), "learn_top": True, "cond": None})
    assert records.Record.from_json(record.to_json()) == record


def test_old_records_still_read():
    fields = json.loads(make().to_json())
    for name in list(records.Record._field_defaults):
        del fields[name]
    old = records.Record.from_json(json.dumps(fields))
    assert not old.bits_per_dim
    assert old.density_mib is None
    assert (
        old._replace(**{k: getattr(make(), k) for k in old._field_defaults}) == make()
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bits_per_dim": {"test": 2.5}}, "bits_per_dim.test is 2.5"),
        ({"counts": {"fid": [5000]}}, r"counts.fid is \[5000\]: expected 2 integers"),
        ({"counts": {"fid": [5000, -1]}}, "counts.fid is -1"),
        ({"settings": {"net": {"a": 1}}}, "settings.net is an object"),
        ({"density_mib": "big"}, "density_mib is 'big'"),
        ({"time_batch": 0.5}, "time_batch is 0.5"),
    ],
)
def test_wrong_fields_are_refused(change, message):
    fields = json.loads(make().to_json()) | change
    with pytest.raises(ValueError, match=message):
        records.Record.from_json(json.dumps(fields))


def test_scores_of_samples_alone_have_a_row_a_model_and_the_floor():
    teacher = make("teacher", arch="PixelCNN")
    free = {"arch": "ResNet", "bits_per_dim": {}, "log_likelihood": {}}
    students = [make("resnet_l1", seed, **free) for seed in (0, 1)]
    table = image_tables.sample_table([*students, teacher])
    assert [row[:2] for row in table.rows] == [
        ("PixelCNN", "Teacher"),
        ("ResNet", "resnet_l1"),
        ("", image_tables.FLOOR),
    ]
    assert all(len(row) == len(table.header) for row in table.rows)
    assert not any("bits" in name for name in table.header)
