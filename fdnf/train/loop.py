"""Training, from config to checkpoint, top to bottom."""

import contextlib
import errno
import logging
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np

from fdnf import files
from fdnf.data import build as datasets
from fdnf.data import paths
from fdnf.train import (
    checkpoint,
    distributed,
    interruption,
    models,
    objectives,
    optim,
    program,
    settings,
    step,
    validation,
    workdirs,
)
from fdnf.train.checkpoint import Checkpointer, CheckpointError
from fdnf.train.program import Program
from fdnf.train.settings import Experiment
from fdnf.train.writers import Pace, Progress, Writer

FINISHED = workdirs.FINISHED

_log = logging.getLogger(__name__)


class TrainingStoppedError(RuntimeError):
    """Training that had to stop; the text names the last good checkpoint."""


def train_and_evaluate(config: Any, workdir: str | pathlib.Path, label: str = "train"):
    """Trains what `config` describes, or goes on from where `workdir` stands.

    A run that was killed continues from its last whole checkpoint with the same
    batches and noise: its log equals that of an unbroken run. A finished one returns
    at once.

    Args:
      config: the experiment, see `configs/common.py`.
      workdir: its directory; gets `config.json`, `log.jsonl`, `log.csv`,
        `checkpoints/` and, at the end, `finished.json`.
      label: name on the progress display.

    Returns:
      The contents of `finished.json`: steps, skipped steps, and best validation
      log-likelihood or last validation loss of each run.

    Raises:
      ConfigError, DataError, CheckpointError: before training, for what is wrong.
      TrainingStoppedError: after `train.max_bad_steps` steps in a row whose loss or
        gradient was not finite.
      StoppedBySignalError: when a signal asked for it; all is saved.
      WorkdirError: another process writes there, or the directory is gone.
    """
    workdir = paths.expanded(workdir)
    settings.expand(config)
    settings.check(config)
    with workdirs.alone([workdir]):
        finished = _finished(config, workdir)
        if finished is not None:
            _log.info("%s is finished; nothing to train", workdir)
            return finished
        member = Experiment(config, workdir, **_trained_first(config, workdir))
        return train_together([member], label)[0]


def check(config: Any, workdir: pathlib.Path) -> dict[str, Any] | None:
    """Refuses what cannot work, before time is spent; the result of a finished run.

    Raises:
      ConfigError, CheckpointError: as `train_and_evaluate`.
    """
    settings.check(config)
    workdirs.check_writable(workdir)
    return _finished(config, workdir)


def _finished(config: Any, workdir: pathlib.Path) -> dict[str, Any] | None:
    """The result of a finished run, of the teacher that is there."""
    found = workdirs.finished(config, workdir)
    named = {k: pathlib.Path(config[k].workdir or workdir / k) for k in _needed(config)}
    if found is not None and named:
        checkpoint.check_foundations(
            workdir,
            checkpoint.meta_of(workdir),
            checkpoint.marks(Experiment(config, workdir, **named)),
            config.train.get("accept_changes", False),
        )
    return found


def train_together(
    members: Sequence[Experiment], label: str | None = "train"
) -> list[dict[str, Any] | None]:
    """Trains experiments that differ in numbers only, as one program.

    Each has its own directory, as if it had been trained alone: it can be resumed
    alone, or with others.

    Args:
      members: unfinished experiments, see `packs.plan` for which go together.
      label: name on the progress display, None for no display.

    Returns:
      Of each the contents of `finished.json`, or None if it has come to nothing but
      steps that are not finite: `failed.json` says so, and the others go on.

    Raises:
      As `train_and_evaluate`; TrainingStoppedError when all have failed.
    """
    # Several processes stop together, which takes a step; one alone stops at once while
    # it has made none.
    begun = distributed.count() > 1
    with (
        workdirs.alone(m.workdir for m in members),
        interruption.deferred(begun=begun),
    ):
        return _train(members, label)


