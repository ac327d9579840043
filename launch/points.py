"""The points of a sweep: what is trained, under which name, and after what."""

import dataclasses
import graphlib
import hashlib
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

# Where a point's own directory, or another's, stands in the value of an override.
ROOT = "{root}/"
# Overrides that say where another run lies.
PLACES = ("teacher.workdir", "pretrained.workdir")
# Overrides that say nothing of what is trained, or only that.
UNNAMED = ("label", *PLACES)
_LONGEST = 110
# Control characters, surrogates (bytes that are no text), separators of lines.
_NOT_IN_A_LINE = {"Cc", "Cs", "Zl", "Zp"}
_UNSAFE = re.compile(r"[^A-Za-z0-9._=+-]+")


class SweepError(ValueError):
    """What the caller of a sweep can put right."""


@dataclasses.dataclass(frozen=True)
class Point:
    """One training run of a sweep.

    Attributes:
      config: file and words, "configs/maf_power.py:student".
      overrides: keys of the config and their values, {"optim.lr": 1e-3}. A text
        "{root}/NAME" is the directory of the point NAME; see `workdir_of`.
      after: names of the points that must be done before this one starts.
      name: of the point and of its directory under the sweep's root; by default made
        of config and overrides.
    """

    config: str
    overrides: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    after: tuple[str, ...] = ()
    name: str = ""

    def __post_init__(self):
        for text in _texts((self.config, dict(self.overrides), self.after)):
            one_line(text, "a point")
        if not self.name:
            object.__setattr__(self, "name", name_of(self.config, self.overrides))
        folders = self.name.split("/")
        if any(_UNSAFE.search(part) or part.strip(".") == "" for part in folders):
            raise SweepError(
                f"the name {self.name!r} is no relative path of letters, digits and "
                "._=+-: name the point otherwise, or leave the name out"
            )

    @property
    def file(self) -> str:
        """The config file without its words."""
        return self.config.partition(":")[0]

    def resolved(self, root: str) -> dict[str, Any]:
        """The overrides with directories of other points under `root`."""
        return {key: _resolve(value, root) for key, value in self.overrides.items()}


def one_line(text: str, of: str) -> str:
    """The text itself, if it can stand in a line of a script without ending it.

    Quotes do not help there: a newline ends a line of `#SBATCH`, and what follows is
    a command.

    Args:
      text: from a caller.
      of: what it belongs to, for the message.

    Raises:
      SweepError: it has a control character, or bytes that are no text.
    """
    wrong = [c for c in text if unicodedata.category(c) in _NOT_IN_A_LINE]
    if wrong:
        raise SweepError(
            f"{of}: {text!r} has the character {wrong[0]!r}: expected text of one "
            "line without control characters"
        )
    return text


def safe(text: str) -> str:
    """With a hyphen in place of whatever is no letter, digit or one of ._=+-."""
    return _UNSAFE.sub("-", text)


def workdir_of(point: Point) -> str:
    """The value of an override that stands for a point's directory."""
    return ROOT + point.name


def name_of(config: str, overrides: Mapping[str, Any]) -> str:
    """A directory for a point: config and words, then overrides, the seed first.

    "configs/maf_power.py:student" with seed 3 and 500 steps is
    "maf_power-student/seed=3,train.steps=500" with "+" in place of the comma. Where
    letters are replaced or the text is cut, a hash of the whole keeps names apart.
    """
    file, _, words = config.partition(":")
    stem = file.rsplit("/", 1)[-1].removesuffix(".py")
    first = "-".join([stem, *(word for word in words.split(",") if word)])
    keys = sorted(overrides.keys() - set(UNNAMED), key=lambda key: (key != "seed", key))
    second = "+".join(f"{key}={_text(overrides[key])}" for key in keys)
    return f"{_safe(first)}/{_safe(second or 'default')}"


def check(points: Sequence[Point]) -> list[Point]:
    """The points, each after those it waits for.

    Raises:
      SweepError: two points of one name, a directory within another's, a point after
        one that is not in the sweep, or points that wait for each other.
    """
    by_name: dict[str, Point] = {}
    for point in points:
        if by_name.setdefault(point.name, point) != point:
            raise SweepError(
                f"two points are named {point.name}: "
                f"{_differences(by_name[point.name], point)}; name them apart"
            )
    for name in by_name:
        parts = name.split("/")
        for cut in range(1, len(parts)):
            if (outer := "/".join(parts[:cut])) in by_name:
                raise SweepError(f"{name} would lie within {outer}: name it otherwise")
    for point in by_name.values():
        for name in point.after:
            if name not in by_name:
                raise SweepError(
                    f"{point.name} is to run after {name}, which is not in the sweep"
                )
    graph = {point.name: point.after for point in by_name.values()}
    try:
        order = list(graphlib.TopologicalSorter(graph).static_order())
    except graphlib.CycleError as error:
        raise SweepError(
            f"points wait for each other: {' -> '.join(error.args[1])}"
        ) from None
    depth: dict[str, int] = {}
    for name in order:
        depth[name] = max((depth[other] + 1 for other in graph[name]), default=0)
    # By depth, and within one depth as the sweep gave them.
    return sorted(by_name.values(), key=lambda point: depth[point.name])


def with_overrides(points: Iterable[Point], extra: Mapping[str, Any]) -> list[Point]:
    """The points with further overrides; names that came of them change with them."""
    points = list(points)
    if not extra:
        return points
    renamed: dict[str, str] = {}
    for point in points:
        named = point.name != name_of(point.config, point.overrides)
        renamed[point.name] = (
            point.name
            if named
            else name_of(point.config, _over(point.overrides, extra))
        )

    def moved(value: Any) -> Any:
        if isinstance(value, str) and value.startswith(ROOT):
            name = value.removeprefix(ROOT)
            return ROOT + renamed.get(name, name)
        return value

    return [
        Point(
            point.config,
            _over({k: moved(v) for k, v in point.overrides.items()}, extra),
            tuple(renamed.get(name, name) for name in point.after),
            renamed[point.name],
        )
        for point in points
    ]


def _over(overrides: Mapping[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    """Overrides and those that go over them; a section keeps its other keys."""
    found = dict(overrides)
    for key, value in extra.items():
        before = found.get(key)
        if isinstance(before, Mapping) and isinstance(value, Mapping):
            value = {**before, **value}
        found[key] = value
    return found


def plain(value: Any) -> Any:
    """A value as Python has it, from JSON: lists become tuples."""
    return tuple(plain(item) for item in value) if isinstance(value, list) else value


def _texts(value: Any) -> Iterable[str]:
    """All texts in a value, keys of mappings too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from _texts([*value.keys(), *value.values()])
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)


def _resolve(value: Any, root: str) -> Any:
    if isinstance(value, str) and value.startswith(ROOT):
        return f"{root}/{value.removeprefix(ROOT)}"
    return value


def _text(value: Any) -> str:
    if isinstance(value, tuple | list):
        return "_".join(map(_text, value))
    return str(value)


def _safe(text: str) -> str:
    short = safe(text)
    if short == text and len(text) <= _LONGEST:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    return f"{short[: _LONGEST - 9].rstrip('-.')}-{digest}"


def _differences(one: Point, other: Point) -> str:
    told = [
        f"{key} {one.overrides.get(key)!r} and {other.overrides.get(key)!r}"
        for key in sorted({*one.overrides, *other.overrides})
        if one.overrides.get(key) != other.overrides.get(key)
    ]
    if one.config != other.config:
        told.insert(0, f"{one.config} and {other.config}")
    if one.after != other.after:
        told.append(f"after {one.after} and {other.after}")
    return ", ".join(told)
