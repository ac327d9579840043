"""What the runs of a program take from models that were trained before."""

import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from fdnf.ops import trees
from fdnf.train import same_data, settings, teachers
from fdnf.train.preprocessing import Data, Prepared


class Member(NamedTuple):
    """An experiment: its config and directories.

    Attributes:
      config: of the experiment.
      workdir: its own directory.
      teacher: that of its trained teacher, if it has one.
      pretrained: that of the model whose weights it starts from in part.
    """

    config: Any
    workdir: pathlib.Path
    teacher: pathlib.Path | None = None
    pretrained: pathlib.Path | None = None


class Taught(NamedTuple):
    """Variables of a model trained before.

    Attributes:
      trained: the model.
      variables: its variables.
      by_run: whether they have a leading runs axis, one for each run that takes them.
    """

    trained: teachers.Trained
    variables: Any
    by_run: bool


def teachers_of(members: Sequence[Member], data: Data, prepared: Prepared) -> Taught:
    """The teachers' variables: once if all runs have the same, or one for each run.

    Raises:
      ConfigError: if the teachers differ in architecture, or saw other data.
    """
    loaded = {str(m.teacher): teachers.load(str(m.teacher)) for m in members}
    first = loaded[str(members[0].teacher)]
    found = []
    for member in members:
        trained = loaded[str(member.teacher)]
        if trained.flow != first.flow:
            raise settings.ConfigError(
                f"the teachers {members[0].teacher} and {member.teacher} are of "
                "different architecture: train their students apart (--pack=1)"
            )
        same_data.check(
            member.config,
            "teacher",
            trained.config.data,
            f"the teacher {member.teacher}",
        )
        runs = member.config.runs
        variables, by_run = teachers.match(trained, data.event, runs, prepared)
        if len(loaded) == 1 and not by_run:
            return Taught(first, variables, False)
        if not by_run:
            variables = jax.tree.map(lambda leaf: leaf[None], variables)
            variables = jax.tree.map(
                lambda leaf, n=runs: jnp.repeat(leaf, n, axis=0), variables
            )
        found.append(variables)
    stacked = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *found)
    return Taught(first, stacked, True)


def pretrained_of(members: Sequence[Member]) -> Taught:
    """The variables that the members' runs start from in part.

    Args:
      members: with one pretrained model for all, as `packs.plan` puts them together.

    Raises:
      ConfigError: if the numbers of runs do not fit.
    """
    member = members[0]
    trained, runs = teachers.load(str(member.pretrained)), member.config.runs
    for each in members:
        theirs = trained.config.data
        same_data.check(each.config, "pretrained", theirs, each.pretrained)
    variables = jax.tree.map(jnp.asarray, trained.variables)
    if trained.runs == 1:
        return Taught(trained, trees.take_run(variables, 0), False)
    if trained.runs != runs:
        raise settings.ConfigError(
            f"{member.pretrained} has {trained.runs} runs, {member.workdir} {runs}: "
            "give both the same `runs`, or the former one"
        )
    if len(members) > 1:  # Run by run, for each of them.
        variables = jax.tree.map(
            lambda leaf: jnp.concatenate([leaf] * len(members)), variables
        )
    return Taught(trained, variables, True)
