"""What is trained, a flow or a feed-forward student, and its first variables."""

import dataclasses
import functools
import json
import types
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array

from fdnf.bijectors import coupling, transformers
from fdnf.data.tabular import DataError
from fdnf.flows import build as flows
from fdnf.flows import surgery
from fdnf.flows.base import FlowModule
from fdnf.losses import levels
from fdnf.students import build as students
from fdnf.students.base import Student
from fdnf.train import optim, step
from fdnf.train.batches import Run, fold
from fdnf.train.rules import ConfigError
from fdnf.train.step import TrainState

Model = FlowModule | Student


def build(config: Any) -> Model:
    """The flow or student that `config.name` and `config.args` describe.

    Raises:
      ValueError: for an unknown name or attribute, with the known ones.
    """
    if config.name in students.STUDENTS:
        return students.build(config)
    if config.name in flows.FLOWS:
        return flows.build(config)
    raise ValueError(
        f"unknown model.name {config.name!r}; known: flows {sorted(flows.FLOWS)}, and "
        f"students without a density {sorted(students.STUDENTS)}"
    )


def describe(model: Model) -> dict[str, Any] | None:
    """Name and attributes by which `build` makes a model again, as JSON holds them.

    Returns:
      `{"name": ..., "args": {...}}`, without attributes as they are by default; None of
      a class of the user's own, or with attributes that have no such description.
    """
    table = {**flows.FLOWS, **students.STUDENTS}
    names = [name for name, kind in table.items() if type(model) is kind]
    if not names:
        return None
    usual = table[names[0]]()
    try:
        given = {
            field.name: _described(getattr(model, field.name))
            for field in dataclasses.fields(model)
            if field.name not in ("name", "parent")
            and getattr(model, field.name) != getattr(usual, field.name)
        }
        described = json.loads(json.dumps({"name": names[0], "args": given}))
        again = build(types.SimpleNamespace(**described))
    except (TypeError, ValueError):
        return None
    return described if again == model.clone(name=None, parent=None) else None


def _described(value: Any) -> Any:
    """An attribute as a config gives it: transformers by their names and settings."""
    if isinstance(value, tuple):
        return [_described(item) for item in value]
    if not isinstance(value, transformers.Transformer):
        return value
    known = [*transformers.TRANSFORMERS.items(), *coupling.COUPLED.items()]
    name = next(name for name, kind in known if type(value) is kind)
    fields = [field.name for field in dataclasses.fields(value)]
    return {"name": name, **{key: _described(getattr(value, key)) for key in fields}}


def init(
    model: Model, key: Array, x: Array, cond: Array | None = None, taken: Any = None
) -> Any:
    """The model's first variables from a batch of data, see `start`."""
    return start(model, key, x, cond, taken)[1]


def start(
    model: Model, key: Array, x: Array, cond: Array | None = None, taken: Any = None
) -> tuple[Any, Any]:
    """What a model makes of a first batch, and its variables from that batch.

    A student takes its statistics from latents of the prior, which it will see.

    Args:
      model: the flow or student.
      key: randomness.
      x: the batch.
      cond: its condition.
      taken: subtrees of the variables that are given, as
        `{"params": {"encoder": ...}}`; what depends on data depends on them.
    """
    given = model.draw(key, x.shape) if isinstance(model, Student) else x
    if not taken:
        return model.init_with_output(key, given, cond)
    result, made = model.apply(
        taken, given, cond, mutable=["params", "constants"], rngs={"params": key}
    )
    return result, {**taken, **made}


class Inheritance(NamedTuple):
    """What a model takes over before it is trained.

    Attributes:
      take: function of (own variables, source) to variables, some of whose subtrees
        are new.
      source: what it is taken from.
      by_run: whether the source has a leading runs axis.
    """

    take: Callable[[Any, Any], Any]
    source: Any
    by_run: bool = False


def permutations(own: Any, source: Any) -> Any:
    """Takes over a teacher's channel permutations, see `surgery`."""
    constants = surgery.inherit_permutations(
        {"constants": own["constants"]}, {"constants": source["constants"]}
    )
    return {**own, **constants}


def whole(own: Any, source: Any) -> Any:
    """Takes over all variables, of a model of as many steps.

    Raises:
      ConfigError: for shapes that are not the model's own.
    """
    ours, theirs = (
        {
            jax.tree_util.keystr(path): jnp.shape(leaf)
            for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
        }
        for tree in (own, source)
    )
    other = sorted(p for p in {*ours, *theirs} if ours.get(p) != theirs.get(p))
    if other:
        first = other[0]
        raise ConfigError(
            f"teacher.inherit_layers=True: the student has {first} of shape "
            f"{ours.get(first)}, its teacher's steps {theirs.get(first)} "
            f"({len(other)} such): give both the same model.args but for steps"
        )
    return {**own, **source}


def subtree(name: str, own: Any, source: Any) -> Any:
    """Takes over the parameters called `name`.

    Raises:
      ValueError: if one of the two has none of that name, or of other shapes.
    """
    theirs, ours = source["params"].get(name), own["params"].get(name)
    if theirs is None or ours is None:
        raise ValueError(
            f"pretrained.into={name!r}: the model has {sorted(own['params'])}, the "
            f"pretrained one {sorted(source['params'])}"
        )
    shapes = [jax.tree.map(lambda leaf: leaf.shape, tree) for tree in (ours, theirs)]
    if shapes[0] != shapes[1]:
        raise ValueError(
            f"pretrained.into={name!r}: the weights of the two models differ in names "
            "or shapes: give both the same model.args"
        )
    return {**own, "params": {**own["params"], name: theirs}}


