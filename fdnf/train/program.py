"""What a training program consists of, from the configs of its members.

A member is one experiment with a directory of its own, of one run or several (seeds).
Members that differ in numbers only train as one program, side by side.
"""

import copy
import functools
import itertools
import logging
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from jaxtyping import Array

from fdnf.data import build as datasets
from fdnf.flows import surgery
from fdnf.losses import distillation
from fdnf.ops import statistics, trees
from fdnf.train import (
    answers,
    batches,
    distributed,
    faults,
    generators,
    guiding,
    models,
    objectives,
    optim,
    pools,
    preprocess,
    settings,
    step,
    teachers,
    transfer,
    validation,
)
from fdnf.train import weights as of_rows
from fdnf.train.batches import Run, fold
from fdnf.train.preprocess import Data, Prepared
from fdnf.train.rules import ConfigError
from fdnf.train.settings import Experiment
from fdnf.train.teachers import Source

_log = logging.getLogger(__name__)
_TRAIN = 0  # The split.


class Program(NamedTuple):
    """A training program at its start; the leading axis of trees is that of all runs.

    Attributes:
      take: (state, stop) -> (state, scalars), the training step with all that does not
        change, see `step.make_train_step`.
      validate: (params, constants) -> Validation, see `validation`.
      measure: its name in the log.
      update: what makes of the best so far, and of parameters just evaluated, the next.
      state: the initial state.
      best: the record of a program that has not been evaluated.
      runs: which runs are whose, one slice a member.
      data: what is trained on.
      meta: what checkpoints say of the data.
      replicated: sharding by which each device of this process has a copy.
    """

    take: Callable
    validate: Callable
    measure: str
    update: Callable
    state: step.TrainState
    best: validation.Best
    runs: list[slice]
    data: Data
    meta: dict[str, Any]
    replicated: NamedSharding


def build(members: Sequence[Experiment]) -> Program:
    """Loads data and teachers, and makes the step and the initial state.

    Args:
      members: experiments whose configs differ in nothing but seed, learning rate,
        weights of the loss and teacher (of one architecture).

    Raises:
      ConfigError, DataError, CheckpointError: for what does not fit together.
    """
    config = members[0].config
    data, prepared, flow = _given(members[0])
    source = _teachers(members, flow, data, prepared)
    reach = prepared.reach(data.train)
    drawn = pools.feed(members[0], data, prepared, source, reach)
    distributed.same("training data", data.train)

    teacher = source.trained.flow if source else None
    seeds = [m.config.seed + r for m in members for r in range(m.config.runs)]
    alike, asked, answer = _alike(members, seeds), teacher, None
    if drawn.said is not None:
        asked, answer = answers.ANSWERED, answers.looked_up
    elif alike > 1 and teacher and config.train.get("accumulate", 1) == 1:
        asked, answer = answers.asking(config, teacher) or (teacher, None)
    # Held-out rows are asked about anew.
    objective = objectives.build(config, flow, teacher, reach)
    optimizer = _optimizer(config)
    train_step = step.make_train_step(
        objectives.build(config, flow, asked, reach) if answer else objective,
        optimizer,
        batches.uniform(
            len(drawn.arrays["train"]),
            config.train.batch_size,
            jax.device_count(),
            drawn.share,
            weighed=of_rows.KEEP in drawn.arrays,
        ),
        steps=config.train.steps_per_call,
        ema=config.optim.ema,
        teacher_runs=bool(source and source.by_run),
        pack=config.train.pack,
        preprocess=drawn.prepared,
        accumulate=config.train.get("accumulate", 1),
        alike=alike,
        answer=answer,
    )

    keys = jnp.stack([jax.random.key(seed) for seed in seeds])
    first = first_batches(data, prepared, config.train.init_rows, seeds)
    by_loss = config.loss.method in objectives.BY_LOSS
    # What starts as parts of another does not come out standardised, whatever the data.
    inherits = bool(source) and config.teacher.get("inherit_layers", False)
    with settings.explained(flow, data):
        state = models.init_state(
            flow,
            optimizer,
            keys,
            first["x"],
            config.optim.ema,
            first.get("cond"),
            _inherited(members, flow, source),
            density=not by_loss and not inherits,
            heads=_heads(members[0], flow, source, data, prepared, first),
        )

    replicated = _replicated()
    taught = _teacher_variables(config, source, len(seeds))
    hyper, arrays, taught, said = jax.device_put(
        (_hyper(members, keys), drawn.arrays, taught, drawn.said), replicated
    )
    if said is None:
        said = taught
    measured = (data, prepared, config.eval.batch_size)
    if by_loss:
        guides = config.loss.method in guiding.METHODS
        validate = validation.by_loss(
            guiding.held_out(objective) if guides else objective,
            *measured,
            step=config.train.steps,
            teacher_runs=bool(source and source.by_run),
            terms=tuple(guiding.stages(config)[-1].weights) if guides else (),
        )
    else:
        validate = validation.by_likelihood(flow, *measured)
    ends = np.cumsum([m.config.runs for m in members]).tolist()
    return Program(
        take=lambda state, stop: train_step(state, stop, hyper, arrays, said),
        validate=lambda params, constants: validate(params, constants, taught),
        measure=validation.LOSS if by_loss else validation.LIKELIHOOD,
        update=_update(config),
        state=state,
        best=validation.first_best(state.evaluated, state.constants, len(seeds)),
        runs=[slice(*pair) for pair in itertools.pairwise([0, *ends])],
        data=data,
        meta={
            "event": data.event,
            "preprocess": preprocess.describe(prepared),
            "data": data.name,
        },
        replicated=replicated,
    )


