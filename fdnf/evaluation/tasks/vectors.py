"""Flows on vectors: likelihoods, distances of samples, cost."""

import math
import pathlib
from typing import Any

import jax
import numpy as np

from fdnf import files
from fdnf.data import build as datasets
from fdnf.data.tabular import DataError, Tabular
from fdnf.evaluation.core import methods
from fdnf.evaluation.pictures import calibration as calibrated
from fdnf.evaluation.pictures import marginals
from fdnf.evaluation.pictures import showers as pictured
from fdnf.evaluation.scorers import calibration, cost, likelihood, showers, vectors
from fdnf.evaluation.scorers.context import Evaluation
from fdnf.evaluation.tables.columns import Column
from fdnf.evaluation.tables.view import View
from fdnf.evaluation.tasks import base, densities, given, place
from fdnf.evaluation.tasks.base import Task
from fdnf.flows.base import FlowModule
from fdnf.train.preprocess import Preprocess
from fdnf.train.table import Table
from fdnf.train.teachers import Trained

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
SHOWERS = View(
    "Showers of {data} against simulated ones",
    (
        Column("cells_auc", split="test"),
        Column("features_auc", split="test"),
        Column("cells_auc", split="test", show="examples", label="judged"),
        Column("parameters", show="count"),
    ),
    needs=("cells_auc",),
)
CALIBRATION = View(
    "Calibration on {data}",
    (
        Column("crps", split="test"),
        Column("pit_ks", split="test"),
        Column("coverage_50", split="test"),
        Column("coverage_90", split="test"),
        Column("redshift_bias", split="test"),
        Column("redshift_sigma_mad", split="test"),
        Column("redshift_outliers", split="test"),
        Column("crps", split="test", show="examples", label="rows"),
    ),
    index=("item", "method"),
    needs=("crps",),
)
VIEWS = (COMPARISON, CALIBRATION, SHOWERS, DIFFERENCES, *LIKELIHOODS, COST)


def sample(
    trained: Trained,
    workdir: pathlib.Path,
    seed: int,
    draw: base.DrawRows | None = None,
    name: str = "samples",
) -> list[pathlib.Path]:
    """Draws `eval.samples` samples of each run.

    Args:
        trained: the flow.
        workdir: its directory.
        seed: of run 0; run r has `seed + r`.
        draw: another way to draw, None for the flow's own.
        name: of the files.

    Returns:
        The files: `samples/samples.npz` (arrays `run_0`, ..., in the table's units;
        of a table the names of its `columns`; of a conditional flow the test rows'
        `conditions` that each sample was given); of a table also `samples.csv`, with
        the conditions, and `samples_run_1.csv`, ... of more runs; and pictures.
    """
    folder, rows = workdir / base.SAMPLES, trained.config.eval.samples
    data: Any = _data(trained)
    near = _beside(data, rows)

    def own(run: int, rows: int, seed: int, cond: Any) -> np.ndarray:
        del cond  # That is of the test rows, too.
        return _given_back(data, vectors.samples(trained, run, rows, seed, data))

    draw = draw or own
    drawn = {
        f"run_{run}": draw(run, rows, seed + run, near.get("conditions"))
        for run in range(trained.runs)
    }
    archive = folder / f"{name}.npz"
    with files.replacing(archive) as file:
        np.savez(file, **drawn, **near)  # pyright: ignore[reportArgumentType]
    paths = [archive, *_tables(folder, drawn, near, name)]
    if name != "samples":  # The pictures are those of the flow's own.
        return paths
    shown = {"data": _test(data, rows), name: drawn["run_0"]}
    return [*paths, *marginals.of_samples(shown, folder, _names(data))]


def _data(trained: Trained) -> Tabular:
    """The data of a flow, whose test rows give the conditions of its samples.

    Raises:
        DataError: they cannot be had; of a conditional flow with the other way.
    """
    try:
        data: Any = datasets.build(trained.config.data)
    except DataError as error:
        shape = trained.preprocess.condition_shape(trained.event)
        if shape is None:
            raise
        _, names = given.names(trained)
        raise DataError(
            f"{error} Samples are given the conditions of the test rows; give others by"
            f" --conditions=FILE, with {', '.join(names) or f'{shape[0]} columns'}"
        ) from error
    return data


def _tables(
    folder: pathlib.Path,
    drawn: dict[str, np.ndarray],
    near: dict[str, np.ndarray],
    called: str,
) -> list[pathlib.Path]:
    """The samples of each run with their conditions, where columns have names."""
    if "columns" not in near:
        return []
    paths = []
    heads = [*near.get("condition_columns", ()), *near["columns"]]
    for name, x in drawn.items():
        beside = [near["conditions"]] if "condition_columns" in near else []
        lines = place.table(heads, np.concatenate([*beside, x], axis=1))
        end = "" if name == "run_0" else f"_{name}"
        paths.append(folder / f"{called}{end}.csv")
        with files.replacing(paths[-1]) as file:
            file.write(lines)
    return paths


def _names(data: Tabular) -> tuple[str, ...]:
    return () if data.columns is None else data.columns.names


def _given_back(data: Tabular, seen: np.ndarray) -> np.ndarray:
    """Rows as a flow sees them in the table's units."""
    return seen if data.columns is None else data.columns.decode(seen)


