"""Exact test-set metrics of a trained workdir, one record per run."""

import pathlib
from typing import Any

import jax
import numpy as np

from fdnf.data.tabular import Tabular
from fdnf.evaluation import records, sampling, timing
from fdnf.evaluation.records import Record
from fdnf.metrics import likelihood, two_sample
from fdnf.train import settings, step, teachers
from fdnf.train.teachers import Trained

# A sample is exploded beyond this multiple of the largest |x| of the training rows.
REACH = 3.0

ARCHITECTURES = {
    "maf": "MAF",
    "iaf": "IAF",
    "glow_tabular": "Glow",
    "nice": "NICE",
    "realnvp": "RealNVP",
}


def evaluate(
    trained: Trained, data: Tabular, method: str, skipped: list[int]
) -> list[Record]:
    """What every run of a workdir was measured to be.

    Log-likelihoods are exact and cover each validation and test row once. Sample
    quality compares `eval.samples` samples with as many test rows; every method of a
    seed gets the same latents. Times are of run 0, jitted, on the default device.

    Args:
      trained: the flow with its best parameters.
      data: what it was trained on.
      method: "teacher", "student", "lkd", "ilkd" or "skd".
      skipped: skipped steps of each run.
    """
    config = trained.config
    if trained.dim != data.dim:
        raise settings.ConfigError(
            f"the flow was trained on data of dimension {trained.dim}, {data.name} has "
            f"dimension {data.dim}: evaluate it with the config it was trained with"
        )
    log_prob = step.make_log_prob(trained.flow, config.eval.batch_size)
    likelihoods = {
        split: log_prob(
            trained.variables["params"],
            trained.variables["constants"],
            getattr(data, split),
        )
        for split in ("val", "test")
    }
    density_ms, sampling_ms = latency(trained, data)
    found = []
    for run in range(trained.runs):
        seed = config.seed + run
        drawn = sampling.samples(trained, run, config.eval.samples, seed)
        kept = drawn[~exploded(drawn, data)]
        summaries = {
            split: likelihood.summary(values[run])
            for split, values in likelihoods.items()
        }
        metrics = {
            **distances(kept, data, seed),
            "exploded_percent": 100.0 * (1.0 - len(kept) / len(drawn)),
        }
        found.append(
            Record(
                arch=ARCHITECTURES[config.model.name],
                data=data.name,
                method=method,
                seed=seed,
                log_likelihood={k: (v[0], v[1]) for k, v in summaries.items()},
                parameters=timing.parameter_count(
                    {"params": teachers.run_of(trained, run)[1]["params"]}
                ),
                density_ms=density_ms,
                sampling_ms=sampling_ms,
                metrics=metrics,
                steps=config.train.steps,
                skipped_steps=skipped[run],
                source=data.source,
            )
        )
    return found


def exploded(samples: np.ndarray, data: Tabular) -> np.ndarray:
    """`[rows]`, True where a sample is not finite or far beyond all training rows.

    A handful of such rows would be all that a distance of samples shows. They are
    left out of it, and their share is reported beside it.
    """
    limit = REACH * np.abs(data.train).max()
    return ~np.all(np.abs(samples) <= limit, axis=1)


def distances(samples: np.ndarray, data: Tabular, seed: int) -> dict[str, float]:
    """Distances of samples to test rows, of which equally many are drawn."""
    rows = np.random.default_rng(seed).permutation(len(data.test))[: len(samples)]
    if len(samples) < 2 or len(rows) < 2:
        return {}
    test = data.test[np.sort(rows)]
    few = slice(0, 2500)
    return {
        "sliced_wasserstein": two_sample.sliced_wasserstein(samples, test),
        "energy_distance": two_sample.energy_distance(samples[few], test[few]),
    }


def floor(data: Tabular, rows: int, seed: int = 0) -> dict[str, float]:
    """The same distances between test rows and training rows: what is reachable."""
    rng = np.random.default_rng(seed)
    size = min(rows, len(data.test), len(data.train))
    picked = rng.choice(len(data.train), size, replace=False)
    return distances(data.train[picked], data, seed)


def latency(trained: Trained, data: Tabular) -> tuple[Any, Any]:
    """Milliseconds (median, p10, p90) of one batch: its density, and its sampling."""
    config = trained.config
    flow, variables = teachers.run_of(trained, 0)
    variables = jax.device_put(variables)
    size = min(config.eval.time_batch, len(data.test))
    x = jax.device_put(data.test[:size])
    z = flow.apply(variables, jax.random.key(0), x.shape, method="draw")
    density = jax.jit(lambda v, x: flow.apply(v, x, method="log_prob"))

    @jax.jit
    def decode(v: Any, z: Any) -> Any:
        decoding: Any = flow.apply(v, z, method="decode")
        return decoding.x

    return (
        timing.measure(density, variables, x).in_ms(),
        timing.measure(decode, variables, z).in_ms(),
    )


def write(found: list[Record], folder: pathlib.Path) -> None:
    """Writes `<folder>/<method>/seed_<n>/result.json` for each record."""
    for record in found:
        path = folder / record.method / f"seed_{record.seed}"
        path.mkdir(parents=True, exist_ok=True)
        (path / records.FILENAME).write_text(record.to_json(), encoding="utf-8")
