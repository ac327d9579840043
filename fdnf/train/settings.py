"""Checks of a whole config, overrides of it, and its passage to JSON and back."""

import ast
import contextlib
import functools
import json
import pathlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import ml_collections
from ml_collections import ConfigDict

from fdnf.data import paths
from fdnf.data.tabular import DataError
from fdnf.flows.base import FlowModule
from fdnf.ops import entering
from fdnf.train import (
    faults,
    generators,
    guiding,
    keys,
    models,
    objectives,
    optim,
    preprocess,
    rules,
    speech,
    transfer,
)
from fdnf.train.preprocess import Data, Prepared
from fdnf.train.rules import ConfigError


class Held(NamedTuple):
    """What is there in memory already, in place of what a config would name.

    Attributes:
      data: the data set.
      prepared: what is done to its batches.
      flow: the model to train.
      teacher: the `teachers.Trained` that it learns from, if it does.
      answers: what a teacher who is not here said of the training rows, an
        `answers.Answers`.
      passing: whether the workdir is gone after the training, and saved at its end
        alone.
    """

    data: Data
    prepared: Prepared
    flow: models.Model
    teacher: Any = None
    answers: Any = None
    passing: bool = False


class Experiment(NamedTuple):
    """What is trained in a directory of its own.

    Attributes:
      config: of the experiment.
      workdir: its own directory.
      teacher: that of its trained teacher, if it has one.
      pretrained: that of the model whose weights it starts from in part.
      held: a `Held`, in place of the config's data, model and teacher; None where
        these are made as the config says.
    """

    config: Any
    workdir: pathlib.Path
    teacher: pathlib.Path | None = None
    pretrained: pathlib.Path | None = None
    held: Any = None


def check(config: Any) -> None:
    """Refuses what would only fail later, before any time is spent.

    First each key by itself, see `keys`, then what depends on several.

    Raises:
      ConfigError: naming all that is wrong.
    """
    faults.refuse(faults.of(config))
    # What two checks come across is said once.
    faults.refuse(list(dict.fromkeys(_disagreements(config))))


def _disagreements(config: Any, prefix: str = "") -> Iterator[str]:
    """What is wrong with keys that are right by themselves."""
    train, method = config.train, config.loss.method
    for key in ("steps", "eval_every", "log_every"):
        if train[key] % train.steps_per_call:
            yield (
                f"{prefix}train.{key}={train[key]} is not a multiple of "
                f"train.steps_per_call={train.steps_per_call}, the steps of one call"
            )
    if config.seed + config.runs > rules.SEEDS:
        yield (
            f"{prefix}seed={config.seed}, runs={config.runs}: the last seed is beyond "
            f"{rules.SEEDS - 1}"
        )
    if train.get("early_stop", 0) and method in transfer.NEWEST:
        yield (
            f"{prefix}train.early_stop={train.early_stop}: loss.method={method!r} "
            "keeps the newest parameters, not those of the best validation: leave it "
            "at 0"
        )
    checks: list[Callable[[], Any]] = [
        lambda: optim.make(config.optim, train.steps, stages=guiding.lengths(config))
    ]
    if method != "nll":
        checks.append(lambda: objectives.arguments(config))
    if method in generators.METHODS:
        checks.append(lambda: generators.weights(config))
    checks.append(lambda: _check_model(models.build(config.model), config))
    checks.append(lambda: speech.check_frames(config))
    checks.append(lambda: _check_once(config))
    for each in checks:
        try:
            each()
        except (ValueError, TypeError) as error:
            yield f"{prefix}{error}" if prefix else str(error)
    if objectives.needs_teacher(config):
        yield from _of_teacher(config, prefix)
    section = config.get("pretrained")
    if section and not (section.workdir or section.get("config")):
        yield (
            f"{prefix}pretrained: set pretrained.workdir to the workdir of a trained "
            "model, or pretrained.config to the config of one to train first"
        )
    elif section and not section.workdir:
        yield from _disagreements(section.config, f"{prefix}pretrained.config.")
    for name, inner in faults.models_within(config):
        if found := faults.data_differences(name, config.data, inner.data):
            told = faults.said_of_data(name, found)
            yield f"{prefix}{name}.config has other data: {told}"


def _of_teacher(config: Any, prefix: str) -> Iterator[str]:
    teacher = config.get("teacher")
    if teacher is None or not (teacher.workdir or teacher.get("config")):
        yield (
            f"{prefix}loss.method={config.loss.method!r} needs a teacher: set "
            "teacher.workdir to the workdir of a trained flow, or teacher.config "
            "to the config of one to train first"
        )
        return
    mixed = {"bins"} if teacher.share == 1 else {"bins", "mel"}
    if teacher.samples and mixed & set(config.data):
        yield (
            f"{prefix}teacher.samples={teacher.samples}: none are kept of images, and "
            "of sounds for whole batches (teacher.share=1); set it to 0"
        )
    if not teacher.workdir:  # On the command line it goes before the file's config.
        yield from _disagreements(teacher.config, f"{prefix}teacher.config.")


