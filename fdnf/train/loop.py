"""Training, from config to checkpoint, top to bottom."""

import dataclasses
import json
import logging
import pathlib
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from fdnf.data import build as datasets
from fdnf.data.images import Images
from fdnf.data.tabular import Tabular
from fdnf.flows import build as flows
from fdnf.metrics import likelihood
from fdnf.train import (
    density,
    objectives,
    optim,
    preprocess,
    sampling,
    settings,
    state,
    step,
    stored,
    teachers,
)
from fdnf.train.checkpoint import Checkpointer, check_writable
from fdnf.train.progress import Progress
from fdnf.train.writers import Writer

FINISHED = "finished.json"

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
      The contents of `finished.json`: steps, skipped steps and best validation
      log-likelihood of each run.

    Raises:
      ConfigError, DataError, CheckpointError: before training, for what is wrong.
      TrainingStoppedError: after `train.max_bad_steps` steps in a row whose loss or
        gradient was not finite.
    """
    workdir = pathlib.Path(workdir)
    settings.check(config)
    check_writable(workdir)
    finished = _finished(config, workdir)
    if finished is not None:
        _log.info("%s is finished; nothing to train", workdir)
        return finished

    # Data, and the teacher if there is one.
    data = datasets.build(config.data)
    prepared = settings.preprocessing(config, data)
    flow = flows.build(config.model)
    if objectives.needs_teacher(config):
        # Before time is spent on a teacher; otherwise the first trace will tell.
        settings.check_event(flow, data, prepared)
    train, runs = config.train, config.runs
    devices = jax.local_device_count()
    teacher = _teacher(config, workdir, data.event, runs, prepared)
    on_device = {"train": data.train}
    labels = None
    if prepared.classes and isinstance(data, Images):
        labels = data.labels
    if labels is not None:
        on_device["labels"] = labels[0]
    share, reach = 0.0, prepared.reach(data.train)
    if teacher is not None and config.teacher.samples:
        share = config.teacher.share
        on_device |= teachers.generate(
            teacher.trained,
            config.teacher.samples,
            config.seed,
            config.loss.skd.reach * reach,
        )
    replicated = NamedSharding(
        jax.make_mesh((devices,), ("d",), axis_types=(jax.sharding.AxisType.Auto,)),
        PartitionSpec(),
    )
    on_device = jax.device_put(on_device, replicated)

    # Objective, state.
    optimizer = optim.make(config.optim, train.steps)
    objective = objectives.build(
        config,
        flow,
        teacher.trained.flow if teacher else None,
        reach,
    )
    sample = sampling.uniform(len(data.train), train.batch_size, devices, share)
    train_step = step.make_train_step(
        objective,
        optimizer,
        sample,
        steps=train.steps_per_call,
        ema=config.optim.ema,
        teacher_runs=bool(teacher and teacher.by_run),
        pack=train.pack,
        preprocess=prepared,
        accumulate=train.get("accumulate", 1),
    )
    log_prob = density.make_log_prob(flow, config.eval.batch_size, prepared)
    keys = step.run_keys(config.seed, runs)
    first = _first_batches(data, prepared, train.init_rows, config.seed, runs)
    heir = config.get("teacher") and config.teacher.get("inherit_permutations", False)
    ancestor = teacher if heir else None
    with settings.explained(flow, data):
        train_state = step.init_state(
            flow,
            optimizer,
            keys,
            first["x"],
            config.optim.ema,
            first.get("cond"),
            inherited=ancestor.variables if ancestor else None,
            inherited_runs=bool(ancestor and ancestor.by_run),
        )
    best = state.first_best(train_state.params, train_state.constants, runs)

    with Checkpointer(workdir, keep=train.keep) as checkpointer:
        # Restore.
        restored = checkpointer.restore(jax.eval_shape(lambda: train_state), best)
        start = 0
        if restored is not None:
            start, train_state, best, _ = restored
            _log.info("continuing %s from step %d", workdir, start)
        _write_json(workdir / "config.json", settings.to_dict(config))
        train_state, keys, teacher_variables = jax.device_put(
            (train_state, keys, teacher.variables if teacher else {}), replicated
        )
        shard = np.arange(devices)
        meta = {
            "config": settings.to_dict(config),
            "event": data.event,
            "preprocess": dataclasses.asdict(prepared),
            "data": data.name,
        }

        # Loop.
        with (
            Writer(workdir, resume_step=start if restored else None) as writer,
            Progress(train.steps, start=start, label=label) as progress,
        ):
            clock, counted, now = None, start, start
            while now < train.steps:
                train_state, scalars = train_step(
                    train_state, shard, keys, on_device, teacher_variables
                )
                now += train.steps_per_call
                if clock is None:  # The first call compiles.
                    jax.block_until_ready(scalars)
                    clock, counted = time.monotonic(), now
                due = now % train.eval_every == 0 or now == train.steps
                if not due and now % train.log_every:
                    continue
                row = jax.device_get(scalars)
                stopped = int(np.max(row["bad_in_a_row"])) >= train.max_bad_steps
                if stopped:
                    writer.write(now, row)
                    _stop(checkpointer, now, row, train.max_bad_steps)
                row["steps_per_second"] = (now - counted) / (time.monotonic() - clock)
                if due:
                    params = train_state.params
                    if train_state.ema is not None:
                        params = train_state.ema
                    known = labels[1] if labels is not None else None
                    val = log_prob(params, train_state.constants, data.val, known)
                    mean = val.mean(axis=1, dtype=np.float64)
                    row["val_log_prob"] = mean
                    if prepared.levels:
                        bits = likelihood.bits_per_dim(mean, data.dim, quantization=1)
                        row["val_bits_per_dim"] = bits
                    best = jax.device_get(
                        state.update_best(
                            best, params, train_state.constants, -val.mean(1), now
                        )
                    )
                # The log goes first: what a resumed run finds is then never ahead
                # of it.
                writer.write(now, row)
                progress.update(now, **_shown(row))
                if due:
                    checkpointer.save(now, train_state, best, meta)
        checkpointer.wait()

    _, skipped = optim.bad_steps(jax.device_get(train_state.opt_state))
    result = {
        "steps": train.steps,
        "skipped_steps": np.asarray(skipped).tolist(),
        "best_val_log_prob": (-np.asarray(best.value)).tolist(),
        "best_step": np.asarray(best.step).tolist(),
        "config": settings.to_dict(config),
    }
    _write_json(workdir / FINISHED, result)
    return result


def _write_json(path: pathlib.Path, content: Any) -> None:
    """Writes whole or not at all: a run may be killed at any moment."""
    temporary = path.with_name(f"{path.name}.tmp")
    temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    temporary.replace(path)


def _finished(config: Any, workdir: pathlib.Path) -> dict[str, Any] | None:
    """The result of a finished run of this config; refuses one of another config."""
    path = workdir / FINISHED
    saved = path if path.exists() else workdir / "config.json"
    if not saved.exists():
        return None
    result = json.loads(saved.read_text())
    # What is done with a run once it is trained does not make it another one.
    before, now = (
        {k: v for k, v in values.items() if k not in ("eval", "study")}
        for values in (
            result["config"] if path.exists() else result,
            settings.to_dict(config),
        )
    )
    changed = _differences(before, now)
    if changed:
        raise settings.ConfigError(
            f"{workdir} holds a run of another config; different: "
            f"{', '.join(changed[:8])}. Give another --workdir, or remove this one"
        )
    return result if path.exists() else None


def _differences(a: Any, b: Any, path: str = "") -> list[str]:
    if isinstance(a, dict) and isinstance(b, dict):
        keys = sorted(a.keys() | b.keys())
        found = [_differences(a.get(k), b.get(k), f"{path}.{k}") for k in keys]
        return [name for names in found for name in names]
    return [] if a == b else [f"{path.lstrip('.')} ({a!r} there, {b!r} here)"]


class _Teacher:
    def __init__(self, trained: teachers.Trained, variables: Any, by_run: bool):
        self.trained, self.variables, self.by_run = trained, variables, by_run


def _teacher(config: Any, workdir: pathlib.Path, event, runs: int, prepared):
    """The teacher that the config names, trained first if only its config is there."""
    if not objectives.needs_teacher(config):
        return None
    where = config.teacher.workdir
    if not where:
        where = workdir / "teacher"
        train_and_evaluate(config.teacher.config, where, label="teacher")
    trained = teachers.load(where)
    return _Teacher(trained, *teachers.match(trained, event, runs, prepared))


def _first_batches(
    data: Tabular | Images,
    prepared: preprocess.Preprocess,
    rows: int,
    seed: int,
    runs: int,
) -> dict[str, jax.Array]:
    """`[runs, rows, ...]`: the batch from which each run takes its statistics."""
    rows = min(rows, len(data.train))
    batches = []
    for r in range(runs):
        rng = np.random.default_rng(seed + r)
        picked = rng.choice(len(data.train), rows, replace=False)
        batch = {"x": jnp.asarray(data.train[picked])}
        if isinstance(data, Images) and data.labels is not None:
            batch["labels"] = jnp.asarray(data.labels[0][picked])
        key = jax.random.fold_in(jax.random.key(seed + r), step.FIRST)
        batch = prepared.train(key, batch)
        batches.append({k: v for k, v in batch.items() if k != "labels"})
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *batches)


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    shown = {"loss": row["loss"]}
    if "val_bits_per_dim" in row:
        shown["val bits/dim"] = row["val_bits_per_dim"]
    elif "val_log_prob" in row:
        shown["val"] = row["val_log_prob"]
    if np.any(row["skipped_steps"]):
        shown["skipped"] = row["skipped_steps"]
    return shown


def _stop(checkpointer: Checkpointer, now: int, row: Any, limit: int) -> None:
    checkpointer.wait()
    bad = np.flatnonzero(np.asarray(row["bad_in_a_row"]) >= limit).tolist()
    saved = stored.steps(checkpointer.directory)
    last = checkpointer.directory / str(saved[0]) if saved else "none was saved yet"
    raise TrainingStoppedError(
        f"step {now}: the loss or gradient of run(s) {bad} was not finite for {limit} "
        f"steps in a row. Last good checkpoint: {last}. Lower optim.lr or optim.clip, "
        "or raise optim.warmup, in a new --workdir"
    )
