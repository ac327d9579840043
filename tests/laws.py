"""What every bijector and flow obeys, as functions of one case.

A case names a module, the event it acts on and, for conditional modules, the width of
its context. `Case.variables` are never the initial ones: kernels and biases are moved
far enough that the map is no longer near the identity.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from fdnf.bijectors.base import Bijector
from fdnf.flows.base import FlowModule

BATCH = 3


class Mapped(NamedTuple):
    """One direction of a case, flows and bijectors alike."""

    value: Array
    log_det: Array
    levels: tuple[Array, ...]


@dataclasses.dataclass(frozen=True)
class Case:
    """A module under the laws.

    Args:
      name: the test's id.
      module: a Bijector or a FlowModule.
      event: shape of one event.
      context: width of `cond`, None without.
      noise: size of the perturbation, see `perturb`.
      tolerance: of the float32 round trip, relative to the largest |x|.
      start: whether the perturbation is of what `init` gives; else see `drawn`. The
        `init` of a network on images takes seconds to compile.
      through: whether gradients go through `inverse` as well. They take longest to
        compile, and need not where other cases are of the same bijectors.
      step: of differences, see `jacobians`.
    """

    name: str
    module: nn.Module
    event: tuple[int, ...] = (4,)
    context: int | None = None
    noise: float = 0.5
    tolerance: float = 1e-4
    start: bool = True
    through: bool = True
    step: float = 1e-4

    def data(self, seed: int = 1, batch: int = BATCH) -> Array:
        draw = np.random.default_rng(seed).normal(size=(batch, *self.event))
        return jnp.asarray(0.3 + 1.2 * draw, jnp.float32)

    def cond(self, seed: int = 2, batch: int = BATCH) -> Array | None:
        if self.context is None:
            return None
        draw = np.random.default_rng(seed).normal(size=(batch, self.context))
        return jnp.asarray(draw, jnp.float32)

    @functools.cached_property
    def variables(self) -> Any:
        # They may be asked for first where a program is traced.
        with jax.ensure_compile_time_eval(), jax.enable_x64(False):
            if not self.start:
                return drawn(self.module, self.data(), self.cond(), noise=self.noise)
            # Rows enough for the statistics that activation norms take here.
            x, cond = self.data(seed=3, batch=64), self.cond(batch=64)
            first = jax.jit(self.module.init)(jax.random.key(0), x, cond)
            return perturb(first, self.noise)

    def apply(self, *args: Any, method: str, **settings: Any) -> Any:
        """`module.apply` at the case's variables, compiled."""

        def run(variables, *args):
            return self.module.apply(variables, *args, method=method, **settings)

        return jax.jit(run)(self.variables, *args)

    def forward(self, variables: Any, x: Array, cond: Array | None) -> Mapped:
        if isinstance(self.module, Bijector):
            y, log_det = self.module.apply(variables, x, cond, method="forward")
            return Mapped(y, log_det, ())
        encoding = self.module.apply(variables, x, cond, method="encode")
        return Mapped(_whole(encoding.z, self.event), encoding.log_det, encoding.levels)

    def inverse(self, variables: Any, y: Array, cond: Array | None) -> Mapped:
        if isinstance(self.module, Bijector):
            x, log_det = self.module.apply(variables, y, cond, method="inverse")
            return Mapped(x, log_det, ())
        assert isinstance(self.module, FlowModule)
        z = _parts(y, self.module.latent_shapes(self.event))
        decoding = self.module.apply(variables, z, cond, method="decode")
        return Mapped(decoding.x, decoding.log_det, decoding.levels)


def _whole(z: tuple[Array, ...], event: tuple[int, ...]) -> Array:
    """Latents as one array of the shape of the data."""
    flat = [part.reshape(part.shape[0], -1) for part in z]
    return jnp.concatenate(flat, axis=1).reshape(-1, *event)


def _parts(y: Array, shapes: tuple[tuple[int, ...], ...]) -> tuple[Array, ...]:
    ends = np.cumsum([math.prod(shape) for shape in shapes])[:-1]
    pieces = jnp.split(y.reshape(y.shape[0], -1), ends, axis=1)
    return tuple(
        piece.reshape(piece.shape[0], *shape)
        for piece, shape in zip(pieces, shapes, strict=True)
    )


