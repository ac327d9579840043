import gzip

import numpy as np
import pytest

from fdnf.data.builders import hepmass
from fdnf.data.tabular import DataError
from tests import floats


def table(rows, seed):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(rows, 27))
    # Six features take one of two values, as the published ones do.
    features[:, 20:26] = np.sign(features[:, 20:26])
    return np.concatenate([(np.arange(rows) % 2)[:, None], features], axis=1)


def write(path, rows, columns=28):
    with gzip.open(path, "wt") as file:
        file.write("# label," + ",".join(f"f{index}" for index in range(columns - 1)))
        file.write("\n")
        np.savetxt(file, rows, delimiter=",", fmt="%.10e")


def test_parse_drops_the_last_column_of_test(tmp_path):
    rows = table(10, 0)
    write(tmp_path / "train.csv.gz", rows)
    write(tmp_path / "test.csv.gz", np.concatenate([rows, rows[:, :1]], axis=1), 29)
    for name in ("train", "test"):
        parsed = hepmass.parse(tmp_path / f"{name}.csv.gz")
        floats.assert_close(parsed, rows, rtol=1e-9)


def test_parse_of_too_few_columns(tmp_path):
    write(tmp_path / "train.csv.gz", table(4, 0)[:, :9], 9)
    with pytest.raises(DataError, match="27 features in a row, got 9"):
        hepmass.parse(tmp_path / "train.csv.gz")


@pytest.mark.parametrize("keep", [0.2, 0.9])
def test_parse_of_a_file_cut_short(tmp_path, keep):
    file = tmp_path / "train.csv.gz"
    write(file, table(200, 0))
    file.write_bytes(file.read_bytes()[: int(keep * file.stat().st_size)])
    with pytest.raises(DataError, match="train.csv.gz"):
        hepmass.parse(file)


def test_preprocess_keeps_signal_and_continuous_features():
    train, test = table(200, 0), table(60, 1)
    made = hepmass.preprocess(train, test)
    assert [part.shape for part in made] == [(90, 21), (10, 21), (30, 21)]
    columns = [*range(20), 26]
    signal, other = train[1::2, 1:][:, columns], test[1::2, 1:][:, columns]
    mean, deviation = signal.mean(axis=0), signal.std(axis=0, ddof=1)
    rows = np.concatenate(made[:2])
    np.testing.assert_allclose(rows, (signal - mean) / deviation, atol=1e-5)
    np.testing.assert_allclose(made[2], (other - mean) / deviation, atol=1e-5)


def test_preprocess_of_too_few_signal_rows():
    background = table(200, 0)[::2]
    with pytest.raises(DataError, match="0 and 30 signal rows"):
        hepmass.preprocess(background, table(60, 1))


def test_reads_its_files(tmp_path):
    write(tmp_path / "1000_train.csv.gz", table(200, 0))
    write(tmp_path / "1000_test.csv.gz", table(60, 1))
    builder = hepmass.Hepmass(data_dir=tmp_path / "tfds", file_format="array_record")
    assert [len(part) for part in builder.splits(tmp_path)] == [90, 10, 30]
