"""A trained flow and a user's own rows: densities, samples for conditions, other tests.

How they are read is in `given`, and where it is written in `place`.
"""

import math
import os
import pathlib
from typing import Any

import numpy as np

from fdnf.data.images import Images
from fdnf.data.tabular import DataError, Tabular
from fdnf.evaluation.tasks import base, given, place
from fdnf.evaluation.tasks.place import Place
from fdnf.flows.base import FlowModule
from fdnf.metrics import likelihood
from fdnf.train.settings import ConfigError
from fdnf.train.teachers import Trained

DENSITY = "density"
# Of the noise on whole numbers in a table.
DRAWS = 16


def density(
    workdir: pathlib.Path, evaluation: Any, rows: str, out: str | None = None
) -> str:
    """Writes log p of each row of a file, in nats, of densities in the user's units.

    Args:
        workdir: of a trained flow.
        evaluation: an `eval` section; of images `draws` is how often noise is drawn,
            over which the mean is taken; of whole numbers in a table it is 16 times.
        rows: the file.
        out: the CSV file that is written, or a directory for it; by default
            `<workdir>/density/<name of the file>.csv`. Its columns are the number of
            the row, from 0 on, and `log_prob`; `log_prob_0`, ... of several runs.

    Returns:
        What is said of it: mean, rows that are not finite, the file.

    Raises:
        ConfigError: the model has no density, or the place is taken.
        DataError: the file cannot be read, or is of other columns.
        CheckpointError: there is no run.
    """
    trained = given.load(workdir, evaluation)
    _check_dense(trained)
    path = pathlib.Path(os.path.expanduser(rows))
    asked = given.read(trained, path)
    assert asked.x is not None
    where = Place.of(out, given.home(workdir) / DENSITY, path)
    draws = trained.config.eval.get("draws", DRAWS)
    try:
        found = [
            trained.log_prob(asked.x, asked.cond, run, draws=draws)
            for run in range(trained.runs)
        ]
    except ValueError as error:
        raise DataError(f"{path}: {error}") from error
    heads = ["log_prob"]
    if trained.runs > 1:
        heads = [f"log_prob_{run}" for run in range(trained.runs)]
    about = [_summary(values) for values in found]
    lines = zip(range(len(found[0])), *found, strict=True)
    where.write(
        {"": place.table(["row", *heads], lines)},
        {
            "unit": "nats",
            "step": trained.meta.get("step"),
            "draws of noise": draws if trained.preprocess.noisy else 0,
            "runs": about,
        },
    )
    told = [f"log p of {len(found[0]):,} rows of {path}, in nats:"]
    told += [f"  {_told(each, run, trained)}" for run, each in enumerate(about)]
    return "\n".join([*told, str(where.path)])