def perturb(variables: Any, noise: float, seed: int = 7) -> Any:
    """Adds normal noise to every parameter; `constants` stay.

    Its standard deviation is `noise` for vectors and `noise / sqrt(fan in)` for
    matrices and kernels: a share of the size that they are usually started with, so
    that layers started near 0 count like the others.
    """
    draw = np.random.default_rng(seed)

    def moved(path, leaf):
        # Names tell vectors from matrices; a stack of steps adds an axis to both.
        name = path[-1].key
        is_matrix = "kernel" in name or name in ("weight", "lower", "upper")
        last = leaf.shape[-2] if is_matrix else 1
        spatial = leaf.shape[-4:-2] if is_matrix and leaf.ndim == 4 else ()
        scale = noise / math.sqrt(last * math.prod(spatial))
        # By numpy: operations of jax are programs, one for each shape.
        sums = np.asarray(leaf) + scale * draw.normal(size=leaf.shape)
        return jnp.asarray(sums, np.float32)

    params = jax.tree_util.tree_map_with_path(moved, variables.get("params", {}))
    return {**variables, "params": params}


def drawn(module: nn.Module, *args: Any, noise: float = 0.2) -> Any:
    """Variables of a module that takes `args`, without the compilation of its `init`.

    1x1 convolutions are near the identity, to be invertible, and all else is normal
    about 0, see `perturb`. Constant permutations go one place round, signs are `+`.
    """

    def start(path, leaf):
        made, name = np.zeros(leaf.shape, leaf.dtype), path[-1].key
        if name == "sign":
            made[:] = True
        elif name == "permutation":
            made[:] = np.roll(np.eye(leaf.shape[-1]), 1, axis=0)
        elif name == "weight":
            made[:] = np.eye(leaf.shape[-1])
        return jnp.asarray(made)

    shapes = jax.eval_shape(module.init, jax.random.key(0), *args)
    return perturb(jax.tree_util.tree_map_with_path(start, shapes), noise)


def cast(tree: Any, dtype: Any) -> Any:
    """Every array of the tree in `dtype`."""
    return jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf, dtype)), tree)


# Of a row and an entry of it: where differences look, in steps, and what counts how.
SHIFTS = (-2, -1, 1, 2)
WEIGHTS = (1 / 12, -2 / 3, 2 / 3, -1 / 12)


def surrounded(case: Case, *arrays: Array | None) -> tuple[Array | None, ...]:
    """The arrays with more rows: the first one's have each entry moved, the last are
    as they come. What else there is of a row is repeated."""
    x, *others = arrays
    size = math.prod(case.event)
    moves = case.step * np.multiply.outer(SHIFTS, np.eye(size))
    moved = np.asarray(x)[:, None] + moves.reshape(1, -1, *case.event)

    def more(array):
        if array is None:
            return None
        array = np.asarray(array)
        return jnp.asarray(np.concatenate([array.repeat(len(moved[0]), axis=0), array]))

    x = np.concatenate([moved.reshape(-1, *case.event), np.asarray(x)])
    return jnp.asarray(x), *map(more, others)


def jacobians(case: Case, values: Array) -> np.ndarray:
    """The Jacobian of each of the rows that were `surrounded`: [row, out, in]."""
    size = math.prod(case.event)
    rows = len(values) // (1 + len(SHIFTS) * size)
    around = np.asarray(values[:-rows]).reshape(rows, len(SHIFTS), size, size)
    return np.tensordot(around, WEIGHTS, axes=(1, 0)).swapaxes(1, 2) / case.step


class Trips(NamedTuple):
    """Both round trips: `x` there and back, `w` back and there."""

    there: Mapped
    back: Mapped
    other_back: Mapped
    other_there: Mapped


class Derivatives(NamedTuple):
    """What automatic differentiation says.

    The log_det of `inverse` needs no Jacobian of its own: it cancels that of
    `forward`, which `assert_trips` checks from both sides.
    """

    log_det: Array
    gradients: Any


def both(
    case: Case, variables: Any, x: Array, w: Array, cond: Array | None
) -> tuple[Mapped, Mapped]:
    """`x` mapped by `forward`, `w` by `inverse`."""
    return case.forward(variables, x, cond), case.inverse(variables, w, cond)


