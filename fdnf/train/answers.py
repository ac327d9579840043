"""What a teacher makes of rows, in place of the teacher: a loss that asks no more.

A teacher does not change. Runs that see the same batches ask it together (`asking`);
where batches are the same whenever their rows are drawn, it can be asked about every
row before training, and not again (`once`).
"""

import logging
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from fdnf.ops import trees
from fdnf.train import batches, objectives
from fdnf.train.batches import Arrays, Prepared
from fdnf.train.rules import ConfigError
from fdnf.train.teachers import Source
from fdnf.types import Encoding, ExternalFlow, Flow

_log = logging.getLogger(__name__)
# Of each set of rows, the array of what is beside them.
_BESIDE = {"train": "beside", "generated": "generated_beside"}


class Answers(NamedTuple):
    """What a teacher said of all rows before training: variables of its stand-in.

    Attributes:
      z: its latents, parts of `[rows, ...]`.
      levels: likewise, or () where a loss compares none.
    """

    z: tuple[Any, ...]
    levels: tuple[Any, ...]


# A teacher whose variables are its answer.
ANSWERED = ExternalFlow(encode=lambda answer, x, cond=None: answer)


def asking(config: Any, teacher: Flow) -> tuple[Flow, Callable] | None:
    """Splits what a teacher says of a batch from what a student makes of it.

    Returns:
      A teacher for `objectives.build` whose variables are its answer, and the function
      of (the teacher's variables, batch) to that answer; or None where the loss asks
      more.
    """
    if not objectives.only_encodes(config):
        return None

    def answer(variables: Any, batch: Arrays) -> Encoding:
        return teacher.apply(variables, batch["x"], batch.get("cond"), method="encode")

    return ANSWERED, answer


def looked_up(variables: Answers, batch: Arrays) -> Encoding:
    """The answer for a batch, whose rows have a `batches.ROW`.

    Args:
      variables: what was said of all rows, parts of `[rows, ...]`.
      batch: with the numbers of its rows, `[batch]`.

    Returns:
      z and levels, parts of `[batch, ...]`; densities are not kept, and 0.
    """
    found = jax.tree.map(lambda leaf: leaf[batch[batches.ROW]], variables)
    none = jnp.zeros(len(batch["x"]))
    return Encoding(found.z, none, found.levels, none)


def once(
    config: Any, source: Source, arrays: Mapping[str, np.ndarray], prepared: Prepared
) -> Answers:
    """What the teacher makes of every row that batches are drawn from.

    Args:
      config: of the student; read are `loss` and `eval.batch_size`.
      source: the teacher.
      arrays: the rows, and those of its samples, which are counted on from them.
      prepared: what is done to batches.

    Returns:
      Arrays `[rows, ...]` on the host, with a leading axis if each run has a teacher.
      Levels are kept where the loss compares them: as many numbers as the rows have,
      each.

    Raises:
      ConfigError: where batches are not made the same of the same rows each time.
    """
    if not prepared.fixed:
        raise ConfigError(
            "teacher.once=True, but these rows get noise, are cut into windows or "
            "mirrored anew in each batch, and the teacher has to see what the student "
            "sees: set it to False"
        )
    teacher: Any = source.trained.flow
    levels = objectives.arguments(config).get("latents") == "levels"
    size = config.eval.batch_size

    @jax.jit
    def ask(variables: Any, batch: dict[str, Array]) -> Answers:
        made = prepared.train(jax.random.key(0), batch)
        found = teacher.apply(variables, made["x"], made.get("cond"), method="encode")
        return Answers(found.z, found.levels if levels else ())

    def every(variables: Any) -> Answers:
        found = []
        for name, near in _BESIDE.items():
            rows = arrays.get(name, ())
            for start in range(0, len(rows), size):
                # The last one is filled up, so that the program has one size.
                at = np.arange(start, start + size).clip(max=len(rows) - 1)
                batch = {"x": rows[at]}
                if near in arrays:
                    batch["beside"] = arrays[near][at]
                said = jax.device_get(ask(variables, batch))
                left = len(rows) - start
                found.append(jax.tree.map(lambda leaf, left=left: leaf[:left], said))
        return jax.tree.map(lambda *parts: np.concatenate(parts), *found)

    count = sum(len(arrays.get(name, ())) for name in _BESIDE)
    _log.info("asking the teacher about each of %d rows, once", count)
    if not source.by_run:
        return every(source.variables)
    of_runs = [every(own) for own in trees.unstacked(source.variables)]
    return jax.tree.map(lambda *leaves: np.stack(leaves), *of_runs)
