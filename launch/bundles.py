"""Which points share a process: those that can train as one program."""

import dataclasses
import itertools
import json
import pathlib
from collections.abc import Iterable, Mapping, Sequence

from launch.points import Point, SweepError

# The program's own rule: overrides in which its points may differ, and how many it
# takes. fdnf stands beside this package.
_RULE = pathlib.Path(__file__).parents[1] / "fdnf" / "train" / "packing.json"
RULE = json.loads(_RULE.read_bytes())


@dataclasses.dataclass(frozen=True)
class Bundle:
    """Points that one process trains.

    Attributes:
      points: at least one.
      after: names of the points, not of this bundle, that must be done before.
    """

    points: tuple[Point, ...]
    after: frozenset[str]

    @property
    def title(self) -> str:
        """What it is, in a few letters."""
        first = self.points[0].name
        if len(self.points) == 1:
            return first
        return f"{first.split('/')[0]} ({len(self.points)} points)"


def parse_pack(text: str) -> int | None:
    """`--pack`: the largest number of points in a process, None for auto."""
    if text == "auto":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise SweepError(f"--pack={text}: expected auto or a number from 1")
    return int(text)


def plan(points: Sequence[Point], pack: int | None, jobs: int = 1) -> list[Bundle]:
    """Bundles of points, each after those it waits for.

    Points of one config that differ only in what is free by `RULE` share a process, if
    they are equally far from the first of the sweep.

    Args:
      points: in an order in which they can run.
      pack: most points of a bundle; None for at most 16, and for so few that there are
        at least `jobs` bundles to run side by side.
      jobs: how many run side by side.
    """
    depths = _depths(points)
    bundles: list[Bundle] = []
    for _, level in itertools.groupby(
        sorted(points, key=lambda point: depths[point.name]),
        key=lambda point: depths[point.name],
    ):
        groups: dict[tuple, list[Point]] = {}
        for point in level:
            groups.setdefault(_key(point), []).append(point)
        parts = [
            part
            for group in groups.values()
            for part in _chunks(group, pack or RULE["largest"])
        ]
        if pack is None:
            parts = _spread(parts, jobs)
        bundles += [_bundle(part) for part in parts]
    return bundles


def _bundle(points: Sequence[Point]) -> Bundle:
    own = {point.name for point in points}
    after = {name for point in points for name in point.after}
    return Bundle(tuple(points), frozenset(after - own))


def _key(point: Point) -> tuple:
    fixed = {k: v for k, v in point.overrides.items() if not _is_free(k)}
    # Points that set a key and points that leave it are not the same program to start.
    free = tuple(sorted(set(point.overrides) - set(fixed)))
    return point.config, repr(sorted(fixed.items())), free


def _is_free(key: str) -> bool:
    return any(key == free or key.startswith(f"{free}.") for free in RULE["free"])


def _spread(parts: list, jobs: int) -> list:
    """Cuts the largest parts in two until there are `jobs`, or all are single."""
    while len(parts) < jobs:
        widest = max(range(len(parts)), key=lambda i: len(parts[i]))
        part = parts[widest]
        if len(part) == 1:
            break
        half = -(-len(part) // 2)
        parts[widest : widest + 1] = [part[:half], part[half:]]
    return parts


def _depths(points: Iterable[Point]) -> Mapping[str, int]:
    """How many points must run before each; those not listed are done."""
    depths: dict[str, int] = {}
    for point in points:
        before = (depths[name] + 1 for name in point.after if name in depths)
        depths[point.name] = max(before, default=0)
    return depths


def _chunks(points: Sequence[Point], size: int) -> Iterable[Sequence[Point]]:
    """Pieces of at most `size`, as equal as they can be."""
    count = -(-len(points) // size)
    cuts = [round(i * len(points) / count) for i in range(count + 1)]
    return (points[a:b] for a, b in itertools.pairwise(cuts))
