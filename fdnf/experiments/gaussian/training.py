"""Gaussian students of Gaussian teachers, several seeds side by side.

Reference: Huang et al. (2019), sections 3.2 and 4.1.1.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from fdnf.flows import affine
from fdnf.losses import density, expansion, inverse_matching

FLOW = affine.Affine()
# What each draw of a seed is for; a purpose is folded into the seed's key.
_TEACHER, _BATCHES, _SIGNAL, _START, _TEACHER_X, _STUDENT_X = range(6)


class StudyError(ValueError):
    """Settings that cannot work; the text says which, and what to write."""


def _setting(default: Any, meaning: str) -> Any:
    """A field that knows what it means, as the command line's help says."""
    return dataclasses.field(default=default, metadata={"help": meaning})


@dataclasses.dataclass(frozen=True)
class Settings:
    """What is trained, and for how long; the defaults are the paper's."""

    dimensions: tuple[int, ...] = _setting(
        (4, 16, 32, 64), "T of the teachers, with commas"
    )
    losses: tuple[str, ...] = _setting(
        ("kl", "z", "x"), "with commas, out of kl, kl_path, z, x"
    )
    seeds: int = _setting(8, "teachers of each T, whose students train side by side")
    seed: int = _setting(0, "of all that is drawn")
    steps: int = _setting(5000, "updates of each student")
    batch: int = _setting(64, "latents, or samples of the teacher, of an update")
    lr: float = _setting(5e-3, "learning rate of Adam")
    init: str = _setting(
        "identity", "of the students' R, identity or normal; mu starts at 0"
    )
    teacher_mean: float = _setting(2.0, "every entry of the teachers' mu")
    samples: int = _setting(
        1000, "of each teacher and student at the end, for figure 2"
    )
    signal_rows: int = _setting(128, "draws behind each point of figure 3")
    signal_every: int = _setting(50, "updates between the points of figure 3")

    def __post_init__(self):
        if not self.losses or set(self.losses) - set(LOSSES):
            raise StudyError(f"losses {self.losses}: expected some of {list(LOSSES)}")
        if self.init not in affine.STARTS:
            raise StudyError(f"init {self.init!r}: expected one of {affine.STARTS}")
        for name in ("seeds", "steps", "batch", "signal_rows", "signal_every"):
            if getattr(self, name) < 1:
                raise StudyError(f"{name}={getattr(self, name)}: expected at least 1")
        if not self.dimensions or min(self.dimensions) < 1 or self.samples < 2:
            raise StudyError(
                f"dimensions {self.dimensions} and {self.samples} samples: expected "
                "dimensions of at least 1 and two samples or more"
            )


class Trained(NamedTuple):
    """Teachers and students of one loss and T; the leading axis is the seed.

    Attributes:
      teacher_mu: `[seeds, T]`.
      teacher_R: `[seeds, T, T]`.
      student_mu: `[seeds, T]`, after training.
      student_R: `[seeds, T, T]`.
      teacher_x: `[seeds, samples, T]`, drawn from the teachers.
      student_x: `[seeds, samples, T]`.
      steps: `[records]`, updates before each record.
      loss: `[records, seeds]`, of one batch.
      signal: centre to `[records, seeds]`, for the losses that evaluate by density.
    """

    teacher_mu: np.ndarray
    teacher_R: np.ndarray
    student_mu: np.ndarray
    student_R: np.ndarray
    teacher_x: np.ndarray
    student_x: np.ndarray
    steps: np.ndarray
    loss: np.ndarray
    signal: dict[str, np.ndarray]


def _x_reconstruction(student: Any, teacher: Any, z: jax.Array) -> jax.Array:
    # Data are the teacher's own samples: oracle prediction, for an exact teacher.
    x = _decoded(teacher, z)
    return inverse_matching.x_reconstruction(FLOW, FLOW, student, teacher, x)[0]


def _reverse_kl(student: Any, teacher: Any, z: jax.Array, *, path: bool) -> jax.Array:
    return density.reverse_kl(FLOW, FLOW, student, teacher, (z,), path=path)[0]


def _z_reconstruction(student: Any, teacher: Any, z: jax.Array) -> jax.Array:
    return inverse_matching.z_reconstruction(FLOW, FLOW, student, teacher, (z,))[0]


LOSSES: dict[str, Callable[..., jax.Array]] = {
    "kl": functools.partial(_reverse_kl, path=False),
    "kl_path": functools.partial(_reverse_kl, path=True),
    "z": _z_reconstruction,
    "x": _x_reconstruction,
}
# As tables and figures call them.
NAMES = {
    "kl": "KL",
    "kl_path": "KL, path derivative",
    "z": "z-reconstruction",
    "x": "x-reconstruction",
}
# Of these the samples are moved by the slope of log p_T - log q.
WITH_SIGNAL = ("kl", "kl_path")


