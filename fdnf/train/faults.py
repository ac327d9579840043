"""What is wrong with a config, by the table of its keys: everything at once.

A teacher, or a pretrained model, learns the rows of the model that takes from it. A
value given for `data` goes for the models that are trained first too, and sections that
differ are refused, unless `teacher.other_data` (`pretrained.other_data`) says that they
shall.
"""

import copy
import difflib
import functools
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from fdnf.data import build as datasets
from fdnf.data.tabular import DataError
from fdnf.train import keys, objectives, rules
from fdnf.train.keys import Key
from fdnf.train.rules import ConfigError

# Sections that hold what the table does not list key by key.
_WHOLE = ("model.args", "data.args", "teacher.config", "pretrained.config")
_RECIPES = "study.recipes"
# Sections without which a config is whole.
_OPTIONAL = ("teacher", "pretrained")


def refuse(found: Sequence[str]) -> None:
    """Says all faults, if there are any.

    Raises:
      ConfigError: with a line for each fault.
    """
    if len(found) == 1:
        raise ConfigError(found[0])
    if found:
        lines = "".join(f"\n  {fault}" for fault in found)
        raise ConfigError(f"{len(found)} faults in the config:{lines}")


def of(config: Any) -> list[str]:
    """The faults of a config, those within it of other models included.

    Args:
      config: a ConfigDict or dict.

    Returns:
      One line each, "KEY=VALUE: expected ...": values out of range, keys that are
      missing, and those that nothing reads, with the nearest that are known.
    """
    if not hasattr(config, "items"):
        return [f"the config is of type {type(config).__name__}: expected a ConfigDict"]
    return list(_faults(plain(config)))


def plain(config: Any) -> dict[str, Any]:
    """A ConfigDict, or dict, as a dict of its own."""
    return dict(config) if isinstance(config, dict) else config.to_dict()


def unknown(key: str) -> str:
    """What to say of an override of a key that a config lacks."""
    near = _nearest(key, keys.of_kind(None))
    return f"an override names an unknown config key: {key}{near}"


def closest(word: str, known: Iterable[str]) -> list[str]:
    """All that are known, those most like the word first."""

    def alike(each: str) -> float:
        return difflib.SequenceMatcher(None, word, each).ratio()

    return sorted(sorted(known), key=alike, reverse=True)


def complete(values: Mapping[str, Any], *, spare: bool = False) -> dict[str, Any]:
    """A stored config with the keys that it lacks, as they are by default.

    It may have been written before there were such keys.

    Args:
      values: the config, and those within it.
      spare: whether keys that may be left out are filled in too.
    """
    values = copy.deepcopy(dict(values))
    for key, entry in _missing(values, spare):
        *path, last = key.split(".")
        absent = path and not isinstance(_get(values, ".".join(path)), Mapping)
        if entry.default is keys.NONE or (spare and absent):
            continue
        section = values
        for name in path:
            section = section.setdefault(name, {})
        section[last] = copy.deepcopy(entry.default)
    for name in _OPTIONAL:
        config = _get(values, f"{name}.config")
        if isinstance(config, Mapping):
            values[name]["config"] = complete(config, spare=spare)
    return values


