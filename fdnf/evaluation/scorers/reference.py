"""What students of a density are held against: a teacher, its samples, and rows.

Here is which models are held against a teacher, on how many rows, and what is drawn of
it; `teacher` scores one against the other, and `certificate` and tables name both.
The teacher's samples are drawn once for all students of a run of it. Of a table given
conditions they are for those of the test rows.
"""

import dataclasses
import math
from typing import Any, NamedTuple

import jax
import numpy as np

from fdnf.data.images import Images
from fdnf.data.tabular import Tabular
from fdnf.evaluation.models import sampler as samplers
from fdnf.evaluation.models.sampler import Sampler
from fdnf.evaluation.scorers.context import Evaluation
from fdnf.metrics import two_sample
from fdnf.train import transfer
from fdnf.train.teachers import Trained

# What a score is against: the teacher's samples, or held-out rows.
TEACHER, HELD_OUT = "teacher", "test"
# What no student can be better than, as results call it.
FLOOR = "teacher_again"
TRAIN, TEST = 0, 2  # Splits.
# Streams of the key: the teacher's samples, all that are compared with them, further
# ones that are weighed, and those for a few conditions, the teacher's and others'.
OWN, OTHERS, FURTHER, OWN_GIVEN, OTHERS_GIVEN = range(5)
# Rows of a sample of which all pairs are taken.
PAIRS = 2500
# A sample is exploded beyond this multiple of the largest |x| of the training rows.
REACH = 3.0
# Rows that a classifier tells apart, unless `eval.judged_rows` says more or less, and
# images whose density an inverse autoregressive student gives value by value, unless
# `eval.density_rows` does.
JUDGED, JUDGED_IMAGES, DENSITY_IMAGES = 5_000, 2_000, 250
# Conditions for each of which several samples are drawn, samples of one at the least,
# and of all together, where a batch is smaller.
CONDITIONS, DRAWS, DRAWN = 32, 50, 4_096
# Rows of the batches whose times are taken, unless `eval.time_batches` says others.
BATCHES, BATCHES_IMAGES = (1, 100, 10_000), (1, 100)


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
        batch_size: rows at once.
        reach: largest |x| of a sample that is not exploded.
        time_batch: rows of the batch whose time is taken; 0 for no times.
        weighed: draws of a student that importance weights are taken of; 0 for
            `samples`.
        batches: rows of further batches whose times are taken.
    """

    samples: int = 10_000
    density: int = 10_000
    judged: int = 5_000
    batch_size: int = 1_000
    reach: float = math.inf
    time_batch: int = 1_000
    weighed: int = 0
    batches: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if min(self.samples, self.batch_size) < 2:
            raise ValueError(
                f"samples={self.samples}, batch_size={self.batch_size}: expected at "
                "least 2 each"
            )
        counts = self.density, self.judged, self.time_batch, self.weighed
        if min(counts) < 0 or not self.reach > 0:
            raise ValueError(
                f"density={self.density}, judged={self.judged}, time_batch="
                f"{self.time_batch}, weighed={self.weighed}, reach={self.reach}: "
                "expected 0 (for none) or more, and a positive reach"
            )
        if min(self.batches, default=1) < 1:
            raise ValueError(f"batches={self.batches}: expected rows, 1 or more each")


def settings_of(teacher: Trained, data: Tabular | Images, evaluation: Any) -> Settings:
    """The settings that follow from an `eval` section.

    Args:
        teacher: whose data reach as far as its preprocessing says.
        data: what it was trained on.
        evaluation: read are `samples`, `batch_size`, `time_batch`, and, where they
            are, `density_rows`, `judged_rows`, `weighed_rows` and `time_batches`.
    """
    images = isinstance(data, Images)
    judged = evaluation.get("judged_rows")
    judged = (JUDGED_IMAGES if images else JUDGED) if judged is None else judged
    batches = evaluation.get("time_batches")
    batches = (BATCHES_IMAGES if images else BATCHES) if batches is None else batches
    density = evaluation.get("density_rows", DENSITY_IMAGES if images else None)
    reach = teacher.preprocess.reach(data.train)
    return Settings(
        samples=evaluation.samples,
        density=evaluation.samples if density is None else density,
        judged=min(evaluation.samples, judged),
        # Of images one size, so that scores and times share programs.
        batch_size=evaluation.time_batch if images else evaluation.batch_size,
        reach=REACH * reach if reach else math.inf,
        time_batch=evaluation.time_batch,
        weighed=evaluation.get("weighed_rows") or 0,
        batches=tuple(batches) if evaluation.time_batch else (),
    )


def held_against(whole: Evaluation) -> Trained | None:
    """The teacher, if there is a model that learned its density from it."""
    teacher = whole.teacher if any(map(learns, whole.models.values())) else None
    return None if teacher is None or teacher.preprocess.classes else teacher


def learns(trained: Trained) -> bool:
    """Whether a model learned a teacher's density."""
    return trained.config.loss.method in transfer.METHODS


class Given(NamedTuple):
    """The teacher's draws for a few conditions, several for each.

    Attributes:
        cond: `[conditions * draws, ...]`, each condition as often as there are draws.
        samples: `[conditions, draws, features]`.
    """

    cond: np.ndarray
    samples: np.ndarray


