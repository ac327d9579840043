"""Optimisers, learning-rate schedules and moving averages, from `config.optim`."""

import itertools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike


def _warmup_steps(warmup: float | int, steps: int) -> int:
    if warmup < 0 or (warmup >= 1 and warmup != int(warmup)) or warmup >= steps:
        raise ValueError(
            f"optim.warmup={warmup} with {steps} training steps: give a fraction of"
            " the steps in [0, 1), or a whole number of steps from 1 to"
            f" {steps - 1}."
        )
    return int(warmup) if warmup >= 1 else round(warmup * steps)


def _constant(config: Any, steps: int) -> optax.Schedule:
    del steps
    return optax.constant_schedule(config.lr)


def _cosine(config: Any, steps: int) -> optax.Schedule:
    if not 0 <= config.final <= 1:
        raise ValueError(
            f"optim.final={config.final}: expected the last learning rate as a"
            " fraction of optim.lr, in [0, 1]."
        )
    return optax.cosine_decay_schedule(config.lr, steps, alpha=config.final)


def _halved(config: Any, steps: int) -> optax.Schedule:
    fractions = tuple(config.get("milestones", ()))
    if not fractions or not all(0 < f < 1 for f in fractions):
        raise ValueError(
            f"optim.milestones={fractions}: expected the fractions of the training at "
            "which optim.schedule='halved' halves the rate, as (0.5, 0.75)."
        )
    at = {max(1, round(f * steps)): 0.5 for f in sorted(fractions)}
    if len(at) < len(fractions):
        raise ValueError(
            f"optim.milestones={fractions} of {steps} steps fall on the same steps."
        )
    return optax.piecewise_constant_schedule(config.lr, at)


def _exponential(config: Any, steps: int) -> optax.Schedule:
    del steps
    fold = config.get("e_fold", 0)
    if not fold > 0:
        raise ValueError(
            f"optim.e_fold={fold}: expected the steps in which "
            "optim.schedule='exponential' divides the rate by e."
        )
    return optax.exponential_decay(
        config.lr, fold, math.exp(-1), end_value=config.final * config.lr
    )


SCHEDULES = {
    "constant": _constant,
    "cosine": _cosine,
    "halved": _halved,
    "exponential": _exponential,
}


def schedule(config: Any, steps: int) -> optax.Schedule:
    """Gives the learning rate as a function of the number of updates made so far.

    Warm-up of w steps is linear, `lr (k + 1) / (w + 1)` at update k, so that no
    update is wasted on a rate of zero. The schedule proper follows over the rest:
    `constant` stays at `lr`, `cosine` reaches `final * lr` after `steps` updates,
    `halved` halves it at the fractions `milestones` of what follows the warm-up,
    `exponential` divides it by e every `e_fold` updates, down to `final * lr`.

    Args:
        config: `config.optim`, with `schedule`, `lr`, `warmup` (below 1 a fraction
            of `steps`, from 1 on a number of steps) and `final`.
        steps: number of training steps.

    Raises:
        ValueError: for an unknown schedule or a value out of range.
    """
    if config.schedule not in SCHEDULES:
        raise ValueError(
            f"optim.schedule={config.schedule!r}: known are {', '.join(SCHEDULES)}."
        )
    if not config.lr > 0:
        raise ValueError(f"optim.lr={config.lr}: expected a positive learning rate.")
    warmup = _warmup_steps(config.warmup, steps)
    after = SCHEDULES[config.schedule](config, steps - warmup)
    if warmup == 0:
        return after
    before = optax.linear_schedule(config.lr / (warmup + 1), config.lr, warmup)
    return optax.join_schedules([before, after], [warmup])


def staged(config: Any, stages: Sequence[tuple[int, float]]) -> optax.Schedule:
    """The learning rate of trainings that follow each other in one.

    Each has a schedule of its own length, warm-up included, from its own rate on.

    Args:
        config: `config.optim`, see `schedule`.
        stages: of each its number of updates, and the factor of `lr`.

    Raises:
        ValueError: as `schedule`, of any stage.
    """

    def scaled(rate: optax.Schedule, factor: float) -> optax.Schedule:
        return lambda count: factor * rate(count)

    rates = [scaled(schedule(config, steps), factor) for steps, factor in stages]
    return optax.join_schedules(rates, starts(stages))


def starts(stages: Sequence[tuple[int, float]]) -> list[int]:
    """Of the stages but the first, the updates before them."""
    return list(itertools.accumulate(steps for steps, _ in stages))[:-1]


