"""What a training program consists of, from the configs of its members.

A member is one experiment with a directory of its own, of one run or several (seeds).
Members that differ in numbers only train as one program, side by side.
"""

import copy
import functools
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from fdnf.data import build as datasets
from fdnf.students.base import Student
from fdnf.train import (
    distributed,
    feeding,
    generators,
    initial,
    levels,
    models,
    objectives,
    optim,
    preprocessing,
    sampling,
    settings,
    side_by_side,
    step,
    transfer,
    validation,
)
from fdnf.train import state as states
from fdnf.train import taught as ancestors
from fdnf.train.preprocessing import Data, Prepared
from fdnf.train.taught import Member, Taught


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
    data: Data
    on_device: dict[str, Any]
    teacher: Any
    prepared: Prepared
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
    prepared = settings.prepared(config, data)
    flow = models.build(config.model)
    counts = [member.config.runs for member in members]
    ends = np.cumsum(counts).tolist()
    total = ends[-1]
    taught = None
    if members[0].teacher:
        taught = ancestors.teachers_of(members, data, prepared)
        cond = prepared.condition_shape(data.event)
        levels.check(config, flow, taught.trained.flow, data.event, cond)

    reach = prepared.reach(data.train)
    drawn = feeding.feed(members[0], data, prepared, taught, reach)
    distributed.same("training data", data.train)
    replicated = _replicated()
    on_device = jax.device_put(drawn.arrays, replicated)

    # The rate is a number of each run: programs of other rates are the same program.
    unit = copy.deepcopy(config.optim).unlock()
    unit.lr = 1.0
    sampler = config.loss.method in transfer.METHODS
    restart = transfer.warm_steps(config) if sampler else 0
    optimizer = optim.make(unit, train.steps, restart, frozen=_frozen(config))
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
    first = feeding.first_batches(data, prepared, train.init_rows, seeds)
    with settings.explained(flow, data):
        start = initial.init_state(
            flow,
            optimizer,
            keys,
            first["x"],
            config.optim.ema,
            first.get("cond"),
            _inherited(members, flow, taught),
            density=config.loss.method not in objectives.SAMPLERS,
        )
    measured = (data, prepared, config.eval.batch_size)
    by_loss = config.loss.method in objectives.SAMPLERS
    return Program(
        take=take,
        validate=(
            validation.by_loss(
                objective,
                *measured,
                step=train.steps,
                teacher_runs=bool(taught and taught.by_run),
            )
            if by_loss
            else validation.by_likelihood(flow, *measured)
        ),
        measure=validation.LOSS if by_loss else validation.LIKELIHOOD,
        state=start,
        best=states.first_best(start.params, start.constants, total),
        update=transfer.newest if sampler else states.update_best,
        hyper=side_by_side.hyper(
            keys,
            np.repeat([m.config.optim.lr for m in members], counts),
            np.repeat([objectives.weights(m.config) for m in members], counts, axis=0),
        ),
        data=data,
        on_device=on_device,
        teacher=jax.device_put(_asked(config, taught, total), replicated),
        prepared=prepared,
        runs=[slice(end - n, end) for n, end in zip(counts, ends, strict=True)],
        replicated=replicated,
        meta={
            "event": data.event,
            "preprocess": preprocessing.describe(prepared),
            "data": data.name,
        },
    )


def _inherited(
    members: Sequence[Member], flow: models.Model, taught: Taught | None
) -> list[initial.Inheritance]:
    """What the members' model takes over from others before it is trained."""
    found, config = [], members[0].config
    if taught and config.teacher.get("inherit_permutations", False):
        take = initial.permutations
        found.append(initial.Inheritance(take, taught.variables, taught.by_run))
    if taught and isinstance(flow, Student):
        found.append(initial.Inheritance(flow.inherit, taught.variables, taught.by_run))
    if members[0].pretrained:
        source = ancestors.pretrained_of(members)
        take = functools.partial(initial.subtree, config.pretrained.into)
        found.append(initial.Inheritance(take, source.variables, source.by_run))
    return found


def _frozen(config: Any) -> tuple[str, int] | None:
    """The parameters that stand still at first, and for how many steps."""
    section = config.get("pretrained")
    if not section or not section.frozen:
        return None
    return section.into, round(section.frozen * config.train.steps)


def _asked(config: Any, taught: Taught | None, runs: int) -> Any:
    """The teachers' variables, with the weights of the loss's own network."""
    variables = taught.variables if taught else {}
    if config.loss.method != "feed_forward":
        return variables
    feature = generators.weights(config)
    if taught and taught.by_run:
        feature = jax.tree.map(
            lambda leaf: jnp.broadcast_to(leaf, (runs, *leaf.shape)), feature
        )
    return {"flow": variables, "feature": feature}


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
    """A copy on each device of this process.

    The axis has the name that it has in what the step returns: under another name the
    state would come back with another sharding, and the second call compile again.
    """
    mesh = jax.make_mesh(
        (jax.local_device_count(),),
        (step.AXIS,),
        axis_types=(AxisType.Auto,),
        devices=jax.local_devices(),
    )
    return NamedSharding(mesh, PartitionSpec())
