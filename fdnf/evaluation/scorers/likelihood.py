"""Log-likelihood of held-out rows, in nats and, of images, in bits per dimension."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from fdnf.data.tabular import SPLITS
from fdnf.evaluation.core.scores import Score
from fdnf.evaluation.scorers.context import Context
from fdnf.flows.base import FlowModule
from fdnf.metrics import likelihood
from fdnf.train import keys, transfer, validation
from fdnf.train import weights as of_rows
from fdnf.train.teachers import Trained


def scores(context: Context) -> Iterator[Score]:
    """Log-likelihood of each validation and test row, once; bits/dim of images.

    Of vectors it is exact, of images, and of tables with whole numbers, a bound by
    `eval.draws` draws of noise, the same for all methods. Rows with weights count by
    them; of tables it is in their own units.
    """
    trained, data = context.trained, context.data
    found = context.whole.once(
        ("log_prob", context.method), lambda: _log_probs(trained, data)
    )
    for split, values in found.items():
        weights = of_rows.of(data, SPLITS.index(split))
        mean, error = likelihood.summary(
            values[context.run],
            None if weights is None else weights[: values.shape[1]],
        )
        n = values.shape[1]
        yield Score("log_likelihood", mean, split, n=n, se=error)
        if trained.preprocess.levels:
            # Grey levels are one apart.
            bits, spread = (
                likelihood.bits_per_dim(value, data.dim, quantization=1)
                for value in (mean, error)
            )
            yield Score("bits_per_dim", bits, split, n=n, se=abs(spread))
    if trained.preprocess.levels:
        context.note(_bound(trained.config.eval) if found else _without(trained))


def rows(trained: Trained) -> int | None:
    """How many rows of each split have their density taken; None for all.

    A student that learned to sample may invert its flow value by value: of it no more
    than `eval.density_rows`.
    """
    if not isinstance(trained.flow, FlowModule):
        return 0
    sampler = trained.config.loss.method in transfer.METHODS
    return trained.config.eval.get("density_rows") if sampler else None


def _log_probs(trained: Trained, data: Any) -> dict[str, np.ndarray]:
    """`[runs, rows]` of each split, in nats; none without a density, or if too slow."""
    evaluation, most = trained.config.eval, rows(trained)
    if most == 0:
        return {}
    log_prob = validation.make_log_prob(
        trained.flow,
        evaluation.batch_size,
        trained.preprocess,
        draws=evaluation.get("draws", 1),
        bound=evaluation.get("bound", keys.BOUNDS[0]),
    )
    labels = [trained.preprocess.beside(data, split) for split in (1, 2)]
    params, constants = (trained.variables[k] for k in ("params", "constants"))
    return {
        split: log_prob(
            params, constants, stored[:most], None if known is None else known[:most]
        )
        for split, stored, known in (
            ("val", data.val, labels[0]),
            ("test", data.test, labels[1]),
        )
    }


def _without(trained: Trained) -> str:
    if isinstance(trained.flow, FlowModule):
        return "No likelihood of data was asked for (eval.density_rows=0)."
    return "A feed-forward student has no likelihood."


def _bound(evaluation: Any) -> str:
    draws = evaluation.draws
    if draws == 1:
        return "Bits/dim: uniform dequantisation, 1 draw of noise an image."
    said = {
        "uniform": "uniform dequantisation, mean of log p(x + u)",
        "importance": "importance-weighted bound, log of the mean of p(x + u)",
    }
    return f"Bits/dim: {said[evaluation.bound]} over {draws} draws an image."
