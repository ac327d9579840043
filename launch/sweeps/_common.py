"""What the sweeps share: a teacher, its students, and what their points look like."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from launch.points import Point, workdir_of

DISTILLED = ("lkd", "ilkd", "skd")
METHODS = ("teacher", "student", *DISTILLED)


def point(
    name: str,
    words: Sequence[str],
    overrides: Mapping[str, Any],
    teacher: Point | None = None,
) -> Point:
    """One training run, after its teacher's if it has one.

    Args:
      name: of the config file, without path and ending.
      words: of the config.
      overrides: of the config.
      teacher: whose directory the config is given.
    """
    config = f"configs/{name}.py:{','.join(words)}"
    if teacher is None:
        return Point(config, overrides)
    taught = {**overrides, "teacher.workdir": workdir_of(teacher)}
    return Point(config, taught, after=(teacher.name,))


def family(
    arch: str,
    data: str,
    methods: Sequence[str],
    seed: int,
    words: Sequence[str] = (),
) -> Iterator[Point]:
    """A teacher, a student without distillation, and students that it teaches.

    Args:
      arch: "maf" or "glow".
      data: name of a data set.
      methods: which of `METHODS`; the teacher comes with those that need it.
      seed: of all of them.
      words: further ones of the configs.
    """
    name, overrides = source(arch, data, words)

    def one(method: str, teacher: Point | None = None) -> Point:
        own = {**overrides, **label(method, data, words), "seed": seed}
        return point(name, (method, *words), own, teacher)

    teacher = one("teacher")
    if "teacher" in methods or set(methods) & set(DISTILLED):
        yield teacher
    if "student" in methods:
        yield one("student")
    for method in methods:
        if method not in ("teacher", "student"):
            yield one(method, teacher)


def source(
    arch: str, data: str, words: Sequence[str] = ()
) -> tuple[str, dict[str, Any]]:
    """Config file of an architecture and a data set, and the overrides it needs."""
    if data == "miniboone_small":
        # Synthetic data have their own name, which is not to be overridden.
        overrides = {} if "smoke" in words else {"data.name": data}
        return f"{arch}_miniboone", overrides
    return f"{arch}_{data}", {}


def label(method: str, data: str, words: Sequence[str]) -> dict[str, str]:
    """The method's name in tables, where its own would not tell points apart.

    With `smoke`, all data sets are the same synthetic one.
    """
    return {"label": f"{method} ({data})"} if "smoke" in words else {}