def init_state(
    flow: Model,
    optimizer: optax.GradientTransformation,
    keys: Array,
    x: Array,
    ema: float,
    cond: Array | None = None,
    inherited: Sequence[Inheritance] = (),
    density: bool = False,
    heads: Any = None,
) -> TrainState:
    """Initial state of every run, leading axis runs, data-dependent parts included.

    Args:
      flow: the model.
      optimizer: from `optim.make`.
      keys: `[runs]`, the runs' keys.
      x: `[runs, batch, ...]`, the batch from which each run takes its statistics.
      ema: decay of the moving average, 0 for none.
      cond: `[runs, batch, ...]`, condition of that batch.
      inherited: what is taken over from other models; statistics are those of what
        was taken over.
      density: whether the model is a flow trained by its density: then the latents of
        vectors must come out standardised, or nearly.
      heads: trained beside the model and no part of it, see `losses.levels`.

    Raises:
      DataError: for vectors whose latents do not, with the columns at fault.
    """
    judged = density and x.ndim == 3 and x.shape[1] > 1

    def init(run):
        key, x, cond, own, beside = run
        key = fold(key, Run.INIT)
        made, variables = start(flow, key, x, cond)
        taken = {}
        for i, each in enumerate(inherited):
            source = own[i] if each.by_run else each.source
            new = _taken(variables, each.take(variables, source))
            for collection, trees in new.items():
                taken[collection] = taken.get(collection, {}) | trees
            # Again, since what depends on data depends on what was taken over.
            if new:
                made, variables = start(flow, key, x, cond, taken)
        params = variables["params"]
        if beside is not None:
            params = {**params, levels.HEADS: beside}
        spread = jnp.zeros(())
        if judged:
            spread = jnp.std(jnp.concatenate(made.z, axis=-1), axis=0)
        return params, variables.get("constants", {}), optimizer.init(params), spread

    # Not a vmap on CPU: beside being slow there, XLA's batched products have been seen
    # to wait for each other for ever on two cores.
    # It runs once, and XLA takes five times as long to optimise its convolutions and
    # random numbers on CPU as to translate them.
    hurried = x.ndim > 3 and jax.default_backend() == "cpu"
    options = {"xla_backend_optimization_level": 0} if hurried else None

    @functools.partial(jax.jit, compiler_options=options)
    def everything(*of_runs):
        params, constants, opt_state, spread = step.over_runs(init, of_runs)
        state = TrainState(
            step=jnp.zeros((), jnp.int32),
            params=params,
            ema=optim.ema_init(params, ema),
            constants=constants,
            opt_state=opt_state,
        )
        return state, spread

    own = [each.source if each.by_run else None for each in inherited]
    state, spread = everything(keys, x, cond, own, heads)
    if judged:
        for batch, latents in zip(np.asarray(x), np.asarray(spread), strict=True):
            _check_spread(batch, latents)
    return state


# Smallest and largest spread of a latent after initialisation. The vectors that we have
# come to 0.5 to 1.5 by the flows that normalise, and have 0.017 (digits) to 1.5 as they
# are. A MAF comes to 1 for spreads of 1e-6 to 100, and to 1e5 for 300.
SPREADS = (0.01, 30.0)
# And of a column, for any flow: the scale of no layer exceeds e^12 (`ActNorm`).
REACH = (1e-5, 1e5)


def _check_spread(x: np.ndarray, spread: np.ndarray) -> None:
    """Refuses a batch `[rows, columns]` whose latents are far from standardised.

    Densities of such rows are wrong by any amount (scales are bounded), and look like
    others. A column that does not vary in the batch is let through.
    """
    wide = np.asarray(x, np.float64)
    varies = np.ptp(wide, axis=0) > 0
    far = _outside(spread, *SPREADS)
    if far.shape == varies.shape:
        far &= varies | ~(spread < SPREADS[0])
    beyond = _outside(wide.std(0), *REACH) & varies
    if not (far.any() or beyond.any()):
        return
    if far.any():
        shown = spread[far]
        worst = shown[np.argmax(np.abs(np.log(np.maximum(shown, 1e-30))))]
        said = f"after initialisation a latent has a spread of {worst:.3g}, expected "
        said += "{:.2g} to {:.2g}".format(*SPREADS)
    else:
        said = f"{beyond.sum()} columns have spreads beyond what scales can make up for"
    raise DataError(
        f"{said}: the columns of the data are not standardised. {columns(x)}. "
        "Subtract from each column its mean over the training rows and "
        "divide by its standard deviation, in all splits; log-likelihoods of the "
        "columns as they were are then lower by the sum of log standard deviations"
    )


def _outside(spread: np.ndarray, least: float, most: float) -> np.ndarray:
    # Written so that NaN is out too.
    return ~((spread >= least) & (spread <= most))


def columns(x: np.ndarray, most: int = 3) -> str:
    """The columns of rows `[rows, columns]` that are furthest from standardised."""
    wide = np.asarray(x, np.float64)
    with np.errstate(all="ignore"):
        mean, spread = wide.mean(0), wide.std(0)
        away = np.abs(np.log(spread)) + np.log1p(np.abs(mean))
    away = np.where(np.isnan(away), np.inf, away)
    found = np.argsort(-away, kind="stable")[:most]
    return "Furthest are " + ", ".join(
        f"column {i} (mean {mean[i]:.3g}, spread {spread[i]:.3g})" for i in found
    )


def _taken(before: Any, after: Any) -> dict[str, dict[str, Any]]:
    """The subtrees of the collections that are not what they were."""
    changed = {
        collection: {
            name: tree
            for name, tree in trees.items()
            if before.get(collection, {}).get(name) is not tree
        }
        for collection, trees in after.items()
    }
    return {collection: trees for collection, trees in changed.items() if trees}