def _given(member: Experiment) -> tuple[Data, Prepared, models.Model]:
    """Data, what is done to them, and the model: in memory, or as the config says."""
    if member.held:
        return member.held.data, member.held.prepared, member.held.flow
    data = datasets.build(member.config.data)
    prepared = settings.prepared(member.config, data)
    return data, prepared, models.build(member.config.model)


def _teachers(
    members: Sequence[Experiment], flow: models.Model, data: Data, prepared: Prepared
) -> Source | None:
    """The members' teachers, if they have any, with levels that can be compared."""
    config, held = members[0].config, members[0].held
    if not (members[0].teacher or (held and held.teacher)):
        return None
    if config.teacher.get("mean", False):
        source = _mean(members, data, prepared)
    elif held and held.teacher:
        variables, by_run = teachers.match(
            held.teacher, data.event, config.runs, prepared
        )
        source = Source(held.teacher, variables, by_run)
    else:
        source = teachers.teachers_of(members, data, prepared)
    cond, variables = prepared.condition_shape(data.event), source.variables
    if source.by_run:
        variables = trees.take_run(variables, 0)
    objectives.check_levels(
        config, flow, source.trained.flow, data.event, cond, variables
    )
    return source


def _heads(
    member: Experiment,
    flow: models.Model,
    source: Source | None,
    data: Data,
    prepared: Prepared,
    first: dict[str, Any],
) -> Any:
    """What stands between student and teacher, leading axis runs; None without."""
    config = member.config
    if source is None or not any(objectives.heads_asked(config)):
        return None
    teacher, said = source.trained.flow, member.held and member.held.answers
    shapes = (data.event, prepared.condition_shape(data.event))

    def one(run: Any) -> Any:
        x, cond, own = run
        variables = own if source.by_run else source.variables
        taught: Any
        if said:
            rows = {"x": x, batches.ROW: jnp.arange(len(x))}
            taught = answers.looked_up(jax.tree.map(jnp.asarray, said), rows)
        else:
            taught = teacher.apply(variables, x, cond, method="encode")
        return objectives.heads(config, flow, taught, *shapes)

    own = source.variables if source.by_run else None
    given = (first["x"], first.get("cond"), own)
    return jax.jit(lambda runs: step.over_runs(one, runs))(given)


def _mean(members: Sequence[Experiment], data: Data, prepared: Prepared) -> Source:
    """All runs of one teacher as one, see `distillation.mean_of`.

    Raises:
      ConfigError: for several teachers, one of a single run, or what a mean cannot do.
    """
    config, held = members[0].config, members[0].held
    by_loss = config.loss.method in objectives.BY_LOSS
    if by_loss or not objectives.only_encodes(config) or config.teacher.samples:
        raise ConfigError(
            f"teacher.mean=True with loss.method={config.loss.method!r}, weights "
            f"{objectives.weights(config)}, teacher.samples={config.teacher.samples}: "
            "a mean of teachers can only be asked to encode: take lkd or ilkd, a "
            "weight of 0 for samples, and no samples of the teacher"
        )
    if len({str(member.teacher) for member in members}) > 1:
        raise ConfigError(
            "teacher.mean=True with several teachers in one program: train their "
            "students apart (--pack=1)"
        )
    where = members[0].teacher
    trained: Any = held.teacher if held else teachers.load(str(where))
    if trained.runs < 2:
        raise ConfigError(
            f"teacher.mean=True, but the teacher {where or ''} has one run: train it "
            "with runs=2 or more"
        )
    if not held:
        theirs = trained.config.data
        faults.check_same_data(config, "teacher", theirs, f"the teacher {where}")
    variables, _ = teachers.match(trained, data.event, trained.runs, prepared)
    whole = trained._replace(flow=distillation.mean_of(trained.flow))
    return Source(whole, variables, by_run=False)


