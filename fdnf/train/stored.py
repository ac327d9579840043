"""Checkpoint directories on disk: which there are, which are whole, reading them.

Arrays are kept as flat dicts, named by their path in the tree. Without the classes of
the tree in the file, a checkpoint can be read by someone who does not have them, and
compared with a tree of theirs leaf by leaf.
"""

import json
import logging
import unicodedata
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import traverse_util

from fdnf.data import paths
from fdnf.ops import entering

# Of what a checkpoint holds; raise it when older versions could not read it.
FORMAT = 1
SEPARATOR = "/"
# What orbax takes for a part of a pattern.
_PATTERN = set("[]*?\\")
_log = logging.getLogger(__name__)


class CheckpointError(RuntimeError):
    """A checkpoint cannot be written, found, read or used."""


class LaterFormatError(CheckpointError):
    """A whole checkpoint that only a later version of fdnf understands."""


def place(workdir: str | Path) -> Path:
    """A workdir as an absolute path, if checkpoints below it can be read back.

    Orbax takes the path for a pattern when it looks for the arrays that it wrote.

    Raises:
        CheckpointError: for characters of patterns or of control, what is no text, and
            what is no directory of this machine.
        DataError: for a `~` that stands for nothing.
    """
    path = paths.expanded(workdir).absolute()
    told = repr(str(path))
    if "://" in str(workdir) or any(part.endswith(":") for part in path.parts):
        raise CheckpointError(
            f"workdir {str(workdir)!r}: expected a directory of this machine, or one"
            " that is mounted, with no colon at the end of its name."
        )
    wrong = sorted(set(str(path)) & _PATTERN)
    wrong += [c for c in str(path) if unicodedata.category(c) in ("Cc", "Cs")]
    if wrong:
        raise CheckpointError(
            f"workdir {told} has {wrong[0]!r} in it, so that no checkpoint in it could"
            " be read: choose another --workdir, or move to a directory of another"
            " name."
        )
    return path


def steps(directory: Path) -> list[int]:
    """Lists the steps with a directory, newest first, whole or not."""
    if not directory.is_dir():
        return []
    names = (path.name for path in directory.iterdir() if path.is_dir())
    return sorted((int(name) for name in names if name.isdecimal()), reverse=True)


def newest(
    directory: Path, names: tuple[str, ...]
) -> tuple[int, dict[str, Any], dict[str, Any], list[Path]]:
    """Reads the newest whole checkpoint; also gives the broken ones newer than it."""
    reasons: dict[Path, str] = {}
    for step in steps(directory):
        path = directory / str(step)
        try:
            trees, meta = _read(path, names)
        except (MemoryError, LaterFormatError):
            raise
        except Exception as error:
            reasons[path] = f"{type(error).__name__}: {first_line(error)}"
            continue
        for bad, reason in reasons.items():
            _log.warning(
                "checkpoint %s is broken (%s): using step %d instead", bad, reason, step
            )
        return step, trees, meta, list(reasons)
    listed = "\n".join(f"  {path}: {reason}" for path, reason in reasons.items())
    raise CheckpointError(
        f"no checkpoint in {directory} can be read:\n{listed}\nRestore one from a"
        " copy, or remove this directory to train from the start."
    )


def one(
    directory: Path, step: int, names: tuple[str, ...]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Reads the named trees of one step, and its meta.

    Raises:
        CheckpointError: when they cannot be read.
    """
    path = directory / str(step)
    try:
        return _read(path, names)
    except (MemoryError, LaterFormatError):
        raise
    except Exception as error:
        raise CheckpointError(
            f"checkpoint {path} cannot be read "
            f"({type(error).__name__}: {first_line(error)})"
        ) from error


def alone() -> dict[str, Any]:
    """Options by which orbax waits for no other process, however many there are."""
    if jax.process_count() == 1:
        return {}
    import orbax.checkpoint as ocp

    here = jax.process_index()
    options = ocp.options.MultiprocessingOptions(
        primary_host=here,
        active_processes={here},
        barrier_sync_key_prefix=f"process_{here}",
    )
    return {"multiprocessing_options": options}


def move_aside(paths: list[Path]) -> None:
    """Renames each directory to `<step>.broken-<n>`, so that its step can be saved.

    Raises:
        CheckpointError: when the file system refuses.
    """
    if jax.process_index() != 0:
        return
    for path in paths:
        taken = len(list(path.parent.glob(f"{path.name}.broken-*")))
        target = path.with_name(f"{path.name}.broken-{taken + 1}")
        try:
            path.rename(target)
        except OSError as error:
            raise CheckpointError(
                f"the broken checkpoint {path} cannot be moved to {target} ({error}):"
                " move or remove it by hand."
            ) from error


def first_line(error: Exception) -> str:
    """Shortens the message of an error, which in orbax may run over pages."""
    return (str(error).strip().splitlines() or ["no message"])[0][:300]


def meta_checksum(record: dict[str, Any]) -> int:
    """CRC-32 of what JSON holds, whatever its formatting."""
    return zlib.crc32(json.dumps(record, sort_keys=True).encode())


def _read(path: Path, names: tuple[str, ...]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Reads the named trees and the meta of one checkpoint, and verifies them."""
    import orbax.checkpoint as ocp

    options = alone()
    with ocp.Checkpointer(ocp.JsonCheckpointHandler(), **options) as reader:
        record = reader.restore(path / "meta")
    if not isinstance(record, dict):
        raise ValueError(f"meta is {type(record).__name__}, not an object")
    given = record.get("format", FORMAT)
    if isinstance(given, int) and given > FORMAT:
        raise LaterFormatError(
            f"checkpoint {path} has format {given}, this version of fdnf reads up to "
            f"{FORMAT}: use the version that wrote it, {record.get('versions')}"
        )
    checksums = record.pop("checksums")
    if meta_checksum(record) != checksums["meta"]:
        raise ValueError("the checksum of meta differs from the one saved")
    # By which a model that others learned from is known again.
    record["mark"] = checksums["best"]
    zero_size = record.pop("zero_size")
    trees = {}
    for name in names:
        with ocp.Checkpointer(ocp.StandardCheckpointHandler(), **options) as reader:
            tree = unnest(reader.restore(path / name))
        for leaf, (dtype, shape) in zero_size[name].items():
            tree[leaf] = np.zeros(shape, jax.numpy.dtype(dtype))
        if checksum(tree) != checksums[name]:
            raise ValueError(f"the checksum of {name} differs from the one saved")
        trees[name] = _drawn(tree)
    if "config" in record:
        record["config"] = entering.tuples(record["config"])
    return trees, record


def _drawn(tree: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The tree with permutations and signs of 1x1 convolutions as booleans.

    The first checkpoints have floats, 0 and 1 or -1 and 1.
    """
    named = ("permutation", "sign")
    found = {}
    for name, leaf in tree.items():
        place, _, last = name.rpartition(SEPARATOR)
        beside = (f"{place}{SEPARATOR}{other}" for other in named)
        drawn = last in named and all(other in tree for other in beside)
        old = drawn and np.issubdtype(leaf.dtype, np.floating)
        found[name] = leaf > 0 if old else leaf
    return found


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
