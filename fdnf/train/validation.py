"""What is measured of a model, on all devices, and what is kept by it."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.typing import ArrayLike

from fdnf.metrics import likelihood
from fdnf.train import distributed, models
from fdnf.train import weights as of_rows
from fdnf.train.batches import Measure, Moment, Objective, Run, Share, fold
from fdnf.train.keys import BOUNDS
from fdnf.train.preprocess import Data, Prepared, Preprocess
from fdnf.train.rules import ConfigError
from fdnf.train.step import AXIS, over_runs


def make_log_prob(
    flow: models.Model,
    batch_size: int,
    preprocess: Prepared | None = None,
    *,
    draws: int = 1,
    bound: str = "uniform",
    seed: int = 0,
    everyone: bool = False,
) -> Callable:
    """Log densities of a whole array, each row once.

    Of vectors they are exact. Of images, whose grey levels are discrete, and of tables
    with columns of whole numbers, they are
    lower bounds on the log-probability, exact but for the noise that was drawn:
    "uniform" averages log p(x + u) over the draws of u, "importance" takes the log of
    the average p(x + u), which is tighter the more draws there are.

    Args:
      flow: the model.
      batch_size: rows a call, over all devices.
      preprocess: from stored rows to the flow's data.
      draws: of noise per image.
      bound: see above.
      seed: of the noise; the same noise for every run, on any number of devices.
      everyone: whether all processes call this together, each for its share of the
        rows; otherwise the devices of this process do it all.

    Returns:
      `(params, constants, rows [n, ...], beside [n, ...] or None) -> float32 [runs,
      n]`, in nats, of the data as they are stored (grey levels are one apart), of
      tables in the user's units;
      `beside` is what the preprocessing makes a condition of. The last batch is
      padded, and the padding dropped.
    """
    if bound not in BOUNDS:
        raise ConfigError(f"eval.bound={bound!r}; known: {BOUNDS}")
    given = preprocess or Preprocess()
    here = jax.local_device_count()
    devices = jax.device_count() if everyone else here
    draws = draws if given.noisy else 1

    def log_prob(params, constants, x, beside, batch):
        key = fold(jax.random.key(seed), batch, 0)
        share = Share(jax.lax.axis_index(AXIS), devices)
        cond = given.condition(x, beside)

        def one(run):
            variables = {"params": run[0], "constants": run[1]}

            def draw(i):
                y, log_det = given.encode(fold(key, i), x, share)
                found: Any = flow.apply(variables, y, cond, method="log_prob")
                return found + log_det

            if draws == 1:
                return draw(0)
            values = jax.lax.map(draw, jnp.arange(draws))
            if bound == "uniform":
                return jnp.mean(values, axis=0)
            return jax.nn.logsumexp(values, axis=0) - jnp.log(draws)

        return over_runs(one, (params, constants))

    mapped = jax.pmap(
        log_prob,
        axis_name=AXIS,
        in_axes=(None, None, 0, 0, None),
        out_axes=1,
        devices=None if everyone else jax.local_devices(),
    )

    def whole(
        params: Any, constants: Any, rows: np.ndarray, beside: np.ndarray | None = None
    ) -> np.ndarray:
        conditional = given.condition_shape(rows.shape[1:]) is not None
        if beside is None and conditional and not given.alone:
            what = "labels" if given.classes else "conditions"
            raise ValueError(f"the flow is conditional: log_prob needs the {what}")
        known = np.zeros(len(rows), np.int32) if beside is None else beside
        out = []
        first = distributed.index() * here if everyone else 0
        own = slice(first, first + here)
        pairs = zip(
            padded_batches(rows, batch_size, devices),
            padded_batches(known, batch_size, devices),
            strict=True,
        )
        for i, ((batch, mask), (near, _)) in enumerate(pairs):
            batch = batch.reshape(devices, -1, *batch.shape[1:])[own]
            near = near.reshape(devices, -1, *near.shape[1:])[own]
            values = np.asarray(mapped(params, constants, batch, near, i))
            values = values.reshape(values.shape[0], -1)
            if everyone:
                values = distributed.concatenate(values, axis=1)
            out.append(values[:, mask])
        return np.concatenate(out, axis=1)

    return whole


_VAL = 1  # The split.
LIKELIHOOD, LOSS = MEASURES = ("val_log_prob", "val_loss")


class Validation(NamedTuple):
    """What was measured of all runs.

    Attributes:
      loss: `[runs]`, lower is better.
      scalars: what goes into the log, `[runs]` each.
      without: of each run the validation rows whose figure is not finite.
    """

    loss: np.ndarray
    scalars: dict[str, np.ndarray]
    without: list[list[int]]


def made(loss: Any, scalars: dict[str, Any], bad: np.ndarray) -> Validation:
    """A validation whose log names the rows that have no figure, if there are any.

    Args:
      loss: `[runs]`.
      scalars: `[runs]` each.
      bad: `[runs, rows]`, whether a row's figure is not finite.
    """
    if bad.any():
        first = np.where(bad.any(1), bad.argmax(1), -1)
        scalars |= {"val_rows_not_finite": bad.sum(1), "val_first_not_finite": first}
    return Validation(loss, scalars, [np.flatnonzero(run).tolist() for run in bad])


def named(rows: list[int], most: int = 8) -> str:
    """Rows in words: "3, 17 and 5 more"."""
    more = len(rows) - most
    shown = ", ".join(str(row) for row in rows[:most])
    return f"{shown} and {more} more" if more > 0 else shown


Validate = Callable[[Any, Any, Any], Validation]
"""(params, constants, the teachers' variables) -> Validation."""


def by_likelihood(
    flow: models.Model, data: Data, prepared: Prepared, batch_size: int
) -> Validate:
    """Log-likelihood of the validation rows, each once: "val_log_prob", in nats.

    Rows with weights count by them in the mean.
    """
    log_prob = make_log_prob(flow, batch_size, prepared, everyone=True)
    beside, weights = prepared.beside(data, _VAL), of_rows.of(data, _VAL)

    def validate(params: Any, constants: Any, teacher: Any) -> Validation:
        del teacher
        values = log_prob(params, constants, data.val, beside)
        if weights is None:
            mean, loss = values.mean(axis=1, dtype=np.float64), -values.mean(1)
        else:
            # A row that does not count may have no density.
            counted = weights > 0
            mean = np.average(values[:, counted], axis=1, weights=weights[counted])
            values, loss = np.where(counted, values, 0.0), -mean
        scalars = {LIKELIHOOD: mean}
        if prepared.levels:
            bits = likelihood.bits_per_dim(mean, data.dim, quantization=1)
            scalars["val_bits_per_dim"] = np.asarray(bits)
        return made(loss, scalars, ~np.isfinite(values))

    return validate


def by_loss(
    objective: Objective,
    data: Data,
    prepared: Prepared,
    batch_size: int,
    *,
    step: int,
    teacher_runs: bool,
    terms: Sequence[str] = (),
) -> Validate:
    """The training loss on validation rows and latents of their own: "val_loss".

    For what is not trained by likelihood, and may have none, or a slow one. The rows
    are cut into whole batches, of which the last few may be left out; fewer rows than
    a batch are taken again until they fill one. Rows with weights are taken as often as
    these say, see `weights`. Noise and latents are the same at every call.

    Args:
      objective: from `objectives.build`.
      data: whose validation rows are taken.
      prepared: what is done to batches; nothing is augmented here.
      batch_size: rows a call, over all devices.
      step: of the training that the loss is taken for: its end, so that a run's
        values can be compared.
      teacher_runs: whether the teacher's variables have a leading runs axis.
      terms: scalars of the objective that go into the log too, as "val_" and the name.
    """
    plain, beside = prepared.plain, prepared.beside(data, _VAL)
    here, devices = jax.local_device_count(), jax.device_count()
    size = -(-batch_size // devices) * devices

    def measured(params, constants, teacher, batch, number):
        key = fold(jax.random.key(0), Run.MEASURE, number)
        share = Share(jax.lax.axis_index(AXIS), devices)
        batch = plain.train(fold(key, Measure.PREPROCESS), batch, share)
        moment = Moment(fold(key, Measure.NOISE), step, None, share)

        def one(run):
            params, constants, own = run
            given = own if teacher_runs else teacher
            variables = {"params": params, "constants": constants}
            loss, scalars = objective(variables, given, batch, moment)
            return {LOSS: loss, **{f"val_{term}": scalars[term] for term in terms}}

        own = teacher if teacher_runs else None
        return jax.lax.pmean(over_runs(one, (params, constants, own)), AXIS)

    mapped = jax.pmap(
        measured, axis_name=AXIS, in_axes=(None, None, None, 0, None), out_axes=None
    )
    first = distributed.index() * here
    own = slice(first, first + here)

    def cut(rows: np.ndarray) -> np.ndarray:
        return rows.reshape(devices, -1, *rows.shape[1:])[own]

    order = of_rows.in_proportion(of_rows.of(data, _VAL), len(data.val))

    def validate(params: Any, constants: Any, teacher: Any) -> Validation:
        found, bad = [], None
        for number in range(max(len(data.val) // size, 1)):
            rows = np.arange(number * size, (number + 1) * size) % len(data.val)
            rows = order[rows]
            batch = {"x": cut(data.val[rows])}
            if beside is not None:
                batch["beside"] = cut(beside[rows])
            one = jax.device_get(mapped(params, constants, teacher, batch, number))
            found.append(one)
            if bad is None:
                bad = np.zeros((len(one[LOSS]), len(data.val)), bool)
            bad[:, rows] |= ~np.isfinite(one[LOSS])[:, None]
        means = {
            name: np.stack([one[name] for one in found]).mean(0, dtype=np.float64)
            for name in found[0]
        }
        return made(means[LOSS], means, np.asarray(bad))

    return validate


def final(measure: str, loss: np.ndarray) -> dict[str, list[float]]:
    """What a finished run says of its validation losses, `[runs]`."""
    if measure == LIKELIHOOD:
        return {"best_val_log_prob": (-loss).tolist()}
    return {"val_loss": loss.tolist()}


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


def newest(
    best: Best, params: Any, constants: Any, value: ArrayLike, step: ArrayLike
) -> Best:
    """`update_best` for `transfer`: the last parameters are the ones to keep.

    What is measured during training is the loss itself on held-out rows and latents
    (`by_loss`), an estimate with noise of its own, and of kl and z nothing
    that overfits. The mean log-likelihood of held-out rows would be no measure: the
    few rows that a concentrated density all but excludes decide it, and of a
    z-reconstruction on MINIBOONE without a warm start (seed 0, 2,000 steps) it would
    keep the first of ten evaluations. Here the learning rate's schedule ends the
    training.

    Args:
      best: the record so far.
      params: parameters just evaluated, leading axis `runs`.
      constants: their constants, leading axis `runs`.
      value: `[runs]`, their validation loss; recorded, not compared. Parameters
        that are not finite replace nothing.
      step: scalar, steps taken so far.
    """
    value = jnp.asarray(value, best.value.dtype)
    new = Best(params=params, constants=constants, value=value, step=step)
    return replace(best, whole(params), new)


def update_since(
    start: int,
    best: Best,
    params: Any,
    constants: Any,
    value: ArrayLike,
    step: ArrayLike,
) -> Best:
    """`update_best` among what was evaluated after step `start`, the newest before.

    For a training in stages, of which only the last minimises what is measured: what an
    earlier one has reached is no candidate, however it happens to be measured, and no
    reason to stop early.
    """
    given = params, constants, value, step
    stale = jnp.asarray(best.step) <= start
    known = dataclasses.replace(best, value=jnp.where(stale, jnp.inf, best.value))
    early = jnp.broadcast_to(jnp.asarray(step) <= start, jnp.shape(best.step))
    return replace(update_best(known, *given), early, newest(best, *given))


def padded_batches(
    array: np.ndarray, batch_size: int, multiple_of: int = 1
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Cuts an array into batches of one size, padding the last.

    Every batch has the same shape, so a compiled step is compiled once. Padding
    repeats the last example, which is always a legal input; the mask tells it apart.

    Args:
        array: Examples `[rows, ...]`, at least one.
        batch_size: Examples a batch, at least 1. A batch is never larger than needed
            for the whole array.
        multiple_of: Batches are padded up to a multiple of this, so that they split
            evenly over devices.

    Yields:
        A batch `[batch, ...]` and its mask `[batch]`, bool, false on padding.

    Raises:
        ValueError: If there are no examples, or a size is below 1.
    """
    if batch_size < 1 or multiple_of < 1:
        raise ValueError(
            f"batch_size and multiple_of must be at least 1, got {batch_size} and"
            f" {multiple_of}."
        )
    if len(array) == 0:
        raise ValueError("There are no examples to batch: the array has no rows.")
    own = min(batch_size, len(array))
    size = -(-own // multiple_of) * multiple_of
    for start in range(0, len(array), own):
        batch = array[start : start + own]
        count = len(batch)
        if count < size:
            padding = np.broadcast_to(batch[-1:], (size - count, *batch.shape[1:]))
            batch = np.concatenate([batch, padding])
        yield batch, np.arange(size) < count
