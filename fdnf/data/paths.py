"""Where data are looked for, and where what was made of them is kept."""

import functools
import os
import pathlib
import stat
import tempfile

from absl import logging

from fdnf.data.tabular import DataError


def home() -> pathlib.Path | None:
    """The user's home directory; None where there is no HOME and no entry of theirs."""
    try:
        return pathlib.Path.home()
    except RuntimeError:
        return None


def expanded(path: str | os.PathLike[str]) -> pathlib.Path:
    """A path that is to be made, with its `~` expanded: here, and nowhere after.

    Raises:
        DataError: If it begins with `~` and there is no home directory of that name.
    """
    found = pathlib.Path(path)
    try:
        return found.expanduser()
    except RuntimeError:
        raise DataError(
            f"{os.fspath(path)}: there is no home directory to put in place of"
            f" {found.parts[0]}. Write the path out, or set HOME."
        ) from None


def cache_dir() -> pathlib.Path:
    """The directory for derived files: `$XDG_CACHE_HOME/fdnf` or `~/.cache/fdnf`.

    Without a home directory it is one of the user's own among temporary files.
    """
    if base := os.environ.get("XDG_CACHE_HOME"):
        return pathlib.Path(base) / "fdnf"
    if (own := home()) is not None:
        return own / ".cache" / "fdnf"
    return _homeless(tempfile.gettempdir(), os.getuid())


@functools.cache
def _homeless(temporary: str, user: int) -> pathlib.Path:
    place = pathlib.Path(temporary) / f"fdnf-{user}"
    place.mkdir(mode=0o700, exist_ok=True)
    found = place.lstat()
    # Others may write there too, and could have put a link or files of theirs.
    theirs = found.st_uid != user or found.st_mode & 0o022
    if theirs or not stat.S_ISDIR(found.st_mode):
        place = pathlib.Path(tempfile.mkdtemp(prefix=f"fdnf-{user}-", dir=temporary))
    logging.warning(
        "There is no home directory: derived files are kept in %s. Set"
        " XDG_CACHE_HOME to keep them elsewhere.",
        place,
    )
    return place


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
    path = pathlib.Path(os.path.expanduser(named))
    if not path.is_dir():
        who = "The argument data_dir" if given else "The variable FDNF_DATA_DIR"
        raise DataError(
            f"{who} is {str(named)!r}, which is no directory. Correct it, or leave it"
            f" out to use {cache_dir()}."
        )
    return path


def subset_file(
    given: str | os.PathLike[str] | None, name: str, subset: bool | None
) -> pathlib.Path | None:
    """The file of a part of a set, where that is what is to be read.

    Args:
        given: A data directory that overrides the environment.
        name: The file's name.
        subset: True for the file, False for the whole set, None for the file if it is
            there and the whole set otherwise.

    Returns:
        The file, or None for the whole set.

    Raises:
        DataError: If `subset` is true and there is no such file.
    """
    path = data_dir(given) / name
    if subset and not path.is_file():
        raise DataError(
            f"No such file: {path}. Put it there, or leave out subset=True for the"
            " whole set."
        )
    return path if subset is not False and path.is_file() else None


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
