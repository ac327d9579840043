"""The state of a training program and the best parameters it has seen.

Several runs (seeds) train side by side: every array leaf has a leading `runs` axis,
except `TrainState.step`, which they share. Fields are `Any` because the same classes
also hold shapes, axes and other trees of the same form.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.typing import ArrayLike


@struct.dataclass
class TrainState:
    """All that a training step reads and writes.

    Attributes:
        step: int32 scalar, steps taken; shared by the runs.
        params: the trained pytree.
        ema: exponential moving average of `params`, or None when none is kept.
        constants: what was drawn once and is saved but not trained.
        opt_state: state of the transformation made by `optim.make`.
    """

    step: Any
    params: Any
    ema: Any
    constants: Any
    opt_state: Any


@struct.dataclass
class Best:
    """The parameters with the lowest validation loss, run by run.

    As long as none was finite, the newest ones: those of the start stand for nothing.

    Attributes:
        params: parameters that were evaluated (the average, where one is kept).
        constants: the constants that belong to them.
        value: `[runs]`, validation loss in nats; +inf before the first that is finite.
        step: `[runs]` int32, the step of that evaluation.
    """

    params: Any
    constants: Any
    value: Any
    step: Any


def take(state: TrainState, runs: slice) -> TrainState:
    """The state of some of the runs."""
    parts = (state.params, state.ema, state.constants, state.opt_state)
    return TrainState(state.step, *jax.tree.map(lambda leaf: leaf[runs], parts))


def join(states: Sequence[TrainState]) -> TrainState:
    """The state of all runs, from those of some; all at one step."""
    parts = [(s.params, s.ema, s.constants, s.opt_state) for s in states]
    every = jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)
    return TrainState(states[0].step, *every)


def first_best(params: Any, constants: Any, runs: int) -> Best:
    """Gives the record of a program that has not been evaluated.

    The trees are copied to the host: the record outlives a state whose buffers are
    donated.

    Args:
        params: initial parameters, leading axis `runs`.
        constants: initial constants, leading axis `runs`.
        runs: number of runs side by side.
    """
    # By numpy, which has nothing to compile for each shape.
    return Best(
        params=jax.tree.map(np.array, params),
        constants=jax.tree.map(np.array, constants),
        value=np.full((runs,), np.inf, np.float32),
        step=np.zeros((runs,), np.int32),
    )


def update_best(
    best: Best, params: Any, constants: Any, value: ArrayLike, step: ArrayLike
) -> Best:
    """Replaces the runs whose validation loss fell; pure, and works under jit.

    A loss that is not finite replaces what had none that was, by parameters that are
    finite: a row that a flow gives no density does not bring back the initial ones.

    Args:
        best: the record so far.
        params: parameters just evaluated, leading axis `runs`.
        constants: their constants, leading axis `runs`.
        value: `[runs]`, their validation loss in nats.
        step: scalar, steps taken so far.
    """
    value = jnp.asarray(value, best.value.dtype)
    none_yet = ~jnp.isfinite(value) & ~jnp.isfinite(best.value)
    better = (jnp.isfinite(value) & (value < best.value)) | none_yet & whole(params)
    kept = jnp.where(jnp.isfinite(value), value, jnp.inf)
    return replace(best, better, Best(params, constants, kept, step))


def replace(best: Best, which: ArrayLike, new: Best) -> Best:
    """The record with some of its runs, a mask `[runs]`, taken from another."""
    which = jnp.asarray(which)

    def pick(new: ArrayLike, old: ArrayLike) -> jax.Array:
        mask = which.reshape(which.shape + (1,) * (jnp.ndim(old) - 1))
        return jnp.where(mask, new, old)

    return Best(
        params=jax.tree.map(pick, new.params, best.params),
        constants=jax.tree.map(pick, new.constants, best.constants),
        value=pick(new.value, best.value),
        step=pick(jnp.asarray(new.step, jnp.int32), best.step),
    )


def whole(params: Any) -> jax.Array:
    """`[runs]`, whether all parameters of a run are finite."""
    leaves = jax.tree.leaves(params)
    each = [jnp.isfinite(x).all(tuple(range(1, jnp.ndim(x)))) for x in leaves]
    return jnp.stack(each).all(0)
