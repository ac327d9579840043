"""Six tasks of simulation-based inference: priors, simulators, exact likelihoods.

Those of the benchmark of Lueckmann et al. (2021) whose simulators are a few lines, as
the package sbibm 1.1.0 has them; `sbibm` reads what it publishes for each. `sbi` makes
a data set of one: theta given x, of which a flow is a posterior for every x at once
(neural posterior estimation, NPE), or x given theta (of the likelihood, NLE).

Reference: Lueckmann et al. (2021), Benchmarking simulation-based inference, appendix T.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from fdnf.data import tabular, transformed
from fdnf.data.tabular import DataError, Tabular

OF = ("theta", "x")
# Simulations to learn from, the share of them that validates, and those beside.
SIMULATIONS, VALIDATION, TEST = 10_000, 0.1, 2_500
LEAST = 20
# Variances of the linear tasks.
PRIOR_VARIANCE, NOISE_VARIANCE = 0.1, 0.1
SCALES = (1.0, 0.1)
RADIUS, RADIUS_SPREAD, OFFSET = 0.1, 0.01, 0.25
# Of slcp: added to the variances, and the draws of one row.
EPSILON, POINTS = 1e-6, 4
# Of the generalised linear model: steps of time, and taps of its filter.
STEPS, TAPS = 100, 9

Rng = np.random.Generator


@dataclasses.dataclass(frozen=True)
class Task:
    """A simulator and the prior of its parameters.

    Attributes:
        name: The task's, as sbibm spells it.
        dim: Number of parameters, theta.
        width: Numbers of one simulation, x.
        simulate: `(rng, theta [n, dim]) -> x [n, width]`.
        log_likelihood: `(theta, x, xp) -> [n]`, log p(x | theta) in nats, up to a
            constant of x alone; `xp` is numpy or jax.numpy.
        half: The prior is uniform in [-half, half] in every parameter; None of a
            Gaussian one.
        precision: Of a Gaussian prior around 0, `() -> [dim, dim]`.
    """

    name: str
    dim: int
    width: int
    simulate: Callable[[Rng, np.ndarray], np.ndarray]
    log_likelihood: Callable[[Any, Any, Any], Any]
    half: float | None = None
    precision: Callable[[], np.ndarray] | None = None

    def prior(self, rng: Rng, n: int) -> np.ndarray:
        """Draws parameters, `[n, dim]` in float64."""
        if self.half is not None:
            return rng.uniform(-self.half, self.half, (n, self.dim))
        # theta = L^-T e has the covariance (L L^T)^-1.
        root = np.linalg.cholesky(_given(self.precision))
        return np.linalg.solve(root.T, rng.standard_normal((self.dim, n))).T

    def log_prior(self, theta: Any, xp: Any = np) -> Any:
        """`[n]`, log p(theta) in nats; minus infinity outside of bounds."""
        if self.half is not None:
            inside = xp.all(xp.abs(theta) <= self.half, axis=-1)
            return xp.where(inside, -self.dim * math.log(2 * self.half), -xp.inf)
        precision = _given(self.precision)
        log_det = np.linalg.slogdet(precision)[1]
        square = xp.sum((theta @ xp.asarray(precision)) * theta, axis=-1)
        return 0.5 * (log_det - self.dim * math.log(2 * math.pi) - square)

    def draw(self, rng: Rng, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Parameters of the prior and a simulation of each."""
        theta = self.prior(rng, n)
        return theta, self.simulate(rng, theta)

    @property
    def names(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Names of the parameters and of the columns of x."""
        return (
            tuple(f"theta{i}" for i in range(1, self.dim + 1)),
            tuple(f"x{i}" for i in range(1, self.width + 1)),
        )

    @property
    def transforms(self) -> dict[str, Any]:
        """What stands before a flow, column by column.

        Bounded parameters go through the box of their prior, so that no density lies
        outside; all else is standardised.
        """
        theta, x = self.names
        told = {name: "standardise" for name in (*theta, *x)}
        if self.half is not None:
            box = {"kind": "box", "low": -self.half, "high": self.half}
            told |= {name: {**box, "margin": 0.0} for name in theta}
        return told


def _given(precision: Callable[[], np.ndarray] | None) -> np.ndarray:
    assert precision is not None  # Without bounds the prior is Gaussian.
    return precision()


def _normal(square: Any, dim: int, log_scale: Any) -> Any:
    """Log density of a normal variable, from its squared distance in scales."""
    return -0.5 * square - 0.5 * dim * math.log(2 * math.pi) - log_scale


def _two_moons(rng: Rng, theta: np.ndarray) -> np.ndarray:
    angle = rng.uniform(-math.pi / 2, math.pi / 2, len(theta))
    radius = rng.normal(RADIUS, RADIUS_SPREAD, len(theta))
    crescent = radius * np.stack([np.cos(angle), np.sin(angle)])
    return (crescent + _moved(theta, np)).T


def _moved(theta: Any, xp: Any) -> Any:
    """Where the crescent of each row is, `[2, n]`."""
    a, b = theta[..., 0], theta[..., 1]
    return xp.stack([OFFSET - xp.abs(a + b) / math.sqrt(2), (b - a) / math.sqrt(2)])


def _two_moons_density(theta: Any, x: Any, xp: Any) -> Any:
    # p(r) p(a) / r, where the angle is that of the right half; the few negative radii,
    # ten spreads away, have no weight.
    u, v = x.T - _moved(theta, xp)
    radius = xp.sqrt(u**2 + v**2)
    square = ((radius - RADIUS) / RADIUS_SPREAD) ** 2
    found = _normal(square, 1, math.log(RADIUS_SPREAD)) - xp.log(math.pi * radius)
    return xp.where(u >= 0, found, -xp.inf)


def _gaussian_mixture(rng: Rng, theta: np.ndarray) -> np.ndarray:
    scale = rng.choice(SCALES, (len(theta), 1))
    return theta + scale * rng.standard_normal(theta.shape)


def _gaussian_mixture_density(theta: Any, x: Any, xp: Any) -> Any:
    square, dim = xp.sum((x - theta) ** 2, axis=-1), theta.shape[-1]
    wide, narrow = (_normal(square / s**2, dim, dim * math.log(s)) for s in SCALES)
    return xp.logaddexp(wide, narrow) - math.log(2)


def _linear(rng: Rng, theta: np.ndarray) -> np.ndarray:
    return theta + math.sqrt(NOISE_VARIANCE) * rng.standard_normal(theta.shape)


def _linear_density(theta: Any, x: Any, xp: Any) -> Any:
    square = xp.sum((x - theta) ** 2, axis=-1) / NOISE_VARIANCE
    dim = theta.shape[-1]
    return _normal(square, dim, 0.5 * dim * math.log(NOISE_VARIANCE))


def _linear_precision() -> np.ndarray:
    return np.eye(10) / PRIOR_VARIANCE


def _slcp(rng: Rng, theta: np.ndarray) -> np.ndarray:
    mean, root = theta[:, None, :2], _slcp_root(theta, np)
    a, b = np.moveaxis(rng.standard_normal((len(theta), POINTS, 2)), -1, 0)
    (l11, l21, l22) = (part[:, None] for part in root)
    noise = np.stack([l11 * a, l21 * a + l22 * b], axis=-1)
    return (mean + noise).reshape(len(theta), 2 * POINTS)


def _slcp_root(theta: Any, xp: Any) -> tuple[Any, Any, Any]:
    """Cholesky factor of the covariance of a point: l11, l21, l22."""
    s1, s2 = theta[..., 2] ** 2, theta[..., 3] ** 2
    rho = xp.tanh(theta[..., 4])
    l11 = xp.sqrt(s1**2 + EPSILON)
    l21 = rho * s1 * s2 / l11
    # s2^2 (1 - rho^2 s1^2 / l11^2) without cancellation, 1 - tanh^2 = 1 / cosh^2.
    rest = (s1**2 / xp.cosh(theta[..., 4]) ** 2 + EPSILON) / l11**2
    return l11, l21, xp.sqrt(s2**2 * rest + EPSILON)


def _slcp_density(theta: Any, x: Any, xp: Any) -> Any:
    l11, l21, l22 = _slcp_root(theta, xp)
    found = 0.0
    for i in range(POINTS):
        a = (x[..., 2 * i] - theta[..., 0]) / l11
        b = (x[..., 2 * i + 1] - theta[..., 1] - l21 * a) / l22
        found = found + _normal(a**2 + b**2, 2, xp.log(l11 * l22))
    return found


@functools.cache
def _design() -> np.ndarray:
    """`[steps, 1 + taps]`: 1, and the stimulus of this step and of those before."""
    stimulus = np.random.RandomState(42).standard_normal(STEPS).astype(np.float32)
    before = [np.concatenate([np.zeros(k), stimulus[: STEPS - k]]) for k in range(TAPS)]
    return np.stack([np.ones(STEPS), *before], axis=1)


def _bernoulli_glm(rng: Rng, theta: np.ndarray) -> np.ndarray:
    # Number of spikes, and their cross-correlation with the stimulus at lags 0 to 8.
    rate = 1 / (1 + np.exp(-theta @ _design().T))
    return (rng.random(rate.shape) < rate) @ _design()


def _bernoulli_glm_density(theta: Any, x: Any, xp: Any) -> Any:
    # The summary is sufficient: sum of y log p + (1 - y) log (1 - p) asks y^T A alone.
    psi = theta @ xp.asarray(_design().T)
    return xp.sum(theta * x, axis=-1) - xp.sum(xp.logaddexp(0.0, psi), axis=-1)


def _bernoulli_glm_precision() -> np.ndarray:
    found = np.zeros((1 + TAPS, 1 + TAPS))
    found[0, 0] = 0.5
    difference = np.eye(TAPS) - np.eye(TAPS, k=-1)
    smooth = difference @ difference + np.diag(np.sqrt(np.arange(TAPS) / TAPS))
    found[1:, 1:] = smooth.T @ smooth
    return found


TASKS = {
    task.name: task
    for task in (
        Task("two_moons", 2, 2, _two_moons, _two_moons_density, 1.0),
        Task(
            "gaussian_mixture",
            *(2, 2, _gaussian_mixture, _gaussian_mixture_density, 10.0),
        ),
        Task(
            "gaussian_linear",
            *(10, 10, _linear, _linear_density),
            precision=_linear_precision,
        ),
        Task("gaussian_linear_uniform", 10, 10, _linear, _linear_density, 1.0),
        Task(
            "bernoulli_glm",
            *(10, 10, _bernoulli_glm, _bernoulli_glm_density),
            precision=_bernoulli_glm_precision,
        ),
        Task("slcp", 5, 2 * POINTS, _slcp, _slcp_density, 3.0),
    )
}


def get(name: str) -> Task:
    """The task of that name.

    Raises:
        DataError: If there is none.
    """
    if name not in TASKS:
        raise DataError(f"Unknown task {name!r}; known: {', '.join(TASKS)}.")
    return TASKS[name]


def sbi(
    task: str = "two_moons",
    of: str = "theta",
    data_dir: str | None = None,
    rows: int | None = None,
    seed: int = 0,
) -> Tabular:
    """Simulations of a task, as rows with a condition beside each.

    Args:
        task: A key of `TASKS`.
        of: "theta", the parameters given a simulation, or "x", the other way round.
        data_dir: Not used.
        rows: Simulations to learn from, 10,000 by default; a tenth of them validates.
            As many more as a quarter of 10,000 are to test.
        seed: Of the simulations.

    Returns:
        The data set. Bounded parameters go through the box of their prior, other
        columns are standardised; see `Task.transforms`.

    Raises:
        DataError: For an unknown task or direction, or fewer than 20 simulations.
    """
    del data_dir
    found, rows = get(task), SIMULATIONS if rows is None else rows
    if of not in OF:
        raise DataError(f"sbi: of={of!r}; expected one of {', '.join(OF)}")
    if not tabular.is_whole(rows) or rows < LEAST:
        raise DataError(f"sbi: rows={rows!r}; expected a whole number from {LEAST} on")
    held = round(VALIDATION * rows)
    learnt = found.draw(np.random.Generator(np.random.PCG64([seed, 0])), rows)
    tested = found.draw(np.random.Generator(np.random.PCG64([seed, 1])), TEST)
    theta, x = (
        (one[:-held], one[-held:], other)
        for one, other in zip(learnt, tested, strict=True)
    )
    names = found.names
    source = f"{rows:,} simulations of {task}, seed {seed}; {of} given the other"
    parts = ((theta, names[0]), (x, names[1]))
    (rows_of, columns), (given, beside) = parts if of == "theta" else parts[::-1]
    return transformed.fitted(
        *("sbi", rows_of, columns, given, beside),
        transforms=found.transforms,
        source=source,
    )
