"""Experiments that train side by side in one program: which, and how many."""

import contextlib
import json
import logging
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import jax

from fdnf import files
from fdnf.data.tabular import DataError
from fdnf.train import (
    distributed,
    loop,
    objectives,
    process,
    settings,
    stored,
    workdirs,
)
from fdnf.train.checkpoint import SUBDIRECTORY, CheckpointError
from fdnf.train.ending import TrainingStoppedError
from fdnf.train.rules import ConfigError
from fdnf.train.settings import Experiment

# Which keys may differ within a group, and what it holds at most if nothing is asked
# for (it is halved when a device's memory does not suffice).
RULE = json.loads(pathlib.Path(__file__).with_name("packing.json").read_bytes())
# What is wrong with one member, and need not be with the others.
REFUSALS = (ConfigError, DataError, CheckpointError)

_log = logging.getLogger(__name__)


def limit(pack: str, images: bool = False) -> int:
    """The largest group that `--pack` allows.

    Raises:
      ConfigError: unless it is "auto" or a whole number from 1 on.
    """
    if pack == "auto":
        return RULE["largest_of_images" if images else "largest"]
    if not pack.isdecimal() or int(pack) < 1:
        raise ConfigError(f"--pack={pack}: expected auto, 1 (apart) or a number")
    return int(pack)


def plan(members: Sequence[Experiment], most: int) -> list[list[Experiment]]:
    """Groups of those that can train as one program, in the order they came.

    They may differ in seed, learning rate, weights of the loss (not in which are 0:
    such a term is not computed), and teacher (not in its architecture); and they must
    have a step to go on from in common.

    Args:
      members: unfinished experiments.
      most: members of a group.
    """
    groups: dict[str, list[tuple[set[int], list[Experiment]]]] = {}
    for member in members:
        saved = set(stored.steps(member.workdir / SUBDIRECTORY))
        alike = groups.setdefault(_program(member), [])
        for common, group in alike:
            fits = common & saved or (not common and not saved)
            if fits and len(group) < most:
                common &= saved
                group.append(member)
                break
        else:
            alike.append((saved, [member]))
    found = [group for alike in groups.values() for _, group in alike]
    for group in found:  # Those that share batches and teacher stand together.
        group.sort(key=lambda member: (member.config.seed, str(member.teacher)))
    return found


def train(
    members: Sequence[Experiment], pack: str = "auto", label: str = "train"
) -> Iterator[tuple[Experiment, dict[str, Any] | None]]:
    """Trains them, those that fit together at once.

    Args:
      members: experiments; finished ones come back at once.
      pack: see `limit`.
      label: name on the progress display.

    Yields:
      Each with the contents of its `finished.json`, or None if it failed or was
      refused (`failed.json`), as groups are done.

    Raises:
      ConfigError, DataError, CheckpointError: before training, for what is wrong with
        an only member; of several, the others go on.
      StoppedBySignalError: when a signal asked for it; all is saved.
    """
    images = bool(members) and settings.convolves(members[0].config)
    most, only = limit(pack, images), len(members) == 1
    found, todo = [], []
    for member in members:
        try:
            result = loop.check(member.config, member.workdir)
        except REFUSALS as error:
            if only:
                raise
            found.append((member, refuse(member, error)))
            continue
        if result is None:
            todo.append(member)
        else:
            found.append((member, result))
    yield from found
    waiting = plan(todo, most)
    while waiting:
        group = waiting.pop(0)
        name = label if len(group) == 1 else f"{label}, {len(group)} together"
        try:
            results = loop.train_together(group, name)
        except TrainingStoppedError as error:
            _log.error("%s: %s", group[0].workdir, error)
            for member in group:
                if not (member.workdir / workdirs.FAILED).exists():
                    workdirs.write_failed(member.workdir, error)
            results = [None] * len(group)
        except REFUSALS as error:
            # Of several processes each may be refused something else, and a disk that
            # is full is so for all.
            own = distributed.count() == 1 and not isinstance(error.__cause__, OSError)
            if only or not own:
                raise
            if len(group) > 1:
                _log.warning("not all of %d fit (%s): one by one", len(group), error)
                waiting[:0] = [[member] for member in group]
                continue
            results = [refuse(group[0], error)]
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error) or len(group) == 1:
                raise
            half = len(group) // 2
            _log.warning("%d together do not fit into memory: halved", len(group))
            waiting[:0] = [group[:half], group[half:]]
            continue
        yield from zip(group, results, strict=True)
        process.release_programs()


def refuse(member: Experiment, error: Exception) -> None:
    """Says why a member is not trained, there and on the terminal."""
    _log.error("%s is refused: %s", member.workdir, error)
    # Its directory may be what is wrong.
    with contextlib.suppress(OSError, *REFUSALS):
        stored.place(member.workdir).mkdir(parents=True, exist_ok=True)
        workdirs.write_failed(member.workdir, error)


def _program(member: Experiment) -> str:
    """What two members must agree in, as text: all but the keys that are free.

    Of those, too, what makes another program: which weights of the loss are 0, the
    teacher's architecture, and where students learn from samples, which are one pool
    for all, seed and teacher.
    """
    config = settings.to_dict(member.config)
    pooled = [config["seed"], str(member.teacher)]
    pooled *= bool((config.get("teacher") or {}).get("samples"))
    for key in RULE["free"]:
        *path, last = key.split(".")
        section: Any = config
        for name in path:
            section = section.get(name) or {}
        section.pop(last, None)
    config["terms"] = [bool(weight) for weight in objectives.weights(member.config)]
    config["model of the teacher"] = member.teacher and _model(member.teacher)
    return json.dumps([config, pooled], sort_keys=True)


def _model(teacher: pathlib.Path) -> Any:
    try:
        return files.read_json(teacher / workdirs.CONFIG, "it is not needed")["model"]
    except (OSError, KeyError):  # Its students then train apart from those of others.
        return str(teacher)
