"""Ways to teach an IAF by a MAF: density distillation and its alternatives.

Reverse KL (Parallel WaveNet), and the reconstruction of z, of x and of the oracle's
latents; the students sample fast and are only trained through their teacher.
"""

from collections.abc import Iterator

from launch.points import Point
from launch.sweeps import _common


def points(
    data: tuple[str, ...] = ("bsds300", "miniboone_small"),
    methods: tuple[str, ...] = ("kl", "z", "x", "oracle"),
    seeds: int = 3,
    first_seed: int = 0,
    words: tuple[str, ...] = (),
) -> Iterator[Point]:
    """One point a data set, method and seed, after the MAF of that seed."""
    for d in data:
        for seed in range(first_seed, first_seed + seeds):
            (teacher,) = _common.family("maf", d, ("teacher",), seed, words)
            yield teacher
            name, overrides = _common.source("maf", d, words)
            for method in methods:
                own = {**overrides, **_common.label(method, d, words), "seed": seed}
                yield _common.point(name, ("iaf", method, *words), own, teacher)
