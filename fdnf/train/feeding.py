"""What batches are drawn from, and the first of them."""

import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from fdnf.ops import statistics
from fdnf.train import pools, preprocess
from fdnf.train.preprocessing import Data, Prepared
from fdnf.train.streams import Run, fold
from fdnf.train.taught import Member, Taught

_log = logging.getLogger(__name__)

_TRAIN = 0  # The split.


class Feed(NamedTuple):
    """What batches are drawn from, and what is done to them.

    Attributes:
      arrays: for the devices, see `sampling.uniform`.
      share: of each batch that the teacher's samples have.
      prepared: what is done to batches.
    """

    arrays: dict[str, np.ndarray]
    share: float
    prepared: Prepared


def feed(
    member: Member, data: Data, prepared: Prepared, taught: Taught | None, reach: float
) -> Feed:
    """Training rows, and the teacher's samples where they are asked for.

    Args:
      member: read are `teacher`, `loss` and `seed` of its config.
      data: the data set.
      prepared: what is done to its batches.
      taught: the teacher.
      reach: largest |x| of the training data.
    """
    config = member.config
    arrays = {"train": data.train}
    beside = prepared.beside(data, _TRAIN)
    if beside is not None:
        arrays["beside"] = beside
    if taught is None or not config.teacher.samples:
        return Feed(arrays, 0.0, prepared)
    oracle = config.loss.method == "oracle"
    generated = pools.pool(
        taught.trained,
        str(member.teacher),
        config.teacher.samples,
        config.seed,
        config.loss.skd.reach * reach,
        stored=not oracle,
    )
    if not oracle:
        return Feed(arrays | generated, config.teacher.share, prepared)
    # These are what the student is to predict, to the digit: no noise comes on top,
    # and nothing is mirrored.
    arrays = {"train": generated["generated"]}
    if "generated_labels" in generated:
        arrays["beside"] = generated["generated_labels"]
    return Feed(arrays, 0.0, preprocess.Preprocess(classes=prepared.classes))


def first_batches(
    data: Data, prepared: Prepared, rows: int, seeds: Sequence[int]
) -> dict[str, Any]:
    """`[runs, rows, ...]`: the batch from which each run takes its statistics."""
    rows = min(rows, len(data.train))
    beside = prepared.beside(data, _TRAIN)
    batches = []
    for seed in seeds:
        picked = np.random.default_rng(seed).choice(
            len(data.train), rows, replace=False
        )
        batch = {"x": jnp.asarray(data.train[picked])}
        if beside is not None:
            batch["beside"] = jnp.asarray(beside[picked])
        key = fold(jax.random.key(seed), Run.FIRST)
        batches.append(prepared.train(key, batch))
    _tell_constant([batch["x"] for batch in batches])
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *batches)


def _tell_constant(batches: Sequence[Array]) -> None:
    """Warns of columns or channels that do not vary in some run's first batch."""
    for said in sorted({statistics.constant_part(x) or "" for x in batches} - {""}):
        _log.warning("%s Its rows are as many as train.init_rows says.", said)
