"""Trained flows from a workdir, as teachers or for evaluation."""

import pathlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fdnf.flows import build as flows
from fdnf.flows.base import FlowModule
from fdnf.ops import trees
from fdnf.train import checkpoint, settings
from fdnf.train.settings import ConfigError


class Trained(NamedTuple):
    """A flow with the best variables of each run of its workdir.

    Attributes:
      flow: the module.
      variables: its variables, leading axis runs.
      config: the config it was trained with.
      meta: of the checkpoint: `best` has `value` and `step`, one per run.
    """

    flow: FlowModule
    variables: dict[str, Any]
    config: Any
    meta: dict[str, Any]

    @property
    def runs(self) -> int:
        """How many runs the variables hold."""
        return jax.tree.leaves(self.variables)[0].shape[0]

    @property
    def dim(self) -> int:
        """Width of the data it was trained on."""
        return int(self.meta["dim"])


def load(workdir: str | pathlib.Path) -> Trained:
    """The flow of a workdir with its best parameters.

    Raises:
      CheckpointError: if the workdir or a readable checkpoint in it is missing.
    """
    params, constants, meta = checkpoint.load_best(workdir)
    config = settings.from_dict(meta["config"])
    variables = {"params": params, "constants": constants}
    return Trained(flows.build(config.model), variables, config, meta)


def run_of(trained: Trained, run: int = 0) -> tuple[FlowModule, dict[str, Any]]:
    """`(flow, variables)` of one run: what a loss takes as a teacher."""
    variables = {k: v for k, v in trained.variables.items() if v}
    return trained.flow, trees.take_run(variables, run)


def match(trained: Trained, dim: int, runs: int) -> tuple[Any, bool]:
    """A teacher's variables for `runs` students of width `dim`.

    Args:
      trained: the teacher.
      dim: width of the students' data.
      runs: number of students.

    Returns:
      The variables and whether they keep a runs axis: a teacher of as many runs
      teaches run by run (so that intervals include the teacher's own spread); one of
      a single run teaches all.

    Raises:
      ConfigError: if the width differs, or the numbers of runs do not fit.
    """
    if trained.dim != dim:
        raise ConfigError(
            f"the teacher was trained on data of dimension {trained.dim}, the "
            f"student's data have dimension {dim}: name a teacher of the same data"
        )
    variables = jax.tree.map(jnp.asarray, trained.variables)
    if trained.runs == 1:
        return trees.take_run(variables, 0), False
    if trained.runs != runs:
        raise ConfigError(
            f"the teacher has {trained.runs} runs, the student {runs}: give both the "
            "same `runs`, or the teacher one"
        )
    return variables, True


def generate(trained: Trained, rows: int, seed: int) -> np.ndarray:
    """Samples of a teacher, for use as further training data.

    Every run of the teacher gives its share: of several, the rows come from the
    mixture of their densities. Rows that are not finite are left out.

    Args:
      trained: the teacher.
      rows: how many to draw.
      seed: of the draw.
    """
    share = -(-rows // trained.runs)
    size = min(share, 8192)
    shape = (size, trained.dim)
    draw = jax.jit(
        lambda variables, key: trained.flow.apply(
            variables, key, shape, method="sample"
        )
    )
    found = []
    for run in range(trained.runs):
        variables = run_of(trained, run)[1]
        keys = jax.random.split(jax.random.key(seed + run), -(-share // size))
        drawn = [np.asarray(draw(variables, key)) for key in keys]
        found.append(np.concatenate(drawn)[:share])
    out = np.concatenate(found)
    return out[np.all(np.isfinite(out), axis=1)]