def _train(members: Sequence[Experiment], label: Any) -> list[dict[str, Any] | None]:
    train = members[0].config.train
    here = jax.local_device_count()
    # Data, models, teachers, the step.
    built = program.build(members)
    rests_on = checkpoint.foundations(members, built.data)
    metas = [
        {"config": settings.to_dict(m.config), **built.meta, "rests_on": below}
        for m, below in zip(members, rests_on, strict=True)
    ]

    with contextlib.ExitStack() as stack:
        # Restore.
        kept = [
            stack.enter_context(Checkpointer(m.workdir, keep=train.keep))
            for m in members
        ]
        restored, train_state, best = checkpoint.restore(
            kept,
            built.state,
            built.best,
            built.runs,
            rests_on,
            all(m.config.train.get("accept_changes", False) for m in members),
        )
        start = restored or 0
        if start:
            _log.info("continuing %s from step %d", members[0].workdir, start)
        if distributed.is_first():
            for member in members:
                (member.workdir / workdirs.FAILED).unlink(missing_ok=True)
                content = settings.to_dict(member.config)
                files.write_json(member.workdir / workdirs.CONFIG, content)
        train_state = jax.device_put(train_state, built.replicated)

        # Loop.
        stack.enter_context(_named_checkpoint(kept))
        writers = [
            stack.enter_context(Writer(m.workdir, resume_step=restored))
            for m in members
        ]
        progress = stack.enter_context(Progress(train.steps, start=start, label=label))
        alive = list(range(len(members)))
        pace, now, found = Pace(), start, None
        told: list[Any] = []
        while now < train.steps:
            if _halts(told):
                _halt(kept, alive, built, now, train_state, best, metas)
            stop = np.full(here, bool(interruption.requested()), np.int32)
            train_state, scalars = built.take(train_state, stop)
            told = [*told[-1:], scalars.pop("stop")]
            now += train.steps_per_call
            pace.called(scalars, train.steps_per_call)
            interruption.begin()
            due = now % train.eval_every == 0 or now == train.steps
            if not due and now % train.log_every:
                continue
            row = jax.device_get(scalars)
            row |= pace.stop()
            bad = np.asarray(row["bad_in_a_row"]) >= train.max_bad_steps
            lost = [i for i in alive if bad[built.runs[i]].any()]
            for i in lost:
                writers[i].write(now, _of(row, built.runs[i]))
            most = train.max_bad_steps
            alive = _without(lost, alive, built, members, kept, now, row, most)
            if due:
                evaluated = train_state.evaluated, train_state.constants
                before, found = found, built.validate(*evaluated)
                row |= found.scalars
                _name_rows(built, members, before, found)
                best = built.update(best, *evaluated, found.loss, now)
                best = jax.device_get(best)
            # The log goes first: what a resumed run finds is then never ahead of it.
            for i in alive:
                writers[i].write(now, _of(row, built.runs[i]))
            progress.update(now, **_shown(row))
            if due:
                last = now == train.steps
                _save(kept, alive, built, now, train_state, best, metas, last=last)
            pace.go_on()
        for checkpointer in kept:
            checkpointer.wait()

        results: list[dict[str, Any] | None] = [None] * len(members)
        counts = optim.bad_steps(jax.device_get(train_state.opt_state))
        row = dict(zip(("bad_in_a_row", "skipped_steps"), counts, strict=True))
        skipped = np.asarray(row["skipped_steps"])
        if found is None:  # It stood at its end already.
            found = built.validate(train_state.evaluated, train_state.constants)
        lost = [i for i in alive if (skipped[built.runs[i]] >= train.steps).any()]
        alive = _without(lost, alive, built, members, kept, now, row, train.steps)
        for i in alive:
            of = built.runs[i]
            result = {
                "steps": train.steps,
                "skipped_steps": skipped[of].tolist(),
                **validation.final(built.measure, np.asarray(best.value)[of]),
                "best_step": np.asarray(best.step)[of].tolist(),
                "config": settings.to_dict(members[i].config),
            }
            if any(found.without[of]):
                result["validation_rows_not_finite"] = found.without[of]
            results[i] = files.plain(result)
            if distributed.is_first():
                workdirs.check_held(members[i].workdir)
                files.write_json(members[i].workdir / FINISHED, results[i])
    # What the first process wrote is there for all.
    distributed.wait("trained")
    return results


def _halts(told: list[Any]) -> bool:
    """Whether to stop here; all processes come to the same answer at the same step.

    Several look at the flag of the call before the last, which is done, so that
    devices do not wait for the answer.
    """
    if distributed.count() == 1:
        return bool(interruption.requested())
    return len(told) > 1 and bool(np.max(np.asarray(told[0])))


def _halt(kept, alive, built, now, train_state, best, metas) -> None:
    """Saves, and leaves by `StoppedBySignalError`."""
    saved = _save(kept, alive, built, now, train_state, best, metas)
    for checkpointer in kept:
        checkpointer.wait()
    where = f"saved in {kept[0].directory}"
    if not saved:
        where = (
            f"amid steps that are not finite; last good checkpoint: {_last(kept[0])}"
        )
    # Process 0 serves the others: nobody leaves before it has saved.
    distributed.wait("halted")
    raise interruption.StoppedBySignalError(
        f"stopped by {interruption.requested() or 'a signal to another process'} at "
        f"step {now}, {where}: the same command goes on",
        agreed=True,
    )


