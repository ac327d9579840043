"""What a training program consists of, from the configs of its members.

A member is one experiment with a directory of its own, of one run or several (seeds).
Members that differ in numbers only train as one program, side by side.
"""

import copy
import dataclasses
import itertools
import math
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from fdnf.data import build as datasets
from fdnf.data.images import Images
from fdnf.data.tabular import Tabular
from fdnf.train import (
    models,
    objectives,
    optim,
    pools,
    preprocess,
    sampling,
    settings,
    side_by_side,
    step,
    teachers,
    transfer,
    validation,
)
from fdnf.train import state as states


class Member(NamedTuple):
    """An experiment: its config, its directory, and that of its trained teacher."""

    config: Any
    workdir: pathlib.Path
    teacher: pathlib.Path | None = None


class Program(NamedTuple):
    """A training program at its start; the leading axis of trees is that of all runs.

    Attributes:
      take: the training step, see `step.make_train_step`.
      validate: what is measured during training, see `validation`.
      measure: its name in the log.
      state: the initial state.
      best: the record of a program that has not been evaluated.
      update: what makes of it, and of parameters just evaluated, the next.
      hyper: the numbers in which runs differ.
      data: what is trained on.
      on_device: its arrays on the devices of this process.
      teacher: the teachers' variables, {} without.
      prepared: what is done to batches.
      runs: which runs are whose, one slice a member.
      replicated: sharding by which each device of this process has a copy.
      meta: what checkpoints say of the data.
    """

    take: Callable
    validate: validation.Validate
    measure: str
    state: states.TrainState
    best: states.Best
    update: Callable
    hyper: side_by_side.Hyper
    data: Tabular | Images
    on_device: dict[str, Any]
    teacher: Any
    prepared: preprocess.Preprocess
    runs: list[slice]
    replicated: NamedSharding
    meta: dict[str, Any]


def build(members: Sequence[Member]) -> Program:
    """Loads data and teachers, and makes the step and the initial state.

    Args:
      members: experiments whose configs differ in nothing but seed, learning rate,
        weights of the loss and teacher (of one architecture).

    Raises:
      ConfigError, DataError, CheckpointError: for what does not fit together.
    """
    config = members[0].config
    train = config.train
    data = datasets.build(config.data)
    prepared = settings.preprocessing(config, data)
    flow = models.build(config.model)
    counts = [member.config.runs for member in members]
    ends = np.cumsum(counts).tolist()
    total = ends[-1]
    taught = _teachers(members, data, prepared) if members[0].teacher else None

    reach = prepared.reach(data.train)
    drawn = _training(members[0], data, prepared, taught, reach)
    replicated = _replicated()
    on_device = jax.device_put(drawn.arrays, replicated)

    # The rate is a number of each run: programs of other rates are the same program.
    unit = copy.deepcopy(config.optim).unlock()
    unit.lr = 1.0
    sampler = config.loss.method in transfer.METHODS
    restart = transfer.warm_steps(config) if sampler else 0
    optimizer = optim.make(unit, train.steps, restart)
    teacher = taught.trained.flow if taught else None
    devices = jax.device_count()
    seeds = [m.config.seed + r for m in members for r in range(m.config.runs)]
    alike, ask = _alike(members, seeds), None
    if alike > 1 and teacher and train.get("accumulate", 1) == 1:
        teacher, ask = objectives.asked(config, teacher) or (teacher, None)
    objective = objectives.build(config, flow, teacher, reach)
    take = step.make_train_step(
        objective,
        optimizer,
        sampling.uniform(
            len(drawn.arrays["train"]), train.batch_size, devices, drawn.share
        ),
        steps=train.steps_per_call,
        ema=config.optim.ema,
        teacher_runs=bool(taught and taught.by_run),
        pack=train.pack,
        preprocess=drawn.prepared,
        accumulate=train.get("accumulate", 1),
        alike=alike,
        ask=ask,
    )
    keys = jnp.stack([jax.random.key(seed) for seed in seeds])
    first = _first_batches(data, prepared, train.init_rows, seeds)
    heir = config.get("teacher") and config.teacher.get("inherit_permutations", False)
    ancestor = taught if heir else None
    with settings.explained(flow, data):
        initial = step.init_state(
            flow,
            optimizer,
            keys,
            first["x"],
            config.optim.ema,
            first.get("cond"),
            inherited=ancestor.variables if ancestor else None,
            inherited_runs=bool(ancestor and ancestor.by_run),
        )
    measured = (data, prepared, config.eval.batch_size)
    return Program(
        take=take,
        validate=(
            validation.by_loss(
                objective,
                *measured,
                step=train.steps,
                teacher_runs=bool(taught and taught.by_run),
            )
            if sampler
            else validation.by_likelihood(flow, *measured)
        ),
        measure=validation.LOSS if sampler else validation.LIKELIHOOD,
        state=initial,
        best=states.first_best(initial.params, initial.constants, total),
        update=transfer.newest if sampler else states.update_best,
        hyper=side_by_side.hyper(
            keys,
            np.repeat([m.config.optim.lr for m in members], counts),
            np.repeat([objectives.weights(m.config) for m in members], counts, axis=0),
        ),
        data=data,
        on_device=on_device,
        teacher=jax.device_put(taught.variables if taught else {}, replicated),
        prepared=prepared,
        runs=[slice(end - n, end) for n, end in zip(counts, ends, strict=True)],
        replicated=replicated,
        meta={
            "event": data.event,
            "preprocess": dataclasses.asdict(prepared),
            "data": data.name,
        },
    )


