import os
import pathlib

import pytest


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Every test has a cache of its own, and no data directory but what it sets."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("FDNF_DATA_DIR", raising=False)
    return tmp_path / "cache" / "fdnf"


REAL = os.environ.get("FDNF_DATA_DIR")


@pytest.fixture
def real():
    """Returns a finder of files under FDNF_DATA_DIR that skips where they are not."""

    def find(name):
        if REAL is None or not (pathlib.Path(REAL) / name).is_file():
            pytest.skip(f"needs {name} under FDNF_DATA_DIR")
        return pathlib.Path(REAL) / name

    return find
