"""Flows on vectors: likelihoods, distances of samples, cost."""

from fdnf.evaluation.tables.columns import Column
from fdnf.evaluation.tables.view import View

# Walton et al. (2023), table 1; and the same of the validation rows.
LIKELIHOODS = tuple(
    View(
        f"{name} log-likelihood (nats)",
        (Column("log_likelihood", split=split),),
        index=("arch", "method"),
        each=(),
        spread="data",
        baselines=False,
        teacher_last=True,
    )
    for split, name in (("test", "Test"), ("val", "Validation"))
)
COMPARISON = View(
    "{arch} on {data}",
    (
        Column("log_likelihood"),
        Column("sliced_wasserstein", split="test"),
        Column("energy_distance", split="test"),
        Column("mmd", split="test"),
        Column("exploded_percent", split="test"),
        Column("parameters", show="count"),
        Column("density_ms", show="spread"),
        Column("sampling_ms", show="spread"),
    ),
    each=("arch", "data"),
    needs=("log_likelihood",),
    note="Times: one batch, median (10th-90th percentile).",
)
DIFFERENCES = View(
    "Difference to the plain student",
    COMPARISON.columns[:5],
    index=("arch", "data", "method"),
    each=(),
    against="student",
    baselines=False,
)
# Table 2.
COST = View(
    "Time and size",
    (
        Column("density_ms", show="spread"),
        Column("sampling_ms", show="spread"),
        Column("parameters", show="thousands", label="Params (K)"),
    ),
    index=("arch", "data", "method"),
    each=(),
    methods=("student", "teacher"),
    baselines=False,
    ratio=("teacher", "student"),
    note="Time of one batch: median (10th-90th percentile of the repetitions), median "
    "over the seeds that were timed: of those evaluated together the first. Density is "
    "x to z, sampling z to x. Distilled students have the plain one's size. Only times "
    "taken on one machine compare.",
)
VIEWS = (*LIKELIHOODS, COMPARISON, DIFFERENCES, COST)