def _check_once(config: Any) -> None:
    teacher, method = config.get("teacher"), config.loss.method
    if not (teacher and teacher.get("once") and objectives.needs_teacher(config)):
        return
    told = f"teacher.once=True with loss.method={method!r}"
    if not objectives.only_encodes(config):
        raise ValueError(
            f"{told} asks the teacher more than what it makes of the rows: take lkd, "
            "ilkd (a weight of 0 for samples), x or oracle, or set it to False"
        )
    if convolves(config) and method != "oracle":
        raise ValueError(
            f"{told}: images and sounds get other noise in each batch, so that the "
            "teacher has to be asked about each: set it to False"
        )


def _check_model(model: models.Model, config: Any) -> None:
    _check_density(model, config.loss.method)
    speech.check_model(model, config.data)


def _check_density(model: models.Model, method: str) -> None:
    if method == objectives.MATCHING:
        objectives.check_velocity(model)
    without = (*transfer.DECODING, *generators.METHODS)
    if not isinstance(model, FlowModule) and method not in without:
        raise ValueError(
            f"loss.method={method!r} needs a density, which {type(model).__name__}, a "
            f"feed-forward student, does not have; it learns by {without}"
        )


def expand(config: Any) -> None:
    """Puts the home directory in place of `~` in the places that a config names.

    Once, where a config enters: what reads them later need not.

    Raises:
      DataError: for a `~` that stands for nothing.
    """
    # What is no section, or no text, is left to `check`.
    for name in ("teacher", "pretrained"):
        section: Any = config.get(name) if hasattr(config, "get") else None
        if not hasattr(section, "get"):
            continue
        if isinstance(workdir := section.get("workdir"), str) and workdir:
            section.workdir = str(paths.expanded(workdir))
        expand(section.get("config"))


def convolves(config: Any) -> bool:
    """Whether the data are images or sound, whose models are made of convolutions."""
    return bool({"n_bits", "bins", "mel"} & set(config.data))


def prepared(config: Any, data: Data) -> Prepared:
    """What the `data` section asks to be done to batches.

    Raises:
      ConfigError: for options that the data do not allow.
    """
    try:
        return preprocess.make(config.data, data)
    except ValueError as error:
        raise ConfigError(str(error)) from error


def check_event(flow: models.Model, data: Data, prepared: Prepared) -> None:
    """Refuses a flow that cannot take the data, by shapes alone.

    Raises:
      ConfigError: with what the flow has to say.
    """
    x = jax.ShapeDtypeStruct((2, *data.event), jnp.float32)
    cond = prepared.condition_shape(data.event)
    if cond is not None:
        cond = jax.ShapeDtypeStruct((2, *cond), jnp.float32)
    with explained(flow, data):
        init = functools.partial(models.init, flow)
        jax.eval_shape(init, jax.random.key(0), x, cond)


@contextlib.contextmanager
def explained(flow: models.Model, data: Data) -> Iterator[None]:
    """Around the first use of a flow on data: what fails is the config's fault.

    Raises:
      ConfigError: instead of the ValueError or TypeError of the flow.
    """
    try:
        yield
    except (ConfigError, DataError):
        raise
    except (ValueError, TypeError) as error:
        raise ConfigError(
            f"{type(flow).__name__} cannot take {data.name}, rows of shape "
            f"{data.event}: {error}"
        ) from error


def to_dict(config: Any) -> dict[str, Any]:
    """The config as what JSON can hold; tuples become lists."""
    return json.loads(json.dumps(config.to_dict()))


def from_dict(values: dict[str, Any]) -> ml_collections.ConfigDict:
    """The config that `to_dict` wrote, with keys that came later as their defaults.

    Lists of the file are made tuples again.
    """
    return ml_collections.ConfigDict(faults.complete(entering.tuples(values)))


# Sections whose keys are those of a model or data set: what the file leaves out can be
# given too.
_OPEN = re.compile(r"(.*\.)?(model|data)\.args")
_INSIDE = re.compile(r"((?:.*\.)?(?:model|data)\.args)\.(.+)")
# What is none of the keys of `data` is an argument of the data set: data.path.
_SHORT = re.compile(r"((?:.*\.)?data)\.(([^.]+).*)")
_OF_DATA = {"args"} | {
    key.split(".")[1] for key in keys.of_kind(None) if key.startswith("data.")
}
_FLAG = re.compile(r"--?config\.([\w.]+)(?:=(.*))?", re.DOTALL)


