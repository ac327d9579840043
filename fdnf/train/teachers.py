"""Trained flows from a workdir: as teachers, with their samples, and for evaluation."""

import hashlib
import json
import logging
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fdnf import files
from fdnf.data import archives
from fdnf.ops import trees
from fdnf.train import (
    checkpoint,
    distributed,
    faults,
    models,
    preprocess,
    settings,
    workdirs,
)
from fdnf.train.batches import Pool, Run, fold
from fdnf.train.preprocess import Data, Prepared, Preprocess
from fdnf.train.rules import ConfigError
from fdnf.train.settings import Experiment

_log = logging.getLogger(__name__)


class Trained(NamedTuple):
    """A flow with the best variables of each run of its workdir.

    Attributes:
      flow: the module.
      variables: its variables, leading axis runs.
      config: the config it was trained with.
      meta: of the checkpoint: `best` has `value` and `step`, one per run.
    """

    flow: models.Model
    variables: dict[str, Any]
    config: Any
    meta: dict[str, Any]

    @property
    def runs(self) -> int:
        """How many runs the variables hold."""
        return jax.tree.leaves(self.variables)[0].shape[0]

    @property
    def event(self) -> tuple[int, ...]:
        """Shape of one row of the data it was trained on."""
        return tuple(self.meta.get("event") or (self.meta["dim"],))

    @property
    def preprocess(self) -> Any:
        """What was done to the stored rows, see `preprocess`."""
        return preprocess.restore(self.meta.get("preprocess", {}))


def load(workdir: str | pathlib.Path) -> Trained:
    """The flow of a workdir with its best parameters.

    Raises:
      CheckpointError: if the workdir or a readable checkpoint in it is missing, if
        that of the last step of a finished run is, or if it is of a model that this
        version does not know.
    """
    params, constants, meta = checkpoint.load_best(workdir)
    _check_last(pathlib.Path(workdir), meta["step"])
    variables = {"params": params, "constants": constants}
    try:
        config = settings.from_dict(meta["config"])
        model = models.build(config.model)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise checkpoint.CheckpointError(
            f"the checkpoint in {workdir} describes a model that this version of fdnf "
            f"cannot make ({type(error).__name__}: {error}): use the version that "
            f"trained it, or train it anew; libraries then: {meta.get('versions')}"
        ) from error
    return Trained(model, variables, config, meta)


def _check_last(workdir: pathlib.Path, step: int) -> None:
    """Refuses an older checkpoint in place of the last one of a finished run."""
    try:
        result = workdirs.result(workdir)
    except files.DamagedError as damaged:
        _log.warning("%s", damaged)
        return
    if result is not None and step < result["steps"]:
        path = workdir / workdirs.FINISHED
        raise checkpoint.CheckpointError(
            f"{workdir} is finished at step {result['steps']}, but its newest "
            f"checkpoint that can be read is of step {step}: restore that of the last "
            f"step from a copy, or remove {path} and give the training command again, "
            "which trains the missing steps"
        )


def run_of(trained: Trained, run: int = 0) -> tuple[models.Model, dict[str, Any]]:
    """`(flow, variables)` of one run: what a loss takes as a teacher."""
    variables = {k: v for k, v in trained.variables.items() if v}
    return trained.flow, trees.take_run(variables, run)