both_jitted = jax.jit(both, static_argnums=0)


@functools.partial(jax.jit, static_argnums=0)
def both_and_derivatives(
    case: Case, variables: Any, x: Array, w: Array, cond: Array | None
) -> tuple[Mapped, Mapped, Derivatives]:
    """`both`, log |det| of the Jacobian, and gradients of a function of all outputs.

    What costs is compilation, so all of it comes from one reverse pass, written once
    and run in a loop over what it pulls back: an entry of each row's `forward`, which
    gives a row of each Jacobian as long as rows stay apart, and the objective.
    """

    def outputs(variables, x, w):
        there = case.forward(variables, x, cond)
        if not case.through:
            variables, w = jax.lax.stop_gradient((variables, w))
        back = case.inverse(variables, w, cond)
        seen = there, back
        return (there.value, there.log_det, back.value, back.log_det), seen

    values, pull, seen = jax.vjp(outputs, variables, x, w, has_aux=True)
    size = math.prod(x.shape[1:])

    def pulled(i):
        entry = (jnp.arange(size) == i).astype(x.dtype).reshape(x.shape[1:])
        entries = (jnp.broadcast_to(entry, x.shape), *map(jnp.zeros_like, values[1:]))
        slopes = map(jnp.cos, values)  # Of the sum of the sines.
        pairs = zip(slopes, entries, strict=True)
        return pull(tuple(jnp.where(i == size, *pair) for pair in pairs))

    gradients = jax.lax.map(pulled, jnp.arange(size + 1))
    jacobian = jnp.moveaxis(gradients[1][:size].reshape(size, x.shape[0], size), 1, 0)
    return *seen, Derivatives(
        log_det=jnp.linalg.slogdet(jacobian)[1],
        gradients=jax.tree.map(lambda leaf: leaf[size], gradients),
    )


def trips(
    case: Case,
    variables: Any,
    x: Array,
    w: Array,
    cond: Array | None,
    mapped: Callable[..., Any] = both_jitted,
) -> Trips:
    """Maps `x` by `forward` and back, `w` by `inverse` and back, by one program."""
    there, other_back, *_ = mapped(case, variables, x, w, cond)
    other_there, back, *_ = mapped(case, variables, other_back.value, there.value, cond)
    return Trips(there, back, other_back, other_there)


def assert_close(a: Any, b: Any, tolerance: float, what: str) -> None:
    """Largest |a - b| within `tolerance` of the largest of 1 and |a|, leaf by leaf."""
    leaves = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    for one, two in leaves:
        one, two = np.asarray(one), np.asarray(two)
        if one.dtype == bool:
            one, two = one.astype(np.float32), two.astype(np.float32)
        assert one.shape == two.shape, f"{what}: shapes {one.shape} and {two.shape}"
        assert np.all(np.isfinite(one)), f"{what}: not finite"
        error = np.max(np.abs(one - two)) / max(1.0, np.max(np.abs(one)))
        assert error <= tolerance, f"{what}: {error:.3g} is above {tolerance}"


def assert_trips(seen: Trips, x: Array, w: Array, tolerance: float) -> None:
    """Round trips, cancelling log_dets and equal levels; `tolerance` is relative."""
    assert seen.there.log_det.shape == (x.shape[0],)
    assert_close(x, seen.back.value, tolerance, "forward, then inverse")
    assert_close(w, seen.other_there.value, tolerance, "inverse, then forward")
    pairs = ((seen.there, seen.back), (seen.other_there, seen.other_back))
    for one, two in pairs:
        assert_close(one.log_det, -two.log_det, tolerance, "log_dets cancel")
        assert len(one.levels) == len(two.levels)
        assert_close(one.levels, two.levels, tolerance, "levels of both directions")


def assert_rows_apart(usual: Trips, changed: Trips, tolerance: float) -> None:
    """All rows but the last agree, whatever the last one was."""
    for one, two in zip(jax.tree.leaves(usual), jax.tree.leaves(changed), strict=True):
        assert_close(one[:-1], two[:-1], tolerance, "rows of a batch")
