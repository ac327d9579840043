"""Pools of a teacher's samples, drawn once and kept beside the teacher."""

import hashlib
import json
import logging
import pathlib
from typing import Any

import jax
import numpy as np

from fdnf import files
from fdnf.data import archives
from fdnf.train import distributed, teachers
from fdnf.train.teachers import Trained

FOLDER = "pools"
# Raise it when the same settings would give other samples.
VERSION = 2

_log = logging.getLogger(__name__)


def pool(
    trained: Trained,
    workdir: str | pathlib.Path,
    rows: int,
    seed: int,
    limit: float,
    *,
    stored: bool = True,
) -> dict[str, np.ndarray]:
    """`teachers.generate`, whose result is kept in `<workdir>/pools`.

    A pool is found again by everything that it depends on, the teacher's parameters
    included. One that cannot be read is drawn anew; a directory that cannot be
    written keeps none, which costs time only.

    Args:
      trained: the teacher.
      workdir: its directory.
      rows: see `teachers.generate`, as the rest.
      seed: likewise.
      limit: likewise.
      stored: likewise.
    """
    key = _key(trained, rows=rows, seed=seed, limit=limit, stored=stored)
    name = hashlib.sha256(key.encode()).hexdigest()[:16]
    path = pathlib.Path(workdir) / FOLDER / f"{name}.npz"
    found = _read(path, key)
    if found is not None:
        return found
    _log.info("drawing %d samples of the teacher in %s", rows, workdir)
    drawn = teachers.generate(trained, rows, seed, limit, stored=stored)
    if distributed.is_first():
        _write(path, key, drawn)
    return drawn


def _key(trained: Trained, **settings: Any) -> str:
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(trained.variables):
        digest.update(jax.tree_util.keystr(path).encode())
        digest.update(np.ascontiguousarray(leaf).tobytes())
    settings |= {
        "version": VERSION,
        "model": trained.config.model.to_dict(),
        "preprocess": trained.meta.get("preprocess"),
        "parameters": digest.hexdigest(),
        # Another version of jax may draw other numbers.
        "jax": jax.__version__,
    }
    return json.dumps(settings, sort_keys=True)


def _read(path: pathlib.Path, key: str) -> dict[str, np.ndarray] | None:
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as archive:
            found = {name: archive[name] for name in archive.files}
    except (ValueError, KeyError, MemoryError, *archives.DAMAGE) as error:
        _log.warning("%s cannot be read (%s): drawing the pool anew", path, error)
        return None
    return found if str(found.pop("key", "")) == key else None


def _write(path: pathlib.Path, key: str, drawn: dict[str, np.ndarray]) -> None:
    # Several runs may draw the same pool at a time: the last to be done names it.
    try:
        with files.replacing(path) as file:
            np.savez(file, key=np.array(key), **drawn)  # pyright: ignore[reportArgumentType]
    except OSError as error:
        _log.warning("the pool of samples is not kept in %s: %s", path.parent, error)