def sample(
    workdir: pathlib.Path,
    evaluation: Any,
    conditions: str,
    seed: int,
    each: int | None = None,
    out: str | None = None,
    draw: base.DrawRows | None = None,
) -> list[pathlib.Path]:
    """Draws samples for the condition in each row of a file, in the user's units.

    Args:
        workdir: of a trained flow that takes conditions.
        evaluation: an `eval` section; read are `samples` and `temperature`, of images
            the first of `temperatures`.
        conditions: the file.
        seed: of run 0; run r has `seed + r`.
        each: samples of each row; by default as many as make `eval.samples` in all, and
            at least one.
        out: the CSV file, of images the .npz file, or a directory for it; by default
            `<workdir>/samples/given_<name of the file>.csv`. Of run r > 0 the name ends
            in `_run_<r>`.
        draw: another way to draw than the flow's own; `exact_` then stands for
            `given_`.

    Returns:
        The files: of each run a CSV file, whose columns are `row` (of the conditions,
        from 0 on), `sample`, the conditions and the samples; and one .npz file with
        `conditions` `[rows, ...]` and of each run `run_<r>` `[rows, each, *event]`.

    Raises:
        As `density`.
    """
    trained = given.load(workdir, evaluation)
    path = pathlib.Path(os.path.expanduser(conditions))
    if trained.preprocess.windows:
        raise ConfigError(
            "--conditions is for vectors, tables and images with labels; models of "
            "super-resolution and speech take those of their data: leave it out"
        )
    if trained.preprocess.condition_shape(trained.event) is None:
        raise ConfigError(
            f"--conditions={path}: the model in {workdir} was trained without a "
            "condition: leave --conditions out"
        )
    if each is not None and each < 1:
        raise ConfigError(f"--samples={each}: expected at least 1 of each row")
    cond = given.read(trained, path, rows=False).cond
    assert cond is not None
    section = trained.config.eval
    each = each or max(1, section.samples // len(cond))
    where = Place.of(
        out, given.home(workdir) / base.SAMPLES, path, "exact_" if draw else "given_"
    )
    temperature = section.get("temperatures", (section.temperature,))[0]
    again = np.repeat(cond, each, axis=0)

    def own(run: int, rows: int, seed: int, cond: Any) -> np.ndarray:
        return trained.sample(seed, rows, cond, run, temperature)

    draw = draw or own
    try:
        drawn = [
            draw(run, len(again), seed + run, again) for run in range(trained.runs)
        ]
    except ValueError as error:
        raise DataError(f"{path}: {error}") from error
    arrays: dict[str, Any] = {"conditions": cond}
    for run, x in enumerate(drawn):
        arrays[f"run_{run}"] = x.reshape(len(cond), each, *x.shape[1:])
    contents = {".npz": place.archive(arrays)}
    if len(trained.event) == 1:
        heads = _heads(trained, cond.shape[1])
        for run, x in enumerate(drawn):
            numbers = zip(*np.divmod(np.arange(len(again)), each), strict=True)
            lines = (
                (*number, *c, *values)
                for number, c, values in zip(numbers, again, x, strict=True)
            )
            contents[f"_run_{run}" if run else ""] = place.table(heads, lines)
    return where.write(
        contents,
        {"step": trained.meta.get("step"), "seed": seed, "samples of each row": each},
    )


def replaced(trained: Trained, data: Any, rows: str) -> Any:
    """The data of a model with the rows of a file in place of its test rows.

    Args:
        trained: the model.
        data: its data set.
        rows: the file.

    Raises:
        ConfigError: the data are no vectors, table or images.
        DataError: as of `read`.
    """
    path = pathlib.Path(os.path.expanduser(rows))
    given.check_kind(trained, "--mode=eval --rows")
    asked = given.read(trained, path)
    prepared = trained.preprocess
    source = f"test rows from {path}; else {data.source}"
    try:
        stored, outside = prepared.stored(asked.x)
    except ValueError as error:
        raise DataError(f"{path}: {error}") from error
    if outside.any():
        raise DataError(
            f"{path}: row {int(np.argmax(outside))} lies outside of what its columns "
            f"can be ({int(outside.sum())} of {len(outside)} rows do), where there is "
            "no density: --mode=density names them all"
        )
    new = data._replace(name=path.stem, test=stored, source=source)
    if isinstance(data, Images):
        if data.labels is None:
            return new
        labels = np.zeros(len(stored)) if asked.cond is None else asked.cond
        return new._replace(labels=(*data.labels[:2], labels.astype(np.int32)))
    assert isinstance(data, Tabular)
    if data.conditions is not None:
        beside = prepared.stored_condition(asked.cond)
        new = new._replace(conditions=(*data.conditions[:2], beside))
    if data.weights is not None:
        ones = np.ones(len(stored), np.float32)
        new = new._replace(weights=(*data.weights[:2], ones))
    return new


def _check_dense(trained: Trained) -> None:
    given.check_kind(trained, "--mode=density")
    if not isinstance(trained.flow, FlowModule):
        raise ConfigError(
            f"--mode=density: {type(trained.flow).__name__}, a feed-forward student, "
            "has no density; its teacher has one"
        )


def _heads(trained: Trained, conditions: int) -> list[str]:
    """Of a CSV file of samples with their conditions."""
    own, beside = given.names(trained)
    own = own or [f"x_{i}" for i in range(trained.event[0])]
    beside = beside or [f"cond_{i}" for i in range(conditions)]
    return ["row", "sample", *beside, *own]


def _summary(values: np.ndarray) -> dict[str, Any]:
    """Mean of what is finite, its standard error, and the rows that are not."""
    good = np.isfinite(values)
    kept = values[good]
    return {
        "rows": len(values),
        "mean": float(kept.mean()) if len(kept) else None,
        "standard_error": (
            float(kept.std(ddof=1) / np.sqrt(len(kept))) if len(kept) > 1 else None
        ),
        "not_finite": int((~good).sum()),
        "first_not_finite": int(np.argmin(good)) if not good.all() else None,
    }


def _told(about: dict[str, Any], run: int, trained: Trained) -> str:
    said = f"run {run}: " if trained.runs > 1 else ""
    if about["mean"] is not None:
        said += f"mean {about['mean']:.4f}"
    if about["standard_error"] is not None:
        said += f" (standard error {about['standard_error']:.4f})"
    if about["mean"] is not None and trained.preprocess.levels:
        dim = math.prod(trained.event)
        bits = likelihood.bits_per_dim(about["mean"], dim, quantization=1)
        said += f", {float(bits):.4f} bits/dim"
    if about["not_finite"]:
        said += (
            f"; {about['not_finite']:,} row(s) not finite, left out of the mean, the "
            f"first is row {about['first_not_finite']}"
        )
    return said.lstrip("; ")
