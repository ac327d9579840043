"""Students of a teacher's density held against it: floors, tables and pictures.

This goes with any task whose models may be samplers: `held` adds it.
"""

import pathlib

from fdnf.evaluation.core import methods
from fdnf.evaluation.pictures import teacher as pictures
from fdnf.evaluation.scorers import teacher
from fdnf.evaluation.scorers.context import Evaluation
from fdnf.evaluation.scorers.cost import ALONE
from fdnf.evaluation.scorers.reference import FLOOR, HELD_OUT
from fdnf.evaluation.scorers.reference import TEACHER as SPLIT
from fdnf.evaluation.scorers.teacher import (
    COLUMN,
    COLUMNS,
    CONDITION,
    FAR,
    LEFT_OUT,
    LOG_PROB,
    MEDIAN,
    P_VALUE,
    POSSIBLE,
)
from fdnf.evaluation.tables.columns import Column
from fdnf.evaluation.tables.view import View
from fdnf.evaluation.tasks.base import Task


def _both(metric: str, split: str, label: str, arrow: str) -> tuple[Column, ...]:
    """Mean and median over rows, and how many rows are left out of the mean."""
    return (
        Column(metric, split, label=f"{label}, mean {arrow}"),
        Column(metric, split, MEDIAN, label=f"{label}, median {arrow}"),
        Column(
            metric,
            split,
            LEFT_OUT,
            show="largest",
            label=f"{label}, left out",
            digits=0,
        ),
    )


