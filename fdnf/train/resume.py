"""Where training goes on: one step for all who train together, on all processes."""

from collections.abc import Sequence

import jax
import numpy as np

from fdnf.train import distributed, state
from fdnf.train.checkpoint import Checkpointer
from fdnf.train.state import Best, TrainState
from fdnf.train.stored import CheckpointError

_NOTHING, _FAILED = -1, -2


def restore(
    kept: Sequence[Checkpointer],
    initial: TrainState,
    best: Best,
    runs: Sequence[slice],
) -> tuple[int | None, TrainState, Best]:
    """Reads the newest whole checkpoint that all members have.

    Process 0 reads and tells the others, so that all go on from the same.

    Args:
      kept: one a member.
      initial: the initial state of all runs: the form of what is read.
      best: likewise the best parameters.
      runs: which runs are whose.

    Returns:
      `(step, state, best)` of all runs; the step is None at the beginning.

    Raises:
      CheckpointError: when there are checkpoints and none can be read.
    """
    found, error = None, None
    if distributed.is_first():
        try:
            found = _read(kept, initial, best, runs)
        except CheckpointError as failed:
            error = failed
    told = _FAILED if error else _NOTHING if found is None else found[0]
    told = int(distributed.broadcast(np.asarray(told)))
    if told == _FAILED:
        raise error or CheckpointError("process 0 could not restore; see its message")
    # The initial state too: processes could differ in how they computed it.
    trees = found[1:] if found is not None else (initial, best)
    return (None if told == _NOTHING else told, *distributed.broadcast(trees))


def _read(
    kept: Sequence[Checkpointer],
    initial: TrainState,
    best: Best,
    runs: Sequence[slice],
) -> tuple[int, TrainState, Best] | None:
    if len(kept) == 1:
        found = kept[0].restore(jax.eval_shape(lambda: initial), best)
        return found[:3] if found else None
    common = set.intersection(*(set(each.steps()) for each in kept))
    reasons = []
    for step in sorted(common, reverse=True):
        states, bests = [], []
        try:
            for each, own in zip(kept, runs, strict=True):
                form = jax.eval_shape(lambda own=own: state.take(initial, own))
                mine = jax.tree.map(lambda leaf, own=own: leaf[own], best)
                read = each.restore_at(step, form, mine)
                states.append(read[0])
                bests.append(read[1])
        except CheckpointError as failed:
            reasons.append(str(failed))
            continue
        for each in kept:
            each.discard_after(step)
        every = jax.tree.map(lambda *leaves: np.concatenate(leaves), *bests)
        return step, state.join(states), every
    if reasons:
        raise CheckpointError("\n".join(reasons))
    return None
