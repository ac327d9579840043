"""A config as a list of its keys, with values and meanings, as `--print_config` shows.

What the table of keys says is in `keys`; what an attribute of a model, or an argument
of a data set, means is in the docstring of that class or function.
"""

import inspect
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from fdnf.data import build as datasets
from fdnf.ops import entering
from fdnf.train import faults, keys, rules

# Where meanings begin, unless the value is longer.
COLUMN = 44
_WHOLE = ("model.args", "data.args")
_MODELS = ("teacher", "pretrained")


def listing(config: Any) -> str:
    """All keys of a config, line by line: `key = value  # meaning`.

    Keys that the file leaves out are there with their defaults, and say so. What is
    wrong with a value is not said here, see `faults`.

    Args:
      config: a ConfigDict or dict.
    """
    return "\n".join(_lines(faults.plain(config))) + "\n"


def arguments(owner: Any) -> dict[str, str]:
    """What a class or function says of its arguments, one line each.

    Args:
      owner: with a Google docstring; of a class those it inherits from count, too.
    """
    found: dict[str, str] = {}
    for each in inspect.getmro(owner) if inspect.isclass(owner) else [owner]:
        for name, meaning in _documented(inspect.getdoc(each) or ""):
            found.setdefault(name, meaning)
    return found


def _documented(doc: str) -> Iterator[tuple[str, str]]:
    """Names and texts of the section Args (Attributes) of a Google docstring."""
    _, begun, rest = doc.partition("\nArgs:\n")
    if not begun:
        _, begun, rest = doc.partition("\nAttributes:\n")
    block = []
    for line in rest.splitlines():
        if line.strip() and not line.startswith(" "):
            break
        block.append(line)
    names, text = [], []
    for line in textwrap.dedent("\n".join(block)).splitlines():
        if line.startswith(" ") or not line.strip():
            text.append(line.strip())
            continue
        yield from ((name, " ".join(filter(None, text))) for name in names)
        # "name (type): meaning" and "several, names: meaning", too.
        said, _, first = line.partition(":")
        names = [part.split()[0].lstrip("*") for part in said.split(",")]
        text = [first.strip()]
    yield from ((name, " ".join(filter(None, text))) for name in names)


def _lines(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    whole = faults.complete(values, spare=True)
    given, every = dict(_flat(values)), keys.of_kind(None)
    table = faults.table_of(values)
    order = {key: i for i, key in enumerate(every)}
    for key, value in sorted(
        _flat(whole), key=lambda pair: order.get(pair[0], len(order))
    ):
        entry = table.get(key) or every.get(key)
        meaning = "" if entry is None else _said(entry.meaning, entry.rule)
        yield _line(f"{prefix}{key}", value, meaning, key in given)
        if key in ("model.name", "data.name"):
            section = key.partition(".")[0]
            inside = (whole.get(section) or {}).get("args") or {}
            yield from _of_arguments(section, value, inside, f"{prefix}{section}.args.")
    for name in _MODELS:
        section = values.get(name)
        if not isinstance(section, Mapping) or section.get("workdir"):
            continue
        inner = section.get("config")
        if isinstance(inner, Mapping):
            yield ""
            yield from _lines(inner, f"{prefix}{name}.config.")


def _of_arguments(
    section: str, name: Any, given: Mapping[str, Any], prefix: str
) -> Iterator[str]:
    """Those of a model or data set: given ones, then what is left out."""
    if section == "model":
        owner = rules.MODELS.get(name) if isinstance(name, str) else None
        known = {} if owner is None else rules.of_model(name)
        defaults = rules.attributes(name) if isinstance(name, str) else {}
    else:
        there = isinstance(name, str) and rules.kind_of(name) is not None
        owner = datasets.find(name) if there else None
        told = rules.of_data(name) if there else {}
        known = {key: rule for key, (rule, _) in told.items()}
        defaults = rules.defaults(name) if there else {}
    meanings = {} if owner is None else arguments(owner)
    for key in sorted(given, key=[*known, *given].index):
        yield _line(f"{prefix}{key}", given[key], _of(key, meanings, known), True)
    for key in known:
        if key not in given:
            value = defaults.get(key, keys.NONE)
            yield _line(f"{prefix}{key}", value, _of(key, meanings, known), False)


def _of(key: str, meanings: Mapping[str, str], known: Mapping[str, Any]) -> str:
    if key not in known:
        return f"there is no such key; known are {', '.join(known)}"
    return _said(meanings.get(key, ""), known[key])


def _said(meaning: str, rule: rules.Rule) -> str:
    """A meaning, and what is expected."""
    meaning = f"{meaning.rstrip('.')}. " if meaning else ""
    expected = "" if rule is rules.ANY else f"{rule.expected}."
    return f"{meaning}{expected[:1].upper()}{expected[1:]}".rstrip()


def _line(key: str, value: Any, meaning: str, given: bool) -> str:
    if value is keys.NONE:
        left = f"{key} = ?"
        meaning = f"has to be given. {meaning}"
    else:
        left = f"{key} = {entering.tuples(value)!r}"
        meaning = meaning if given else f"[default] {meaning}"
    return f"{left:<{COLUMN}}  # {meaning}" if meaning else left


def _flat(values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Keys and values, without `args` and the configs of other models."""
    hidden = (*_WHOLE, *(f"{name}.config" for name in _MODELS))
    for key, value in faults.flat(values, keys.of_kind(None)):
        if key not in hidden or (value is not None and not isinstance(value, Mapping)):
            yield key, value
