"""Trained flows from a workdir: as teachers, with their samples, and for evaluation."""

import logging
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float64, Shaped

from fdnf import files
from fdnf.corrected import Corrected
from fdnf.data import paths
from fdnf.ops import trees
from fdnf.train import (
    checkpoint,
    faults,
    models,
    preprocess,
    settings,
    single_file,
    units,
    workdirs,
)
from fdnf.train.preprocess import Data, Prepared, Preprocess
from fdnf.train.rules import ConfigError
from fdnf.train.settings import Experiment

# In the place of the workdir of a teacher that has none.
IN_MEMORY = "in memory"

_log = logging.getLogger(__name__)


class Trained(NamedTuple):
    """A flow with the best variables of each run of its workdir.

    `log_prob` and `sample` take and give arrays in the user's units, see `units`.

    Attributes:
      flow: the module.
      variables: its variables, leading axis runs.
      config: the config it was trained with.
      meta: of the checkpoint: `best` has `value` and `step`, one per run.
      place: the workdir or file that it was loaded from, None in memory.
      taught: the `Trained` that it learned from, where that is in memory, too.
    """

    flow: models.Model
    variables: dict[str, Any]
    config: Any
    meta: dict[str, Any]
    place: pathlib.Path | None = None
    taught: Any = None

    def __repr__(self) -> str:
        """The flow, and how well it does; a thousand numbers say less."""
        flow = " ".join(repr(self.flow).replace("# attributes", "").split())
        best = self.meta.get("best", {})
        return (
            f"Trained({flow}, rows of shape {self.event}, {self.runs} run(s), "
            f"best validation loss {best.get('value')} at step {best.get('step')})"
        )

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

    def log_prob(
        self,
        x: Any,
        cond: Any = None,
        run: int = 0,
        batch_size: int | None = None,
        *,
        draws: int = 1,
        seed: int = 0,
    ) -> Float64[np.ndarray, " rows"]:
        """Log density of each row in nats, see `units.log_prob`.

        Args:
          x: `[rows, *event]`, in the user's units; a data frame is taken by names.
          cond: conditions `[rows, ...]`, or one row for all, likewise.
          run: which of the runs; the rest as of `units.log_prob`.
          batch_size: rows at once.
          draws: of the noise of whole numbers.
          seed: of that noise.
        """
        of = (*self.of_run(run), self.preprocess, self.event)
        return units.log_prob(
            *of, x, cond, batch_size=batch_size, draws=draws, seed=seed
        )

    def sample(
        self,
        key: Any,
        n: int,
        cond: Any = None,
        run: int = 0,
        temperature: Any = 1.0,
        batch_size: int | None = None,
        *,
        exact: bool | str = False,
        teacher: Any = None,
    ) -> Shaped[np.ndarray, "n *event"]:
        """Draws `[n, *event]` in the user's units, see `units.sample`.

        Args:
          key: a key of jax, or a seed.
          n: how many rows.
          cond: conditions `[n, ...]` in the user's units, or one row for all.
          run: which of the runs.
          temperature: standard deviation of the latents.
          batch_size: rows at once.
          exact: of a student, whether its teacher weighs what it draws, so that the
            samples are the teacher's; or how, by a `method` of `corrected`.
          teacher: as of `corrected`.
        """
        if exact:
            if temperature != 1.0:
                raise ValueError(
                    f"temperature={temperature} with exact=True: exact samples are "
                    "those of the teacher's density: leave it at 1"
                )
            how: dict[str, Any] = {"teacher": teacher, "batch_size": batch_size}
            how |= {"method": exact} if isinstance(exact, str) else {}
            return np.asarray(self.corrected(key, n, cond, run, **how).x)
        if teacher is not None:
            raise ValueError("teacher is for exact=True: give both, or neither")
        of = (*self.of_run(run), self.preprocess, self.event)
        return units.sample(
            *of, key, n, cond, temperature=temperature, batch_size=batch_size
        )

    def corrected(
        self,
        key: Any,
        n: int,
        cond: Any = None,
        run: int = 0,
        *,
        teacher: Any = None,
        batch_size: int | None = None,
        **options: Any,
    ) -> Corrected:
        """Draws samples of the teacher that this student proposes, in its units.

        Args:
          key: a key of jax, or a seed.
          n: how many rows.
          cond: conditions `[n, ...]` in the user's units, or one row for all.
          run: which of the runs; and of the teacher's, if there are as many.
          teacher: what `load`, `fit` or `distil` gave, or its workdir or file; None for
            the one that the student learned from, see `teacher_of`.
          batch_size: rows at once.
          **options: `method`, `steps`, `tolerance` of `fdnf.corrected_sample`.

        Returns:
          The samples `x` as `sample` gives them, and how far to trust them.

        Raises:
          ConfigError: there is no teacher, or it saw other data.
          ValueError: as `fdnf.corrected_sample`.

        Warns:
          CorrectionWarning: where the samples are not to be trusted.
        """
        judge = teacher_of(self, teacher)
        own = self.of_run(run)
        taken, by_run = match(judge, self.event, self.runs, self.preprocess)
        if by_run:
            taken = trees.take_run(taken, run)
        taught = (judge.flow, taken)
        return units.corrected(
            *(*own, taught, self.preprocess, self.event, key, n, cond),
            **{"batch_size": batch_size, **options},
        )

    def save(self, path: str | pathlib.Path) -> None:
        """Writes one file that `fdnf.load` reads, on any machine.

        It has the flow's description, its parameters, the columns before it and the
        config; no pickle. What is there under that name is replaced.

        Args:
          path: of the file, such as "maf.npz"; the directory is made if absent.

        Raises:
          CheckpointError: it cannot be written, or the flow is one of another library.
        """
        single_file.write(path, single_file.Parts(*self[:4]))

    def of_run(self, run: int = 0) -> tuple[models.Model, dict[str, Any]]:
        """`(flow, variables)` of one run, on the device: what a loss or `apply` takes.

        Raises:
          ValueError: for a run that there is not.
        """
        if not 0 <= run < self.runs:
            raise ValueError(f"run={run}: there are {self.runs}, counted from 0")
        flow, variables = run_of(self, run)
        return flow, jax.device_put(variables)