class Reference(NamedTuple):
    """What all students of one run of a teacher are held against.

    Attributes:
        teacher: the teacher.
        samples: `[rows, *event]`, its samples.
        log_prob: `[rows]`, its own density of them, in nats.
        held_out: `[rows, *event]`, data that nobody was trained on.
        bandwidth: of the MMD, the same for all.
        seed: of all that is drawn.
        settings: how much is done.
        cond: `[rows, ...]`, what the teacher's samples are drawn given, as the flow
            takes it; None for a flow that takes none.
        held_out_cond: `[rows, ...]`, likewise of the held-out rows.
        others_cond: `[rows, ...]`, likewise of what is held against the teacher.
        given: its draws for a few of the conditions; None without.
    """

    teacher: Sampler
    samples: np.ndarray
    log_prob: np.ndarray
    held_out: np.ndarray
    bandwidth: float
    seed: int
    settings: Settings
    cond: np.ndarray | None = None
    held_out_cond: np.ndarray | None = None
    others_cond: np.ndarray | None = None
    given: Given | None = None


def of(
    teacher: Sampler,
    held_out: np.ndarray,
    settings: Settings,
    seed: int = 0,
    held_out_cond: np.ndarray | None = None,
) -> Reference:
    """Draws the teacher's samples.

    Args:
        teacher: it decodes and encodes.
        held_out: `[rows, *event]`, in the flow's own space.
        settings: how many.
        seed: of everything drawn.
        held_out_cond: `[rows, ...]`, their conditions, which samples are drawn given
            too, in turn. What is held against the teacher begins in their middle, and
            no more than half of them are judged: a condition that is there twice would
            tell a classifier, or mislead it.

    Raises:
        ValueError: the teacher has no density.
    """
    if not teacher.dense:
        raise ValueError(
            f"the teacher {type(teacher.flow).__name__} has no encode: students are "
            "judged by its density, so give a flow"
        )
    key = jax.random.fold_in(jax.random.key(seed), OWN)
    shape, cond, others = (settings.samples, *held_out.shape[1:]), None, None
    if held_out_cond is not None:
        half, turn = len(held_out_cond) // 2, np.arange(settings.samples)
        cond = held_out_cond[turn % len(held_out_cond)]
        others = held_out_cond[(turn + half) % len(held_out_cond)]
        judged = min(settings.judged, half)
        settings = dataclasses.replace(settings, judged=judged)
    samples, _ = teacher.weighed(key, shape, cond)
    bandwidth = math.nan
    kept = flat(samples, cond)[~exploded(samples, settings)]
    if settings.judged and len(kept) > 1:
        bandwidth = two_sample.median_distance(kept, kept)
    own = teacher.log_prob(samples, cond)
    drawn = Reference(teacher, samples, own, held_out, bandwidth, seed, settings)
    drawn = drawn._replace(cond=cond, held_out_cond=held_out_cond, others_cond=others)
    if held_out_cond is None:
        return drawn
    return drawn._replace(given=_given(drawn, np.unique(held_out_cond, axis=0)))


def of_run(whole: Evaluation, teacher: Trained, run: int) -> Reference:
    """What students are held against of a run of the teacher, once an evaluation."""

    def make() -> Reference:
        settings = settings_of(teacher, whole.data, whole.section)
        seed = teacher.config.seed + run
        x, cond = samplers.rows_of(teacher, whole.data, TEST, settings.samples, seed)
        model = samplers.of(teacher, run, settings.batch_size, fold=False)
        return of(model, x, settings, seed, cond)

    return whole.once(("reference", run), make)


def _given(drawn: Reference, known: np.ndarray) -> Given | None:
    """Draws for a few of the conditions; None where too few are asked for."""
    settings = drawn.settings
    # As far as that goes, what a compiled program makes at once.
    rows = min(settings.samples, max(DRAWN, settings.batch_size))
    count = min(CONDITIONS, rows // DRAWS, len(known))
    if count < 1:
        return None
    # Those of all heights, in the order of their values.
    chosen = known[np.linspace(0, len(known) - 1, count).astype(int)]
    cond = np.repeat(chosen, rows // count, axis=0)
    return Given(cond, draws(drawn, drawn.teacher, cond, count, OWN_GIVEN))


def draws(
    against: Reference, model: Sampler, cond: np.ndarray, count: int, stream: int
) -> np.ndarray:
    """`[conditions, draws, features]` of a model, given `cond` of as many rows."""
    key = jax.random.fold_in(jax.random.key(against.seed), stream)
    x, _ = model.weighed(key, (len(cond), *against.samples.shape[1:]), cond)
    # Exploded rows are counted where all rows are.
    rows = np.where(exploded(x, against.settings)[:, None], np.nan, flat(x))
    return rows.reshape(count, len(cond) // count, -1)


def exploded(x: np.ndarray, settings: Settings) -> np.ndarray:
    """`[rows]`, True where a sample is not finite or out of reach."""
    sizes = np.abs(flat(x))
    return ~np.all((sizes <= settings.reach) & np.isfinite(sizes), axis=1)


def flat(x: np.ndarray, cond: np.ndarray | None = None) -> np.ndarray:
    """Rows as vectors, with their conditions behind."""
    rows = x.reshape(len(x), math.prod(x.shape[1:]))
    if cond is None:
        return rows
    return np.concatenate([rows, cond.reshape(len(cond), -1)], axis=1)
