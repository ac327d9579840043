"""Training of what is in memory: its config, and its run by the trainer's loop."""

import contextlib
import pathlib
import sys
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from fdnf.data import memory, paths
from fdnf.data.memory import Rows
from fdnf.flows.base import FlowModule
from fdnf.train import (
    checkpoint,
    faults,
    generators,
    guiding,
    interruption,
    loop,
    models,
    settings,
    teachers,
    transfer,
    workdirs,
    writers,
)
from fdnf.train.rules import ConfigError
from fdnf.train.settings import Experiment, Held
from fdnf.train.teachers import Trained

# How often a training is validated.
_VALIDATIONS = 20
# Steps of one call of the program, of vectors and of images.
_CALL, _CALL_OF_IMAGES = 100, 10


def options(
    steps: int,
    batch_size: int,
    lr: float,
    early_stop: int | None,
    seed: int,
    more: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Dotted keys of a config, from the arguments of `fit`; those of `more` go last."""
    given: dict[str, Any] = {
        "train.steps": steps,
        "train.batch_size": batch_size,
        "train.early_stop": early_stop or 0,
        "optim.lr": lr,
        "seed": seed,
    }
    given |= dict(more or {})
    # Numbers of numpy are as good as Python's.
    return {k: v.item() if isinstance(v, np.generic) else v for k, v in given.items()}


def config(
    model: models.Model,
    sections: dict[str, Any],
    given: dict[str, Any],
    rows: Rows,
    count: int,
) -> ConfigDict:
    """The config of a training of arrays, checked.

    Args:
      model: what is trained.
      sections: what is not as by default; `loss.method` has to be there.
      given: dotted keys, set last.
      rows: all rows.
      count: of the rows to train on.

    Raises:
      ConfigError: for options that cannot be.
    """
    method, steps = sections["loss"]["method"], given["train.steps"]
    steps = steps if isinstance(steps, int) and steps > 0 else 1
    most = _CALL_OF_IMAGES if rows.pictures else _CALL
    call = _divisor(steps, min(most, max(steps // _VALIDATIONS, 1)))
    every = call * max(1, round(steps / call / _VALIDATIONS))
    described = models.describe(model)
    values: dict[str, Any] = {
        "model": described or {"name": type(model).__name__, "args": {}},
        "optim": {},
        "train": {
            "steps_per_call": call,
            "log_every": call * max(1, steps // call // 100),
            "eval_every": every,
            "init_rows": min(256 if rows.pictures else 4096, count),
        },
        **sections,
    }
    values["data"] = {
        "name": memory.PICTURES if rows.pictures else memory.VECTORS,
        "args": {},
        **sections.get("data", {}),
    }
    values["loss"] |= {"units": "bits_per_dim" if rows.pictures else "nats"}
    for part, methods in (
        ("args", ("lkd", "ilkd", "skd")),
        ("guided", guiding.METHODS),
        ("transfer", transfer.NEWEST),
        ("feed_forward", generators.METHODS),
    ):
        if method in methods:
            values["loss"][part] = {}
    made = ConfigDict(faults.complete(faults.complete(values), spare=True))
    settings.override(made, given)
    # A class of the user's own has no name that the table of keys could hold.
    checked = made.copy_and_resolve_references()
    if described is None:
        name = "affine" if isinstance(model, FlowModule) else "resnet"
        checked.model = ConfigDict({"name": name, "args": {}})
    settings.check(checked)
    return made


def _divisor(steps: int, most: int) -> int:
    """The largest number of steps a call, of which there is a whole number of calls."""
    return max(n for n in range(1, min(steps, most) + 1) if steps % n == 0)


def of_images(transforms: Any, conditional: bool) -> dict[str, Any]:
    """Keys of the `data` section."""
    known = ("n_bits", "logit", "flip")
    given = {} if transforms in (None, "standardise") else transforms
    if not isinstance(given, Mapping) or not {*given} <= {*known}:
        raise ConfigError(
            f"transforms={transforms!r}: of images expected some of {known}, such as "
            '{"logit": 0.05}'
        )
    return {"conditional": conditional, **given}


def trained(
    given: ConfigDict,
    held: Held,
    workdir: str | pathlib.Path | None,
    label: str | None,
) -> Trained:
    """Trains by the trainer's loop, in the workdir or one that is gone thereafter.

    Args:
      given: of `config`.
      held: what is trained, and on what.
      workdir: where, None for nowhere.
      label: name on the progress bar, None for no bar.

    Raises:
      ConfigError: for a model that cannot take such rows; and as the trainer.
    """
    settings.check_event(held.flow, held.data, held.prepared)
    shown = label if sys.stderr.isatty() else None
    with _place(workdir) as place, _interruptible():
        held = held._replace(passing=workdir is None)
        _train(Experiment(given, place, held=held), shown)
        found = teachers.load(place, held.flow)
        log = writers.read_log(place)
    # Where it is gone, so is the place; arrays of what a teacher said weigh nothing.
    kept = place if workdir is not None else None
    taught = held.teacher if held.answers is None else None
    return found._replace(meta=found.meta | {"log": log}, place=kept, taught=taught)


def _train(member: Experiment, label: str | None) -> None:
    with workdirs.alone([member.workdir]):
        if workdirs.finished(member.config, member.workdir) is None:
            loop.train_together([member], label)
            return
        checkpoint.check_foundations(
            member.workdir,
            checkpoint.meta_of(member.workdir),
            checkpoint.foundations([member], member.held.data)[0],
            member.config.train.get("accept_changes", False),
        )


@contextlib.contextmanager
def _place(workdir: str | pathlib.Path | None) -> Iterator[pathlib.Path]:
    if workdir is not None:
        yield paths.expanded(workdir)
        return
    with tempfile.TemporaryDirectory(prefix="fdnf-fit-") as place:
        yield pathlib.Path(place)


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl-C is what it is elsewhere in Python, once the step is done."""
    try:
        with interruption.handled():
            yield
    except interruption.StoppedBySignalError as stopped:
        if stopped.status != interruption.INTERRUPTED:
            raise
        raise KeyboardInterrupt(str(stopped)) from None
