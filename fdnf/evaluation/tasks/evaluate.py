"""Test-set metrics of a trained workdir, one record per run."""

import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fdnf import files
from fdnf.data.images import Images
from fdnf.data.tabular import Tabular
from fdnf.evaluation.core import records
from fdnf.evaluation.core.records import Record
from fdnf.evaluation.models import timing
from fdnf.evaluation.scorers import cost, image_judge, vector_scores
from fdnf.flows.base import FlowModule
from fdnf.metrics import likelihood
from fdnf.train import keys, settings, teachers, transfer, validation
from fdnf.train.preprocess import Preprocess
from fdnf.train.teachers import Trained

ARCHITECTURES = {
    "glow": "Glow",
    "glow_tabular": "Glow",
    "maf": "MAF",
    "iaf": "IAF",
    "nice": "NICE",
    "realnvp": "RealNVP",
    "realnvp_multiscale": "RealNVP",
    "affine": "Affine",
    "mintnet": "MintNet",
    "pixelcnn": "PixelCNN",
    "pixelcnn_iaf": "PixelCNN IAF",
    "resnet": "ResNet",
}

Judge = Callable[[Trained, int, int], dict[str, Any]]


def judge(data: Tabular | Images, preprocess: Preprocess, evaluation: Any):
    """What judges samples: the one place where images part from vectors.

    Args:
      data: what the flows were trained on.
      preprocess: of the flows.
      evaluation: the `eval` section.

    Returns:
      A function of (trained, run, seed) to fields of the run's record; its
      `footnote()` goes below the tables.
    """
    if isinstance(data, Images):
        return image_judge.Judge(data, preprocess, evaluation)
    return vector_scores.Judge(data, evaluation)


def evaluate(
    trained: Trained,
    data: Tabular | Images,
    method: str,
    skipped: list[int],
    judged: Judge | None = None,
) -> list[Record]:
    """What every run of a workdir was measured to be.

    Log-likelihoods cover each validation and test row once: of vectors they are
    exact, of images bounds by `eval.draws` draws of noise, the same for all methods.
    Sample quality is that of `eval.samples` samples; every method of a seed gets the
    same latents. Times and memory are of run 0, jitted, on the default device, and
    stand in its record alone: a copy would count as a measurement.

    Args:
      trained: the flow with its best parameters.
      data: what it was trained on.
      method: "teacher", "student", "lkd", "ilkd" or "skd".
      skipped: skipped steps of each run.
      judged: what `judge` gives, to share among methods; made if there is none.
    """
    config = trained.config
    if trained.event != data.event:
        raise settings.ConfigError(
            f"the flow was trained on data of shape {trained.event}, {data.name} has "
            f"{data.event}: evaluate it with the config it was trained with"
        )
    judged = judged or judge(data, trained.preprocess, config.eval)
    log_probs = _log_probs(trained, data)
    taken = measure(trained, data)
    dense = isinstance(trained.flow, FlowModule)
    found = []
    for run in range(trained.runs):
        seed = config.seed + run
        fit = {k: likelihood.summary(v[run]) for k, v in log_probs.items()}
        fields = judged(trained, run, seed)
        if trained.preprocess.levels:
            fields["bits_per_dim"] = {k: _bits(v, data.dim) for k, v in fit.items()}
            said = _bound(config.eval) if fit else _without(dense)
            fields["notes"] = (said, *fields.get("notes", ()))
        found.append(
            Record(
                arch=ARCHITECTURES[config.model.name],
                data=data.name,
                method=method,
                seed=seed,
                log_likelihood={k: (v.mean, v.standard_error) for k, v in fit.items()},
                parameters=timing.parameter_count(
                    {"params": teachers.run_of(trained, run)[1]["params"]}
                ),
                **(taken if run == 0 else UNTIMED)._asdict(),
                steps=config.train.steps,
                skipped_steps=skipped[run],
                source=data.source,
                settings=config.model.args.to_dict(),
                **fields,
            )
        )
    return found


def _log_probs(trained: Trained, data: Tabular | Images) -> dict[str, np.ndarray]:
    """`[runs, rows]` of each split, in nats; none without a density, or if too slow."""
    evaluation, most = trained.config.eval, _density_rows(trained)
    if most == 0:
        return {}
    log_prob = validation.make_log_prob(
        trained.flow,
        evaluation.batch_size,
        trained.preprocess,
        draws=evaluation.get("draws", 1),
        bound=evaluation.get("bound", keys.BOUNDS[0]),
    )
    labels: Any = (None, None, None)
    if isinstance(data, Images) and data.labels is not None:
        labels = data.labels
    params, constants = (trained.variables[k] for k in ("params", "constants"))
    return {
        split: log_prob(params, constants, rows[:most], _first(known, most))
        for split, rows, known in (
            ("val", data.val, labels[1]),
            ("test", data.test, labels[2]),
        )
    }


def _density_rows(trained: Trained) -> int | None:
    """How many rows of each split have their density taken; None for all."""
    if not isinstance(trained.flow, FlowModule):
        return 0
    sampler = trained.config.loss.method in transfer.METHODS
    return trained.config.eval.get("density_rows") if sampler else None


def _first(labels: np.ndarray | None, most: int | None) -> np.ndarray | None:
    return None if labels is None else labels[:most]


def _without(dense: bool) -> str:
    if dense:
        return "No likelihood of data was asked for (eval.density_rows=0)."
    return "A feed-forward student has no likelihood."


def _bits(fit: likelihood.Summary, dim: int) -> tuple[float, float]:
    """Mean and standard error in bits per dimension; grey levels are one apart."""
    mean, error = (likelihood.bits_per_dim(v, dim, quantization=1) for v in fit)
    return mean, abs(error)


def _bound(evaluation: Any) -> str:
    draws = evaluation.draws
    if draws == 1:
        return "Bits/dim: uniform dequantisation, 1 draw of noise an image."
    said = {
        "uniform": "uniform dequantisation, mean of log p(x + u)",
        "importance": "importance-weighted bound, log of the mean of p(x + u)",
    }
    return f"Bits/dim: {said[evaluation.bound]} over {draws} draws an image."


class Cost(NamedTuple):
    """Time (median, p10, p90) and peak memory of a batch; None what was not taken."""

    time_batch: int | None
    density_ms: tuple[float, float, float] | None
    sampling_ms: tuple[float, float, float] | None
    density_mib: float | None
    sampling_mib: float | None


UNTIMED = Cost(None, None, None, None, None)


def measure(trained: Trained, data: Tabular | Images) -> Cost:
    """Cost of the density of one batch, and of decoding one; a Glow decodes folded."""
    size = min(trained.config.eval.time_batch, len(data.test))
    dense = _density_rows(trained) != 0
    found = cost.measure(trained, data.test[:size], density=dense)
    return Cost(
        found.batch,
        found.density and found.density.in_ms(),
        found.sampling.in_ms(),
        found.density_mib,
        found.sampling_mib,
    )


def write(found: list[Record], folder: pathlib.Path) -> None:
    """Writes `<folder>/<method>/seed_<n>/result.json` for each record."""
    for record in found:
        path = folder / record.method / f"seed_{record.seed}"
        files.write_text(path / records.FILENAME, record.to_json())
