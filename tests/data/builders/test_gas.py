import zipfile

import numpy as np
import pytest

from fdnf.data.builders import gas
from fdnf.data.tabular import DataError


@pytest.fixture
def recording():
    """16 sensors in 8 groups whose members correlate above 0.98."""
    rng = np.random.default_rng(0)
    groups = rng.normal(size=(400, 8))
    return groups[:, np.arange(16) % 8] + 0.01 * rng.normal(size=(400, 16))


def write(path, sensors):
    head = "Time (seconds), CO conc (ppm), Ethylene conc (ppm), sensor readings (16)\n"
    with open(path, "w") as file:
        file.write(head)
        extra = np.zeros((len(sensors), 3))
        np.savetxt(
            file, np.concatenate([extra, sensors], axis=1), fmt="%.5f", delimiter="  "
        )


def test_parse_reads_the_sensors(tmp_path, recording):
    write(tmp_path / gas.TEXT, recording)
    np.testing.assert_allclose(gas.parse(tmp_path / gas.TEXT), recording, atol=1e-5)


def test_parse_of_another_file(tmp_path):
    (tmp_path / gas.TEXT).write_text("<html>\n<body>moved</body>\n")
    with pytest.raises(DataError, match="is not a heading and lines of 19 numbers"):
        gas.parse(tmp_path / gas.TEXT)


def test_draw_is_a_quarter_in_random_order_from_a_fixed_seed():
    recording = np.arange(4_208)[:, None]
    drawn = gas.draw(recording)
    assert len(np.unique(drawn)) == len(drawn) == 1_052
    assert (np.diff(drawn[:, 0]) < 0).any()
    np.testing.assert_array_equal(drawn, gas.draw(recording))


def test_published_count_is_what_the_fraction_gives():
    # UCI's recording has 4,208,261 rows.
    assert round(0.25 * 4_208_261) == 852_174 + 94_685 + 105_206


def test_preprocess_drops_the_first_of_each_close_pair(recording):
    train, val, test = gas.preprocess(recording)
    assert [part.shape for part in (train, val, test)] == [(324, 8), (36, 8), (40, 8)]
    rows = np.concatenate([train, val, test])
    # Of sensors i and i + 8 the latter stays; order is kept, scaling is by all rows.
    kept = recording[:, 8:]
    expected = (kept - kept.mean(axis=0)) / kept.std(axis=0, ddof=1)
    np.testing.assert_allclose(rows, expected, atol=1e-5)


def test_preprocess_keeps_what_correlates_less(recording):
    noise = np.random.default_rng(1).normal(size=recording.shape)
    assert gas.preprocess(recording + noise)[0].shape[1] == 16


def test_reads_its_archive(tmp_path, recording):
    write(tmp_path / gas.TEXT, recording)
    with zipfile.ZipFile(tmp_path / gas.ZIP, "w") as file:
        file.write(tmp_path / gas.TEXT, gas.TEXT)
    builder = gas.Gas(data_dir=tmp_path / "tfds", file_format="array_record")
    assert [len(part) for part in builder.splits(tmp_path)] == [81, 9, 10]
    assert "data.tar.gz" not in builder.files()
