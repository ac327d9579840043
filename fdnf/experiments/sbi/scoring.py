"""How samples of a posterior are judged: by the benchmark's rule, and by weights.

The classifier two-sample test (C2ST) of Lueckmann et al. (2021), as sbibm 1.1.0 has it:
scikit-learn's multi-layer perceptron, two layers of ten units a dimension, five folds;
both samples in units of the first's mean and spread. 0.5 cannot tell, 1 always can.
"""

import time
import warnings
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import threadpoolctl
from sklearn import model_selection, neural_network

from fdnf import corrected
from fdnf.train import judges
from fdnf.train.teachers import Trained
from fdnf.types import Judge

FOLDS, SEED = 5, 1
# Draws whose time is taken, and how often.
TIMED, REPEATS = 10_000, 20


class Published(NamedTuple):
    """Mean C2ST over the ten observations at 10,000 simulations, and its spread.

    Attributes:
        npe: Of neural posterior estimation.
        npe_sd: Standard deviation over the observations; None where not computed.
        nle: Of neural likelihood estimation, with Markov chains.
    """

    npe: float
    npe_sd: float | None
    nle: float


# From the authors' table of results (main_paper.csv); of gaussian_mixture that of their
# rerun, whose references are those of sbibm from 1.1.0 on.
PUBLISHED = {
    "two_moons": Published(0.606, 0.039, 0.713),
    "gaussian_mixture": Published(0.615, None, 0.723),
    "gaussian_linear": Published(0.552, 0.032, 0.555),
    "gaussian_linear_uniform": Published(0.553, 0.016, 0.548),
    "bernoulli_glm": Published(0.678, 0.042, 0.605),
    "slcp": Published(0.901, 0.047, 0.771),
}


def c2st(
    reference: np.ndarray, samples: np.ndarray, seed: int = SEED, jobs: int = 1
) -> float:
    """Accuracy over held-out folds, by the rule above.

    Args:
        reference: `[n, dim]`, whose mean and spread are the units of both.
        samples: `[m, dim]`.
        seed: Of the folds and of the network's first weights.
        jobs: Folds at once, each in a process of its own.

    Raises:
        ValueError: For samples of other widths, or that are not finite.
    """
    if reference.shape[1:] != samples.shape[1:] or not np.isfinite(samples).all():
        raise ValueError(
            f"samples of shape {samples.shape} beside {reference.shape}: expected the "
            "same width, and finite numbers"
        )
    mean, spread = reference.mean(0), reference.std(0, ddof=1)
    rows = (np.concatenate([reference, samples]) - mean) / spread
    labels = np.repeat([0, 1], (len(reference), len(samples)))
    width = 10 * reference.shape[1]
    network = neural_network.MLPClassifier(
        (width, width),
        activation="relu",
        solver="adam",
        max_iter=10_000,
        random_state=seed,
    )
    folds = model_selection.KFold(FOLDS, shuffle=True, random_state=seed)
    # Small matrices: threads of one product would only wait for each other.
    with threadpoolctl.threadpool_limits(1):
        scores = model_selection.cross_val_score(
            *(network, rows.astype(np.float32), labels),
            cv=folds,
            scoring="accuracy",
            n_jobs=jobs,
        )
    return float(np.mean(scores))


class Weighed(NamedTuple):
    """What a judge says of the draws of one observation.

    Attributes:
        ess: Effective share of the draws, see `importance.Importance`.
        khat: Shape of the largest weights.
        samples: `[n, dim]`, corrected to the judge's own posterior.
    """

    ess: float
    khat: float
    samples: np.ndarray


def weighed(
    student: Trained,
    teacher: tuple[Judge, Any],
    x: np.ndarray,
    n: int,
    seed: int,
) -> Weighed:
    """Draws of a student, corrected to its judge by independence chains.

    Args:
        student: Of one run.
        teacher: The judge, in the user's units, and its variables.
        x: `[width]`, the observation.
        n: How many draws.
        seed: Of them.
    """
    prepared: Any = student.preprocess
    flow, variables = student.of_run()
    cond = prepared.condition(None, jnp.asarray(prepared.stored_condition(x[None])))
    judge, judged = teacher
    with warnings.catch_warnings():
        # What it warns of is in the result, and in the table.
        warnings.simplefilter("ignore", corrected.CorrectionWarning)
        found = corrected.corrected_sample(
            *(flow, Judge(judges.Transformed(judge, prepared)), variables, judged),
            *(seed, n, cond),
            event=student.event,
        )
    return Weighed(
        found.ess_share, found.khat, prepared.given_back(jnp.asarray(found.x))
    )


def seconds(student: Trained, x: np.ndarray, n: int = TIMED) -> float:
    """Median time of `n` draws for an observation, in the user's units, once compiled.

    Args:
        student: Of one run.
        x: `[width]`, the observation.
        n: How many draws.
    """
    times = []
    for seed in range(REPEATS + 1):
        start = time.perf_counter()
        student.sample(jax.random.key(seed), n, x, batch_size=n)
        times.append(time.perf_counter() - start)
    return float(np.median(times[1:]))