def train(
    settings: Settings,
    loss: str,
    dim: int,
    report: Callable[[int, np.ndarray], None] = lambda step, loss: None,
) -> Trained:
    """Trains one student a seed, all in one program.

    Teacher and batches depend on seed and T alone: losses can be compared in pairs.

    Args:
      settings: see there.
      loss: key of LOSSES.
      dim: T.
      report: told the updates done and the losses `[seeds]` after each record.

    Returns:
      Parameters, samples and records. A student that diverged is not finite.
    """
    base = jax.random.fold_in(jax.random.key(settings.seed), dim)
    of_seed = functools.partial(jax.random.fold_in, base)
    keys = jax.vmap(of_seed)(jnp.arange(settings.seeds))
    teacher = _first(keys, _TEACHER, dim, "normal")
    teacher["params"]["mu"] += settings.teacher_mean
    student = _first(keys, _START, dim, settings.init)
    optimizer = optax.adam(settings.lr)
    state = (student, jax.jit(jax.vmap(optimizer.init))(student))
    go_on = _chunk(settings, loss, dim, optimizer)

    steps, losses, signals = [0], [], []

    def record():
        if loss in WITH_SIGNAL:
            at = (keys, steps[-1], settings.signal_rows, dim)
            signals.append(jax.device_get(_signals(state[0], teacher, *at)))

    record()
    while steps[-1] < settings.steps:
        count = min(settings.signal_every, settings.steps - steps[-1])
        state, last = go_on(state, teacher, keys, steps[-1] + np.arange(count))
        steps.append(steps[-1] + count)
        losses.append(np.asarray(last))
        record()
        report(steps[-1], losses[-1])

    drawn = [
        _samples(flow, keys, purpose, settings.samples, dim)
        for flow, purpose in ((teacher, _TEACHER_X), (state[0], _STUDENT_X))
    ]
    params = [
        np.asarray(flow["params"][name], np.float64)
        for flow in (teacher, state[0])
        for name in ("mu", "R")
    ]
    return Trained(
        *params,
        *(np.asarray(x, np.float64) for x in drawn),
        steps=np.asarray(steps),
        loss=np.asarray(losses),
        signal={k: np.array([s[k] for s in signals]) for k in (signals or [{}])[0]},
    )


# Compiled once for all losses of one T.
@functools.partial(jax.jit, static_argnums=(1, 2, 3))
def _first(keys: jax.Array, purpose: int, dim: int, start: str) -> Any:
    flow = affine.Affine(start)

    def one(key):
        return flow.init(jax.random.fold_in(key, purpose), jnp.zeros((1, dim)))

    return jax.vmap(one)(keys)


def _chunk(settings: Settings, loss: str, dim: int, optimizer: Any) -> Callable:
    """(state, teachers, keys, step numbers) -> state, last losses; over all seeds."""

    def one(state, teacher, key, numbers):
        key = jax.random.fold_in(key, _BATCHES)

        def step(state, number):
            student, moments = state
            z = jax.random.normal(
                jax.random.fold_in(key, number), (settings.batch, dim)
            )
            value, slope = jax.value_and_grad(LOSSES[loss])(student, teacher, z)
            change, moments = optimizer.update(slope, moments)
            return (optax.apply_updates(student, change), moments), value

        state, values = jax.lax.scan(step, state, numbers)
        return state, values[-1]

    return jax.jit(jax.vmap(one, in_axes=(0, 0, 0, None)), donate_argnums=0)


@functools.partial(jax.jit, static_argnums=(4, 5))
def _signals(
    students: Any, teachers: Any, keys: jax.Array, number: Any, rows: int, dim: int
) -> dict[str, jax.Array]:
    """The signal of each seed about each centre."""

    def one(student, teacher, key):
        key = jax.random.fold_in(jax.random.fold_in(key, _SIGNAL), number)
        z = (jax.random.normal(key, (rows, dim)),)
        pair = (FLOW, FLOW, student, teacher, z)
        return {
            name: expansion.expansion_signal(*pair, centre=centre(*pair))
            for name, centre in expansion.CENTRES.items()
        }

    return jax.vmap(one)(students, teachers, keys)


@functools.partial(jax.jit, static_argnums=(2, 3, 4))
def _samples(
    flows: Any, keys: jax.Array, purpose: int, rows: int, dim: int
) -> jax.Array:
    def one(flow, key):
        key = jax.random.fold_in(key, purpose)
        return _decoded(flow, jax.random.normal(key, (rows, dim)))

    return jax.vmap(one)(flows, keys)


def _decoded(flow: Any, z: jax.Array) -> jax.Array:
    drawn: Any = FLOW.apply(flow, (z,), method="decode")
    return drawn.x