def _save(
    kept, alive, built: Program, now, train_state, best, metas, *, last=False
) -> bool:
    """Every member's own checkpoint, or that of the only one; whether it was saved.

    Nothing is while steps are not finite, but for the end: it would be taken for good.
    All have the same steps, from which they can go on together.
    """
    bad, _ = optim.bad_steps(jax.device_get(train_state.opt_state))
    if not last and any(np.asarray(bad)[built.runs[i]].any() for i in alive):
        return False
    if not distributed.is_first():
        return True
    train_state, best = jax.device_get((train_state, best))
    for i in alive:
        workdirs.check_held(kept[i].directory.parent)
        runs = built.runs[i]
        mine = jax.tree.map(lambda leaf, runs=runs: leaf[runs], best)
        kept[i].save(now, step.take(train_state, runs), mine, metas[i])
    return True


def _name_rows(built: Program, members, before, found) -> None:
    """Says which validation rows have no finite figure, when it is others than before.

    Of such runs the newest parameters count until a validation is finite.
    """
    for i, member in enumerate(members):
        for run, rows in enumerate(found.without[built.runs[i]]):
            if not rows or (before and before.without[built.runs[i]][run] == rows):
                continue
            _log.warning(
                "%s: run %d: the %s of validation row(s) %s is not finite",
                member.workdir,
                run,
                built.measure.removeprefix("val_"),
                validation.named(rows),
            )


def _of(row: dict[str, Any], runs: slice) -> dict[str, Any]:
    """One member's part of a row of the log."""
    return {k: np.asarray(v)[runs] if np.ndim(v) else v for k, v in row.items()}


@contextlib.contextmanager
def _named_checkpoint(kept: Sequence[Checkpointer]) -> Iterator[None]:
    """What cannot be written, such as on a full disk, names what is left."""
    try:
        yield
    except OSError as error:
        if error.errno in _GONE:
            workdirs.check_held(kept[0].directory.parent)
        if error.errno not in _DISK:
            raise
        raise CheckpointError(
            f"writing under {kept[0].directory.parent} failed ({error}). Last good "
            f"checkpoint: {_last(kept[0])}. Make room, then give the same command "
            "again to go on from it"
        ) from error


_NONE = "none was saved yet"
_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS}
_GONE = {errno.ENOENT, errno.ENOTDIR, errno.ESTALE}


def _last(checkpointer: Checkpointer) -> str:
    saved = checkpointer.steps()
    return str(checkpointer.directory / str(saved[0])) if saved else _NONE


def _needed(config: Any) -> list[str]:
    """Which models must be there before this one."""
    needed = ["teacher"] if objectives.needs_teacher(config) else []
    return needed + (["pretrained"] if config.get("pretrained") else [])


def _trained_first(config: Any, workdir: pathlib.Path) -> dict[str, pathlib.Path]:
    """Teacher and pretrained model of a config, trained if only their configs are."""
    needed = _needed(config)
    if not all(config[name].workdir for name in needed):
        # Before time is spent on them; otherwise the first trace will tell.
        data = datasets.build(config.data)
        prepared = settings.prepared(config, data)
        flow = models.build(config.model)
        settings.check_event(flow, data, prepared)
        if "teacher" in needed and not config.teacher.workdir:
            other = models.build(config.teacher.config.model)
            cond = prepared.condition_shape(data.event)
            objectives.check_levels(config, flow, other, data.event, cond)
    found = {}
    for name in needed:
        found[name] = pathlib.Path(config[name].workdir or workdir / name)
        if not config[name].workdir:
            train_and_evaluate(config[name].config, found[name], label=name)
    return found


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    shown = {"loss": row["loss"]}
    if "val_bits_per_dim" in row:
        shown["val bits/dim"] = row["val_bits_per_dim"]
    for key in validation.MEASURES:
        if key in row and "val bits/dim" not in shown:
            shown["val"] = row[key]
    if np.any(row["skipped_steps"]):
        shown["skipped"] = row["skipped_steps"]
    return shown


def _without(lost, alive, built: Program, members, kept, now, row, limit) -> list[int]:
    """Those that go on; the directories of those that are lost say why they do not.

    Raises:
      TrainingStoppedError: nobody goes on.
    """
    for i in lost:
        error = _failure(built, i, kept[i], now, row, limit)
        if len(members) == 1:
            raise error
        _log.error("%s: %s", members[i].workdir, error)
        workdirs.write_failed(members[i].workdir, error)
    left = [i for i in alive if i not in lost]
    if not left:
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
        f"{limit} steps in a row. Last good checkpoint: {_last(checkpointer)}. "
    )
    if not never:
        return TrainingStoppedError(
            f"{said}Lower optim.lr or optim.clip, or raise optim.warmup, in a new "
            "--workdir"
        )
    said += "No step ever was, so it is not the learning rate: look at the data"
    if built.data.train.ndim == 2:
        said += ", whose columns should be standardised. "
        said += models.columns(built.data.train)
    return TrainingStoppedError(f"{said}, or at the model's arguments")
