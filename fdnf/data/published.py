"""What the five published tabular sets have to come out as.

Neither Zenodo nor UCI could be reached where the builders were written: their parsers
are tested on small files of the same form, and the row counts below are what tells
whether a real source came out as published.
"""

from typing import NamedTuple


class Published(NamedTuple):
    """What a published set has to come out as.

    Attributes:
        title: Its name in the literature.
        dim: Columns after preprocessing.
        rows: Rows of train, val and test after preprocessing.
        version: Of our builder; a change of rows changes it.
    """

    title: str
    dim: int
    rows: tuple[int, int, int]
    version: str


# Papamakarios, Pavlakou and Murray (2017), table 5.
PUBLISHED = {
    "power": Published("POWER", 6, (1_659_917, 184_435, 204_928), "1.0.0"),
    "gas": Published("GAS", 8, (852_174, 94_685, 105_206), "1.0.0"),
    "hepmass": Published("HEPMASS", 21, (315_123, 35_013, 174_987), "1.0.0"),
    "miniboone": Published("MINIBOONE", 43, (29_556, 3_284, 3_648), "1.0.0"),
    "bsds300": Published("BSDS300", 63, (1_000_000, 50_000, 250_000), "1.0.0"),
}


def cache_key(name: str) -> str:
    """The name of a whole set's directory in the cache."""
    return f"{name}-{PUBLISHED[name].version}"


def row_difference(name: str, found: tuple[int, ...]) -> str | None:
    """How row counts differ from the published ones, or None if they do not."""
    expected = PUBLISHED[name].rows
    if found == expected:
        return None
    return f"{_counts(found)} rows, published {_counts(expected)} (train/val/test)"


def _counts(rows: tuple[int, ...]) -> str:
    return "/".join(f"{count:,}" for count in rows)