def _test(data: Tabular, rows: int) -> np.ndarray:
    """Test rows in their own units, as often as they count."""
    picked = vectors.chosen(data, min(rows, len(data.test)))
    return _given_back(data, vectors.seen(data, "test")[picked])


def _beside(data: Tabular, rows: int) -> dict[str, np.ndarray]:
    """Names of the columns, and the conditions that samples were given."""
    found = {}
    if data.columns is not None:
        found["columns"] = np.array(data.columns.names)
    if data.conditions is not None:
        beside = data.conditions[2][vectors.chosen(data, rows)]
        if (columns := data.condition_columns) is not None:
            beside = _conditions(data, vectors.chosen(data, rows))
            # As far as the stored ones have digits: a 0 is to be 0 again.
            for index, spread in enumerate(beside.std(axis=0)):
                digits = 6 - math.floor(math.log10(spread)) if spread > 0 else 6
                beside[:, index] = np.round(beside[:, index], digits)
            found["condition_columns"] = np.array(columns.names)
        found["conditions"] = beside
    return found


def draw(evaluation: Evaluation, folder: pathlib.Path) -> list[pathlib.Path]:
    """Samples of each model's first run beside the data."""
    rows, models = evaluation.section.samples, densities.named(evaluation)
    seed, data = next(iter(models.values())).config.seed, evaluation.data
    drawn = {"data": _test(data, rows)} | {
        label: _given_back(data, vectors.samples(trained, 0, rows, seed, data))
        for label, trained in models.items()
    }
    return marginals.of_samples(drawn, folder, _names(data))


def draw_calibration(
    evaluation: Evaluation, folder: pathlib.Path
) -> list[pathlib.Path]:
    """Of conditional flows, first runs: `pit.png`; of one column also `given.png`."""
    models = densities.named(evaluation)
    found = {
        label: calibration.of(evaluation, method, trained, 0)
        for (method, trained), label in zip(
            evaluation.models.items(), models, strict=True
        )
    }
    shown = {label: each for label, each in found.items() if each is not None}
    if not shown:
        return []
    first, data = next(iter(shown.values())), evaluation.data
    paths = [
        calibrated.pit_histograms(
            {label: each.pit for label, each in shown.items()},
            folder / "pit.png",
            names=first.names,
            title=f"{data.name}, test",
        )
    ]
    dense = {k: m for k, m in models.items() if isinstance(m.flow, FlowModule)}
    prepared: Any = next(iter(models.values())).preprocess
    if data.dim != 1 or prepared.noisy or not dense:
        return paths
    # Rows from one end to the other, by what they are.
    x = first.x[:, 0]
    rows = np.argsort(x)[(np.linspace(0.05, 0.95, 6) * (len(x) - 1)).astype(int)]
    low, high = np.quantile(x, (0.001, 0.999))
    at = np.linspace(low, high, 1000)
    cond = _conditions(data, vectors.chosen(data, len(x))[rows])
    maps = {
        label: np.exp(
            trained.log_prob(
                np.tile(at, len(rows))[:, None], np.repeat(cond, len(at), axis=0)
            )
        ).reshape(len(rows), -1)
        for label, trained in dense.items()
    }
    path = folder / "given.png"
    name = first.names[0]
    title = f"{data.name}: densities of {name}, given conditions of test rows"
    drawn = calibrated.conditional_densities(
        maps, at, x[rows], path, name=name, title=title
    )
    return [*paths, drawn]


def _conditions(data: Tabular, rows: np.ndarray) -> np.ndarray:
    """Conditions of test rows in their own units."""
    assert data.conditions is not None
    beside, columns = data.conditions[2][rows], data.condition_columns
    if columns is None:
        return beside
    return columns.decode(columns.encode(jax.random.key(0), beside)[0])


def draw_showers(evaluation: Evaluation, folder: pathlib.Path) -> list[pathlib.Path]:
    """High-level features of showers, of the first runs: `showers.png`."""
    data = evaluation.data
    if not showers.are(data):
        return []
    rows = evaluation.section.samples
    shown = {"data": showers.of_split(data, showers.VAL, rows)}
    for method, trained in evaluation.models.items():
        shown[methods.label(method)] = showers.drawn(evaluation, method, trained, 0)
    if (teacher := evaluation.teacher) and "teacher" not in evaluation.models:
        found = showers.drawn(evaluation, "teacher", teacher, 0)
        shown[methods.label("teacher")] = found
    given = {label: (x.cells, x.conditions[:, 0]) for label, x in shown.items()}
    path = folder / "showers.png"
    title = f"{data.name}, {data.dim} cells"
    return [pictured.high_level(given, showers.where(data), path, title=title)]


def _takes(trained: Trained) -> bool:
    preprocess = trained.preprocess
    return isinstance(preprocess, Preprocess | Table) and not preprocess.levels


TASK = Task(
    "vectors",
    _takes,
    scorers=(
        cost.scores,
        likelihood.scores,
        vectors.scores,
        calibration.scores,
        showers.scores,
    ),
    views=VIEWS,
    sample=sample,
    baselines=(vectors.floor, showers.floor),
    draw=(
        densities.draw_curves,
        densities.draw_levels,
        densities.draw_density,
        draw,
        draw_calibration,
        draw_showers,
    ),
    fits=densities.fits,
)
