"""What tells a data set from another: to notice that a file was replaced.

Where rows come from does not count, only what they are. Whole numbers count exactly.
Real ones, which the same file gives a little differently on another processor, count by
means and root mean squares of parts of the array.
"""

import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np

# Bytes of an array of whole numbers that are read, in so many blocks: of larger ones
# another file differs there, a change of a few rows need not.
LIMIT, BLOCKS = 2**28, 4096
# Parts of an array of real numbers, and how far one's mean may move, as a share of the
# largest root mean square.
PARTS, TOLERANCE = 16, 1e-5

Fingerprint = list[dict[str, Any]]


def of(data: Any) -> Fingerprint:
    """The fingerprint, as JSON holds it; takes about a second at most.

    Args:
        data: A data set of `datasets.build`, or any nest of tuples with arrays.
    """
    return [_exact(a) if a.dtype.kind in "biu" else _close(a) for a in _arrays(data)]


def same(one: Fingerprint, other: Fingerprint) -> bool:
    """Whether two fingerprints are of the same data."""
    return len(one) == len(other) and all(map(_alike, one, other))


def _arrays(data: Any) -> Iterator[np.ndarray]:
    if isinstance(data, tuple | list):
        for part in data:
            yield from _arrays(part)
    elif isinstance(data, np.ndarray):
        yield data


def _exact(array: np.ndarray) -> dict[str, Any]:
    raw = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    found, size = 0, LIMIT // BLOCKS
    if raw.size <= LIMIT:
        found = zlib.crc32(raw.data)
    else:
        for start in np.linspace(0, raw.size - size, BLOCKS).astype(np.int64):
            found = zlib.crc32(raw[start : start + size].data, found)
    return {"shape": list(array.shape), "crc32": found}


def _close(array: np.ndarray) -> dict[str, Any]:
    flat = np.ascontiguousarray(array).reshape(-1)
    means, sizes = [], []
    for part in np.array_split(flat, min(PARTS, max(flat.size, 1))):
        total, squares = _sums(part)
        means.append(float(total / max(part.size, 1)))
        sizes.append(float(np.sqrt(squares / max(part.size, 1))))
    return {"shape": list(array.shape), "means": means, "sizes": sizes}


def _sums(part: np.ndarray) -> tuple[float, float]:
    """Of the numbers and of their squares; short sums as they are, then in float64."""
    whole = part.size // 1024 * 1024
    lines, rest = part[:whole].reshape(-1, 1024), part[whole:].astype(np.float64)
    total = lines.sum(axis=1).sum(dtype=np.float64) + rest.sum()
    squares = np.einsum("ij,ij->i", lines, lines).sum(dtype=np.float64)
    return total, squares + np.sum(rest**2)


def _alike(one: dict[str, Any], other: dict[str, Any]) -> bool:
    if one.keys() != other.keys() or "sizes" not in one:
        return one == other
    if list(one["shape"]) != list(other["shape"]):
        return False
    ours, theirs = (np.array([a["means"], a["sizes"]]) for a in (one, other))
    scale = max(ours[1].max(), theirs[1].max())
    return ours.shape == theirs.shape and bool(
        np.all(np.abs(ours - theirs) <= TOLERANCE * scale)
    )
