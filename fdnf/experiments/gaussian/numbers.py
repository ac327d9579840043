"""What the Gaussian study measures of its teachers and students, in float64.

All functions take a leading axis of seeds. N(mu, R R^T) is given by mu and R.
"""

from typing import Any

import numpy as np
from scipy import stats

from fdnf.evaluation.tables import intervals
from fdnf.experiments.gaussian.training import Trained

# Name to what it says; all but the condition number are nats or pure numbers.
QUANTITIES = {
    "teacher_mean": "mean of log p_T over teacher samples, nats",
    "teacher_sd": "its standard deviation over samples, nats",
    "student_mean": "mean of log p_T over student samples, nats",
    "student_sd": "its standard deviation over samples, nats",
    "difference": "student_mean - teacher_mean, nats",
    "exact_difference": "the same from the parameters, without sampling, nats",
    "ks": "two-sample Kolmogorov-Smirnov statistic of the two sets of log p_T",
    "reverse_kl": "KL(student || teacher) of the Gaussians, nats",
    "forward_kl": "KL(teacher || student) of the Gaussians, nats",
    "entropy_gap": "entropy of the student - entropy of the teacher, nats",
    "condition": "condition number of the teacher's R",
}


def log_density(x: np.ndarray, mu: np.ndarray, R: np.ndarray) -> np.ndarray:
    """`[seeds, rows]`, log N(x; mu, R R^T) in nats, of x `[seeds, rows, T]`."""
    z = np.linalg.solve(R, np.swapaxes(x - mu[:, None], 1, 2))
    log_det = np.linalg.slogdet(R)[1][:, None]
    dim = mu.shape[1]
    return -0.5 * np.sum(z**2, axis=1) - 0.5 * dim * np.log(2 * np.pi) - log_det


def kl(
    mu_q: np.ndarray, R_q: np.ndarray, mu_p: np.ndarray, R_p: np.ndarray
) -> np.ndarray:
    """`[seeds]`, KL(N(mu_q, R_q R_q^T) || N(mu_p, R_p R_p^T)) in nats.

    1/2 (|A|^2 + |b|^2 - T) - log |det A|, A = R_p^-1 R_q, b = R_p^-1 (mu_q - mu_p)
    """
    A, b = _relative(mu_q, R_q, mu_p, R_p)
    square = np.sum(A**2, axis=(1, 2)) + np.sum(b**2, axis=1)
    return 0.5 * (square - mu_q.shape[1]) - np.linalg.slogdet(A)[1]


def exact_difference(
    mu_q: np.ndarray, R_q: np.ndarray, mu_p: np.ndarray, R_p: np.ndarray
) -> np.ndarray:
    """`[seeds]`, E_q log p - E_p log p in nats: 1/2 (T - |A|^2 - |b|^2), as in `kl`.

    Above 0, draws of q are on average more likely under p than p's own.
    """
    A, b = _relative(mu_q, R_q, mu_p, R_p)
    square = np.sum(A**2, axis=(1, 2)) + np.sum(b**2, axis=1)
    return 0.5 * (mu_q.shape[1] - square)


def _relative(mu_q, R_q, mu_p, R_p) -> tuple[np.ndarray, np.ndarray]:
    b = np.linalg.solve(R_p, (mu_q - mu_p)[..., None])[..., 0]
    return np.linalg.solve(R_p, R_q), b


def diverged(trained: Trained) -> list[int]:
    """Seeds whose student has a parameter or sample that is not finite."""
    parts = (trained.student_mu, trained.student_R, trained.student_x)
    finite = np.all(
        [np.isfinite(part).reshape(len(part), -1).all(axis=1) for part in parts], axis=0
    )
    return np.flatnonzero(~finite).tolist()


def likelihoods(trained: Trained) -> tuple[np.ndarray, np.ndarray]:
    """`[seeds, samples]` twice: log p_T of teacher samples and of student samples.

    Nothing but NaN for a student that diverged.
    """
    teacher = (trained.teacher_mu, trained.teacher_R)
    ours, theirs = trained.student_x.copy(), trained.teacher_x
    ours[diverged(trained)] = np.nan
    return log_density(theirs, *teacher), log_density(ours, *teacher)


def measure(trained: Trained) -> dict[str, Any]:
    """One cell of the study: QUANTITIES of each seed, and over seeds.

    Returns:
      "seeds", name to a list with None where the student diverged; "diverged", those
      seeds; and "over_seeds", name to mean, half-width of the 95 % Student-t interval
      (None for one seed) and number of seeds, over those that did not. All is JSON.
    """
    lost = diverged(trained)
    kept = [i for i in range(len(trained.student_mu)) if i not in lost]
    teacher, student = (part[kept] for part in likelihoods(trained))
    p = (trained.teacher_mu[kept], trained.teacher_R[kept])
    q = (trained.student_mu[kept], trained.student_R[kept])
    with np.errstate(divide="ignore", invalid="ignore"):
        found = {
            "teacher_mean": teacher.mean(axis=1),
            "teacher_sd": teacher.std(axis=1, ddof=1),
            "student_mean": student.mean(axis=1),
            "student_sd": student.std(axis=1, ddof=1),
            "difference": student.mean(axis=1) - teacher.mean(axis=1),
            "exact_difference": exact_difference(*q, *p),
            "ks": np.array([_ks(*pair) for pair in zip(teacher, student, strict=True)]),
            "reverse_kl": kl(*q, *p),
            "forward_kl": kl(*p, *q),
            "entropy_gap": np.linalg.slogdet(q[1])[1] - np.linalg.slogdet(p[1])[1],
            "condition": np.linalg.cond(p[1]),
        }
    seeds: dict[str, list[float | None]] = {}
    over: dict[str, Any] = {}
    for name, values in found.items():
        whole = np.full(len(trained.student_mu), np.nan)
        whole[kept] = values
        seeds[name] = [float(v) if np.isfinite(v) else None for v in whole]
        finite = [v for v in seeds[name] if v is not None]
        over[name] = intervals.over_seeds(finite)._asdict() if finite else None
    return {"seeds": seeds, "diverged": lost, "over_seeds": over}


def _ks(a: np.ndarray, b: np.ndarray) -> float:
    found: Any = stats.ks_2samp(a, b)
    return float(found.statistic)
