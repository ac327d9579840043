import pathlib

from fdnf.data import paths


def test_order_of_data_directories(tmp_path, monkeypatch, cache):
    assert paths.data_dir() == cache
    monkeypatch.setenv("FDNF_DATA_DIR", str(tmp_path / "shared"))
    assert paths.data_dir() == tmp_path / "shared"
    assert paths.data_dir(tmp_path / "own") == tmp_path / "own"
    assert paths.cache_dir() == cache


def test_cache_without_environment(monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert paths.cache_dir() == pathlib.Path.home() / ".cache" / "fdnf"


def test_manual_prefers_where_the_file_is(tmp_path, cache):
    own = tmp_path / "own"
    assert paths.manual_dir(own, ("a.zip",)) == cache / "manual"
    assert not own.exists()
    (own / "manual").mkdir(parents=True)
    assert paths.manual_dir(own, ("a.zip",)) == own / "manual"
    (cache / "manual").mkdir(parents=True)
    (cache / "manual" / "a.zip").touch()
    assert paths.manual_dir(own, ("a.zip",)) == cache / "manual"
    (own / "manual" / "b.zip").touch()
    assert paths.manual_dir(own, ("a.zip", "b.zip")) == own / "manual"
