"""Where distillation wins: data sets, rows of data, lengths of training and methods.

Each setting, a data set and model with so many rows and steps, has a directory of its
own; `python -m fdnf.experiments.map --out=MAP ROOT/*/rows*` draws them together.
Teachers see all rows. Methods are `student` (plain), `lkd`, `ilkd`, `skd`, and the
recipes of `configs/recipes.py`. `rows=0` are all of them, `steps=0` as many as the
config says.
"""

import functools
from collections.abc import Iterator
from typing import Any

from configs import recipes
from launch.points import Point, SweepError, workdir_of
from launch.sweeps import _common

# Of two cores' worth, what was worth a look; `longer` is the plain student that takes
# as long as one that asks its teacher.
METHODS = ("student", "longer", "ilkd", "ilkd_heads", "samples_half")
_WORDS = {0: (), **{rows: (word,) for word, rows in recipes.ROWS.items()}}


def points(
    arch: tuple[str, ...] = ("maf", "glow"),
    data: tuple[str, ...] = ("bsds300", "miniboone_small", "power_subset"),
    rows: tuple[int, ...] = (500, 2000, 10_000, 0),
    steps: tuple[int, ...] = (0,),
    methods: tuple[str, ...] = METHODS,
    seeds: int = 5,
    first_seed: int = 0,
    words: tuple[str, ...] = (),
) -> Iterator[Point]:
    """A teacher a data set, architecture and seed; then its students, by setting."""
    for unknown in sorted({*rows} - {*_WORDS}):
        raise SweepError(f"rows={unknown}: known are {', '.join(map(str, _WORDS))}")
    for a in arch:
        for d in data:
            for seed in range(first_seed, first_seed + seeds):
                told = {"label": f"teacher ({a}, {d})"} if "smoke" in words else {}
                teacher = Point(
                    f"configs/recipes.py:{','.join((a, d, 'teacher', *words))}",
                    {"seed": seed, **told},
                    name=f"{a}_{d}/teacher.seed={seed}",
                )
                yield teacher
                for n in rows:
                    for length in steps:
                        for method in methods:
                            yield _student(
                                teacher, (a, d, *_WORDS[n]), words, length, method, seed
                            )


@functools.cache
def _config(words: str) -> Any:
    """That of a setting, which many points have; none of them changes it."""
    return recipes.get_config(words)


def _student(
    teacher: Point,
    setting: tuple[str, ...],
    words: tuple[str, ...],
    steps: int,
    method: str,
    seed: int,
) -> Point:
    base = (*setting, *words)
    config = _config(",".join(base))
    of = dict(recipes.PLAIN) if method == "student" else {"loss/method": method}
    if method in config.study.recipes:
        of = config.study.recipes[method].to_dict()
    elif method not in ("student", *_common.DISTILLED):
        known = sorted({"student", *_common.DISTILLED, *config.study.recipes})
        raise SweepError(f"method {method!r} of {','.join(base)}: known are {known}")
    own = {key.replace("/", "."): value for key, value in of.items()}
    if steps:
        own["train.steps"] = steps
        if method in recipes.LONGER:
            own["train.steps"] = recipes.longer_than(steps, method, config)
    arch, data, *rows = setting
    label = f"{method} ({', '.join((*setting, str(steps)))})"
    own |= {"label": label if "smoke" in words else method, "seed": seed}
    folder = f"rows={rows[0].removeprefix('rows=')}" if rows else "rows=all"
    if steps:
        folder += f".steps={steps}"
    taught = {**own, "teacher.workdir": workdir_of(teacher)}
    return Point(
        f"configs/recipes.py:{','.join(base)}",
        taught,
        after=(teacher.name,),
        name=f"{arch}_{data}/{folder}/{method}.seed={seed}",
    )
