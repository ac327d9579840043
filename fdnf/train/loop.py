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
    ending,
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
from fdnf.train.rules import ConfigError
from fdnf.train.settings import Experiment
from fdnf.train.writers import Pace, Progress, Writer

FINISHED = workdirs.FINISHED

_log = logging.getLogger(__name__)


def train_and_evaluate(config: Any, workdir: str | pathlib.Path, label: str = "train"):
    """Trains what `config` describes, or goes on from where `workdir` stands.

    A run that was killed continues from its last whole checkpoint with the same
    batches and noise: its log equals that of an unbroken run. A finished one returns
    at once, unless it is to be longer, see `workdirs.finished`.

    Args:
      config: the experiment, see `configs/common.py`.
      workdir: its directory; gets `config.json`, `log.jsonl`, `log.csv`,
        `checkpoints/` and, at the end, `finished.json`.
      label: name on the progress display.

    Returns:
      The contents of `finished.json`: steps, skipped steps, and best validation
      log-likelihood or last validation loss of each run; `stopped_early` where
      `train.early_stop` has ended it.

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
    alone, or with others. By `train.early_stop` a member ends once all its runs have
    come to nothing better; what one of them would find after its patience does not
    count, so that its best is that of the run alone.

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
                for name in (workdirs.FAILED, FINISHED):
                    (member.workdir / name).unlink(missing_ok=True)
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
        results: list[dict[str, Any] | None] = [None] * len(members)
        pace, now, found = Pace(), start, None
        over = ending.over(best, now, train)
        told: list[Any] = []
        while now < train.steps and ending.still(alive, built, over):
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
            alive = ending.without(
                lost, alive, built, members, kept, now, row, most, results
            )
            if due:
                evaluated = train_state.evaluated, train_state.constants
                before, found = found, built.validate(*evaluated)
                row |= found.scalars
                _name_rows(built, members, before, found)
                newest = built.update(best, *evaluated, found.loss, now)
                if over.any():  # Those keep what they had then, as if alone.
                    newest = validation.replace(best, ~over, newest)
                best = jax.device_get(newest)
                over = ending.over(best, now, train)
                if train.get("early_stop", 0):
                    since_best = ending.waited(best, now, train)
                    row["validations_since_best"] = since_best
                still = ending.still(alive, built, over)
                done = [i for i in alive if i not in still]
            # The log goes first: what a resumed run finds is then never ahead of it.
            for i in alive:
                writers[i].write(now, _of(row, built.runs[i]))
            progress.update(now, **_shown(row))
            if due:
                last = now == train.steps
                if done:
                    _save(kept, done, built, now, train_state, best, metas, last=True)
                    ending.finish(
                        done, results, members, kept, built, now, best, row, found
                    )
                alive = still
                # Nobody goes on from a place that is gone after the training.
                if last or not (members[0].held and members[0].held.passing):
                    _save(kept, alive, built, now, train_state, best, metas, last=last)
            pace.go_on()
        for checkpointer in kept:
            checkpointer.wait()

        counts = optim.bad_steps(jax.device_get(train_state.opt_state))
        row = dict(zip(("bad_in_a_row", "skipped_steps"), counts, strict=True))
        skipped = np.asarray(row["skipped_steps"])
        if found is None:  # It stood at its end already.
            found = built.validate(train_state.evaluated, train_state.constants)
        lost = [i for i in alive if (skipped[built.runs[i]] >= train.steps).any()]
        most = train.steps
        alive = ending.without(
            lost, alive, built, members, kept, now, row, most, results
        )
        ending.finish(alive, results, members, kept, built, now, best, row, found)
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
        last = ending.last(kept[0])
        where = f"amid steps that are not finite; last good checkpoint: {last}"
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
            f"checkpoint: {ending.last(kept[0])}. Make room, then give the same "
            "command again to go on from it"
        ) from error


_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS}
_GONE = {errno.ENOENT, errno.ENOTDIR, errno.ESTALE}


def _needed(config: Any) -> list[str]:
    """Which models must be there before this one."""
    needed = ["teacher"] if objectives.needs_teacher(config) else []
    return needed + (["pretrained"] if config.get("pretrained") else [])


def _trained_first(config: Any, workdir: pathlib.Path) -> dict[str, pathlib.Path]:
    """Teacher and pretrained model of a config, trained if only their configs are."""
    needed = _needed(config)
    given = config.teacher.workdir if "teacher" in needed else ""
    if given and paths.expanded(given).is_file():
        raise ConfigError(
            f"teacher.workdir={given}: expected the directory of its training, in "
            "which its results and samples are kept, not a file that `save` wrote"
        )
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
