"""The published tabular sets: whole from their builders, or a subset from a file.

Preparing a set goes through its TFDS builder once; afterwards its rows are .npy files
and TFDS is not imported.
"""

from fdnf.data import cache, npz, paths, published, tabular
from fdnf.data.tabular import Tabular


def power(
    data_dir: str | None = None, rows: int | None = None, subset: bool | None = None
) -> Tabular:
    """POWER: electric power consumption of a household, 6 columns.

    Args:
        data_dir: Where `power_subset.npz` is looked for.
        rows: Training rows to keep; all by default.
        subset: True for that file, False for the whole set, None for the file if it
            is there and the whole set otherwise.

    Returns:
        The data set.
    """
    note = (
        "POWER, subset (4.6 %) of the published rows, mostly winter; not comparable"
        " with published figures"
    )
    return _either("power", "power_subset.npz", note, data_dir, rows, subset)


def gas(data_dir: str | None = None, rows: int | None = None) -> Tabular:
    """GAS: chemical sensors in a stream of ethylene and CO, 8 columns.

    Args:
        data_dir: Its `manual/` is where the archive is looked for.
        rows: Training rows to keep; all by default.

    Returns:
        The whole data set.
    """
    return whole("gas", data_dir, rows)


def hepmass(data_dir: str | None = None, rows: int | None = None) -> Tabular:
    """HEPMASS: simulated particle collisions, signal only, 21 columns.

    Args:
        data_dir: Its `manual/` is where the archives are looked for.
        rows: Training rows to keep; all by default.

    Returns:
        The whole data set.
    """
    return whole("hepmass", data_dir, rows)


def miniboone(
    data_dir: str | None = None, rows: int | None = None, subset: bool | None = None
) -> Tabular:
    """MINIBOONE: neutrino events, signal only, 43 columns.

    Args:
        data_dir: Where `miniboone.npz` is looked for.
        rows: Training rows to keep; all by default.
        subset: True for that file, False for the whole set, None for the file if it
            is there and the whole set otherwise.

    Returns:
        The data set.
    """
    note = (
        "MINIBOONE, val and test as published, train only the first 1,523 of 29,556"
        " rows; published figures were reached with all of them"
    )
    return _either("miniboone", "miniboone.npz", note, data_dir, rows, subset)


def miniboone_small(data_dir: str | None = None, rows: int | None = None) -> Tabular:
    """8,455 rows of MINIBOONE in splits of their own, 43 columns.

    Args:
        data_dir: Where `miniboone_small.npz` is looked for.
        rows: Training rows to keep; all by default.

    Returns:
        The data set.
    """
    note = (
        "MINIBOONE, 8,455 rows split anew (6,849/761/845); not comparable with"
        " published figures"
    )
    file = paths.data_dir(data_dir) / "miniboone_small.npz"
    return tabular.limit(npz.read_npz(file, name="miniboone_small", source=note), rows)


def whole(name: str, data_dir: str | None = None, rows: int | None = None) -> Tabular:
    """Loads a whole published set, downloading and preparing it the first time.

    Args:
        name: A key of `published.PUBLISHED`.
        data_dir: Its `manual/` is where archives are looked for.
        rows: Training rows to keep; all by default.

    Returns:
        The data set.

    Raises:
        DataError: If it is not prepared and its source cannot be downloaded or read.
    """
    splits = cache.load(published.cache_key(name))
    if splits is None:
        from fdnf.data.builders import tables

        splits = tables.rows(name, data_dir)
        cache.save(published.cache_key(name), splits)
    found = tuple(len(split) for split in splits)
    return tabular.limit(
        tabular.validate(Tabular(name, *splits, source=_source(name, found))), rows
    )


def is_prepared(name: str) -> bool:
    """Whether a whole published set is in the cache."""
    return (paths.cache_dir() / published.cache_key(name)).is_dir()


def _source(name: str, found: tuple[int, ...]) -> str:
    title = published.PUBLISHED[name].title
    if difference := published.row_difference(name, found):
        return f"{title}, but {difference}: do not compare with published figures"
    if name == "gas":
        return (
            f"{title}, full; the published quarter of the recording was drawn with an"
            " unknown seed, so figures compare in distribution"
        )
    return f"{title}, full; compares with published figures"


def _either(
    name: str,
    file: str,
    note: str,
    data_dir: str | None,
    rows: int | None,
    subset: bool | None,
) -> Tabular:
    if path := paths.subset_file(data_dir, file, subset):
        return tabular.limit(npz.read_npz(path, name=name, source=note), rows)
    return whole(name, data_dir, rows)
