"""Continuous normalizing flows: data and latents are the two ends of a path in time."""

import math
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fdnf.bijectors.combinators import PROBES
from fdnf.flows.base import FlowModule, Latents
from fdnf.nets import mlp
from fdnf.ops import entering, residual_log_det
from fdnf.ops.entering import Ints, Made
from fdnf.types import Context, Events, Given, LogDet

# Explicit Runge-Kutta methods by name, as diffrax calls them, in the order of accuracy.
SOLVERS = {
    "heun": "Heun",
    "midpoint": "Midpoint",
    "bosh3": "Bosh3",
    "tsit5": "Tsit5",
    "dopri5": "Dopri5",
    "dopri8": "Dopri8",
}
LOG_DETS = ("auto", "exact", "estimate")

# Of (time, activations), what the activations do in a unit of time.
Velocity = Callable[[Array, Array], Array]


class Tableau(NamedTuple):
    """An explicit Runge-Kutta method, of as many stages as move the result.

    Attributes:
      inner: [stages, stages], of each stage the weights of the slopes before it.
      last: [stages], of the result the weights of all slopes.
      times: [stages], as fractions of the step.
    """

    inner: np.ndarray
    last: np.ndarray
    times: np.ndarray


class ContinuousFlow(FlowModule):
    """dx/dt = v(x, t, cond) from a normal latent at t = 0 to the data at t = 1.

        variables = flow.init(key, x)  # x [batch, dim]: data
        flow.apply(variables, x, method="log_prob")  # nats, [batch]
        flow.apply(variables, x, method="encode")  # .z .levels .log_det
        flow.apply(variables, z, method="decode")  # .x .log_det; a tuple z
        flow.apply(variables, key, (n, dim), method="sample")
        flow.apply(variables, x, t, method="velocity")  # [batch, dim], t [batch]

    `fdnf.fit(flow, x)` trains one, by flow matching (`losses.flow_matching`), which
    asks for the velocity alone. Needs diffrax: `pip install 'fdnf[continuous]'`. A
    condition, one row for each of x, follows x.

    v is a `ResidualMLP` of x and features of t, and starts at 0: the flow starts as the
    identity, so that columns should be standardised. log |det dx/dz| is the integral of
    the trace of dv/dx along the path. Under `jit` nothing is computed for what is not
    asked for: a sample or a latent alone takes no traces.

    Both directions solve the same equation, and undo each other up to the solver's
    error, which falls with `steps` as h^2 (heun, midpoint) to h^8 (dopri8), or with
    `tolerance`. In equal steps every derivative there is passes through; adaptive
    steps, one row apart from the other, have gradients and no more.

    Levels are the activations at `levels` equal times from the data down, the last one
    the latent. A path is as smooth as its velocity, so that these are levels for a
    student as those of a stack are.

    Args:
      hidden: one width a block of the network, all equal.
      activation: of the network, see `ops.conditioners`; smooth ones are solved well.
      time_features: of t, sin and cos of pi k t for k up to half as many.
      solver: a key of `SOLVERS`.
      steps: equal ones from each level to the next.
      tolerance: relative and absolute, of a step's error, for adaptive steps instead of
        equal ones; None for these.
      limit: of adaptive steps from level to level, from where a row is not finite.
      levels: how many.
      log_det: "exact" traces, one product with dv/dx for each dimension; "estimate",
        Hutchinson's by `probes` of them; "auto", exact up to `exact` dimensions. An
        estimate is drawn anew where a key is given, `rngs={"probes": key}`, and
        log-densities are then unbiased; without, its vectors are the same for all rows.
      exact: see `log_det`.
      probes: see `log_det`; from the number of dimensions on traces are exact.
      embedding: as of `RealNVP`.

    References: Chen et al. (2018), "Neural ordinary differential equations"; Grathwohl
    et al. (2019), "FFJORD", section 3; Lipman et al. (2023), "Flow matching for
    generative modeling"; Kidger (2021), "On neural differential equations", whose
    solvers these are.
    """

    estimates: ClassVar[bool] = True
    # By which `fdnf.fit` trains it, if nothing is said.
    trained_by: ClassVar[str] = "flow_matching"

    hidden: Ints = (128, 128, 128)
    activation: str = "silu"
    time_features: int = 16
    solver: str = "tsit5"
    steps: int = 4
    tolerance: float | None = None
    limit: int = 1000
    levels: int = 4
    log_det: str = "auto"
    exact: int = 64
    probes: int = 8
    embedding: Ints | None = None

    event_axes = ("dim",)

    def __post_init__(self):
        entering.make_hashable(self)
        _check(self)
        super().__post_init__()

    def setup(self):
        """Makes the networks."""
        self._make_embedder()
        self.field = mlp.ResidualMLP(self.hidden, self.activation, output_scale=0.0)

    def _made_with(self, params: Any) -> Made | None:
        field = params["field"]
        dim = field["output"]["kernel"].shape[-1]
        extra = field["dense_0"]["kernel"].shape[-2] - dim - self.time_features
        return Made((dim,), (extra,) if extra else None)

    def velocity(
        self, x: Given, t: Given, cond: Given | None = None
    ) -> Float[Array, "batch dim"]:
        """What `x` does in a unit of time, at times of their own.

        Args:
          x: activations `[batch, dim]`.
          t: `[batch]`, or one for all; 0 at the latents, 1 at the data.
          cond: context, as of `encode`.

        Raises:
          ValueError: as `encode`, or for other times.
        """
        x = self._given_data(x)
        t = entering.array(f"{self._name}: times", t, x.dtype)
        if t.shape not in ((), x.shape[:1]):
            raise ValueError(
                f"{self._name}: times of shape {t.shape} for {x.shape[0]} rows: "
                "expected one a row, or one for all"
            )
        given = self._given_condition(cond, x.shape[0])
        return self.field(x, x.shape[1], self._context(x, t, given))

    def _context(self, x: Events, t: Array, cond: Context | None) -> Array:
        """Features of time, and the condition beside them."""
        angles = math.pi * jnp.arange(1, self.time_features // 2 + 1, dtype=x.dtype)
        angles = jnp.broadcast_to(t, x.shape[:1])[:, None] * angles
        parts = [jnp.sin(angles), jnp.cos(angles)]
        return jnp.concatenate(parts + ([] if cond is None else [cond]), axis=-1)

    def _velocity(self) -> Callable[[Array, Array, Array | None], Array]:
        """(t, x, cond) -> velocity: a plain function, which loops can take.

        Both directions have to meet the same values: products are of full precision.
        """
        net, variables = self.field.unbind()

        def velocity(t: Array, x: Array, cond: Array | None) -> Array:
            with jax.default_matmul_precision("highest"):
                context = self._context(x, t, cond)
                found: Any = net.apply(variables, x, x.shape[1], context)
                return found

        return velocity

    def _vectors(self, x: Events) -> Float[Array, "probes batch dim"]:
        """Vectors v of which the mean of v^T A v is the trace of A, or estimates it."""
        dim = x.shape[1]
        exact = self.log_det == "exact" or (
            self.log_det == "auto" and dim <= self.exact
        )
        count = dim if exact else min(self.probes, dim)
        if count < dim and self.has_rng(PROBES):
            shape = (count, *x.shape)
            return jax.random.rademacher(self.make_rng(PROBES), shape, x.dtype)
        fixed = jnp.asarray(residual_log_det.probes(count, (dim,)), x.dtype)
        return jnp.broadcast_to(fixed[:, None], (len(fixed), *x.shape))

    def _solve(
        self, x: Events, cond: Context | None, start: float, end: float
    ) -> tuple[Latents, LogDet]:
        """From one end of time to the other: where each level ends, and log |det|."""
        if self.is_initializing():
            now = jnp.zeros((), x.dtype)
            self.field(x, x.shape[1], self._context(x, now, cond))
        velocity, vectors = self._velocity(), self._vectors(x)
        # Rounded once: sums of steps would not end where the way back begins.
        if self.tolerance is None:
            count = self.steps * self.levels
            times = jnp.linspace(start, end, count + 1, dtype=x.dtype)
            table = tableau(self.solver)
            given = lambda t, x: velocity(t, x, cond)  # noqa: E731
            return _in_equal_steps(given, table, times, x, vectors, self.steps)
        times = jnp.linspace(start, end, self.levels + 1, dtype=x.dtype)
        return _adaptively(self, velocity, times, x, cond, vectors)

    def _encode(self, x: Events, cond: Context | None):
        levels, log_det = self._solve(x, cond, 1.0, 0.0)
        return levels[-1:], log_det, levels

    def _decode(self, z: Latents, cond: Context | None):
        levels, log_det = self._solve(z[0], cond, 0.0, 1.0)
        return levels[-1], log_det, (*z, *levels[:-1])[::-1]


def _check(flow: ContinuousFlow) -> None:
    def refuse(name: str, expected: str) -> None:
        given = getattr(flow, name)
        raise ValueError(f"ContinuousFlow({name}={given!r}): expected {expected}")

    for name, known in (("solver", SOLVERS), ("log_det", LOG_DETS)):
        if getattr(flow, name) not in known:
            refuse(name, f"one of {tuple(known)}")
    for name in ("steps", "limit", "levels", "exact", "probes"):
        if getattr(flow, name) < 1:
            refuse(name, "at least 1")
    if flow.time_features < 2 or flow.time_features % 2:
        refuse("time_features", "an even number from 2, a sine and a cosine")
    if flow.tolerance is not None and not flow.tolerance > 0:
        refuse("tolerance", "a number above 0, or None for equal steps")


def _diffrax() -> Any:
    try:
        import diffrax
    except ImportError as error:
        raise ImportError(
            "ContinuousFlow needs diffrax, which is not installed: "
            "pip install 'fdnf[continuous]', or pip install diffrax"
        ) from error
    return diffrax


def tableau(solver: str) -> Tableau:
    """The coefficients of a key of `SOLVERS`, from diffrax.

    Stages at the end that only tell an error are left out.

    Raises:
      ImportError: diffrax is not installed.
    """
    given = getattr(_diffrax(), SOLVERS[solver]).tableau
    count = 1 + int(np.flatnonzero(given.b_sol)[-1])
    inner = np.zeros((count, count))
    for i, weights in enumerate(given.a_lower[: count - 1], start=1):
        inner[i, :i] = weights
    return Tableau(inner, given.b_sol[:count], np.append(0.0, given.c)[:count])


def _trace(velocity: Velocity, t: Array, x: Events, vectors: Array) -> LogDet:
    """Trace of dv/dx of each row, by vectors `[probes, batch, dim]`."""
    _, along = jax.linearize(lambda x: velocity(t, x), x)
    return jnp.mean(jnp.sum(vectors * jax.vmap(along)(vectors), axis=-1), axis=0)


def _in_equal_steps(
    velocity: Velocity,
    table: Tableau,
    times: Float[Array, " times"],
    x: Events,
    vectors: Array,
    every: int,
) -> tuple[Latents, LogDet]:
    """Loops over steps and stages of an explicit Runge-Kutta method.

    Not by `diffrax.diffeqsolve`, whose loops may end early, and therefore pass few
    kinds of derivatives, or all of them slowly: of 16 steps of Heun on 1,024 rows of 63
    columns (2 busy CPU cores) the gradient took 3.3 s and 14 s of compilation by its
    `DirectAdjoint`, 0.8 s and 2 s by a loop.

    The log-determinant is a quadrature along the path, with the method's own weights:
    what the method makes of the equation that has it as one more column. It is a loop
    of its own, after the path's, so that it is left out where nobody asks for it.
    """
    count = len(table.last)
    inner, last, at = (jnp.asarray(part, x.dtype) for part in table)

    def step(x: Array, ends: tuple[Array, Array]) -> tuple[Array, Any]:
        start, h = ends[0], ends[1] - ends[0]

        def stage(slopes: Array, place: tuple[Array, Array, Array]):
            i, weights, fraction = place
            now = start + fraction * h
            here = x + h * jnp.sum(weights[:, None, None] * slopes, axis=0)
            return slopes.at[i].set(velocity(now, here)), (now, here)

        none = jnp.zeros((count, *x.shape), x.dtype)
        slopes, seen = jax.lax.scan(stage, none, (jnp.arange(count), inner, at))
        end = x + h * jnp.sum(last[:, None, None] * slopes, axis=0)
        return end, (end, seen, h * last)

    _, (path, seen, weights) = jax.lax.scan(step, x, (times[:-1], times[1:]))
    seen, weights = jax.tree.map(
        lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), (seen, weights)
    )
    traces = jax.lax.map(lambda at: _trace(velocity, at[0], at[1], vectors), seen)
    log_det = jnp.sum(weights[:, None] * traces, axis=0)
    return tuple(jnp.unstack(path[every - 1 :: every])), log_det