def override(config: ConfigDict, given: Mapping[str, Any]) -> None:
    """Changes a config, and the data of the models within it; see `faults`.

    A section `model.args` or `data.args` that is given whole keeps the keys that it
    does not name, unless the model or data set is another one. Of an argument that has
    keys of its own, one can be given (`model.args.transformer.bins`); one that was a
    name is then {"name": ...} with that key. What is none of the keys of `data` is an
    argument of the data set.

    Args:
      config: is changed, locked or not.
      given: dotted keys and their values, {"optim.lr": 1e-3}.

    Raises:
      ConfigError: for a key that the config lacks, or a value of another type.
    """

    def order(pair: tuple[str, Any]) -> tuple[bool, int]:
        # A name comes before its arguments, and an argument before what is in it.
        return _OPEN.match(pair[0]) is not None, pair[0].count(".")

    given = {_in_full(key): value for key, value in given.items()}
    for key, value in sorted(given.items(), key=order):
        _set(config, key, value, given)
    for name, inner in faults.models_within(config):
        override(inner, faults.reaching(name, given))


def split_flags(argv: Iterable[str]) -> tuple[list[str], dict[str, Any]]:
    """Takes out of a command line what is given for `model.args` and `data.args`.

    The latter may be left out: `data.path` is `data.args.path`.

    Returns:
      The rest, and by dotted key the values: what Python reads them as, else text.
    """
    rest, given, waiting = [], {}, ""
    for word in argv:
        if waiting:
            given[waiting], waiting = read_value(word), ""
            continue
        found = _FLAG.fullmatch(word)
        key = _in_full(found[1]) if found else ""
        if not found or not _is_open(key):
            rest.append(word)
        elif found[2] is None:
            waiting = key
        else:
            given[key] = read_value(found[2])
    if waiting:
        raise ConfigError(f"--config.{waiting}: a value is missing")
    return rest, given


def of_models(given: Mapping[str, Any]) -> dict[str, Any]:
    """Of dotted keys, those of `model` and `data` sections."""
    return {k: v for k, v in given.items() if {"model", "data"} & {*k.split(".")[:-1]}}


def _in_full(key: str) -> str:
    """The key of an argument of a data set that is given as one of `data`."""
    short = _SHORT.fullmatch(key)
    if not short or short[3] in _OF_DATA:
        return key
    return f"{short[1]}.args.{short[2]}"


def _is_open(key: str) -> bool:
    """Whether it is one of the sections, or a key in one, however deep."""
    return bool(_OPEN.fullmatch(key) or _INSIDE.fullmatch(key))


def _set(config: ConfigDict, key: str, value: Any, given: Mapping[str, Any]) -> None:
    inside = _INSIDE.fullmatch(key)
    *path, last = (*inside[1].split("."), inside[2]) if inside else key.split(".")
    section: Any = config
    for name in path:
        section = section.get(name) if isinstance(section, ConfigDict) else None
    if not isinstance(section, ConfigDict):
        raise ConfigError(faults.unknown(key))
    if inside:
        first, *more = last.split(".")
        with section.unlocked(), section.ignore_type():
            section[first] = _within(_argument(config, path, first), more, value)
        return
    if last not in section:
        raise ConfigError(faults.unknown(key))
    if _OPEN.fullmatch(key) and isinstance(value, Mapping):
        before: Any = section.get(last)
        renamed = f"{key.rpartition('.')[0]}.name" in given
        kept = {} if renamed or before is None else faults.plain(before)
        value = ConfigDict(kept | dict(value))
    try:
        section[last] = value
    except TypeError as error:
        raise ConfigError(f"override {key}={value!r}: {error}") from error


def _argument(config: ConfigDict, path: Sequence[str], name: str) -> Any:
    """An argument of a model or data set as it is, given or by default."""
    owner: Any = config
    for part in path[:-1]:
        owner = owner[part]
    found = owner.args.get(name)
    if found is not None:
        return found.to_dict() if isinstance(found, ConfigDict) else found
    if path[-2] == "data":
        return rules.defaults(owner.name).get(name)
    return rules.attributes(owner.name).get(name)


def _within(before: Any, path: Sequence[str], value: Any) -> Any:
    """What an argument becomes when it, or something in it, is given.

    Args:
      before: the argument.
      path: of keys in it, () for itself.
      value: what is given; a mapping that names nothing else keeps the other keys.
    """
    if path and isinstance(before, str):  # {"name": "spline"} as a word.
        before = {"name": before}
    kept = dict(before) if isinstance(before, Mapping) else {}
    if path:
        return kept | {path[0]: _within(kept.get(path[0]), path[1:], value)}
    if isinstance(value, Mapping) and value.get("name") in (None, kept.get("name")):
        return kept | dict(value)
    return value


def read_value(text: str) -> Any:
    """A value from a command line: what Python reads it as, else text."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return {"true": True, "false": False}.get(text.lower(), text)