def load(workdir: str | pathlib.Path, flow: models.Model | None = None) -> Trained:
    """The flow of a workdir with its best parameters, or that of a saved file.

    Args:
      workdir: that of a training, or what `Trained.save` wrote.
      flow: what it is of, where that is of a class of the user's own.

    Raises:
      CheckpointError: if the workdir or a readable checkpoint in it is missing, if
        that of the last step of a finished run is, if it is of a model that this
        version does not know, or of another than is given.
    """
    path = paths.expanded(workdir)
    if path.is_file() or (path.suffix == ".npz" and not path.exists()):
        return Trained(*single_file.read(workdir, flow), place=path)
    params, constants, meta = checkpoint.load_best(workdir)
    _check_last(pathlib.Path(workdir), meta["step"])
    variables = {"params": params, "constants": constants}
    if flow is not None:
        single_file.check(flow, variables, meta, str(workdir))
        config = settings.from_dict(meta["config"])
        return Trained(flow, variables, config, meta, path)
    try:
        config = settings.from_dict(meta["config"])
        model = models.build(config.model)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise checkpoint.CheckpointError(
            f"the checkpoint in {workdir} describes a model that this version of fdnf "
            f"cannot make ({type(error).__name__}: {error}): use the version that "
            f"trained it, or train it anew; libraries then: {meta.get('versions')}"
        ) from error
    return Trained(model, variables, config, meta, path)


def teacher_of(trained: Trained, given: Any = None) -> Trained:
    """The teacher that a student learned from, or the one that is given.

    It is where the student's config says, in the student's own workdir, or beside it,
    as a study leaves it that has moved since.

    Args:
      trained: the student.
      given: a `Trained`, or its workdir or file.

    Raises:
      ConfigError: there is none, or none of these places has it; with the way out.
      CheckpointError: it cannot be read.
    """
    if given is not None:
        return given if isinstance(given, Trained) else load(given)
    if trained.taught is not None:
        return trained.taught
    way = "name it: teacher=, what `load` or `fit` gives, or its workdir"
    section = trained.config.get("teacher") if trained.config else None
    named = section.get("workdir") if section else None
    if not section:
        raise ConfigError(
            f"this {type(trained.flow).__name__} learned from no teacher, whose samples"
            f" it could draw: {way}"
        )
    places = [paths.expanded(named)] if named and named != IN_MEMORY else []
    if trained.place is not None:
        own = trained.place.absolute()
        places += [own / "teacher", own.parent / "teacher"]
    there = [p for p in places if p.is_file() or (p / checkpoint.SUBDIRECTORY).exists()]
    mark = (trained.meta.get("rests_on") or {}).get("teacher")
    for place in there:
        found = load(place)
        if mark is None or found.meta.get("mark", mark) == mark:
            return found
        _log.warning("%s is not as it was when its student learned from it", place)
    if there:
        return load(there[0])
    looked = ", ".join(map(str, dict.fromkeys(places)))
    raise ConfigError(
        f"the teacher of this {type(trained.flow).__name__} is no longer there (looked "
        f"for it in {looked}): it was moved or removed, or was never saved; {way}"
    )


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


def run_of(trained: Trained, run: int = 0) -> tuple[Any, Any]:
    """`(flow, variables)` of one run: what a loss takes as a teacher."""
    variables: Any = trained.variables
    if isinstance(trained.flow, models.Model):
        variables = {k: v for k, v in variables.items() if v}
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
            f"{prepared.differences(trained.preprocess)}: give both the same `data` "
            "section"
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
