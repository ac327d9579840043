"""What is measured on held-out rows during training, and what is kept by it."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from fdnf.metrics import likelihood
from fdnf.train import density, distributed, models
from fdnf.train.objectives import Objective
from fdnf.train.preprocessing import Data, Prepared
from fdnf.train.shares import Share
from fdnf.train.side_by_side import over_runs
from fdnf.train.step import AXIS
from fdnf.train.streams import Measure, Run, fold

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
    """Log-likelihood of the validation rows, each once: "val_log_prob", in nats."""
    log_prob = density.make_log_prob(flow, batch_size, prepared, everyone=True)
    beside = prepared.beside(data, _VAL)

    def validate(params: Any, constants: Any, teacher: Any) -> Validation:
        del teacher
        values = log_prob(params, constants, data.val, beside)
        mean = values.mean(axis=1, dtype=np.float64)
        scalars = {LIKELIHOOD: mean}
        if prepared.levels:
            bits = likelihood.bits_per_dim(mean, data.dim, quantization=1)
            scalars["val_bits_per_dim"] = np.asarray(bits)
        return made(-values.mean(1), scalars, ~np.isfinite(values))

    return validate


def by_loss(
    objective: Objective,
    data: Data,
    prepared: Prepared,
    batch_size: int,
    *,
    step: int,
    teacher_runs: bool,
) -> Validate:
    """The training loss on validation rows and latents of their own: "val_loss".

    For what is not trained by likelihood, and may have none, or a slow one. The rows
    are cut into whole batches, of which the last few may be left out; fewer rows than
    a batch are taken again until they fill one. Noise and latents are the same at
    every call.

    Args:
      objective: from `objectives.build`.
      data: whose validation rows are taken.
      prepared: what is done to batches; nothing is augmented here.
      batch_size: rows a call, over all devices.
      step: of the training that the loss is taken for: its end, so that a run's
        values can be compared.
      teacher_runs: whether the teacher's variables have a leading runs axis.
    """
    plain, beside = prepared.plain, prepared.beside(data, _VAL)
    here, devices = jax.local_device_count(), jax.device_count()
    size = -(-batch_size // devices) * devices

    def measured(params, constants, teacher, batch, number):
        key = fold(jax.random.key(0), Run.MEASURE, number)
        share = Share(jax.lax.axis_index(AXIS), devices)
        batch = plain.train(fold(key, Measure.PREPROCESS), batch, share)
        noise = fold(key, Measure.NOISE)

        def one(run):
            params, constants, own = run
            given = own if teacher_runs else teacher
            value, _ = objective(
                params, constants, given, batch, noise, step, None, share
            )
            return value

        own = teacher if teacher_runs else None
        return jax.lax.pmean(over_runs(one, (params, constants, own)), AXIS)

    mapped = jax.pmap(
        measured, axis_name=AXIS, in_axes=(None, None, None, 0, None), out_axes=None
    )
    first = distributed.index() * here
    own = slice(first, first + here)

    def cut(rows: np.ndarray) -> np.ndarray:
        return rows.reshape(devices, -1, *rows.shape[1:])[own]

    def validate(params: Any, constants: Any, teacher: Any) -> Validation:
        losses, bad = [], None
        for number in range(max(len(data.val) // size, 1)):
            rows = np.arange(number * size, (number + 1) * size) % len(data.val)
            batch = {"x": cut(data.val[rows])}
            if beside is not None:
                batch["beside"] = cut(beside[rows])
            losses.append(np.asarray(mapped(params, constants, teacher, batch, number)))
            if bad is None:
                bad = np.zeros((len(losses[0]), len(data.val)), bool)
            bad[:, rows] |= ~np.isfinite(losses[-1])[:, None]
        loss = np.stack(losses).mean(axis=0, dtype=np.float64)
        return made(loss, {LOSS: loss}, np.asarray(bad))

    return validate


def final(measure: str, loss: np.ndarray) -> dict[str, list[float]]:
    """What a finished run says of its validation losses, `[runs]`."""
    if measure == LIKELIHOOD:
        return {"best_val_log_prob": (-loss).tolist()}
    return {"val_loss": loss.tolist()}
