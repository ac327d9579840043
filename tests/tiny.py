"""Runs as small as they come: three dimensions, two MADEs of width 8."""

import functools
import pathlib
import shutil
from typing import Any

import jax
import numpy as np

from configs import teaching, vectors
from fdnf.train import checkpoint, models, settings, validation, workdirs
from fdnf.train.batches import Moment


def config(method: str = "nll", **train: Any):
    """A config of 12 steps in calls of 3, evaluated at 6 and 12."""
    if method == "nll":
        built = _flow("teacher")
    else:
        words = {method, "smoke"}
        built = teaching.distill(_flow("student"), _flow("teacher"), words)
        built.loss.skd.start = 0.0
        built.loss.skd.batch = 8
        built.teacher.config.train.update(train)
    built.train.update(train)
    return built


def _flow(role: str):
    built = vectors.maf("synthetic", f"{role},smoke")
    built.model.args.update(steps=1 if role == "student" else 2, hidden=(8,))
    built.data.args.update(dim=3, rows=200)
    built.train.update(
        steps=12,
        batch_size=16,
        steps_per_call=3,
        log_every=3,
        eval_every=6,
        init_rows=64,
    )
    built.eval.update(batch_size=64, samples=40, time_batch=8)
    return built


def affine(method: str = "nll"):
    """The same of one affine map, which is traced fastest."""
    built = config(method)
    built.model = {"name": "affine", "args": {}}
    if method != "nll":
        # Else a student of the same data would be its teacher.
        built.teacher.config.model = {"name": "affine", "args": {"start": "normal"}}
    return built


def stored(
    config: Any, workdir: pathlib.Path, dim: int = 0, runs: int = 1
) -> pathlib.Path:
    """A workdir as if the config had been trained in it, at its first parameters.

    Args:
      config: of vectors.
      workdir: where the checkpoint is put.
      dim: of the vectors, if not that of the config's data.
      runs: how many there are, all alike.
    """
    dim = dim or config.data.args.dim
    init = jax.jit(functools.partial(models.init, models.build(config.model)))
    key = jax.random.key(0)
    made = jax.tree.map(
        lambda leaf: np.stack([leaf] * runs),
        init(key, jax.random.normal(key, (8, dim))),
    )
    best = validation.first_best(made["params"], made.get("constants", {}), runs)
    meta = {"config": settings.to_dict(config), "event": [dim], "preprocess": {}}
    with checkpoint.Checkpointer(workdir) as checkpointer:
        checkpointer.save(6, {"w": np.zeros(2)}, best, meta)
    return workdir


def undone(finished: pathlib.Path, workdir: pathlib.Path, step: int) -> None:
    """A copy of a finished run as if it had been killed after the checkpoint of a step.

    Rows of the log may go on after it.
    """
    shutil.copytree(finished, workdir)
    (workdir / workdirs.FINISHED).unlink()
    for path in (workdir / checkpoint.SUBDIRECTORY).iterdir():
        if int(path.name) > step:
            shutil.rmtree(path)


def same_rows(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> None:
    """Asserts equal logs, but for how long things took."""
    plain = [
        [{k: v for k, v in r.items() if k != "steps_per_second"} for r in rows]
        for rows in (ours, theirs)
    ]
    np.testing.assert_equal(plain[0], plain[1])


def same_best(ours: pathlib.Path, theirs: pathlib.Path) -> None:
    """Asserts best parameters that are equal bit for bit."""
    found = [checkpoint.load_best(path) for path in (ours, theirs)]
    np.testing.assert_equal(found[0][:2], found[1][:2])
    assert found[0][2]["best"] == found[1][2]["best"]


def compiled(objective):
    """An objective, jitted: (variables, teacher's variables, batch, key, step)."""
    return jax.jit(
        lambda variables, taught, batch, key, step: objective(
            variables, taught, batch, Moment(key, step)
        )
    )
