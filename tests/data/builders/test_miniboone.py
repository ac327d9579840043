import numpy as np
import pytest

from fdnf.data.builders import miniboone
from fdnf.data.tabular import DataError
from tests import floats


def write(path, first, rows):
    with open(path, "w") as file:
        file.write(first + "\n")
        np.savetxt(file, rows)
    return path


def test_parse_reads_the_signal_only(tmp_path):
    rows = np.random.default_rng(0).normal(size=(12, 50))
    path = write(tmp_path / "pid.txt", "  8  4", rows)
    floats.assert_close(miniboone.parse(path), rows[:8])


@pytest.mark.parametrize("first", ["<html>", "8", "1 2 3"])
def test_parse_of_another_file(tmp_path, first):
    path = write(tmp_path / "pid.txt", first, np.ones((2, 50)))
    with pytest.raises(DataError, match="should count signal and background"):
        miniboone.parse(path)


@pytest.mark.parametrize("shape", [(5, 50), (8, 49)])
def test_parse_of_a_file_cut_short(tmp_path, shape):
    path = write(tmp_path / "pid.txt", "8 0", np.ones(shape))
    with pytest.raises(DataError, match="expected 8 signal events of 50 features"):
        miniboone.parse(path)


def test_clean_drops_failed_events_and_repeated_values():
    rows = np.random.default_rng(0).normal(size=(30, 4))
    rows[:6, 1] = -9  # smallest value six times: dropped
    rows[:5, 2] = -9  # five times: kept
    rows[:20, 3] = 9  # the largest may repeat, as in the published code
    rows[7] = -999
    np.testing.assert_array_equal(
        miniboone.clean(rows), np.delete(rows, 7, axis=0)[:, [0, 2, 3]]
    )


def test_clean_of_nothing_but_failures():
    with pytest.raises(DataError, match="no event"):
        miniboone.clean(np.full((4, 50), -999.0))


def test_preprocess_splits_in_order_and_scales_by_train_and_val():
    raw = np.random.default_rng(0).normal(3, 2, size=(200, 4))
    train, val, test = miniboone.preprocess(raw)
    assert [len(part) for part in (train, val, test)] == [162, 18, 20]
    mean, deviation = raw[:180].mean(axis=0), raw[:180].std(axis=0)
    np.testing.assert_allclose(test, (raw[180:] - mean) / deviation, atol=1e-6)
    np.testing.assert_allclose(val, (raw[162:180] - mean) / deviation, atol=1e-6)
