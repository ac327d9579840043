"""Trees as flat dicts of host arrays, named by path: the form checkpoints are kept in.

Without the classes of the tree in the file, a checkpoint can be read by someone who
does not have them, and compared with a tree of theirs leaf by leaf.
"""

import zlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from flax import traverse_util

SEPARATOR = "/"


def _named(tree: Any) -> tuple[list[tuple[str, Any]], Any]:
    leaves, treedef = jax.tree_util.tree_flatten_with_path(tree)
    named = [
        (jax.tree_util.keystr(path, simple=True, separator=SEPARATOR), leaf)
        for path, leaf in leaves
    ]
    return named, treedef


def flatten(tree: Any) -> dict[str, np.ndarray]:
    """Copies the leaves to the host, as `{"path/of/leaf": array}` in tree order.

    They are copies, not views: they are written to disk while training goes on, and
    a view of a CPU buffer keeps jax from giving that buffer to the next step.
    """
    named, _ = _named(jax.device_get(tree))
    return {name: np.array(leaf) for name, leaf in named}


def nest(flat: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Turns paths into nested dicts; parts of a tree without leaves are absent."""
    return traverse_util.unflatten_dict(dict(flat), sep=SEPARATOR)


def unnest(nested: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Undoes `nest`."""
    flat = traverse_util.flatten_dict(nested, sep=SEPARATOR)
    return {name: np.asarray(leaf) for name, leaf in flat.items()}


def checksum(flat: Mapping[str, np.ndarray]) -> int:
    """CRC-32 over the paths, dtypes, shapes and bytes, in the order of the paths."""
    crc = 0
    for name, leaf in sorted(flat.items()):
        crc = zlib.crc32(f"{name} {leaf.dtype} {leaf.shape}".encode(), crc)
        crc = zlib.crc32(leaf.tobytes(), crc)
    return crc


def fit(template: Any, flat: Mapping[str, np.ndarray]) -> Any:
    """Puts the arrays into the structure of `template`.

    Args:
        template: tree whose leaves have `shape` and `dtype`.
        flat: arrays by path.

    Raises:
        ValueError: names the leaves that are missing, too many or unlike.
    """
    named, treedef = _named(template)
    wanted = {name: f"{leaf.dtype}{list(leaf.shape)}" for name, leaf in named}
    given = {name: f"{leaf.dtype}{list(leaf.shape)}" for name, leaf in flat.items()}
    unlike = [
        f"{name} is {given.get(name, 'absent')}, expected {wanted.get(name, 'absent')}"
        for name in sorted(wanted.keys() | given.keys())
        if wanted.get(name) != given.get(name)
    ]
    if unlike:
        more = f", and {len(unlike) - 3} more" if len(unlike) > 3 else ""
        raise ValueError("; ".join(unlike[:3]) + more)
    return jax.tree_util.tree_unflatten(treedef, [flat[name] for name, _ in named])
