"""The training step: several runs side by side, several steps a call, all devices.

`pmap` shards batches over the devices; within it, the runs of one study (seeds) train
as one program; within that, `lax.scan` takes the steps of one call, drawing their
batches on the device. Small flows are bound by dispatch, not by arithmetic.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct
from jaxtyping import Array

from fdnf.losses import levels
from fdnf.ops import trees
from fdnf.train import optim
from fdnf.train.batches import (
    DrawBatch,
    Moment,
    Noise,
    Objective,
    Run,
    Share,
    Step,
    fold,
)
from fdnf.train.preprocess import Prepared, Preprocess
from fdnf.train.rules import ConfigError


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

    @property
    def evaluated(self) -> Any:
        """What is evaluated and kept: the average, where there is one, of the model.

        Heads of a loss, see `losses.levels`, are needed to go on with training alone.
        """
        kept = self.params if self.ema is None else self.ema
        return levels.split(kept)[0]


def take(state: TrainState, runs: slice) -> TrainState:
    """The state of some of the runs."""
    parts = (state.params, state.ema, state.constants, state.opt_state)
    return TrainState(state.step, *jax.tree.map(lambda leaf: leaf[runs], parts))


def join(states: Sequence[TrainState]) -> TrainState:
    """The state of all runs, from those of some; all at one step."""
    parts = [(s.params, s.ema, s.constants, s.opt_state) for s in states]
    every = jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)
    return TrainState(states[0].step, *every)


PACKS = ("auto", "map", "vmap")


@struct.dataclass
class Hyper:
    """The numbers in which the runs of one program differ, leading axis runs.

    Attributes:
        key: of each run, see `run_keys`.
        lr: factor of the optimiser's updates.
        weights: `[runs, 3]`, of the terms of the loss, see `objectives.weights`.
    """

    key: Any
    lr: Any
    weights: Any


def run_keys(seed: int, runs: int) -> Array:
    """One key per run: run r of seed s is run 0 of seed s + r."""
    return jnp.stack([jax.random.key(seed + r) for r in range(runs)])


def hyper(keys: Array, lr: Any = 1.0, weights: Any = (0.0, 0.0, 0.0)) -> Hyper:
    """The numbers of runs with these keys; what is given once holds for all."""
    runs = keys.shape[0]
    return Hyper(
        key=keys,
        lr=jnp.broadcast_to(jnp.asarray(lr, jnp.float32), (runs,)),
        weights=jnp.broadcast_to(jnp.asarray(weights, jnp.float32), (runs, 3)),
    )


def over_runs(
    function: Callable, per_run: Any, pack: str = "auto", alike: int = 1
) -> Any:
    """Applies `function` to each run.

    Args:
      function: of the tree of one run.
      per_run: the tree of all, leading axis runs, as in the result.
      pack: "vmap" makes every operation a batched one, which fills an accelerator;
        "map" goes through the runs one after another within the program: on CPU,
        where XLA's batched matrix products are up to 5 times slower than as many
        single ones (a tabular Glow), the runs then cost what they cost alone, and
        give the same bits. "auto" is "map" on CPU and "vmap" elsewhere.
      alike: if above 1, `function` is of the tree of so many runs in a row.
    """
    if alike > 1:
        groups = jax.tree.map(
            lambda leaf: leaf.reshape(-1, alike, *leaf.shape[1:]), per_run
        )
        found = over_runs(function, groups, pack)
        return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), found)
    if jax.tree.leaves(per_run)[0].shape[0] == 1:
        alone = function(jax.tree.map(lambda leaf: leaf[0], per_run))
        return jax.tree.map(lambda leaf: leaf[None], alone)
    if _chosen(pack) == "map":
        return jax.lax.map(function, per_run)
    return jax.vmap(function)(per_run)


def _chosen(pack: str) -> str:
    if pack != "auto":
        return pack
    return "map" if jax.default_backend() == "cpu" else "vmap"


def _beside(several: bool, pack: str) -> tuple[Callable, Callable, Callable]:
    """How runs that see the same batches stand beside each other within one scan.

    Returns:
      What splits trees with a leading runs axis, what makes of a function of one run's
      (carry, fixed) one of all, and what joins the trees again.
    """
    if not several:
        return _same, _same, _same
    if _chosen(pack) == "vmap":
        return _same, jax.vmap, _same
    return trees.unstacked, _one_by_one, trees.stacked


def _same(given: Any) -> Any:
    return given


def _one_by_one(function: Callable) -> Callable:
    def every(carries: list[Any], fixed: list[Any]) -> tuple[list[Any], list[Any]]:
        found = [function(c, f) for c, f in zip(carries, fixed, strict=True)]
        return [carry for carry, _ in found], [out for _, out in found]

    return every


AXIS = "batch"


def make_train_step(
    objective: Objective,
    optimizer: optax.GradientTransformation,
    sample: DrawBatch,
    *,
    steps: int,
    ema: float,
    teacher_runs: bool = False,
    pack: str = "auto",
    preprocess: Prepared | None = None,
    accumulate: int = 1,
    alike: int = 1,
    answer: Callable | None = None,
) -> Callable:
    """The pmapped function that takes `steps` training steps of every run.

    Args:
      objective: from `objectives.build`.
      optimizer: from `optim.make`; a step that is not finite changes nothing.
      sample: from `batches.uniform`.
      steps: steps a call.
      ema: decay of the moving average, 0 for none.
      teacher_runs: whether the teacher's variables have a leading runs axis too.
      pack: how the runs share the program, see `over_runs`.
      preprocess: what is done to a batch once it is drawn; nothing by default.
      accumulate: parts that a device's batch is cut into, one gradient after the
        other, for batches whose activations do not fit into memory.
      alike: runs in a row that have the same key and teacher. They see the same
        batches.
      answer: function of (teacher's variables, batch) to what takes the place of the
        former in the objective: computed once for runs that are alike.

    Returns:
      `(state, stop, hyper, data, teacher) -> (state, scalars)`: `stop` is `[devices
      of this process]`, int32, whether the process has been told to stop; the rest
      has no device axis, and `state` is donated. `scalars` are `[runs]`: means over
      the call's finite steps, and the counts of skipped steps; "stop" is above zero
      in all processes if it was given in any.
    """
    if pack not in PACKS:
        raise ConfigError(f"train.pack={pack!r}; known: {PACKS}")
    steps_of = _Steps(
        _gradient(objective, accumulate, answered=answer is not None),
        optimizer,
        sample,
        # Vectors are taken as they are.
        None if preprocess in (None, Preprocess()) else preprocess.train,
        answer,
        steps,
        ema,
        teacher_runs,
        pack,
        alike,
    )
    return jax.pmap(
        steps_of.call,
        axis_name=AXIS,
        in_axes=(None, 0, None, None, None),
        out_axes=None,
        donate_argnums=0,
    )


@dataclasses.dataclass(frozen=True)
class _Steps:
    """The steps of one call on one device; the attributes are `make_train_step`'s.

    What is trained goes as (params, average, opt_state), what stays as (constants,
    numbers).
    """

    gradient: Callable
    optimizer: optax.GradientTransformation
    sample: DrawBatch
    prepare: Callable | None
    answer: Callable | None
    steps: int
    ema: float
    teacher_runs: bool
    pack: str
    alike: int

    def call(self, state: TrainState, stop: Array, hyper: Hyper, data, teacher):
        """All runs, leading axis runs."""
        runs = (
            (state.params, state.ema, state.opt_state),
            (state.constants, hyper),
            teacher if self.teacher_runs else None,
        )
        (params, average, opt_state), scalars = over_runs(
            lambda run: self._run(run, state.step, data, teacher, stop),
            runs,
            self.pack,
            self.alike,
        )
        consecutive, total = optim.bad_steps(opt_state)
        scalars |= {"bad_in_a_row": consecutive, "skipped_steps": total}
        state = TrainState(
            state.step + self.steps, params, average, state.constants, opt_state
        )
        return state, scalars

    def _run(self, run, step, data, teacher, stop):
        """One run, or `alike` of them in a row, which have the batches in common."""
        trained, fixed, own_teacher = run
        several = self.alike > 1
        key, own = fixed[1].key, own_teacher
        if several:
            key, own = jax.tree.map(lambda leaf: leaf[0], (key, own))
        teacher = own if self.teacher_runs else teacher
        split, every, join = _beside(several, self.pack)
        fixed = split(fixed)

        def body(trained, now):
            batch, noise = self._draw(key, now, data)
            taught = self.answer(teacher, batch) if self.answer else teacher

            def update(trained, fixed):
                return self._update(trained, fixed, taught, batch, noise, now, stop)

            return every(update)(trained, fixed)

        steps = step + jnp.arange(self.steps)
        trained, scalars = jax.lax.scan(body, split(trained), steps)
        return join(trained), join(jax.tree.map(_finite_mean, scalars))

    def _draw(self, key: Array, step: Array, data) -> tuple[dict[str, Array], Array]:
        """The batch of a step on this device, and the key of its noise."""
        key, share = fold(key, Run.TRAIN, step), _share()
        batch = self.sample(fold(key, Step.BATCH), data, share.index)
        # The same on every device, which takes its share of what is drawn.
        noise = fold(key, Step.NOISE, Step.WHOLE)
        if self.prepare:
            batch = self.prepare(fold(noise, Noise.PREPROCESS), batch, share)
        return batch, noise

    def _update(self, trained, fixed, teacher, batch, noise, step, stop):
        """One step of one run, and its scalars."""
        (params, average, opt_state), (constants, own) = trained, fixed
        moment = Moment(noise, step, own.weights, _share())
        (loss, terms), grads = self.gradient(params, constants, teacher, batch, moment)
        # The flag goes along: a collective of its own may run beside this one, which
        # XLA's CPU backend does not survive (segmentation faults, jax 0.10).
        flag = jnp.asarray(stop, jnp.float32)
        grads, loss, terms, flag = jax.lax.pmean((grads, loss, terms, flag), AXIS)
        norm = optax.tree.norm(grads)
        # A loss that is not finite can have finite gradients, and these a norm that
        # is not, by which clipping would make them nothing: spoil them, so that the
        # optimizer skips the step as it skips gradients that are not finite.
        ok = jnp.isfinite(loss) & jnp.isfinite(norm)
        grads = jax.tree.map(lambda g: jnp.where(ok, g, jnp.nan), grads)
        updates, opt_state = self.optimizer.update(grads, opt_state, params)
        updates = jax.tree.map(lambda u: (own.lr * u).astype(u.dtype), updates)
        params = optax.apply_updates(params, updates)
        moved = optim.ema_update(average, params, self.ema, step)
        taken = optim.bad_steps(opt_state)[0] == 0
        average = jax.tree.map(lambda a, b: jnp.where(taken, a, b), moved, average)
        scalars = {"loss": loss, "gradient_norm": norm, "stop": flag, **terms}
        return (params, average, opt_state), scalars


def _share() -> Share:
    """That of the device, within the mapped step."""
    return Share(jax.lax.axis_index(AXIS), jax.lax.axis_size(AXIS), AXIS)


def _gradient(objective: Objective, parts: int, *, answered: bool) -> Callable:
    """Value and gradient of the objective, over parts of the batch one by one.

    Args:
      objective: see `make_train_step`.
      parts: likewise, `accumulate`.
      answered: whether in the place of the teacher's variables stand its answers, a
        row for each of the batch.

    Returns:
      Function of (params, constants, the teacher's variables, batch, moment) to
      `((loss, scalars), gradient by params)`.
    """

    def loss(params, constants, teacher, batch, moment):
        variables = {"params": params, "constants": constants}
        return objective(variables, teacher, batch, moment)

    whole = jax.value_and_grad(loss, has_aux=True)
    if parts == 1:
        return whole

    def accumulated(params, constants, teacher, batch, moment):
        def one(part):
            batch, i, answers = part
            taught = answers if answered else teacher
            noise = moment._replace(key=fold(moment.key, Noise.PARTS, i))
            return whole(params, constants, taught, batch, noise)

        def body(total, part):
            return jax.tree.map(jnp.add, total, one(part)), None

        given = (batch, teacher if answered else None)
        rows, answers = jax.tree.map(lambda leaf: _cut(leaf, parts), given)
        cut = rows, jnp.arange(parts), answers
        first = jax.tree.map(lambda leaf: leaf[0], cut)
        zeros = jax.tree.map(
            lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(one, first)
        )
        total, _ = jax.lax.scan(body, zeros, cut)
        return jax.tree.map(lambda leaf: leaf / parts, total)

    return accumulated


def _cut(leaf: Array, parts: int) -> Array:
    """`[parts, rows / parts, ...]`, of a device's rows."""
    rows = leaf.shape[0]
    if rows % parts:
        raise ConfigError(
            f"train.accumulate={parts} does not divide a device's batch of {rows}"
        )
    # Every so many rows, which are the same rows on any number of devices.
    return leaf.reshape(rows // parts, parts, *leaf.shape[1:]).swapaxes(0, 1)


def _finite_mean(values: Array) -> Array:
    """Mean over the leading axis of what is finite; NaN if nothing is."""
    finite = jnp.isfinite(values)
    return jnp.sum(jnp.where(finite, values, 0.0), axis=0) / jnp.sum(finite, axis=0)