def _update(config: Any) -> Callable:
    """Which of the parameters that are evaluated are kept."""
    if plan := guiding.stages(config):
        return functools.partial(validation.update_since, plan[-1].first)
    if config.loss.method in transfer.NEWEST:
        return validation.newest
    return validation.update_best


def _optimizer(config: Any) -> optax.GradientTransformation:
    # The rate is a number of each run: programs of other rates are the same program.
    unit = copy.deepcopy(config.optim).unlock()
    unit.lr = 1.0
    restart, frozen, section = 0, None, config.get("pretrained")
    if config.loss.method in transfer.METHODS:
        restart = transfer.warm_steps(config)
    if section and section.frozen:
        frozen = section.into, round(section.frozen * config.train.steps)
    stages = guiding.lengths(config)
    return optim.make(unit, config.train.steps, restart, frozen, stages)


def _hyper(members: Sequence[Experiment], keys: Array) -> step.Hyper:
    """The numbers in which the members' runs differ."""
    counts = [member.config.runs for member in members]
    return step.hyper(
        keys,
        np.repeat([m.config.optim.lr for m in members], counts),
        np.repeat([objectives.weights(m.config) for m in members], counts, axis=0),
    )


def _inherited(
    members: Sequence[Experiment], flow: models.Model, source: Source | None
) -> list[models.Inheritance]:
    """What the members' model takes over from others before it is trained."""
    found, config = [], members[0].config
    if source and config.teacher.get("inherit_layers", False):
        found.append(_layers(flow, source))
    elif source and config.teacher.get("inherit_permutations", False):
        take = models.permutations
        found.append(models.Inheritance(take, source.variables, source.by_run))
    # Students of some kinds, and flows that can start as their teacher.
    take: Any = getattr(flow, "inherit", None)
    if source and take is not None:
        found.append(models.Inheritance(take, source.variables, source.by_run))
    if source and guiding.shares(config, flow, source.trained.flow):
        take = flow.taken_over
        found.append(models.Inheritance(take, source.variables, source.by_run))
    if members[0].pretrained:
        start = teachers.pretrained_of(members)
        take = functools.partial(models.subtree, config.pretrained.into)
        found.append(models.Inheritance(take, start.variables, start.by_run))
    return found


def _layers(flow: models.Model, source: Source) -> models.Inheritance:
    """The steps of the teacher that the student has, in the place of its own."""
    given, steps = source.variables, getattr(flow, "steps", 0)
    alone = [given]
    if source.by_run:
        runs = jax.tree.leaves(given)[0].shape[0]
        alone = [trees.take_run(given, r) for r in range(runs)]
    teacher: Any = source.trained.flow
    try:
        thinned = [surgery.thinned(teacher, own, steps)[1] for own in alone]
    except ValueError as error:
        raise ConfigError(f"teacher.inherit_layers=True: {error}") from error
    if not source.by_run:
        return models.Inheritance(models.whole, thinned[0])
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *thinned)
    return models.Inheritance(models.whole, stacked, by_run=True)


def _teacher_variables(config: Any, source: Source | None, runs: int) -> Any:
    """The teachers' variables, with the weights of the loss's own network."""
    variables = source.variables if source else {}
    if config.loss.method != "feed_forward":
        return variables
    feature = generators.weights(config)
    if source and source.by_run:
        feature = jax.tree.map(
            lambda leaf: jnp.broadcast_to(leaf, (runs, *leaf.shape)), feature
        )
    return {"flow": variables, "feature": feature}


def _alike(members: Sequence[Experiment], seeds: Sequence[int]) -> int:
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


def first_batches(
    data: Data, prepared: Prepared, rows: int, seeds: Sequence[int]
) -> dict[str, Any]:
    """`[runs, rows, ...]`: the batch from which each run takes its statistics."""
    rows = min(rows, len(data.train))
    beside, weights = prepared.beside(data, _TRAIN), of_rows.of(data, _TRAIN)
    how: dict[str, Any] = {"replace": False}
    if weights is not None:
        how = {"p": weights / weights.sum()}
    batches = []
    for seed in seeds:
        picked = np.random.default_rng(seed).choice(len(data.train), rows, **how)
        batch = {"x": jnp.asarray(data.train[picked])}
        if beside is not None:
            batch["beside"] = jnp.asarray(beside[picked])
        key = fold(jax.random.key(seed), Run.FIRST)
        batches.append(prepared.train(key, batch))
    _tell_constant([batch["x"] for batch in batches])
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *batches)


def _tell_constant(batches: Sequence[Array]) -> None:
    """Warns of columns or channels that do not vary in some run's first batch."""
    for said in sorted({statistics.constant_part(x) or "" for x in batches} - {""}):
        _log.warning("%s Its rows are as many as train.init_rows says.", said)
