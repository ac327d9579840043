"""Densities as teachers: a trained likelihood times a prior, in the user's units.

A flow of p(x | theta), of simulations, is a likelihood for any x; times the prior it is
a posterior that usually only a Markov chain draws from. As a `types.Judge` it teaches
a conditional flow of theta given x, which draws in one pass.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from fdnf.train import preprocess
from fdnf.train.rules import ConfigError
from fdnf.train.table import Table
from fdnf.train.teachers import Trained
from fdnf.transforms.columns import Columns
from fdnf.types import Flow, Judge

LogPrior = Callable[[Array], Array]


def _entered(columns: Columns | None, rows: Array) -> tuple[Array, Array]:
    """The flow's data of rows in the user's units, and log |dy/dx|.

    As `Columns.store` and `encode` in one, within a program: in the type of the rows,
    and without a look at values that have no place in their columns. What gets noise is
    taken in the middle of it.
    """
    if columns is None:
        return rows, jnp.zeros(rows.shape[:1], rows.dtype)
    stored = [column.store(rows[:, i], jnp) for i, column in enumerate(columns.columns)]
    middle = jnp.full((len(rows), columns.noisy), 0.5)
    return columns.dequantise(middle, jnp.stack(stored, axis=1))


def _left(columns: Columns | None, y: Array) -> tuple[Array, Array]:
    """Rows in the user's units of the flow's data, and log |dx/dy|."""
    if columns is None:
        return y, jnp.zeros(y.shape[:1], y.dtype)
    none = jnp.zeros((len(y), 0), y.dtype)
    return columns.decode(y, jnp), -columns.dequantise(none, y)[1]


@dataclasses.dataclass(frozen=True)
class Mixture:
    """Log density of rows in the user's units under all runs of a training alike.

    log p(x | c) = log mean_r p_r(x | c)

    Attributes:
      flow: of each run.
      prepared: what is done to its rows.
    """

    flow: Any
    prepared: Table

    def __call__(self, variables: Any, x: Array, cond: Array | None) -> Array:
        """`[batch]`, in nats.

        Args:
          variables: of the flow, with a leading axis, the runs.
          x: rows.
          cond: conditions, likewise in the user's units.
        """
        y, log_det = _entered(self.prepared.columns, x)
        if cond is not None:
            cond, _ = _entered(self.prepared.condition_columns, cond)

        def log_prob(one: Any) -> Array:
            return self.flow.apply(one, y, cond, method="encode").log_prob

        found = jax.vmap(log_prob)(variables)
        runs = found.shape[0]
        return jax.nn.logsumexp(found, axis=0) - jnp.log(float(runs)) + log_det


@dataclasses.dataclass(frozen=True)
class Posterior:
    """log p(x | theta) + log p(theta): that of theta given x, up to log p(x).

    Attributes:
      likelihood: `(variables, x, theta) -> [batch]`.
      log_prior: `theta [batch, dim] -> [batch]`, in jax.
    """

    likelihood: Callable[..., Array]
    log_prior: LogPrior

    def __call__(self, variables: Any, theta: Array, x: Array | None) -> Array:
        """`[batch]`, in nats; theta is what is scored, x its condition."""
        if x is None:
            raise ValueError("a posterior has a condition: the observation, x")
        return self.likelihood(variables, x, theta) + self.log_prior(theta)


@dataclasses.dataclass(frozen=True)
class Transformed:
    """A judge of the user's units, of the flow's data that columns made of them.

    Attributes:
      judge: of rows and conditions in the user's units.
      prepared: the student's columns.
    """

    judge: Judge
    prepared: Table

    def __call__(self, variables: Any, y: Array, cond: Array | None) -> Array:
        """`[batch]`, log p(y | c) = log p(x | c) + log |dx/dy|."""
        x, log_det = _left(self.prepared.columns, y)
        if cond is not None:
            cond, _ = _left(self.prepared.condition_columns, cond)
        return self.judge.density(variables, x, cond) + log_det


def of_table(trained: Trained, what: str) -> tuple[Flow, Table]:
    """A trained flow on vectors, and what is done to its rows.

    Raises:
      TypeError: for another.
    """
    prepared: Any = trained.preprocess
    if not isinstance(trained, Trained) or len(trained.event) != 1:
        raise TypeError(f"{what}: expected a flow of vectors that fit or load gave")
    if not isinstance(prepared, Table):
        prepared = Table()
    return trained.flow, prepared


def mixture(trained: Trained) -> tuple[Judge, Any]:
    """All runs of a training as one density, in the user's units.

    Args:
      trained: with one run or several, such as `fit(..., options={"runs": 5})`.

    Returns:
      A judge and its variables: a teacher of `fdnf.distil`.
    """
    flow, prepared = of_table(trained, "mixture")
    return Judge(Mixture(flow, prepared)), _variables(trained)


def posterior(likelihood: Trained, log_prior: LogPrior) -> tuple[Judge, Any]:
    """The posterior of a learned likelihood, up to a constant: a teacher of `distil`.

        likelihood = fdnf.fit(fdnf.flows.MAF(), x, cond=theta)
        teacher = fdnf.posterior(likelihood, log_prior)
        sampler = fdnf.distil(teacher, student, theta, x, method="kl", transforms=...)
        sampler.sample(0, 10_000, x_observed)

    Args:
      likelihood: a flow of x given theta that `fit` or `load` gave; of several runs
        the mean of their densities.
      log_prior: `theta [batch, dim] -> [batch]` in nats, up to a constant, of jax.

    Returns:
      A judge of (theta, x) in the user's units, and its variables.

    Raises:
      TypeError: for a flow of images.
      ValueError: for one without a condition.
    """
    flow, prepared = of_table(likelihood, "posterior")
    if not prepared.conditions:
        raise ValueError(
            "posterior: this flow has no condition: expected one of x given theta, "
            "fit(flow, x, cond=theta)"
        )
    judge = Judge(Posterior(Mixture(flow, prepared), log_prior))
    return judge, _variables(likelihood)


def _variables(trained: Trained) -> Any:
    variables = {k: v for k, v in trained.variables.items() if v}
    return jax.tree.map(jnp.asarray, variables)


@dataclasses.dataclass(frozen=True)
class Bare:
    """A density without variables, which is given none whatever comes for them.

    Attributes:
      judge: of it.
    """

    judge: Judge

    def __call__(self, variables: Any, x: Array, cond: Array | None) -> Array:
        """`[batch]`, log p(x | c)."""
        del variables
        return self.judge.density(None, x, cond)


def without_variables(judge: Judge) -> tuple[Judge, Any]:
    """A judge that has no variables as one with a number that counts for nothing."""
    return Judge(Bare(judge)), jnp.zeros(())


def taught(teacher: Trained, prepared: Any) -> Trained:
    """A judge of the user's units as the teacher of what a student sees.

    Args:
      teacher: whose flow is the judge.
      prepared: what is done to the student's rows.

    Raises:
      ConfigError: for columns that get noise, of which the user's units keep nothing.
    """
    judge: Any = teacher.flow  # Not one of `models`, as any external teacher.
    columns = getattr(prepared, "columns", None)
    if columns is not None and columns.noisy:
        raise ConfigError(
            "transforms: columns of whole numbers, or that are often 0, have no "
            "density that a judge could give: take another kind for them"
        )
    if isinstance(prepared, Table):
        seen: Any = Judge(Transformed(judge, prepared))
        judge = seen
    meta = teacher.meta | {"preprocess": preprocess.describe(prepared)}
    return teacher._replace(flow=judge, meta=meta)
