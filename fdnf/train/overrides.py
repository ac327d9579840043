"""Values given on a command line, or by a sweep, over those of a config file."""

import ast
import re
from collections.abc import Iterable, Mapping
from typing import Any

from ml_collections import ConfigDict

from fdnf.train import faults, same_data
from fdnf.train.faults import ConfigError

# Sections whose keys are those of a model or data set: what the file leaves out can be
# given too.
_OPEN = re.compile(r"(.*\.)?(model|data)\.args")
_FLAG = re.compile(r"--?config\.([\w.]+)(?:=(.*))?", re.DOTALL)


def apply(config: ConfigDict, given: Mapping[str, Any]) -> None:
    """Changes a config, and the data of the models within it; see `same_data`.

    A section `model.args` or `data.args` that is given whole keeps the keys that it
    does not name, unless the model or data set is another one.

    Args:
      config: is changed, locked or not.
      given: dotted keys and their values, {"optim.lr": 1e-3}.

    Raises:
      ConfigError: for a key that the config lacks, or a value of another type.
    """
    # A name comes before its arguments.
    for key, value in sorted(
        given.items(), key=lambda pair: _OPEN.match(pair[0]) is not None
    ):
        _set(config, key, value, given)
    for name, inner in same_data.inner(config):
        apply(inner, same_data.reaching(name, given))


def split(argv: Iterable[str]) -> tuple[list[str], dict[str, Any]]:
    """Takes out of a command line what is given for `model.args` and `data.args`.

    Returns:
      The rest, and by dotted key the values: what Python reads them as, else text.
    """
    rest, given, waiting = [], {}, ""
    for word in argv:
        if waiting:
            given[waiting], waiting = read(word), ""
            continue
        found = _FLAG.fullmatch(word)
        if not found or not _is_open(found[1]):
            rest.append(word)
        elif found[2] is None:
            waiting = found[1]
        else:
            given[found[1]] = read(found[2])
    if waiting:
        raise ConfigError(f"--config.{waiting}: a value is missing")
    return rest, given


def of_models(given: Mapping[str, Any]) -> dict[str, Any]:
    """Of dotted keys, those of `model` and `data` sections."""
    return {k: v for k, v in given.items() if {"model", "data"} & {*k.split(".")[:-1]}}


def _is_open(key: str) -> bool:
    """Whether it is one of the sections, or a key in one."""
    return any(map(_OPEN.fullmatch, (key, key.rpartition(".")[0])))


def _set(config: ConfigDict, key: str, value: Any, given: Mapping[str, Any]) -> None:
    *path, last = key.split(".")
    section: Any = config
    for name in path:
        section = section.get(name) if isinstance(section, ConfigDict) else None
    if not isinstance(section, ConfigDict):
        raise ConfigError(faults.unknown(key))
    if _OPEN.fullmatch(".".join(path)):
        with section.unlocked(), section.ignore_type():
            section[last] = value
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


def read(text: str) -> Any:
    """A value from a command line: what Python reads it as, else text."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return {"true": True, "false": False}.get(text.lower(), text)
