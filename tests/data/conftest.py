import os
import pathlib
import urllib.request

import pytest


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Every test has a cache and a home of its own, and no other place for data."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("FDNF_DATA_DIR", "TFDS_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "cache" / "fdnf"


@pytest.fixture
def offline(monkeypatch):
    """Nothing answers."""

    def refuse(*args, **kwargs):
        raise OSError("no network here")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)


REAL = os.environ.get("FDNF_DATA_DIR")


@pytest.fixture
def real():
    """Returns a finder of files under FDNF_DATA_DIR that skips where they are not."""

    def find(name):
        if REAL is None or not (pathlib.Path(REAL) / name).is_file():
            pytest.skip(f"needs {name} under FDNF_DATA_DIR")
        return pathlib.Path(REAL) / name

    return find
