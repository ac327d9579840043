"""Where training goes on: one step for all who train together, on all processes."""

import logging
import pathlib
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from fdnf.data import fingerprint
from fdnf.train import checkpoint, distributed, state
from fdnf.train.checkpoint import Checkpointer
from fdnf.train.state import Best, TrainState
from fdnf.train.stored import CheckpointError
from fdnf.train.taught import Member

_NOTHING, _FAILED = -1, -2
_MODELS = ("teacher", "pretrained")

_log = logging.getLogger(__name__)


def restore(
    kept: Sequence[Checkpointer],
    initial: TrainState,
    best: Best,
    runs: Sequence[slice],
    rests_on: Sequence[dict[str, Any]],
    accept: bool = False,
) -> tuple[int | None, TrainState, Best]:
    """Reads the newest whole checkpoint that all members have.

    Process 0 reads and tells the others, so that all go on from the same.

    Args:
      kept: one a member.
      initial: the initial state of all runs: the form of what is read.
      best: likewise the best parameters.
      runs: which runs are whose.
      rests_on: of each member what `foundations` says.
      accept: whether training goes on if that has changed.

    Returns:
      `(step, state, best)` of all runs; the step is None at the beginning.

    Raises:
      CheckpointError: when there are checkpoints and none can be read, or what they
        rest on has changed.
    """
    found, error = None, None
    if distributed.is_first():
        try:
            found = _read(kept, initial, best, runs)
            if found is not None:
                for each, meta, ours in zip(kept, found[3], rests_on, strict=True):
                    check(each.directory.parent, meta, ours, accept)
                for each in kept:
                    each.discard_after(found[0])
        except CheckpointError as failed:
            error = failed
    told = _FAILED if error else _NOTHING if found is None else found[0]
    told = int(distributed.broadcast(np.asarray(told)))
    if told == _FAILED:
        raise error or CheckpointError("process 0 could not restore; see its message")
    # The initial state too: processes could differ in how they computed it.
    trees = found[1:3] if found is not None else (initial, best)
    return (None if told == _NOTHING else told, *distributed.broadcast(trees))


def _read(
    kept: Sequence[Checkpointer],
    initial: TrainState,
    best: Best,
    runs: Sequence[slice],
) -> tuple[int, TrainState, Best, list[dict[str, Any]]] | None:
    if len(kept) == 1:
        found = kept[0].restore(jax.eval_shape(lambda: initial), best)
        return (*found[:3], [found[3]]) if found else None
    common = set.intersection(*(set(each.steps()) for each in kept))
    reasons = []
    for step in sorted(common, reverse=True):
        states, bests, metas = [], [], []
        try:
            for each, own in zip(kept, runs, strict=True):
                form = jax.eval_shape(lambda own=own: state.take(initial, own))
                mine = jax.tree.map(lambda leaf, own=own: leaf[own], best)
                read = each.restore_at(step, form, mine)
                states.append(read[0])
                bests.append(read[1])
                metas.append(read[2])
        except CheckpointError as failed:
            reasons.append(str(failed))
            continue
        every = jax.tree.map(lambda *leaves: np.concatenate(leaves), *bests)
        return step, state.join(states), every, metas
    if reasons:
        raise CheckpointError("\n".join(reasons))
    return None


def foundations(members: Sequence[Member], data: Any) -> list[dict[str, Any]]:
    """What each member's training rests on, for its checkpoints: data and models.

    Args:
      members: the experiments.
      data: what they are trained on.
    """
    rows = fingerprint.of(data)
    return [{"data": rows, **marks(member)} for member in members]


def marks(member: Member) -> dict[str, int]:
    """By which the models that an experiment takes from others are known again."""
    named = {name: getattr(member, name) for name in _MODELS}
    found = {k: checkpoint.meta_of(path) for k, path in named.items() if path}
    return {name: meta["mark"] for name, meta in found.items() if meta}


def check(
    workdir: pathlib.Path, meta: dict[str, Any], ours: dict[str, Any], accept: bool
) -> None:
    """Refuses to go on with other data or models than a run began with.

    Args:
      workdir: of the run.
      meta: of its checkpoint; one without `rests_on` is taken as it is.
      ours: what is there, as `foundations` or `marks` say; what it lacks is not
        compared.
      accept: whether a change is only told.

    Raises:
      CheckpointError: what a checkpoint rests on has changed.
    """
    saved = meta.get("rests_on") or {}
    changed = [k for k in _MODELS if {k} <= saved.keys() & ours.keys()]
    changed = [f"its {k} model" for k in changed if saved[k] != ours[k]]
    if {"data"} <= saved.keys() & ours.keys():
        if not fingerprint.same(saved["data"], ours["data"]):
            changed.insert(0, "the data")
    if not changed:
        return
    what = f"{workdir}: {' and '.join(changed)} changed since step {meta['step']}"
    if not accept:
        raise CheckpointError(
            f"{what}, on which what was trained rests. Put back what was there, or "
            "train anew in another --workdir; --config.train.accept_changes=True goes "
            "on all the same"
        )
    _log.warning("%s: going on, as train.accept_changes asks", what)
