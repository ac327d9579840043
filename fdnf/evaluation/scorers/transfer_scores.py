"""A student of a teacher's density against the teacher, on samples of both.

Everything is in the flow's own data space. The teacher's samples and those that are
held against them come from different latents, so that the samples are independent;
students of one teacher get the same latents, so that their differences are theirs.
"""

import dataclasses
import math
from typing import Any, NamedTuple

import jax
import numpy as np

from fdnf.evaluation.core import transfer_records
from fdnf.evaluation.core.transfer_records import Scores
from fdnf.evaluation.models.sampler import Sampler
from fdnf.metrics import c2st, two_sample

# Streams of the key: the teacher's samples, and all that are compared with them.
_OWN, _OTHERS = 0, 1
# Rows of a sample of which all pairs are taken.
PAIRS = 2500
# A network that is to tell fewer rows apart learns nothing.
FEWEST = 50


@dataclasses.dataclass(frozen=True)
class Settings:
    """How much of each part is done.

    Attributes:
        samples: drawn of the teacher, and of each student.
        density: rows at which a student's density is taken, the teacher's samples for
            the forward KL and held-out rows: an inverse autoregressive student inverts
            itself for it. 0 for none.
        judged: rows of each sample given to C2ST, sliced Wasserstein and MMD; 0 for
            none.
        c2st: whether a classifier is trained on them.
        batch_size: rows at once.
        reach: largest |x| of a sample that is not exploded.
        time_batch: rows of the batch whose time is taken; 0 for none.
        naive: whether the teacher's sampling dimension by dimension is timed.
    """

    samples: int = 10_000
    density: int = 10_000
    judged: int = 5_000
    c2st: bool = True
    batch_size: int = 1_000
    reach: float = math.inf
    time_batch: int = 1_000
    naive: bool = True

    def __post_init__(self) -> None:
        if min(self.samples, self.batch_size) < 2:
            raise ValueError(
                f"samples={self.samples}, batch_size={self.batch_size}: expected at "
                "least 2 each"
            )
        if min(self.density, self.judged, self.time_batch) < 0 or not self.reach > 0:
            raise ValueError(
                f"density={self.density}, judged={self.judged}, time_batch="
                f"{self.time_batch}, reach={self.reach}: expected 0 (for none) or "
                "more, and a positive reach"
            )


class Reference(NamedTuple):
    """What all students of one teacher are held against.

    Attributes:
        teacher: the teacher.
        samples: `[rows, *event]`, its samples.
        log_prob: `[rows]`, its own density of them, in nats.
        held_out: `[rows, *event]`, data that nobody was trained on.
        bandwidth: of the MMD, the same for all.
        seed: of all that is drawn.
    """

    teacher: Sampler
    samples: np.ndarray
    log_prob: np.ndarray
    held_out: np.ndarray
    bandwidth: float
    seed: int


class Scored(NamedTuple):
    """Scores, and the log densities under the teacher that a picture shows."""

    scores: Scores
    teacher_log_prob: np.ndarray


def reference(
    teacher: Sampler, held_out: np.ndarray, settings: Settings, seed: int = 0
) -> Reference:
    """Draws the teacher's samples.

    Args:
        teacher: it decodes and encodes.
        held_out: `[rows, *event]`, in the flow's own space.
        settings: how many.
        seed: of everything drawn.

    Raises:
        ValueError: the teacher has no density.
    """
    if not teacher.dense:
        raise ValueError(
            f"the teacher {type(teacher.flow).__name__} has no encode: students are "
            "judged by its density, so give a flow"
        )
    key = jax.random.fold_in(jax.random.key(seed), _OWN)
    samples, _ = teacher.weighed(key, (settings.samples, *held_out.shape[1:]))
    bandwidth = math.nan
    kept = _flat(samples[~exploded(samples, settings)])
    if settings.judged and len(kept) > 1:
        bandwidth = two_sample.median_distance(kept, kept)
    return Reference(
        teacher,
        samples,
        teacher.log_prob(samples),
        held_out,
        bandwidth,
        seed,
    )


