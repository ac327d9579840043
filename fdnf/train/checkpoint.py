"""Checkpoints: state, best parameters and what is needed to use them, saved as one.

Arrays are saved as host numpy, named by their path in the tree, so that a checkpoint
can be read on any number of devices and without knowing the classes it came from.
"""

import logging
import pathlib
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import flax
import jax
import numpy as np
import optax

from fdnf import files
from fdnf.data import fingerprint
from fdnf.train import distributed, stored
from fdnf.train.settings import Experiment
from fdnf.train.step import TrainState, join, take
from fdnf.train.stored import CheckpointError
from fdnf.train.validation import Best

SUBDIRECTORY = "checkpoints"
# What orbax and tensorstore raise when a file cannot be written.
_WRITE_ERRORS = (OSError, ValueError, RuntimeError)
_log = logging.getLogger(__name__)


class Checkpointer:
    """Writes and reads the checkpoints of one workdir, under `checkpoints/<step>`.

    Saving returns as soon as the arrays are on the host; the files are written in
    the background and appear under their final name only when complete. Leaving the
    context waits for them. Of several processes the first alone writes and reads; on
    the others saving does nothing.

    Args:
        workdir: directory of the run; made at the first save.
        keep: number of newest checkpoints to keep.
    """

    def __init__(self, workdir: str | Path, keep: int = 3):
        """See the class."""
        if keep < 1:
            raise ValueError(f"keep={keep}: expected at least one checkpoint.")
        self.directory = stored.place(workdir) / SUBDIRECTORY
        self._keep = keep
        self._manager: Any = None

    def save(self, step: int, state: Any, best: Any, meta: Mapping[str, Any]) -> bool:
        """Saves everything under `step`; a step that is already saved is left alone.

        Args:
            step: steps taken so far.
            state: pytree of arrays.
            best: pytree of arrays with fields `params` and `constants`.
            meta: what JSON can hold: the config as a dict under `config`, the data
                position. Versions and checksums are added.

        Returns:
            Whether a checkpoint was written.

        Raises:
            CheckpointError: when this or an earlier save failed.
        """
        trees = {
            "state": stored.flatten(state),
            "best": stored.flatten(best),
        }
        record = {
            "format": stored.FORMAT,
            "versions": _versions(),
            **files.plain(meta),
            "step": int(step),
            "zero_size": {name: _zero_size(tree) for name, tree in trees.items()},
        }
        record["checksums"] = {
            "meta": stored.meta_checksum(record),
            **{name: stored.checksum(tree) for name, tree in trees.items()},
        }
        if not distributed.is_first():
            return False
        try:
            import orbax.checkpoint as ocp

            manager = self._open()
            manager.check_for_errors()
            if step in manager.all_steps():
                return False
            items: dict[str, Any] = {
                name: ocp.args.StandardSave(
                    stored.nest({k: v for k, v in tree.items() if v.size})
                )
                for name, tree in trees.items()
            }
            items["meta"] = ocp.args.JsonSave(record)
            return bool(
                manager.save(step, args=ocp.args.Composite(**items), force=True)
            )
        except _WRITE_ERRORS as error:
            raise self._save_error(error) from error

    def wait(self) -> None:
        """Waits until the last save is on disk; raises CheckpointError if it failed."""
        if self._manager is None:
            return
        try:
            self._manager.wait_until_finished()
            self._manager.check_for_errors()
        except _WRITE_ERRORS as error:
            raise self._save_error(error) from error

    def steps(self) -> list[int]:
        """Steps that have a checkpoint, newest first."""
        return stored.steps(self.directory)

    def restore_at(
        self, step: int, state_template: Any, best_template: Any
    ) -> tuple[Any, Any, dict[str, Any]]:
        """`(state, best, meta)` of the checkpoint of one step, as `restore`.

        Raises:
            CheckpointError: when it is not whole, or does not fit the templates.
        """
        self.wait()
        path = self.directory / str(step)
        trees, meta = stored.one(self.directory, step, ("state", "best"))
        state = _fit(state_template, trees["state"], path)
        best = _fit(best_template, trees["best"], path)
        return state, best, meta

    def discard_after(self, step: int) -> None:
        """Removes newer checkpoints, which are not what comes from that step now."""
        newer = [s for s in self.steps() if s > step]
        if newer:
            self._close_manager()
            for s in newer:
                shutil.rmtree(self.directory / str(s), ignore_errors=True)

    def restore(
        self, state_template: Any, best_template: Any
    ) -> tuple[int, Any, Any, dict[str, Any]] | None:
        """Reads the newest checkpoint that is whole.

        One that cannot be read, or whose checksum differs, is reported and, once an
        older one has been read, moved out of the way as `<step>.broken-<n>`.

        Args:
            state_template: tree of arrays or `jax.ShapeDtypeStruct` like the state.
            best_template: the same for the best parameters.

        Returns:
            `(step, state, best, meta)` with numpy leaves, equal bit for bit to what
            was saved, or None when nothing was saved.

        Raises:
            CheckpointError: when there are checkpoints and none can be read, or when
                the one read does not fit the templates.
        """
        self.wait()
        if not stored.steps(self.directory):
            return None
        step, trees, meta, broken = stored.newest(self.directory, ("state", "best"))
        path = self.directory / str(step)
        state = _fit(state_template, trees["state"], path)
        best = _fit(best_template, trees["best"], path)
        if broken:
            self._close_manager()
            stored.move_aside(broken)
        return step, state, best, meta

    def close(self) -> None:
        """Waits for the last save and lets go of the directory."""
        try:
            self.wait()
        finally:
            self._close_manager()

    def __enter__(self) -> "Checkpointer":
        """Returns itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Closes; a failed save does not hide the exception that is under way."""
        try:
            self.close()
        except CheckpointError as failed:
            if error is None:
                raise
            _log.error("%s", failed)

    def _open(self) -> Any:
        # Here and not in __init__: orbax takes as long to import as a small model
        # takes to compile, and a fresh run needs it only when it first saves.
        if self._manager is None:
            import orbax.checkpoint as ocp

            self.directory.mkdir(parents=True, exist_ok=True)
            self._manager = ocp.CheckpointManager(
                self.directory,
                options=ocp.CheckpointManagerOptions(
                    max_to_keep=self._keep,
                    cleanup_tmp_directories=True,
                    create=False,  # Done above, by this process alone.
                    **stored.alone(),
                ),
            )
        return self._manager

    def _close_manager(self) -> None:
        manager, self._manager = self._manager, None
        if manager is None:
            return
        try:
            manager.close()
        except _WRITE_ERRORS as error:
            raise self._save_error(error) from error

    def _save_error(self, error: Exception) -> CheckpointError:
        steps = stored.steps(self.directory)
        last = self.directory / str(steps[0]) if steps else "none"
        return CheckpointError(
            f"saving a checkpoint under {self.directory} failed"
            f" ({type(error).__name__}: {stored.first_line(error)}). The last good"
            f" checkpoint is {last}. Make room or restore access, then start the same"
            " command again to continue from it."
        )