def decayed(params: Any) -> Any:
    """Marks the leaves that weight decay applies to: kernels, by their name.

    The name decides and not the rank: in a scanned stack, and with runs side by
    side, a bias has leading axes too.

    Returns:
        A tree of bools like `params`, true where the leaf's name ends in `kernel`,
        is `w` or ends in `_w`.
    """

    def is_kernel(path: tuple, _: Any) -> bool:
        name = jax.tree_util.keystr(path[-1:], simple=True)
        return name.endswith(("kernel", "_w")) or name == "w"

    return jax.tree_util.tree_map_with_path(is_kernel, params)


def _adam(config: Any, rate: optax.Schedule) -> optax.GradientTransformation:
    _refuse_decay(config)
    return optax.adam(rate, b1=config.b1, b2=config.b2, eps=config.eps)


def _adamw(config: Any, rate: optax.Schedule) -> optax.GradientTransformation:
    return optax.adamw(
        rate,
        b1=config.b1,
        b2=config.b2,
        eps=config.eps,
        weight_decay=config.weight_decay,
        mask=decayed,
    )


def _adamax(config: Any, rate: optax.Schedule) -> optax.GradientTransformation:
    _refuse_decay(config)
    return optax.adamax(rate, b1=config.b1, b2=config.b2, eps=config.eps)


def _refuse_decay(config: Any) -> None:
    if config.weight_decay:
        raise ValueError(
            f"optim.weight_decay={config.weight_decay} has no effect with"
            f" optim.name={config.name!r}: use 'adamw', or set it to 0."
        )


OPTIMISERS = {"adam": _adam, "adamw": _adamw, "adamax": _adamax}


class Restarted(NamedTuple):
    """State of `restarted`: updates made, and the state that is made anew."""

    count: Any
    inner: Any


def restarted(
    inner: optax.GradientTransformation, at: int | Sequence[int]
) -> optax.GradientTransformation:
    """The transformation, with its state made anew before update number `at`.

    Where the loss changes, moments of the old gradients are of the wrong size: after
    gradients a thousand times smaller, Adam's first steps are tens of learning rates
    long.

    Args:
        inner: a transformation whose initial state depends on shapes alone.
        at: updates before that one; or before each of several.
    """
    numbers = np.atleast_1d(at)

    def init(params: Any) -> Restarted:
        return Restarted(jnp.zeros((), jnp.int32), inner.init(params))

    def update(updates: Any, state: Any, params: Any = None) -> Any:
        fresh = inner.init(updates)
        begins = jnp.any(state.count == numbers)
        now = jax.tree.map(
            lambda new, old: jnp.where(begins, new, old), fresh, state.inner
        )
        updates, after = inner.update(updates, now, params)
        return updates, Restarted(state.count + 1, after)

    return optax.GradientTransformation(init, update)


def delayed(
    free: optax.GradientTransformation,
    late: optax.GradientTransformation,
    rate: optax.Schedule,
    name: str,
    until: int,
    clip: float = 0.0,
) -> optax.GradientTransformation:
    """The parameters called `name` stand still before update `until`.

    It is updates that are zero and not gradients alone: weight decay would move what
    has none. The moments start at `until`: with the bias correction of a count that ran
    on, the first steps would be two to three learning rates long.

    Args:
        free: of all other parameters.
        late: of those called `name`, at a rate of 1; its initial state depends on
            shapes alone.
        rate: what its updates are multiplied by, a function of updates so far.
        name: of a subtree of the parameters.
        until: number of the first update that they get.
        clip: largest global norm of the gradients of what moves, 0 for none.
    """

    def label(params: Any) -> Any:
        if name not in params:
            raise ValueError(
                f"pretrained.into={name!r}: the model's parameters are {sorted(params)}"
            )
        return {key: "late" if key == name else "free" for key in params}

    fresh = restarted(late, until)

    def update_late(updates: Any, state: Any, params: Any = None) -> Any:
        moved, after = fresh.update(updates, state, params)
        factor = rate(state.count)
        moved = jax.tree.map(lambda u: (factor * u).astype(u.dtype), moved)
        return _where(state.count >= until, moved), after

    thawed = optax.GradientTransformation(fresh.init, update_late)
    both = optax.multi_transform({"free": free, "late": thawed}, label)
    clipped = optax.clip_by_global_norm(clip) if clip else optax.identity()

    def init(params: Any) -> Any:
        return jnp.zeros((), jnp.int32), both.init(params)

    def update(updates: Any, state: Any, params: Any = None) -> Any:
        count, inner = state
        # What stands still has no share in the norm.
        updates = {**updates, name: _where(count >= until, updates[name])}
        updates, _ = clipped.update(updates, clipped.init(updates))
        updates, inner = both.update(updates, inner, params)
        return updates, (count + 1, inner)

    return optax.GradientTransformation(init, update)