def match(
    trained: Trained,
    event: tuple[int, ...],
    runs: int,
    preprocess: Prepared | None = None,
) -> tuple[Any, bool]:
    """A teacher's variables for `runs` students of data of shape `event`.

    Args:
      trained: the teacher.
      event: shape of one row of the students' data; that of the teacher's, unless
        rows are windows, whose size may be another.
      runs: number of students.
      preprocess: of the students' data; that of vectors by default.

    Returns:
      The variables and whether they keep a runs axis: a teacher of as many runs
      teaches run by run (so that intervals include the teacher's own spread); one of
      a single run teaches all.

    Raises:
      ConfigError: if the data differ, or the numbers of runs do not fit.
    """
    prepared = preprocess or Preprocess()
    if trained.event != tuple(event) and not prepared.windows:
        raise ConfigError(
            f"the teacher was trained on data of shape {trained.event}, the student's "
            f"have shape {tuple(event)}: name a teacher of the same data"
        )
    # Teacher and student see the same tensor, mirrored or not.
    theirs, ours = trained.preprocess.shared, prepared.shared
    if theirs != ours:
        raise ConfigError(
            f"the teacher saw {theirs}, the student sees {ours}: give both the same "
            "`data` section"
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


def generate(
    trained: Trained,
    rows: int,
    seed: int,
    limit: float = float("inf"),
    *,
    stored: bool = True,
) -> dict[str, np.ndarray]:
    """Samples of a teacher, for use as further training data.

    Every run of the teacher gives its share: of several, the rows come from the
    mixture of their densities. Rows that are not finite, or leave [-limit, limit], are
    left out: exploded samples teach nothing.

    Args:
      trained: the teacher.
      rows: how many to draw.
      seed: of the draw.
      limit: largest |x| of a sample that is kept, as the flow sees data.
      stored: whether samples are given as data sets store them, images as grey
        levels; otherwise as the flow made them.

    Returns:
      `generated`, the samples, and `generated_labels` of a
      conditional teacher, classes drawn uniformly.

    Raises:
      ConfigError: if no sample is left.
    """
    share = -(-rows // trained.runs)
    size = min(share, 8192 if len(trained.event) == 1 else 256)
    shape = (size, *trained.event)
    preprocess = trained.preprocess

    @jax.jit
    def draw(variables, key):
        labels = cond = None
        if preprocess.classes:
            labels = jax.random.randint(
                fold(key, Pool.LABELS), (size,), 0, preprocess.classes
            )
            cond = jax.nn.one_hot(labels, preprocess.classes)
        drawing = fold(key, Pool.LATENTS)
        x: Any = trained.flow.apply(
            variables, drawing, shape, 1.0, cond, method="sample"
        )
        # Written so that NaN is out too.
        kept = jnp.all(jnp.abs(x).reshape(size, -1) <= limit, axis=1)
        kept &= jnp.all(jnp.isfinite(x).reshape(size, -1), axis=1)
        return preprocess.to_stored(x) if stored else x, labels, kept

    found, classes = [], []
    for run in range(trained.runs):
        variables = run_of(trained, run)[1]
        own = fold(jax.random.key(seed + run), Run.POOL)
        keys = [fold(own, number) for number in range(-(-share // size))]
        drawn = [jax.device_get(draw(variables, key)) for key in keys]
        kept = np.concatenate([part[2] for part in drawn])[:share]
        found.append(np.concatenate([part[0] for part in drawn])[:share][kept])
        if preprocess.classes:
            classes.append(np.concatenate([p[1] for p in drawn])[:share][kept])
    out = {"generated": np.concatenate(found)}
    if classes:
        out["generated_labels"] = np.concatenate(classes)
    if not len(out["generated"]):
        raise ConfigError(
            f"none of the teacher's {rows} samples lies within {limit:.3g}: train the "
            "teacher longer, or set teacher.samples=0"
        )
    return out


class Source(NamedTuple):
    """Variables of a model trained before.

    Attributes:
      trained: the model.
      variables: its variables.
      by_run: whether they have a leading runs axis, one for each run that takes them.
    """

    trained: Trained
    variables: Any
    by_run: bool


def teachers_of(
    members: Sequence[Experiment], data: Data, prepared: Prepared
) -> Source:
    """The teachers' variables: once if all runs have the same, or one for each run.

    Raises:
      ConfigError: if the teachers differ in architecture, or saw other data.
    """
    loaded = {str(m.teacher): load(str(m.teacher)) for m in members}
    first = loaded[str(members[0].teacher)]
    found = []
    for member in members:
        trained = loaded[str(member.teacher)]
        if trained.flow != first.flow:
            raise settings.ConfigError(
                f"the teachers {members[0].teacher} and {member.teacher} are of "
                "different architecture: train their students apart (--pack=1)"
            )
        faults.check_same_data(
            member.config,
            "teacher",
            trained.config.data,
            f"the teacher {member.teacher}",
        )
        runs = member.config.runs
        variables, by_run = match(trained, data.event, runs, prepared)
        if len(loaded) == 1 and not by_run:
            return Source(first, variables, False)
        if not by_run:
            variables = jax.tree.map(lambda leaf: leaf[None], variables)
            variables = jax.tree.map(
                lambda leaf, n=runs: jnp.repeat(leaf, n, axis=0), variables
            )
        found.append(variables)
    stacked = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *found)
    return Source(first, stacked, True)


def pretrained_of(members: Sequence[Experiment]) -> Source:
    """The variables that the members' runs start from in part.

    Args:
      members: with one pretrained model for all, as `packs.plan` puts them together.

    Raises:
      ConfigError: if the numbers of runs do not fit.
    """
    member = members[0]
    trained, runs = load(str(member.pretrained)), member.config.runs
    for each in members:
        theirs = trained.config.data
        faults.check_same_data(each.config, "pretrained", theirs, each.pretrained)
    variables = jax.tree.map(jnp.asarray, trained.variables)
    if trained.runs == 1:
        return Source(trained, trees.take_run(variables, 0), False)
    if trained.runs != runs:
        raise settings.ConfigError(
            f"{member.pretrained} has {trained.runs} runs, {member.workdir} {runs}: "
            "give both the same `runs`, or the former one"
        )
    if len(members) > 1:  # Run by run, for each of them.
        variables = jax.tree.map(
            lambda leaf: jnp.concatenate([leaf] * len(members)), variables
        )
    return Source(trained, variables, True)


POOLS = "pools"
# Raise it when the same settings would give other samples.
POOL_VERSION = 2


def pool(
    trained: Trained,
    workdir: str | pathlib.Path,
    rows: int,
    seed: int,
    limit: float,
    *,
    stored: bool = True,
) -> dict[str, np.ndarray]:
    """`teachers.generate`, whose result is kept in `<workdir>/pools`.

    A pool is found again by everything that it depends on, the teacher's parameters
    included. One that cannot be read is drawn anew; a directory that cannot be
    written keeps none, which costs time only.

    Args:
      trained: the teacher.
      workdir: its directory.
      rows: see `teachers.generate`, as the rest.
      seed: likewise.
      limit: likewise.
      stored: likewise.
    """
    key = _pool_key(trained, rows=rows, seed=seed, limit=limit, stored=stored)
    name = hashlib.sha256(key.encode()).hexdigest()[:16]
    path = pathlib.Path(workdir) / POOLS / f"{name}.npz"
    found = _read_pool(path, key)
    if found is not None:
        return found
    _log.info("drawing %d samples of the teacher in %s", rows, workdir)
    drawn = generate(trained, rows, seed, limit, stored=stored)
    if distributed.is_first():
        _write_pool(path, key, drawn)
    return drawn


def _pool_key(trained: Trained, **settings: Any) -> str:
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(trained.variables):
        digest.update(jax.tree_util.keystr(path).encode())
        digest.update(np.ascontiguousarray(leaf).tobytes())
    settings |= {
        "version": POOL_VERSION,
        "model": trained.config.model.to_dict(),
        "preprocess": trained.meta.get("preprocess"),
        "parameters": digest.hexdigest(),
        # Another version of jax may draw other numbers.
        "jax": jax.__version__,
    }
    return json.dumps(settings, sort_keys=True)


def _read_pool(path: pathlib.Path, key: str) -> dict[str, np.ndarray] | None:
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as archive:
            found = {name: archive[name] for name in archive.files}
    except (ValueError, KeyError, MemoryError, *archives.DAMAGE) as error:
        _log.warning("%s cannot be read (%s): drawing the pool anew", path, error)
        return None
    return found if str(found.pop("key", "")) == key else None


def _write_pool(path: pathlib.Path, key: str, drawn: dict[str, np.ndarray]) -> None:
    # Several runs may draw the same pool at a time: the last to be done names it.
    try:
        with files.replacing(path) as file:
            np.savez(file, key=np.array(key), **drawn)  # pyright: ignore[reportArgumentType]
    except OSError as error:
        _log.warning("the pool of samples is not kept in %s: %s", path.parent, error)