def score(against: Reference, student: Sampler, settings: Settings) -> Scored:
    """A student's scores; the teacher's own, as of a student, are the floors.

    The reverse KL takes log q from the student's decoding, which costs no inversion,
    and log p_T from the teacher's encoding. It has a mean of few rows where the
    student leaves what the teacher knows, hence the median.

    Args:
        against: the teacher and its samples.
        student: it decodes to the same data; without a density the divergences are
            left out.
        settings: how much of each part.

    Returns:
        The scores, and log p_T of each sample.

    Reference: Huang et al. (2019), sections 3.2 and 4.1.1; the divergences, eq. 2.
    """
    key = jax.random.fold_in(jax.random.key(against.seed), _OTHERS)
    shape = settings.samples, *against.samples.shape[1:]
    x, own = student.weighed(key, shape)
    found = score_rows(against, x, settings)
    if own is None:
        return found
    gap = own - found.teacher_log_prob
    fields = {"reverse_kl": transfer_records.estimate(gap, math.inf)}
    if student.dense and settings.density:
        rows = slice(0, settings.density)
        samples, held_out = against.samples[rows], against.held_out[rows]
        gap = against.log_prob[rows] - student.log_prob(samples)
        counted = ~exploded(samples, settings)
        fields["forward_kl"] = transfer_records.estimate(gap, math.inf, counted)
        fit = student.log_prob(held_out)
        fields["data_log_prob"] = transfer_records.estimate(fit, -math.inf)
    return found._replace(scores=dataclasses.replace(found.scores, **fields))


def score_rows(against: Reference, x: np.ndarray, settings: Settings) -> Scored:
    """Scores of rows from anywhere, such as training data, which have no density."""
    far = exploded(x, settings)
    own_far = exploded(against.samples, settings)
    log_p = against.teacher.log_prob(x)
    finite, own_finite = (
        values[~rows & np.isfinite(values)]
        for values, rows in ((log_p, far), (against.log_prob, own_far))
    )
    shift = None
    if min(len(finite), len(own_finite)) > 1:
        shift = two_sample.mean_difference(finite, own_finite)
    scores = Scores(
        rows=len(x),
        exploded_percent=100.0 * float(far.mean()),
        teacher_log_prob=transfer_records.estimate(log_p, -math.inf, ~far),
        ks=two_sample.kolmogorov_smirnov(
            *(
                np.where(np.isnan(v), -np.inf, v).astype(np.float64)
                for v in (log_p, against.log_prob)
            )
        ),
        shift=shift,
        **_distances(against, x[~far], against.samples[~own_far], settings),
    )
    return Scored(scores, log_p)


def exploded(x: np.ndarray, settings: Settings) -> np.ndarray:
    """`[rows]`, True where a sample is not finite or out of reach."""
    flat = np.abs(_flat(x))
    return ~np.all((flat <= settings.reach) & np.isfinite(flat), axis=1)


def _distances(
    against: Reference, x: np.ndarray, samples: np.ndarray, settings: Settings
) -> dict[str, Any]:
    """Fields of `Scores` that compare rows; exploded ones are left out before."""
    own, theirs, held_out = (
        _flat(rows[: settings.judged]) for rows in (x, samples, against.held_out)
    )
    if min(len(own), len(theirs), len(held_out)) < FEWEST:
        return {}
    fields: dict[str, Any] = {
        "judged": len(own),
        "sliced_wasserstein": two_sample.sliced_wasserstein(own, theirs),
        "mmd": two_sample.mmd(own[:PAIRS], theirs[:PAIRS], against.bandwidth),
    }
    if settings.c2st:
        seed = against.seed
        fields["c2st_teacher"] = c2st.c2st(theirs, own, seed=seed)
        fields["c2st_data"] = c2st.c2st(held_out, own, seed=seed)
    return fields


def _flat(x: np.ndarray) -> np.ndarray:
    return x.reshape(len(x), math.prod(x.shape[1:]))