class _Training(NamedTuple):
    """What batches are drawn from, and what is done to them."""

    arrays: dict[str, np.ndarray]
    share: float
    prepared: preprocess.Preprocess


def _training(
    member: Member,
    data: Tabular | Images,
    prepared: preprocess.Preprocess,
    taught: "_Teachers | None",
    reach: float,
) -> _Training:
    config = member.config
    arrays = {"train": data.train}
    if prepared.classes and isinstance(data, Images) and data.labels is not None:
        arrays["labels"] = data.labels[0]
    if taught is None or not config.teacher.samples:
        return _Training(arrays, 0.0, prepared)
    oracle = config.loss.method == "oracle"
    generated = pools.pool(
        taught.trained,
        str(member.teacher),
        config.teacher.samples,
        config.seed,
        config.loss.skd.reach * reach,
        stored=not oracle,
    )
    if not oracle:
        return _Training(arrays | generated, config.teacher.share, prepared)
    # These are what the student is to predict, to the digit: no noise comes on top,
    # and nothing is mirrored.
    arrays = {"train": generated["generated"]}
    if "generated_labels" in generated:
        arrays["labels"] = generated["generated_labels"]
    return _Training(arrays, 0.0, preprocess.Preprocess(classes=prepared.classes))


def _alike(members: Sequence[Member], seeds: Sequence[int]) -> int:
    """How many runs in a row have seed and teacher in common, throughout."""
    # Side by side their collectives would overlap, which XLA's CPU backend does not
    # survive (see `step`).
    if jax.default_backend() == "cpu" and jax.device_count() > 1:
        return 1
    if any(member.config.runs > 1 for member in members):
        return 1
    shared = zip(seeds, (str(m.teacher) for m in members), strict=True)
    lengths = [len(list(group)) for _, group in itertools.groupby(shared)]
    return math.gcd(*lengths)


def _replicated() -> NamedSharding:
    """A copy on each device of this process."""
    mesh = jax.make_mesh(
        (jax.local_device_count(),),
        ("d",),
        axis_types=(AxisType.Auto,),
        devices=jax.local_devices(),
    )
    return NamedSharding(mesh, PartitionSpec())


class _Teachers(NamedTuple):
    trained: teachers.Trained
    variables: Any
    by_run: bool


def _teachers(
    members: Sequence[Member], data: Tabular | Images, prepared: preprocess.Preprocess
) -> _Teachers:
    """The teachers' variables: once if all runs have the same, or one for each run."""
    loaded = {str(m.teacher): teachers.load(str(m.teacher)) for m in members}
    first = loaded[str(members[0].teacher)]
    found = []
    for member in members:
        trained = loaded[str(member.teacher)]
        if trained.flow != first.flow:
            raise settings.ConfigError(
                f"the teachers {members[0].teacher} and {member.teacher} are of "
                "different architecture: train their students apart (--pack=1)"
            )
        runs = member.config.runs
        variables, by_run = teachers.match(trained, data.event, runs, prepared)
        if len(loaded) == 1 and not by_run:
            return _Teachers(first, variables, False)
        if not by_run:
            variables = jax.tree.map(lambda leaf: leaf[None], variables)
            variables = jax.tree.map(
                lambda leaf, n=runs: jnp.repeat(leaf, n, axis=0), variables
            )
        found.append(variables)
    stacked = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *found)
    return _Teachers(first, stacked, True)


def _first_batches(
    data: Tabular | Images,
    prepared: preprocess.Preprocess,
    rows: int,
    seeds: Sequence[int],
) -> dict[str, jax.Array]:
    """`[runs, rows, ...]`: the batch from which each run takes its statistics."""
    rows = min(rows, len(data.train))
    batches = []
    for seed in seeds:
        picked = np.random.default_rng(seed).choice(
            len(data.train), rows, replace=False
        )
        batch = {"x": jnp.asarray(data.train[picked])}
        if isinstance(data, Images) and data.labels is not None:
            batch["labels"] = jnp.asarray(data.labels[0][picked])
        key = jax.random.fold_in(jax.random.key(seed), step.FIRST)
        batch = prepared.train(key, batch)
        batches.append({k: v for k, v in batch.items() if k != "labels"})
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *batches)
