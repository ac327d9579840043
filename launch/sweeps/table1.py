"""Table 1 of Walton et al. (2023): log-likelihood on five data sets.

Teachers, students without distillation, and students of each method, over seeds; each
distilled student learns from the teacher of its own seed. `data=miniboone_small` are
the rows of MINIBOONE that fit into a repository; `words=smoke` takes seconds, on
synthetic data.
"""

from collections.abc import Iterator

from launch.points import Point
from launch.sweeps import _common


def points(
    arch: tuple[str, ...] = ("maf", "glow"),
    data: tuple[str, ...] = ("power", "gas", "hepmass", "miniboone", "bsds300"),
    methods: tuple[str, ...] = _common.METHODS,
    seeds: int = 5,
    first_seed: int = 0,
    words: tuple[str, ...] = (),
) -> Iterator[Point]:
    """One point an architecture, data set, method and seed."""
    for a in arch:
        for d in data:
            for seed in range(first_seed, first_seed + seeds):
                yield from _common.family(a, d, methods, seed, words)
