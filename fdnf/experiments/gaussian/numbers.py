"""What the Gaussian study measures of its teachers and students, in float64.

All functions take a leading axis of seeds. N(mu, R R^T) is given by mu and R.
"""

from typing import Any

import numpy as np
from scipy import stats

from fdnf.evaluation.core.scores import Result, Run, Score
from fdnf.experiments.gaussian.training import NAMES, Trained

KIND = "gaussian"


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


def measure(trained: Trained, loss: str) -> list[Result]:
    """A result a seed, of the students of one loss and T.

    Every number is nan of a student that diverged, but for `condition`, which is the
    teacher's.

    Args:
      trained: teachers and students.
      loss: that they were trained by.
    """
    teacher, student = likelihoods(trained)
    p = (trained.teacher_mu, trained.teacher_R)
    q = [part.copy() for part in (trained.student_mu, trained.student_R)]
    lost = diverged(trained)
    for part in q:
        part[lost] = np.nan
    found = {
        "teacher_mean": teacher.mean(axis=1),
        "teacher_sd": teacher.std(axis=1, ddof=1),
        "student_mean": student.mean(axis=1),
        "student_sd": student.std(axis=1, ddof=1),
        "difference": student.mean(axis=1) - teacher.mean(axis=1),
        "exact_difference": exact_difference(q[0], q[1], *p),
        "ks": np.array([_ks(*pair) for pair in zip(teacher, student, strict=True)]),
        "reverse_kl": kl(q[0], q[1], *p),
        "forward_kl": kl(*p, q[0], q[1]),
        "entropy_gap": np.linalg.slogdet(q[1])[1] - np.linalg.slogdet(p[1])[1],
        "condition": np.linalg.cond(p[1]),
    }
    dim = p[0].shape[1]
    return [
        Result(
            Run(KIND, loss, seed, kind=KIND, label=NAMES[loss], settings={"T": dim}),
            tuple(
                Score(name, float(values[seed]), n=teacher.shape[1])
                for name, values in found.items()
            ),
        )
        for seed in range(len(p[0]))
    ]


def _ks(a: np.ndarray, b: np.ndarray) -> float:
    if not np.isfinite(b).all():
        return np.nan
    found: Any = stats.ks_2samp(a, b)
    return float(found.statistic)
