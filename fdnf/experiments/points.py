"""Points of a sweep: experiments that are trained and evaluated, and nothing else."""

import copy
import json
import os
import pathlib
from collections.abc import Sequence
from typing import Any

from ml_collections import ConfigDict

from fdnf.data import build as datasets
from fdnf.data import paths
from fdnf.evaluation.core import stored as results
from fdnf.experiments import study
from fdnf.ops import entering
from fdnf.train import distributed, objectives, packs, settings, stored, workdirs
from fdnf.train.settings import ConfigError, Experiment


def read(path: str | pathlib.Path, config: Any) -> list[Experiment]:
    """The points of a file.

    Args:
      path: of JSON, a list of `{"workdir": ..., "overrides": {"seed": 3, ...}}`.
      config: what the overrides change.

    Raises:
      ConfigError: for a file of another form, or a key that the config lacks.
    """
    try:
        text = pathlib.Path(path).read_text(encoding="utf-8")
        entries = [_entry(each) for each in json.loads(text)]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ConfigError(
            f"{path}: expected a list of objects with workdir and overrides "
            f"({type(error).__name__}: {error})"
        ) from error
    twice = {w for w, _ in entries if [v for v, _ in entries].count(w) > 1}
    if twice or not entries:
        raise ConfigError(f"{path}: no point, or a workdir twice: {sorted(twice)}")
    found = []
    for workdir, given in entries:
        try:
            found.append(member(_changed(config, given), paths.expanded(workdir)))
        except ConfigError as error:
            raise ConfigError(f"{path}, the point {workdir}: {error}") from error
    return found


def _entry(given: Any) -> tuple[str, dict[str, Any]]:
    """Workdir and overrides of a point."""
    workdir, overrides = os.fspath(given["workdir"]), given["overrides"]
    unknown = sorted(set(given) - {"workdir", "overrides"})
    if unknown or not workdir or not isinstance(overrides, dict):
        raise ValueError(f"got {str(given)[:200]}")
    return os.path.normpath(workdir), overrides


def member(config: Any, workdir: pathlib.Path) -> Experiment:
    """The experiment of a config, whose teacher must be there.

    Raises:
      ConfigError: if it names none.
    """
    found = {}
    if objectives.needs_teacher(config):
        found["teacher"] = config.teacher.workdir
        if not found["teacher"]:
            raise ConfigError(
                f"loss.method={config.loss.method!r} as a point needs a trained "
                "teacher: set teacher.workdir"
            )
    if config.get("pretrained"):
        found["pretrained"] = config.pretrained.workdir
        if not found["pretrained"]:
            raise ConfigError(
                "a point starts from what is trained already: set pretrained.workdir"
            )
    return Experiment(config, workdir, **{k: pathlib.Path(v) for k, v in found.items()})


def run(members: Sequence[Experiment], pack: str) -> list[pathlib.Path]:
    """Trains and evaluates; what is done already is not done again.

    Args:
      members: the points.
      pack: see `packs.limit`.

    Returns:
      The directories of those that failed or were refused; the others go on.

    Raises:
      ConfigError, DataError, CheckpointError: for what is wrong with an only point.
      WorkdirError: another process writes one of the directories.
    """
    sound, failed = [], []
    for each in members:
        try:
            settings.check(each.config)
            stored.place(each.workdir)
        except packs.REFUSALS as error:
            if len(members) == 1:
                raise
            packs.refuse(each, error)
            failed.append(each.workdir)
        else:
            sound.append(each)
    with workdirs.alone(each.workdir for each in sound):
        return failed + _run(sound, pack)


def _run(members: Sequence[Experiment], pack: str) -> list[pathlib.Path]:
    failed, data, name = [], None, ""
    label = "train"
    if len(members) == 1:
        label = method(members[0].config)
    for point, result in packs.train(members, pack, label):
        if result is None:
            failed.append(point.workdir)
            continue
        if not distributed.is_first():
            continue
        if results.evaluated(point.workdir, result["steps"]):
            continue
        section = json.dumps(settings.to_dict(point.config.data), sort_keys=True)
        if data is None or section != name:
            data, name = datasets.build(point.config.data), section
        where = {method(point.config): point.workdir}
        study.report(point.workdir, where, data, point.config.eval)
    return failed


def method(config: Any) -> str:
    """Its name in tables."""
    distilled = objectives.needs_teacher(config)
    return config.get("label") or (config.loss.method if distilled else config.role)


def _changed(config: Any, given: dict[str, Any]) -> ConfigDict:
    """A copy of the config with the overrides, whose keys are dotted paths."""
    changed = copy.deepcopy(config)
    settings.override(changed, entering.tuples(given))
    settings.expand(changed)
    return changed