SAMPLES = View(
    "{data}: samples against the teacher's (log p_T in nats)",
    (
        Column("teacher_log_prob", SPLIT, MEDIAN, label="log p_T, median"),
        Column("log_prob_shift", SPLIT, show="interval"),
        Column("ks", SPLIT),
        Column("c2st", SPLIT, label="C2ST, teacher ↓"),
        Column("c2st", HELD_OUT, label="C2ST, data ↓"),
        Column("sliced_wasserstein", SPLIT, digits=4),
        Column("mmd", SPLIT, label="1000 MMD² ↓", digits=2, scale=1e3),
        Column("exploded_percent", SPLIT, digits=2),
        Column("exploded_percent", SPLIT, show="examples", label="Samples"),
        Column("sliced_wasserstein", SPLIT, show="examples", label="judged"),
    ),
    needs=("teacher_log_prob",),
    note="log p_T is the density of samples under the teacher. It is best where it is "
    "that of the teacher's own samples (the floor): higher is a student concentrated "
    "on the teacher's modes, lower one that left them. The floor is of further samples "
    "of the teacher, which is what a perfect student would show in every column. "
    "Training data stand in the place of samples: their C2ST, data is the floor of "
    "that column (above 0.5 where the splits differ), and the other columns say how "
    "far the teacher is from the data. Sliced W2 and MMD² (Gaussian kernel as wide as "
    "the median distance of the teacher's samples) are to the teacher's samples. "
    "C2ST and distances are of the judged rows, MMD² of 2,500 at most; they depend on "
    "these numbers. Of a single seed the difference of means has Welch's interval.",
)
DIVERGENCES = View(
    "{data}: divergence of student (q) and teacher (p_T), in nats",
    (
        *_both("reverse_kl", SPLIT, "Reverse KL", "↓"),
        *_both("forward_kl", SPLIT, "Forward KL", "↓"),
        *_both("data_log_prob", HELD_OUT, "log q of held-out data", "↑"),
    ),
    needs=("reverse_kl",),
    note="A few rows far out may decide a mean, and then its se as well: the median "
    "tells of the typical row, and may be below 0. Rows left out of means are not "
    "finite, or exploded samples of the teacher; medians count them as infinitely bad. "
    "Log densities are of the data as the flow sees them; they compare within this "
    "table only.",
)
P_VALUES = View(
    "{data}: p-values that both samples are of one distribution",
    (
        Column("ks", SPLIT, P_VALUE, "", "largest", "KS of log p_T", 4),
        Column("log_prob_shift", SPLIT, P_VALUE, "", "largest", "Mean of log p_T", 4),
        Column("c2st", SPLIT, P_VALUE, "", "largest", "C2ST, teacher", 4),
        Column("c2st", HELD_OUT, P_VALUE, "", "largest", "C2ST, data", 4),
    ),
    needs=("ks",),
    note="Two-sample Kolmogorov-Smirnov, Welch's t of the means, binomial of the C2ST; "
    "the largest over seeds.",
)
SPEED = View(
    "{data}: speed",
    (
        Column("sampling_ms", given=ALONE, show="rate", label="Samples per second ↑"),
        Column(
            "sampling_ms",
            given=ALONE,
            show="faster",
            label="against one pass a dimension",
            to=FLOOR,
            base="naive_ms",
        ),
        Column(
            "sampling_ms",
            given=ALONE,
            show="faster",
            label="against the teacher as it samples here",
            to=FLOOR,
        ),
        Column("sampling_ms", given=ALONE, show="examples", label="Batch"),
        Column("sampling_ms", given=ALONE, show="spread", label="Sampling (ms)"),
        Column("density_ms", given=ALONE, show="rate", label="Densities per second ↑"),
        Column("naive_ms", show="rate", label="One pass a dimension: per second ↑"),
        Column("naive_ms", show="examples", label="its batch"),
        Column("naive_ms", show="spread", label="its time (ms)"),
    ),
    needs=("sampling_ms",),
    note="Time of one batch on one device, compiled and warmed up, until its result is "
    "there: median (10th-90th percentile), of the first run of a method. One pass a "
    "dimension evaluates each network as often as the data have dimensions, which is "
    "how an autoregressive flow is written down; here it computes only what is new in "
    "each step, and gives the same samples. Only times taken on one machine compare.",
)
CERTIFICATE = View(
    "{data}: certificate, how far students are from their teacher",
    (
        Column("c2st", SPLIT, label="C2ST, teacher ↓"),
        Column("c2st", HELD_OUT, label="C2ST, data ↓"),
        Column("auc", SPLIT, label="AUC, teacher ↓"),
        Column("auc", HELD_OUT, label="AUC, data ↓"),
        Column("reverse_kl", SPLIT, label="Reverse KL, mean (nats) ↓"),
        Column("reverse_kl", SPLIT, MEDIAN, label="Reverse KL, median (nats) ↓"),
        Column("reverse_kl", SPLIT, FAR, label="Reverse KL, 99.9 % quantile (nats) ↓"),
        Column(
            "reverse_kl",
            SPLIT,
            POSSIBLE,
            label="Reverse KL, mean without impossible draws (nats) ↓",
        ),
        Column("impossible_percent", SPLIT, label="Impossible draws (%) ↓"),
        Column("ess_share", SPLIT, label="ESS/N of weights ↑"),
        Column("khat", SPLIT, label="Pareto k-hat of weights ↓"),
        Column("ess_share", SPLIT, show="examples", label="draws weighed"),
        Column("tail", SPLIT, COLUMNS, label="Worst tail of a column (factor) ↓"),
        Column("tail", SPLIT, LOG_PROB, label="Worst tail of log p_T (factor) ↓"),
        Column("spread_ratio", SPLIT, label="Spread given a condition (ratio)"),
        Column("spread_ratio", SPLIT, CONDITION, label="of the worst condition"),
        Column("spread_ratio", SPLIT, COLUMN, label="of the worst column"),
        Column("exploded_percent", SPLIT, digits=2, label="Exploded samples (%) ↓"),
        Column("weights", SPLIT, show="count"),
        Column("c2st", SPLIT, show="examples", label="rows told apart"),
    ),
    needs=("c2st", "ess_share", "tail"),
    transposed=True,
    note="The floor is what further samples of the teacher score, which no student can "
    "be better than; its weights are 1 but for rounding.",
)
BATCHES = View(
    "{data}: sampling in batches",
    (
        Column("batch_ms", given=None, show="rate", label="Samples per second ↑"),
        Column(
            "batch_ms",
            given=None,
            show="faster",
            label="against one pass a dimension",
            to=FLOOR,
            base="batch_naive_ms",
        ),
        Column(
            "batch_ms",
            given=None,
            show="faster",
            label="against the teacher's fast inverse",
            to=FLOOR,
        ),
        Column("batch_ms", given=None, show="spread", label="Time (ms)"),
        Column("batch_ms", given=None, show="examples", label="of rows"),
        Column(
            "batch_naive_ms",
            given=None,
            show="rate",
            label="One pass a dimension: per second ↑",
        ),
        Column("batch_naive_ms", given=None, show="examples", label="timed on rows"),
    ),
    index=("given", "method"),
    needs=("batch_ms",),
    note="The first column is the batch. What is foreseen to take more than five "
    "seconds is timed on as many of its rows as do not, and a few times only. Samples "
    "come with their log density.",
)
VIEWS = (CERTIFICATE, SAMPLES, DIVERGENCES, P_VALUES, SPEED, BATCHES)


def held(task: Task) -> Task:
    """A task whose samplers are held against their teacher, as its first tables say."""
    task = task.extended((teacher.scores,), (), (teacher.floors,), (draw,))
    return task._replace(views=(*VIEWS, *task.views))


def draw(evaluation: Evaluation, folder: pathlib.Path) -> list[pathlib.Path]:
    """Of first runs: densities of samples under the teacher, and log weights.

    `densities.png`, and `weights.png` where a student has a density.
    """
    shown = teacher.pictured(evaluation)
    if not shown:
        return []
    judge = evaluation.teacher
    assert judge is not None
    name, seed = evaluation.data.name, judge.config.seed
    names = {FLOOR: pictures.TEACHER}
    # The floor is of the teacher's own samples.
    named = {names.get(m, m): shown[m] for m in methods.order(shown)}
    title = f"{name}: samples under the teacher (seed {seed})"
    paths = [pictures.histograms(named, folder / "densities.png", title=title)]
    weighed = teacher.weighed(evaluation)
    weights = {m: weighed[m] for m in methods.order(weighed)}
    if weights:
        title = f"{name}: importance weights of the students' draws (seed {seed})"
        paths.append(pictures.weights(weights, folder / "weights.png", title=title))
    return paths
