"""The initial state of every run, what depends on data included."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

from fdnf.flows import surgery
from fdnf.train import models, optim, side_by_side
from fdnf.train.state import TrainState
from fdnf.train.streams import Run, fold


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
    flow: models.Model,
    optimizer: optax.GradientTransformation,
    keys: Array,
    x: Array,
    ema: float,
    cond: Array | None = None,
    inherited: Sequence[Inheritance] = (),
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
    """

    def init(run):
        key, x, cond, own = run
        key = fold(key, Run.INIT)
        variables, taken = models.init(flow, key, x, cond), {}
        for i, each in enumerate(inherited):
            source = own[i] if each.by_run else each.source
            new = _taken(variables, each.take(variables, source))
            for collection, trees in new.items():
                taken[collection] = taken.get(collection, {}) | trees
            # Again, since what depends on data depends on what was taken over.
            if new:
                variables = models.init(flow, key, x, cond, taken)
        params = variables["params"]
        return params, variables.get("constants", {}), optimizer.init(params)

    # Not a vmap on CPU: beside being slow there, XLA's batched products have been seen
    # to wait for each other for ever on two cores.
    # It runs once, and XLA takes five times as long to optimise its convolutions and
    # random numbers on CPU as to translate them.
    hurried = x.ndim > 3 and jax.default_backend() == "cpu"
    options = {"xla_backend_optimization_level": 0} if hurried else None

    @functools.partial(jax.jit, compiler_options=options)
    def everything(keys, x, cond, own):
        params, constants, opt_state = side_by_side.over_runs(
            init, (keys, x, cond, own)
        )
        return TrainState(
            step=jnp.zeros((), jnp.int32),
            params=params,
            ema=optim.ema_init(params, ema),
            constants=constants,
            opt_state=opt_state,
        )

    own = [each.source if each.by_run else None for each in inherited]
    return everything(keys, x, cond, own)


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