def _faults(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    table = table_of(values)
    every = keys.of_kind(None)
    order = {key: i for i, key in enumerate(every)}
    found = sorted(flat(values, every), key=lambda pair: order.get(pair[0], len(order)))
    for key, value in found:
        if key in table or key in every:
            rule = (table.get(key) or every[key]).rule
            if not rule.fits(value):
                yield f"{prefix}{key}={_said(value)}: expected {rule.expected}"
        elif key in _sections(tuple(every)):
            yield f"{prefix}{key}={_said(value)}: expected keys of its own"
        elif key not in _WHOLE:
            yield f"{prefix}{key}: there is no such key{_nearest(key, every)}"
    told = set()
    for key, entry in _missing(values):
        section = key.rpartition(".")[0]
        if section and not _has(values, section):
            if section not in told:
                yield f"{prefix}{section}: this section is missing"
            told.add(section)
            continue
        usual = "" if entry.default is keys.NONE else f", such as {entry.default!r}"
        yield f"{prefix}{key} is missing: expected {entry.rule.expected}{usual}"
    yield from _of_arguments(values, prefix)
    yield from _of_recipes(values, prefix)
    for name in _OPTIONAL:
        inner = values.get(name)
        # A workdir on the command line goes before the config of the file.
        if isinstance(inner, Mapping) and not inner.get("workdir"):
            config = inner.get("config")
            if isinstance(config, Mapping):
                yield from _faults(config, f"{prefix}{name}.config.")
            elif config is not None:
                yield f"{prefix}{name}.config={_said(config)}: expected a config"


def table_of(values: Mapping[str, Any]) -> dict[str, Key]:
    """The keys of a config on its kind of data; the general ones if it is unknown."""
    name = _get(values, "data.name")
    kind = rules.kind_of(name) if isinstance(name, str) else None
    if kind is None:
        return keys.GENERAL | keys.LOSS | keys.OTHERS
    return keys.of_kind(kind)


def flat(
    values: Mapping[str, Any], table: Mapping[str, Key], path: str = ""
) -> Iterator[tuple[str, Any]]:
    """Dotted keys and their values, of sections that the table knows."""
    sections = _sections(tuple(table))
    for name, value in values.items():
        key = f"{path}{name}"
        if key in sections and isinstance(value, Mapping):
            yield from flat(value, table, f"{key}.")
        elif not (key in _OPTIONAL and value is None):
            yield key, value


@functools.cache
def _sections(known: tuple[str, ...]) -> frozenset[str]:
    """Of the keys of a table; asked for in every section, and of every recipe."""
    found = {"model", "data"}
    for key in known:
        parts = key.split(".")
        found |= {".".join(parts[:i]) for i in range(1, len(parts))}
    return frozenset(found)


def _missing(
    values: Mapping[str, Any], spare: bool = False
) -> Iterator[tuple[str, Key]]:
    """Keys that have to be there, or may, and are not."""
    method = _get(values, "loss.method", "nll")
    for key, entry in table_of(values).items():
        first = key.partition(".")[0]
        if first in _OPTIONAL and not values.get(first):
            continue
        if method not in objectives.METHODS:
            continue
        needed = entry.needed is None or method in entry.needed
        if (spare or needed) and not _has(values, key):
            yield key, entry


def _of_arguments(values: Mapping[str, Any], prefix: str) -> Iterator[str]:
    model, data = _get(values, "model.name"), _get(values, "data.name")
    if isinstance(model, str) and model in rules.MODELS:
        given = _get(values, "model.args")
        table = rules.of_model(model)
        yield from _of_section(given, table, f"{prefix}model.args", model)
    if isinstance(data, str) and rules.OWN.fits(data):
        try:
            datasets.find(data)
        except DataError as error:
            yield f"{prefix}{error}"
    if isinstance(data, str) and rules.kind_of(data):
        given = _get(values, "data.args")
        table = rules.of_data(data)
        known = {key: rule for key, (rule, _) in table.items()}
        yield from _of_section(given, known, f"{prefix}data.args", data)
        for key, (rule, needed) in table.items():
            if needed and (not isinstance(given, Mapping) or key not in given):
                said = f"{prefix}data.args.{key} is missing"
                yield f"{said}: data.name={data!r} needs it; expected {rule.expected}"


def _of_section(
    given: Any, table: Mapping[str, rules.Rule], path: str, owner: str
) -> Iterator[str]:
    if given is None:
        return
    if not isinstance(given, Mapping):
        yield f"{path}={_said(given)}: expected keys of its own"
        return
    for key, value in given.items():
        if key not in table:
            known = ", ".join(closest(key, table))
            yield f"{path}.{key}: {owner!r} has no such key; it has {known}"
        elif not table[key].fits(value):
            why = table[key].why(value)
            told = f"{path}.{key}={_said(value)}: expected {table[key].expected}"
            yield f"{told} ({why})" if why else told


def _of_recipes(values: Mapping[str, Any], prefix: str) -> Iterator[str]:
    """Faults that a recipe of the study would bring in."""
    recipes = _get(values, _RECIPES)
    # The plain student of a study has them too, and nothing that they change.
    if not recipes or _get(values, "loss.method") not in keys.TAUGHT:
        return
    if not isinstance(recipes, Mapping):
        yield f"{prefix}{_RECIPES}={_said(recipes)}: expected names with keys each"
        return
    rest = {key: value for key, value in values.items() if key != "study"}
    before = set(_faults(rest, prefix))
    for recipe, changes in recipes.items():
        where = f"{prefix}{_RECIPES}.{recipe}"
        if not rules.name(1).fits(recipe):
            yield f"{where}: expected {rules.name(1).expected}"
        if not isinstance(changes, Mapping):
            yield f"{where}={_said(changes)}: expected keys (loss/method) and values"
            continue
        changed = copy.deepcopy(rest)
        for key, value in changes.items():
            *path, last = str(key).split("/")
            section: Any = changed
            for name in path:
                section = section.setdefault(name, {})
                if not isinstance(section, dict):
                    break
            else:
                section[last] = value
        for fault in _faults(changed, prefix):
            if fault not in before:
                yield f"{where}: {fault}"


def _get(values: Any, key: str, default: Any = None) -> Any:
    for name in key.split("."):
        if not isinstance(values, Mapping) or name not in values:
            return default
        values = values[name]
    return values


def _has(values: Any, key: str) -> bool:
    return _get(values, key, keys.NONE) is not keys.NONE


def _nearest(key: str, table: Mapping[str, Key]) -> str:
    """The keys most like one that is unknown, and all of the section it stands in."""
    near = difflib.get_close_matches(key, [*table, *_sections(tuple(table))], n=3)
    told = f"; near it are {', '.join(near)}" if near else ""
    section, _, last = key.rpartition(".")
    inside = f"{section}." if section else ""
    known = {
        each.removeprefix(inside).partition(".")[0]
        for each in (*table, *_WHOLE)
        if each.startswith(inside)
    }
    if not known:
        return told
    listed = ", ".join(closest(last, known))
    return f"{told}; {section or 'a config'} has {listed}"


def _said(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


# What may differ while the rows are the same: the size of the windows that are cut out
# of them, how many there are to validate on, and mirrored ones.
VIEWS = ("args.crop", "args.tile", "args.segment", "args.windows", "flip")
# Noise belongs to a density. What a model starts from need not have one.
NOISE = ("bins", "noise")
MAY_DIFFER = {"teacher": VIEWS, "pretrained": (*VIEWS, *NOISE)}
_PATHS = (
    *("args.path", "args.path_val", "args.path_test"),
    *("args.root", "args.data_dir"),
)


def models_within(config: Any) -> Iterator[tuple[str, Any]]:
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


def data_differences(name: str, ours: Any, theirs: Any) -> list[str]:
    """Keys of two `data` sections by which their rows are not the same, and values.

    Args:
      name: whose data `theirs` are, a key of MAY_DIFFER.
      ours: the section of the model that takes from it.
      theirs: its own.
    """
    a, b = _whole_section(ours), _whole_section(theirs)
    return [
        f"data.{key} ({b.get(key)!r} there, {a.get(key)!r} here)"
        for key in sorted(a.keys() | b.keys())
        if key not in MAY_DIFFER[name] and a.get(key) != b.get(key)
    ]


def check_same_data(config: Any, name: str, theirs: Any, place: Any) -> None:
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
    if found := data_differences(name, config.data, theirs):
        raise ConfigError(
            f"{place} was trained on other data: {said_of_data(name, found)}"
        )


def said_of_data(name: str, found: list[str]) -> str:
    """What differs, and the way out."""
    return (
        f"{', '.join(found)}. Give both the same, or set {name}.other_data=True if the "
        "rows shall differ"
    )


def _whole_section(section: Any) -> dict[str, Any]:
    """Dotted keys and values, with the defaults of what is left out."""
    values = plain(section)
    name, args = values.pop("name"), values.pop("args", None) or {}
    kind = rules.kind_of(name)
    found = {"name": name}
    for key, entry in (keys.KINDS[kind] if kind else {}).items():
        if key.startswith("data.") and entry.default is not keys.NONE:
            found[key.removeprefix("data.")] = entry.default
    found |= {f"args.{k}": v for k, v in rules.defaults(name).items()}
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
