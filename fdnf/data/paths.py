"""Where data are looked for, and where what was made of them is kept."""

import os
import pathlib

from fdnf.data.tabular import DataError


def cache_dir() -> pathlib.Path:
    """The directory for derived files: `$XDG_CACHE_HOME/fdnf` or `~/.cache/fdnf`."""
    base = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(base) / "fdnf"


def data_dir(given: str | os.PathLike[str] | None = None) -> pathlib.Path:
    """The directory source files are looked for in; it may be read-only.

    Args:
        given: A directory that overrides the environment.

    Returns:
        `given`, else `$FDNF_DATA_DIR`, else the cache directory.

    Raises:
        DataError: If one of the first two is set and is not a directory.
    """
    named = given or os.environ.get("FDNF_DATA_DIR")
    if not named:
        return cache_dir()
    path = pathlib.Path(named).expanduser()
    if not path.is_dir():
        who = "The argument data_dir" if given else "The variable FDNF_DATA_DIR"
        raise DataError(
            f"{who} is {str(named)!r}, which is no directory. Correct it, or leave it"
            f" out to use {cache_dir()}."
        )
    return path


def manual_dir(
    given: str | os.PathLike[str] | None, files: tuple[str, ...]
) -> pathlib.Path:
    """The directory for downloaded archives, and for those put there by hand.

    Args:
        given: A data directory that overrides the environment.
        files: Names of archives, any of which would do.

    Returns:
        `manual/` in the data directory or in the cache directory: the first that has
        one of the files; else the former if it exists and can be written to; else the
        latter. Nothing is ever made in a data directory that has no `manual/`.
    """
    own, cached = data_dir(given) / "manual", cache_dir() / "manual"
    for place in (own, cached):
        if any((place / file).is_file() for file in files):
            return place
    return own if own.is_dir() and os.access(own, os.W_OK) else cached
