"""A teacher, or a pretrained model, learns the rows of the model that takes from it.

A value given for `data` goes for the models that are trained first too, and sections
that differ are refused, unless `teacher.other_data` (`pretrained.other_data`) says that
they shall.
"""

import os
from collections.abc import Iterator, Mapping
from typing import Any

from fdnf.train import arguments, faults, keys
from fdnf.train.faults import ConfigError

# What may differ while the rows are the same: the size of the windows that are cut out
# of them, how many there are to validate on, and mirrored ones.
VIEWS = ("args.crop", "args.tile", "args.segment", "args.windows", "flip")
# Noise belongs to a density. What a model starts from need not have one.
NOISE = ("bins", "noise")
MAY_DIFFER = {"teacher": VIEWS, "pretrained": (*VIEWS, *NOISE)}
_PATHS = ("args.path", "args.root", "args.data_dir")


def inner(config: Any) -> Iterator[tuple[str, Any]]:
    """The models within a config that must have its data: section and config.

    Those that lie in a workdir are left out, and those that may have other data.
    """
    for name in MAY_DIFFER:
        section = config.get(name)
        if not section or section.get("workdir") or section.get("other_data", False):
            continue
        if section.get("config"):
            yield name, section.config


def reaching(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Of values given for a config, those that go for the model within it too.

    Args:
      name: its section, a key of MAY_DIFFER.
      given: dotted keys of the config and their values; one of the inner config's own,
        "teacher.config.data.name", goes before that of "data.name".
    """
    own = f"{name}.config."
    inner = {k.removeprefix(own): v for k, v in given.items() if k.startswith(own)}
    renamed = "data.name" in given
    passed = {}
    for key, value in given.items():
        part = key.removeprefix("data.")
        if not key.startswith("data.") or (part in MAY_DIFFER[name] and not renamed):
            continue
        if part == "args" and isinstance(value, Mapping) and not renamed:
            views = {k for k in value if f"args.{k}" in MAY_DIFFER[name]}
            value = {k: v for k, v in value.items() if k not in views}
        passed[key] = value
    return passed | inner


def differences(name: str, ours: Any, theirs: Any) -> list[str]:
    """Keys of two `data` sections by which their rows are not the same, and values.

    Args:
      name: whose data `theirs` are, a key of MAY_DIFFER.
      ours: the section of the model that takes from it.
      theirs: its own.
    """
    a, b = _whole(ours), _whole(theirs)
    return [
        f"data.{key} ({b.get(key)!r} there, {a.get(key)!r} here)"
        for key in sorted(a.keys() | b.keys())
        if key not in MAY_DIFFER[name] and a.get(key) != b.get(key)
    ]


def check(config: Any, name: str, theirs: Any, place: Any) -> None:
    """Refuses a trained model of other data.

    Args:
      config: of the model that takes from it.
      name: its section, a key of MAY_DIFFER.
      theirs: the `data` section that it was trained with.
      place: where it lies.

    Raises:
      ConfigError: with what differs, and how to say that it shall.
    """
    if config[name].get("other_data", False):
        return
    if found := differences(name, config.data, theirs):
        raise ConfigError(f"{place} was trained on other data: {said(name, found)}")


def said(name: str, found: list[str]) -> str:
    """What differs, and the way out."""
    return (
        f"{', '.join(found)}. Give both the same, or set {name}.other_data=True if the "
        "rows shall differ"
    )


def _whole(section: Any) -> dict[str, Any]:
    """Dotted keys and values, with the defaults of what is left out."""
    values = faults.plain(section)
    name, args = values.pop("name"), values.pop("args", None) or {}
    kind = arguments.kind_of(name)
    found = {"name": name}
    for key, entry in (keys.KINDS[kind] if kind else {}).items():
        if key.startswith("data.") and entry.default is not keys.NONE:
            found[key.removeprefix("data.")] = entry.default
    found |= {f"args.{k}": v for k, v in arguments.defaults(name).items()}
    found |= {f"args.{k}": v for k, v in args.items()}
    for key, value in values.items():
        if isinstance(value, Mapping):
            found |= {f"{key}.{k}": v for k, v in value.items()}
        else:
            found[key] = value
    for key in _PATHS:
        if isinstance(found.get(key), str):
            found[key] = os.path.abspath(os.path.expanduser(found[key]))
    return found
