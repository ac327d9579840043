"""A trained flow as one file: what it is, what stands before it, its parameters.

The file is an .npz archive of plain arrays, and of one text, which is JSON. Reading it
runs no code but that of this package: a flow is described by its name and attributes.
One of the user's own class is described by the class's name alone, and whoever reads
the file gives the flow.
"""

import pathlib
import types
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import fdnf
from fdnf import files
from fdnf.data import archives, paths
from fdnf.data.tabular import told
from fdnf.train import models, preprocess, settings, stored
from fdnf.train.stored import CheckpointError

# Raise it when older versions could not read what is written.
FORMAT = 1
_META = "meta"


class Parts(NamedTuple):
    """What a `teachers.Trained` consists of."""

    flow: models.Model
    variables: dict[str, Any]
    config: Any
    meta: dict[str, Any]


def write(path: str | pathlib.Path, parts: Parts) -> None:
    """Writes the file, whole or not at all.

    Raises:
      CheckpointError: it cannot be written, or not what it is to hold.
    """
    path = paths.expanded(path)
    if path.is_dir():
        raise CheckpointError(f"{path} is a directory: expected the name of a file")
    if not isinstance(parts.flow, models.Model):
        raise CheckpointError(
            f"a {type(parts.flow).__name__} cannot be saved: it is of another library, "
            "which has its own ways; save the student that it teaches"
        )
    arrays = stored.flatten({k: v for k, v in parts.variables.items() if v})
    meta = {
        "fdnf": fdnf.__version__,
        "format": FORMAT,
        "model": models.describe(parts.flow),
        "class": _class_of(parts.flow),
        "config": settings.to_dict(parts.config),
        "meta": parts.meta,
        "checksum": stored.checksum(arrays),
    }
    try:
        with files.replacing(path) as file:
            named: dict[str, Any] = {_META: np.array(files.dumps(meta)), **arrays}
            np.savez(file, **named)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be written: {error}") from error


def read(path: str | pathlib.Path, flow: models.Model | None = None) -> Parts:
    """Reads what `write` wrote.

    Args:
      path: the file.
      flow: what it is of, where that is of a class of the user's own.

    Raises:
      CheckpointError: the file is missing, damaged, of another kind, of a later
        version, or of another flow.
    """
    path = paths.expanded(path)
    meta, arrays = _contents(path)
    if meta["format"] > FORMAT:
        raise CheckpointError(
            f"{path} has format {meta['format']}, this version of fdnf "
            f"({fdnf.__version__}) reads up to {FORMAT}: use version {meta['fdnf']}, "
            "which wrote it"
        )
    config, kept = settings.from_dict(meta["config"]), meta["meta"]
    if flow is None:
        flow = _made(path, meta)
    variables = {"params": {}, "constants": {}, **stored.nest(arrays)}
    check(flow, variables, kept, str(path))
    return Parts(flow, variables, config, kept)


def check(
    flow: models.Model, variables: dict[str, Any], meta: dict[str, Any], where: str
) -> None:
    """Refuses a flow that makes other parameters than those that are there.

    Args:
      flow: the model.
      variables: numpy arrays, leading axis runs.
      meta: of the checkpoint: the shape of a row, and what is done to rows.
      where: what they were read from, for errors.

    Raises:
      CheckpointError: names the parameters that are missing, too many or unlike.
    """
    event = tuple(meta["event"])
    cond = preprocess.restore(meta.get("preprocess", {})).condition_shape(event)
    given = [jax.ShapeDtypeStruct((2, *event), jnp.float32)]
    given += [jax.ShapeDtypeStruct((2, *cond), jnp.float32)] if cond else []
    try:
        made = jax.eval_shape(
            lambda *given: models.init(flow, jax.random.key(0), *given), *given
        )
        one = jax.tree.map(lambda leaf: leaf[0], variables)
        stored.fit({k: v for k, v in made.items() if v}, stored.flatten(one))
    except (ValueError, TypeError) as error:
        raise CheckpointError(
            f"{where} is not of this {type(flow).__name__}: {error}. Give the flow "
            "with the attributes that it was trained with"
        ) from error


def _class_of(flow: models.Model) -> str:
    return f"{type(flow).__module__}.{type(flow).__qualname__}"


def _made(path: pathlib.Path, meta: dict[str, Any]) -> models.Model:
    if meta["model"] is None:
        name = meta["class"]
        raise CheckpointError(
            f"{path} is of a flow of your own, {name}, which this file cannot make "
            f"again: load(path, flow={name.rpartition('.')[2]}(...)), with the "
            "attributes that it was trained with"
        )
    try:
        return models.build(types.SimpleNamespace(**meta["model"]))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{path} describes a model that this version of fdnf "
            f"({fdnf.__version__}) cannot make ({told(error)}): use version "
            f"{meta['fdnf']}, which wrote it, or train it anew"
        ) from error


def _contents(path: pathlib.Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    if not path.exists():
        raise CheckpointError(
            f"{path} does not exist: expected a file that `save` wrote, or the workdir "
            "of a training"
        )
    try:
        with np.load(path, allow_pickle=False) as archive:
            found = {name: archive[name] for name in archive.files}
        meta = files.loads(str(found.pop(_META)))
        if stored.checksum(found) != meta["checksum"]:
            raise ValueError("the checksum of the parameters differs from that saved")
        for key in ("format", "fdnf", "model", "class", "config", "meta"):
            meta[key]
    except (ValueError, KeyError, TypeError, *archives.DAMAGE) as error:
        raise CheckpointError(
            f"{path} is damaged, or none of the files that `save` writes "
            f"({told(error)}): copy it again, or save it anew"
        ) from None
    return meta, found
