import os
import pathlib
import pwd
import stat
import tempfile

import pytest

from fdnf.data import paths, prepared
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


@pytest.fixture
def homeless(tmp_path, monkeypatch):
    """No HOME, and a user without an entry; the directory of temporary files."""

    def unknown(_):
        raise KeyError("no such user")

    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.delenv("HOME")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    paths._homeless.cache_clear()
    yield temporary
    paths._homeless.cache_clear()


def test_without_a_home_directory(homeless, caplog):
    place = paths.cache_dir()
    assert place == paths.cache_dir() == homeless / f"fdnf-{os.getuid()}"
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    assert caplog.text.count("There is no home directory") == 1
    assert paths.home() is None
    assert homeless / "x" not in prepared.places()
    with pytest.raises(DataError, match=r"~/runs: there is no home .* set HOME"):
        paths.expanded("~/runs")


@pytest.mark.parametrize("planted", ["link", "open"])
def test_what_somebody_else_has_put_there_is_not_used(planted, homeless, tmp_path):
    place = homeless / f"fdnf-{os.getuid()}"
    if planted == "link":
        (tmp_path / "elsewhere").mkdir()
        place.symlink_to(tmp_path / "elsewhere")
    else:
        place.mkdir()
        place.chmod(0o777)
    found = paths.cache_dir()
    assert found != place
    assert found.parent == homeless
    assert not found.is_symlink()


def test_the_home_directory_is_expanded(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert paths.expanded("~/runs") == pathlib.Path("/home/me/runs")
    assert paths.expanded("runs/~") == pathlib.Path("runs/~")
    with pytest.raises(DataError, match="in place of ~nobody-here"):
        paths.expanded("~nobody-here/runs")
