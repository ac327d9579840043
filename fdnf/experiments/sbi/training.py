"""What the study of posteriors trains on the simulations of one task.

  teacher     flows of p(theta | x), of several first parameters, one density together
              (neural posterior estimation, NPE)
  likelihood  flows of p(x | theta), likewise (NLE): times the prior it is a posterior,
              which usually only a Markov chain draws from
  student     couplings of theta given x that draw in one pass, taught by the teacher
  amortised   the same couplings, taught by the posterior of the likelihood

A student sees as many pairs as it likes. For theta of the prior and x of the likelihood
flows, the exact posterior of x is that of the likelihood flows: the mean of -log q of
theta given x over such pairs is the forward KL from it to the student, but for a
constant, and no Markov chain is run. The pairs of the other student are x drawn
likewise, and theta of the teacher given x.
"""

import dataclasses
import pathlib
import time
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from fdnf import fitting
from fdnf.data import sbi
from fdnf.data.sbi import Task
from fdnf.flows import maf, realnvp
from fdnf.train.teachers import Trained
from fdnf.types import Judge

NETWORKS = ("teacher", "likelihood", "student", "amortised")
# What each draw of a seed is for.
_SIMULATIONS, _TEST, _PRIOR, _OBSERVED, _TAUGHT = range(5)
# Rows at once of flows that draw slowly.
_ROWS = 8192
AFFINE = "affine"
SPLINE = {"name": "compose", "parts": ("affine", {"name": "spline", "bins": 8})}
COUPLING = {"name": "spline", "bins": 8, "box": 5.0}


def _setting(default: Any, meaning: str) -> Any:
    """A field that knows what it means, as the command line's help says."""
    return dataclasses.field(default=default, metadata={"help": meaning})


