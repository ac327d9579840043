import gzip

import numpy as np
import pyarrow
import pytest
from pyarrow import feather, parquet

from fdnf.data import frames
from fdnf.data.tabular import DataError

COLUMNS = {"a": [1, 2, 3], "b": [0.5, None, 1e9], "city": ["Rome", "Oslo", None]}


def written(path, form):
    table = pyarrow.table(COLUMNS)
    if form == "parquet":
        parquet.write_table(table, path)
    elif form == "feather":
        feather.write_feather(table, str(path))
    else:
        mark = form
        lines = [["a", " b", "city"], ["1", "0.5", "Rome"], ["2", "", "Oslo"]]
        lines.append(["3", "1e9", ""])
        path.write_text("".join(f"{mark.join(line)}\n" for line in lines))
    return path


@pytest.mark.parametrize("form", ["parquet", "feather", ",", ";", "\t", "|"])
def test_named_columns_of_every_format(tmp_path, form):
    # What kind it is does not depend on the name.
    frame = frames.read(written(tmp_path / "table.data", form))
    assert list(frame.columns) == ["a", "b", "city"]
    assert frame.rows == 3
    assert frame.counts is None
    assert frame.numbers("a").tolist() == [1, 2, 3]
    np.testing.assert_array_equal(frame.numbers("b"), [0.5, np.nan, 1e9])
    assert frame.words("city") == ["Rome", "Oslo", ""]


def test_a_packed_file_and_one_without_a_header(tmp_path):
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(b"x,y\n1,2\n3,4\n"))
    assert frames.read(path).numbers("y").tolist() == [2, 4]
    path = tmp_path / "a.csv"
    path.write_text("1,2\n3,4\n")
    with pytest.raises(DataError, match="has no header: its first line is 1, 2"):
        frames.read(path)
    frame = frames.read(path, header=False)
    assert list(frame.columns) == ["0", "1"]
    assert frame.numbers("1").tolist() == [2, 4]
    path.write_text("x,y\tz\n1\t2\n")
    assert list(frames.read(path, delimiter="tab").columns) == ["x,y", "z"]
    np.savetxt(path, np.eye(3), header="x y z")
    assert list(frames.read(path).columns) == ["x", "y", "z"]


def test_a_column_that_is_real_further_down(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("x\n" + "1\n" * 400_000 + "1.5\n")
    assert frames.read(path).numbers("x")[-1] == 1.5


def test_arrays_as_tables(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, np.arange(6.0).reshape(3, 2))
    assert list(frames.read(path).columns) == ["0", "1"]
    np.save(path, np.array([(1, 2.5), (3, 4.5)], [("x", int), ("y", float)]))
    assert frames.read(path).numbers("y").tolist() == [2.5, 4.5]

    path = tmp_path / "a.npz"
    np.savez(path, rows=np.arange(6.0).reshape(3, 2))
    assert list(frames.read(path).columns) == ["0", "1"]
    np.savez(path, x=np.ones((3, 2)), temperature=np.arange(3))
    frame = frames.read(path)
    assert list(frame.columns) == ["x_0", "x_1", "temperature"]
    assert frame.find("x", "columns") == ["x_0", "x_1"]
    np.savez(path, train=np.ones((5, 2)), val=np.ones((2, 2)), test=np.zeros((3, 2)))
    frame = frames.read(path)
    assert frame.counts == (5, 2, 3)
    assert frame.numbers("0").tolist() == [1] * 7 + [0] * 3


def test_columns_by_name_place_and_text(tmp_path):
    frame = frames.read(written(tmp_path / "a.csv", ","))
    for wanted in ("b,a", ["b", 0], (1, "a"), " b , a "):
        assert frame.find(wanted, "columns") == ["b", "a"]
    assert frame.find(2, "columns") == ["city"]
    assert frame.find((), "columns") == []


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (
            "citty",
            "no column 'citty', which columns names. Did you mean 'city'.*: a, b",
        ),
        ("a,a", "columns names the column 'a' twice"),
        (["a", 0], "columns names the column 'a' twice"),
        (3, "columns names column 3, but it has 3 columns, 0 to 2"),
        (-1, "columns names column -1"),
    ],
)
def test_wrong_names(tmp_path, wanted, said):
    path = written(tmp_path / "a.csv", ",")
    with pytest.raises(DataError, match=said) as caught:
        frames.read(path).find(wanted, "columns")
    assert str(path) in str(caught.value)


