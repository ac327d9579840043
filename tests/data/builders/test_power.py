import zipfile

import numpy as np
import pytest

from fdnf.data.builders import power
from fdnf.data.tabular import DataError

HEADING = (
    "Date;Time;Global_active_power;Global_reactive_power;Voltage;Global_intensity;"
    "Sub_metering_1;Sub_metering_2;Sub_metering_3\n"
)
TEXT = f"""{HEADING}16/12/2006;17:24:00;4.216;0.418;234.840;18.400;0.000;1.000;17.000
16/12/2006;17:25:00;5.360;0.436;233.630;23.000;0.000;1.000;16.000
28/4/2007;00:21:00;?;?;?;?;?;?;
1/1/2007;00:00:00;2.580;0.136;241.970;10.600;0.000;0.000;0.000\r
"""


def test_parse_drops_missing_rows_and_counts_minutes():
    rows = power.parse(TEXT.splitlines(keepends=True))
    np.testing.assert_array_equal(
        rows,
        [
            [4.216, 0.418, 234.84, 18.4, 0, 1, 17, 1044],
            [5.36, 0.436, 233.63, 23, 0, 1, 16, 1045],
            [2.58, 0.136, 241.97, 10.6, 0, 0, 0, 0],
        ],
    )


@pytest.mark.parametrize(
    "line", ["<html>", "1/1/2007;00:00:00;1;2;3", "1/1/2007;noon;1;2;3;4;5;6;7"]
)
def test_parse_names_a_line_of_another_form(line):
    with pytest.raises(DataError, match="line 3: expected date"):
        power.parse([*TEXT.splitlines()[:2], line])


def test_preprocess_without_its_noise_is_a_permutation():
    raw = np.random.default_rng(0).uniform(1000, 2000, (500, 8))
    raw[:, 7] = np.arange(500)
    train, val, test = power.preprocess(raw)
    assert [len(part) for part in (train, val, test)] == [405, 45, 50]
    rows = np.concatenate([train, val, test]).astype(float)
    # Minutes have no noise, so they give away the order: RandomState(42)'s shuffle.
    order = np.arange(500)
    np.random.RandomState(42).shuffle(order)
    seen = order[:450]
    np.testing.assert_allclose(
        rows[:, 5], (order - seen.mean()) / seen.std(), atol=1e-5
    )
    # The others are the columns left, up to noise of at most one of their units.
    for column, source in enumerate([0, 2, 4, 5, 6]):
        clean = raw[order, source]
        expected = (clean - clean[:450].mean()) / clean[:450].std()
        assert np.abs(rows[:, column] - expected).max() < 1.1 / clean.std()
    np.testing.assert_allclose(rows[:450].mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(rows[:450].std(axis=0), 1, atol=1e-6)


def test_shuffled_index_is_the_published_shuffle_of_rows():
    raw = np.arange(60.0).reshape(20, 3)
    shuffled, order = raw.copy(), np.arange(20)
    np.random.RandomState(42).shuffle(shuffled)
    np.random.RandomState(42).shuffle(order)
    np.testing.assert_array_equal(shuffled, raw[order])


def test_recipe_gives_the_rows_made_elsewhere(real):
    with np.load(real("power_subset.npz")) as arrays:
        minutes = arrays["raw_minutes"][:, None] % 1440
        raw = np.concatenate([arrays["raw"].astype(float), minutes], axis=1)
        made = power.preprocess(raw)
        for split, rows in zip(("train", "val", "test"), made, strict=True):
            np.testing.assert_allclose(rows, arrays[split], atol=2e-3)


def test_reads_its_archive(tmp_path):
    lines = TEXT.splitlines(keepends=True)
    with zipfile.ZipFile(tmp_path / power.ZIP, "w") as file:
        file.writestr(power.TEXT, lines[0] + lines[1] * 10 + lines[2] * 10)
    builder = power.Power(data_dir=tmp_path / "tfds", file_format="array_record")
    train, val, test = builder.splits(tmp_path)
    assert (train.shape, val.shape, test.shape) == ((17, 6), (1, 6), (2, 6))