def load_best(workdir: str | Path) -> tuple[Any, Any, dict[str, Any]]:
    """Reads the best parameters of a finished or running workdir; changes nothing.

    Args:
        workdir: directory that a run was given as its workdir.

    Returns:
        `(params, constants, meta)`: nested dicts of numpy arrays with the leading
        axis `runs`; `meta["config"]` says which model they belong to, `meta["best"]`
        holds `value` (validation loss in nats) and `step`, one for each run.

    Raises:
        CheckpointError: when the workdir, or a whole checkpoint in it, is missing.
    """
    path = stored.place(workdir)
    directory = path / SUBDIRECTORY
    if not path.is_dir():
        raise CheckpointError(
            f"workdir {path} does not exist: give the workdir of a trained run, or"
            f" train one with --workdir={path}."
        )
    if not stored.steps(directory):
        raise CheckpointError(
            f"workdir {path} holds no checkpoint (looked in {directory}): train it"
            f" first, with --workdir={path}, up to its first checkpoint."
        )
    _, trees, meta, _ = stored.newest(directory, ("best",))
    best = stored.nest(trees["best"])
    meta["best"] = {"value": best["value"].tolist(), "step": best["step"].tolist()}
    if not all(meta["best"]["step"]):
        _log.warning(
            "%s: of run(s) %s no parameters were ever kept but the initial ones",
            path,
            [run for run, at in enumerate(meta["best"]["step"]) if not at],
        )
    return best.get("params", {}), best.get("constants", {}), meta


def meta_of(workdir: str | Path) -> dict[str, Any]:
    """The meta of a workdir's newest checkpoint, without arrays; {} without one.

    `mark` in it changes with the best parameters.

    Raises:
        CheckpointError: when there are checkpoints and none can be read.
    """
    directory = stored.place(workdir) / SUBDIRECTORY
    return stored.newest(directory, ())[2] if stored.steps(directory) else {}


def _versions() -> dict[str, str]:
    modules = {"jax": jax, "flax": flax, "optax": optax, "numpy": np}
    return {name: module.__version__ for name, module in modules.items()}


def _zero_size(tree: Mapping[str, np.ndarray]) -> dict[str, Any]:
    # orbax refuses arrays without elements; they are remade from this.
    return {
        path: [leaf.dtype.name, list(leaf.shape)]
        for path, leaf in tree.items()
        if leaf.size == 0
    }


def _fit(template: Any, tree: dict[str, np.ndarray], path: Path) -> Any:
    try:
        return stored.fit(template, tree)
    except ValueError as error:
        raise CheckpointError(
            f"checkpoint {path} belongs to another configuration: {error}. Use another"
            " --workdir, or the configuration it was trained with."
        ) from error


_NOTHING, _FAILED = -1, -2
_MODELS = ("teacher", "pretrained")


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
            found = _read_all(kept, initial, best, runs)
            if found is not None:
                for each, meta, ours in zip(kept, found[3], rests_on, strict=True):
                    check_foundations(each.directory.parent, meta, ours, accept)
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


def _read_all(
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
                form = jax.eval_shape(lambda own=own: take(initial, own))
                mine = jax.tree.map(lambda leaf, own=own: leaf[own], best)
                read = each.restore_at(step, form, mine)
                states.append(read[0])
                bests.append(read[1])
                metas.append(read[2])
        except CheckpointError as failed:
            reasons.append(str(failed))
            continue
        every = jax.tree.map(lambda *leaves: np.concatenate(leaves), *bests)
        return step, join(states), every, metas
    if reasons:
        raise CheckpointError("\n".join(reasons))
    return None


def foundations(members: Sequence[Experiment], data: Any) -> list[dict[str, Any]]:
    """What each member's training rests on, for its checkpoints: data and models.

    Args:
      members: the experiments.
      data: what they are trained on.
    """
    rows = fingerprint.of(data)
    return [{"data": rows, **marks(member)} for member in members]


def marks(member: Experiment) -> dict[str, int]:
    """By which the models that an experiment takes from others are known again."""
    named = {name: getattr(member, name) for name in _MODELS}
    found = {k: meta_of(path) for k, path in named.items() if path}
    marks = {name: meta["mark"] for name, meta in found.items() if meta}
    if member.held and member.held.teacher:
        said = member.held.teacher.variables, member.held.answers
        marks["teacher"] = stored.checksum(stored.flatten(said))
    return marks


def check_foundations(
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
