import pathlib

import pytest

from fdnf.data import paths
from fdnf.data.tabular import DataError


def test_order_of_data_directories(tmp_path, monkeypatch, cache):
    assert paths.data_dir() == cache
    (tmp_path / "shared").mkdir()
    monkeypatch.setenv("FDNF_DATA_DIR", str(tmp_path / "shared"))
    assert paths.data_dir() == tmp_path / "shared"
    assert paths.data_dir(tmp_path) == tmp_path
    assert paths.cache_dir() == cache


def test_cache_without_environment(monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert paths.cache_dir() == pathlib.Path.home() / ".cache" / "fdnf"


def test_directory_that_is_not_there(tmp_path, monkeypatch):
    with pytest.raises(DataError, match="argument data_dir is .*none"):
        paths.data_dir(tmp_path / "none")
    monkeypatch.setenv("FDNF_DATA_DIR", str(tmp_path / "nothing"))
    with pytest.raises(DataError, match="variable FDNF_DATA_DIR is .*nothing"):
        paths.data_dir()


def test_manual_prefers_where_the_file_is(tmp_path, cache):
    own = tmp_path / "own"
    own.mkdir()
    assert paths.manual_dir(own, ("a.zip",)) == cache / "manual"
    assert not list(own.iterdir())
    (own / "manual").mkdir()
    assert paths.manual_dir(own, ("a.zip",)) == own / "manual"
    (cache / "manual").mkdir(parents=True)
    (cache / "manual" / "a.zip").touch()
    assert paths.manual_dir(own, ("a.zip",)) == cache / "manual"
    (own / "manual" / "b.zip").touch()
    assert paths.manual_dir(own, ("a.zip", "b.zip")) == own / "manual"