@dataclasses.dataclass(frozen=True)
class Budget:
    """How much is simulated, trained and drawn; the same for all tasks."""

    simulations: int = _setting(10_000, "pairs to learn from, with those that validate")
    ensemble: int = _setting(5, "flows of each teacher and likelihood")
    steps: int = _setting(6000, "updates of each of these, of 256 rows, at most")
    patience: int = _setting(4, "validations of 20 without a better one, then stop")
    pairs: int = _setting(400_000, "that each student sees")
    student_steps: int = _setting(8000, "updates of each student, of 512 pairs")
    lr: float = _setting(1e-3, "learning rate of teachers and likelihoods")
    student_lr: float = _setting(2e-3, "of students")


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Flows of a task, chosen by the likelihood of simulations held out.

    Attributes:
      teacher: of theta given x.
      likelihood: of x given theta.
      student: of theta given x, in one pass.
    """

    teacher: Any
    likelihood: Any
    student: Any


def _masked(
    steps: int, transformer: Any, blocks: int = 2, activation: str = "relu"
) -> maf.MAF:
    return maf.MAF(
        steps=steps,
        hidden=(64,) * blocks,
        activation=activation,
        transformer=transformer,
        conditioner="residual",
    )


def _couplings(steps: int) -> realnvp.RealNVP:
    return realnvp.RealNVP(
        steps=steps,
        hidden=(64, 64),
        transformer=COUPLING,
        partition="half",
        mixing="lu",
    )


RECIPES = {
    "two_moons": Recipe(_masked(4, SPLINE), _masked(4, SPLINE), _couplings(8)),
    "gaussian_mixture": Recipe(_masked(3, SPLINE), _masked(3, SPLINE), _couplings(6)),
    **dict.fromkeys(
        ("gaussian_linear", "gaussian_linear_uniform", "bernoulli_glm"),
        Recipe(_masked(2, SPLINE), _masked(2, AFFINE), _couplings(6)),
    ),
    # One flow of five blocks reaches -12.65 nats of x with splines and plain networks,
    # -12.69 affine, -11.86 affine with residual ones, -11.66 with three of these; four
    # together -11.27, where the likelihood itself is -9.54.
    "slcp": Recipe(
        _masked(5, SPLINE),
        _masked(5, AFFINE, blocks=3, activation="tanh"),
        _couplings(8),
    ),
}


def transforms(task: Task, of: str) -> dict[Any, Any]:
    """What `fit` is told of columns: boxes of bounded parameters, else nothing."""
    if task.half is None or of == "x":
        return {}
    return {i: task.transforms[name] for i, name in enumerate(task.names[0])}


class Study:
    """The networks of one task and seed, trained when they are asked for, and kept.

    Attributes:
      task: the task.
      seconds: that each training of this process took.
    """

    def __init__(
        self,
        task: Task,
        budget: Budget,
        seed: int,
        folder: pathlib.Path,
        progress: bool = True,
    ):
        """Trains nothing yet.

        Args:
          task: of `sbi.TASKS`.
          budget: of the trainings.
          seed: of all that is drawn.
          folder: where networks are kept, a file each; made if absent.
          progress: whether bars are shown.
        """
        self.task, self.seconds = task, {}
        self._budget, self._seed, self._folder = budget, seed, folder
        self._progress = progress
        self._known: dict[str, Trained] = {}

    def __getitem__(self, name: str) -> Trained:
        """A network of `NETWORKS`, in the units of the task."""
        if name not in self._known:
            path = self._folder / f"{name}.npz"
            if path.is_file():
                self._known[name] = fitting.load(path)
            else:
                start = time.perf_counter()
                self._known[name] = getattr(self, f"_{name}")()
                self.seconds[name] = time.perf_counter() - start
                self._known[name].save(path)
        return self._known[name]

    def judge(self) -> tuple[Judge, Any]:
        """The posterior of the likelihood flows as a judge, and its variables."""
        return fitting.posterior(self["likelihood"], Prior(self.task.name))

    def test(self, rows: int = 2000) -> tuple[np.ndarray, np.ndarray]:
        """Parameters and simulations that nothing was trained on."""
        return self.task.draw(self._rng(_TEST), rows)

    def _rng(self, purpose: int) -> np.random.Generator:
        return np.random.Generator(np.random.PCG64([self._seed, purpose]))

    def _simulated(self) -> tuple[np.ndarray, np.ndarray]:
        return self.task.draw(self._rng(_SIMULATIONS), self._budget.simulations)

    def _ensemble(self, flow: Any, of: str, rows: Any, given: Any) -> Trained:
        budget = self._budget
        return fitting.fit(
            *(flow, rows, given),
            steps=budget.steps,
            batch_size=256,
            lr=budget.lr,
            early_stop=budget.patience,
            seed=self._seed,
            transforms=transforms(self.task, of),
            progress=self._progress,
            options={"runs": budget.ensemble, "optim.ema": 0.998},
        )

    def _teacher(self) -> Trained:
        theta, x = self._simulated()
        flow = RECIPES[self.task.name].teacher
        return self._ensemble(flow, "theta", theta, x)

    def _likelihood(self) -> Trained:
        theta, x = self._simulated()
        return self._ensemble(RECIPES[self.task.name].likelihood, "x", x, theta)

    def _pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """Parameters of the prior, and simulations by the likelihood flows."""
        theta = self.task.prior(self._rng(_PRIOR), self._budget.pairs)
        x = drawn(self["likelihood"], theta, self._rng(_OBSERVED))
        # A flow's tails may explode: what is beyond all simulations tells nothing.
        reach = 2 * np.abs(self._simulated()[1]).max(0)
        kept = (np.abs(x) <= reach).all(1)
        return theta[kept], x[kept]

    def _amortised(self) -> Trained:
        return self._one_pass(*self._pairs())

    def _student(self) -> Trained:
        _, x = self._pairs()
        return self._one_pass(drawn(self["teacher"], x, self._rng(_TAUGHT)), x)

    def _one_pass(self, theta: np.ndarray, x: np.ndarray) -> Trained:
        budget = self._budget
        kept = np.isfinite(theta).all(1)
        if self.task.half is not None:
            # In float32 a sample may be the end of the box itself.
            kept &= (np.abs(theta) < self.task.half).all(1)
        return fitting.fit(
            *(RECIPES[self.task.name].student, theta[kept], x[kept]),
            steps=budget.student_steps,
            batch_size=512,
            lr=budget.student_lr,
            validation=0.02,
            seed=self._seed,
            transforms=transforms(self.task, "theta"),
            progress=self._progress,
            options={"optim.ema": 0.998},
        )


@dataclasses.dataclass(frozen=True)
class Prior:
    """The prior of a task in jax, the same for the same task.

    Attributes:
      name: of the task.
    """

    name: str

    def __call__(self, theta: Any) -> Any:
        """`[rows]`, log p(theta) in nats."""
        return sbi.get(self.name).log_prior(theta, jnp)


def drawn(trained: Trained, given: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A row of an ensemble for each condition, of its flows in turn.

    Args:
      trained: with one run or several.
      given: `[rows, c]`, conditions.
      rng: randomness.
    """
    found = np.empty((len(given), *trained.event))
    for run in range(trained.runs):
        own = slice(run, None, trained.runs)
        seed = int(rng.integers(2**31))
        rows = given[own]
        if len(rows):
            found[own] = trained.sample(
                seed, len(rows), rows, run=run, batch_size=_ROWS
            )
    return found


def sampler(trained: Trained) -> Callable[[np.ndarray, int, int], np.ndarray]:
    """`(x [width], n, seed) -> [n, dim]`: draws of the posterior of one observation."""

    def draw(x: np.ndarray, n: int, seed: int) -> np.ndarray:
        rows = np.broadcast_to(x, (n, len(x)))
        return drawn(trained, rows, np.random.default_rng(seed))

    return draw