def _where(free: Any, updates: Any) -> Any:
    return jax.tree.map(lambda u: jnp.where(free, u, jnp.zeros_like(u)), updates)


def make(
    config: Any,
    steps: int,
    restart: int = 0,
    frozen: tuple[str, int] | None = None,
    stages: Sequence[tuple[int, float]] = (),
) -> optax.GradientTransformation:
    """Makes the optimiser: clipping, then the update, both skipped when not finite.

    A gradient with a NaN or an infinity changes neither parameters nor moments; it
    is only counted (see `bad_steps`), however often it comes: stopping is the
    loop's decision.

    Args:
        config: `config.optim`, with `name`, `weight_decay`, `b1`, `b2`, `eps`,
            `clip` (largest global norm of the gradient, 0 for none) and the keys of
            `schedule`.
        steps: number of training steps.
        restart: updates after which the moments start anew, see `restarted`; the
            learning rate's schedule goes on. 0 for never.
        frozen: a name and a number of updates, see `delayed`.
        stages: of a training in stages, see `staged`: the moments start anew with each
            but the first, which is what `restart` says otherwise.

    Raises:
        ValueError: for an unknown name or a value out of range.
    """
    if config.name not in OPTIMISERS:
        raise ValueError(
            f"optim.name={config.name!r}: known are {', '.join(OPTIMISERS)}."
        )
    if not config.clip >= 0:
        raise ValueError(
            f"optim.clip={config.clip}: expected a norm above 0, or 0 for none."
        )
    rate = staged(config, stages) if stages else schedule(config, steps)
    moments = OPTIMISERS[config.name](config, optax.constant_schedule(1.0))
    begins = starts(stages) or ([restart] if restart else [])
    if begins:
        moments = restarted(moments, begins)
        update = optax.chain(moments, optax.scale_by_schedule(rate))
    else:
        update = OPTIMISERS[config.name](config, rate)
    if frozen:
        update = delayed(update, moments, rate, *frozen, clip=config.clip)
    elif config.clip:
        update = optax.chain(optax.clip_by_global_norm(config.clip), update)
    # The counter saturates at this number and so never exceeds it.
    return optax.apply_if_finite(update, int(np.iinfo(np.int32).max))


def bad_steps(opt_state: Any) -> tuple[Any, Any]:
    """Reads how many steps were skipped because the gradient was not finite.

    Args:
        opt_state: state of a transformation from `make`, of any leading axes.

    Returns:
        `(consecutive, total)`, int32 with the leading axes of the state. The first
        is zero exactly where the last step was applied.
    """
    if not isinstance(opt_state, optax.ApplyIfFiniteState):
        raise TypeError(
            f"opt_state is a {type(opt_state).__name__}: expected the state of a"
            " transformation from optim.make."
        )
    return opt_state.notfinite_count, opt_state.total_notfinite


def ema_init(params: Any, decay: float | int) -> Any:
    """Starts the moving average as a copy of `params`; None when `decay` is 0."""
    if not 0 <= decay < 1:
        raise ValueError(f"optim.ema={decay}: expected a decay in [0, 1), 0 for none.")
    return jax.tree.map(jnp.copy, params) if decay else None


def ema_update(ema: Any, params: Any, decay: float | int, step: ArrayLike) -> Any:
    """Moves the average towards `params` with a decay that warms up.

    `ema <- d ema + (1 - d) params` with `d = min(decay, (1 + step) / (10 + step))`,
    so that the initial parameters are soon forgotten.

    Args:
        ema: the average, or None, which stays None.
        params: the parameters after the step.
        decay: the decay reached in the end.
        step: scalar, updates of the average made before this one.
    """
    if ema is None:
        return None
    step = jnp.asarray(step, jnp.float32)
    rate = 1.0 - jnp.minimum(decay, (1.0 + step) / (10.0 + step))
    return jax.tree.map(lambda e, p: e + rate.astype(e.dtype) * (p - e), ema, params)