def test_text_and_dates_are_no_numbers(tmp_path):
    path = written(tmp_path / "a.parquet", "parquet")
    with pytest.raises(
        DataError, match=r"'city': it holds text \('Rome', 'Oslo'\)"
    ) as c:
        frames.read(path).numbers("city")
    assert "columns=a,b;" in str(c.value)
    parquet.write_table(
        pyarrow.table(
            {
                "day": pyarrow.array([0, 1], pyarrow.date32()),
                "kind": pyarrow.array(["x", "y"]).dictionary_encode(),
                "flag": [True, None],
                "none": pyarrow.array([None, None]),
                "money": pyarrow.array([1, 2]).cast(pyarrow.decimal128(30, 2)),
            }
        ),
        path,
    )
    frame = frames.read(path)
    with pytest.raises(DataError, match=r"'day': it holds date32.*\('1970-01-01'"):
        frame.numbers("day")
    with pytest.raises(DataError, match="'kind': it holds text"):
        frame.numbers("kind")
    np.testing.assert_array_equal(frame.numbers("flag"), [1, np.nan])
    np.testing.assert_array_equal(frame.numbers("none"), [np.nan, np.nan])
    np.testing.assert_array_equal(frame.numbers("money"), [1, 2])


def test_numbers_that_are_written_otherwise(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("x;y;z\n1,5;1;?\n2,5;n.a.;3\n3;5;4\n")
    frame = frames.read(path)
    np.testing.assert_array_equal(frame.numbers("z"), [np.nan, 3, 4])
    with pytest.raises(DataError, match=r"'x': it has decimal commas \('1,5'\)"):
        frame.numbers("x")
    with pytest.raises(DataError, match=r"'y': not all of it are numbers, but 'n.a.'"):
        frame.numbers("y")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", b"", "is empty"),
        ("a.csv", b"x,y\n", r"has 2 columns \(x, y\) and 0 rows"),
        ("a.csv", b"x,y\n1,2\n3\n", "does not read as a table: CSV parse error"),
        ("a.csv", b"x,x\n1,2\n", "several columns of one name: x"),
        ("a.parquet", b"PAR1" + bytes(90), "does not read as a table"),
        ("a.npy", b"\x93NUMPY\x01\0", "does not read as a table"),
        ("a.npz", b"PK\x03\x04" + bytes(40), "damaged or cut short|as a table"),
        ("a.h5", b"\x89HDF\r\n\x1a\n", "is an HDF5 file; expected CSV, .*h5py.File"),
        ("a.bin", b"\x00\x01\x02" * 99, "begins with b.*, as no table does; expected"),
        ("a.html", b"<html>404</html>", "is a web page"),
    ],
)
def test_what_is_no_table(tmp_path, name, content, said):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=said) as caught:
        frames.read(path)
    assert str(path) in str(caught.value)


def test_what_is_not_there(tmp_path):
    written(tmp_path / "rows.csv", ",")
    with pytest.raises(DataError, match="No such data file.*Did you mean .*rows.csv"):
        frames.read(tmp_path / "row.csv")
    with pytest.raises(DataError, match="is a directory; expected a file: CSV"):
        frames.read(tmp_path)
    with pytest.raises(DataError, match="expected a single character"):
        frames.read(tmp_path / "rows.csv", delimiter=", ")


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"x": np.ones((3, 2)), "y": np.ones(4)}, r"rows \(x 3, y 4\)"),
        ({"x": np.ones((3, 2, 2)), "y": np.ones(3)}, "'x' has shape .*3, 2, 2"),
        ({"x": np.ones(())}, r"'x' has shape \[\]"),
        (
            {"train": np.ones((3, 2)), "val": np.ones((3, 1)), "test": np.ones((3, 2))},
            r"'val' has shape \[3, 1\], 'train' \[3, 2\]",
        ),
        ({}, "no array 'train'"),
    ],
)
def test_arrays_that_are_no_table(tmp_path, arrays, said):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(DataError, match=said):
        frames.read(tmp_path / "a.npz")