def _adaptively(
    flow: ContinuousFlow,
    velocity: Callable[..., Array],
    times: Float[Array, " times"],
    x: Events,
    cond: Context | None,
    vectors: Array,
) -> tuple[Latents, LogDet]:
    """Each row in steps of its own, from level to level, by `diffrax.diffeqsolve`.

    Twice: a path without its log-determinant is what is left where nobody asks for
    that, and both then agree on the path.
    """
    diffrax = _diffrax()
    solver = getattr(diffrax, SOLVERS[flow.solver])()
    control = diffrax.PIDController(rtol=flow.tolerance, atol=flow.tolerance)

    def solved(slope: Callable[[Array, Any], Any], state: Any) -> Any:
        """What becomes of the state at each of the times but the first."""
        term = diffrax.ODETerm(lambda t, state, args: slope(t, state))

        def segment(state: Any, ends: tuple[Array, Array]) -> tuple[Any, Any]:
            found = diffrax.diffeqsolve(
                term,
                solver,
                *ends,
                None,
                state,
                stepsize_controller=control,
                max_steps=flow.limit,
                throw=False,
            )
            end = jax.tree.map(lambda leaf: leaf[-1], found.ys)
            return end, end

        return jax.lax.scan(segment, state, (times[:-1], times[1:]))[1]

    def row(x: Array, cond: Array | None, vectors: Array) -> tuple[Array, Array]:
        given = None if cond is None else cond[None]

        def moving(t: Array, x: Array) -> Array:
            return velocity(t, x[None], given)[0]

        def both(t: Array, state: tuple[Array, Array]) -> tuple[Array, Array]:
            x, _ = state
            rows = lambda t, x: velocity(t, x, given)  # noqa: E731
            (growth,) = _trace(rows, t, x[None], vectors[:, None])
            return moving(t, x), growth

        _, growth = solved(both, (x, jnp.zeros((), x.dtype)))
        return solved(moving, x), growth[-1]

    axes = (0, None if cond is None else 0, 1)
    path, log_det = jax.vmap(row, axes)(x, cond, vectors)
    return tuple(jnp.unstack(path, axis=1)), log_det
