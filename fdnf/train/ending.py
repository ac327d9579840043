"""How training ends: done, done early, or lost to steps that are not finite."""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np

from fdnf import files
from fdnf.train import distributed, models, settings, validation, workdirs
from fdnf.train.checkpoint import Checkpointer
from fdnf.train.program import Program

_log = logging.getLogger(__name__)
_NONE = "none was saved yet"


class TrainingStoppedError(RuntimeError):
    """Training that had to stop; the text names the last good checkpoint."""


def waited(best: validation.Best, now: int, train: Any) -> np.ndarray:
    """`[runs]`, validations since the best of each, until the last one."""
    last = now // train.eval_every * train.eval_every
    return np.maximum(last - np.asarray(best.step), 0) // train.eval_every


def over(best: validation.Best, now: int, train: Any) -> np.ndarray:
    """`[runs]`, which have waited for a better validation as long as they may.

    That is known from the record of the best, if it is left alone from then on: nothing
    else is saved for a run that goes on later. A run of which no validation was finite
    so far goes on.

    Args:
      best: the record so far.
      now: steps taken.
      train: the section; read are `eval_every` and `early_stop`.

    Returns:
      The same in all processes.
    """
    patience = train.get("early_stop", 0)
    if not patience:
        return np.zeros(len(best.value), bool)
    found = np.isfinite(best.value) & (waited(best, now, train) >= patience)
    return np.asarray(distributed.broadcast(found))


def still(alive: Sequence[int], built: Program, over: np.ndarray) -> list[int]:
    """Those of which a run goes on."""
    return [i for i in alive if not over[built.runs[i]].all()]


def finish(done, results, members, kept, built: Program, now, best, row, found):
    """Writes the `finished.json` of those that are done, and what it says to results.

    Of those that end before `train.steps` it says so.
    """
    for i in done:
        of, train = built.runs[i], members[i].config.train
        result = {
            "steps": now,
            "skipped_steps": np.asarray(row["skipped_steps"])[of].tolist(),
            **validation.final(built.measure, np.asarray(best.value)[of]),
            "best_step": np.asarray(best.step)[of].tolist(),
            "config": settings.to_dict(members[i].config),
        }
        if now < train.steps:
            result["stopped_early"] = True
            _log.info(
                "%s: stopped early at step %d of %d; best validation at %s "
                "(train.early_stop=%d)",
                *(members[i].workdir, now, train.steps, result["best_step"]),
                train.early_stop,
            )
        if any(found.without[of]):
            result["validation_rows_not_finite"] = found.without[of]
        results[i] = files.plain(result)
        if distributed.is_first():
            kept[i].wait()
            workdirs.check_held(members[i].workdir)
            files.write_json(members[i].workdir / workdirs.FINISHED, results[i])


def without(
    lost, alive, built: Program, members, kept, now, row, limit, results
) -> list[int]:
    """Those that go on; the directories of those that are lost say why they do not.

    Raises:
      TrainingStoppedError: nobody goes on, and nobody is finished.
    """
    for i in lost:
        error = _failure(built, i, kept[i], now, row, limit)
        if len(members) == 1:
            raise error
        _log.error("%s: %s", members[i].workdir, error)
        workdirs.write_failed(members[i].workdir, error)
    left = [i for i in alive if i not in lost]
    if not left and not any(results):
        raise TrainingStoppedError("all runs have failed")
    return left


def _failure(
    built: Program, member: int, checkpointer: Checkpointer, now: int, row, limit: int
) -> TrainingStoppedError:
    """Of `limit` steps in a row that were not finite, with advice that fits."""
    checkpointer.wait()
    of = built.runs[member]
    bad = np.flatnonzero(np.asarray(row["bad_in_a_row"])[of] >= limit)
    never = (np.asarray(row["skipped_steps"])[of][bad] >= now).all()
    said = (
        f"step {now}: the loss or gradient of run(s) {bad.tolist()} was not finite for "
        f"{limit} steps in a row. Last good checkpoint: {last(checkpointer)}. "
    )
    if not never:
        return TrainingStoppedError(
            f"{said}Lower optim.lr or optim.clip, or raise optim.warmup, in a new "
            "--workdir"
        )
    said += "No step ever was, so it is not the learning rate: look at the data"
    if built.data.train.ndim == 2 and not getattr(built.data, "columns", None):
        said += ", whose columns should be standardised. "
        said += models.columns(built.data.train)
    return TrainingStoppedError(f"{said}, or at the model's arguments")


def last(checkpointer: Checkpointer) -> str:
    """Where the newest checkpoint lies, in words."""
    saved = checkpointer.steps()
    return str(checkpointer.directory / str(saved[0])) if saved else _NONE
