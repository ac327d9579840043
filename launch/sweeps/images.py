"""The image table: Glow in bits/dim, with scores of its samples.

`data` may be digits, fashion_mnist, mnist, patches, cifar10 or celeba64, the last two
of which want a GPU. `words=smoke` takes seconds, on synthetic data.
"""

from collections.abc import Iterator

from launch.points import Point
from launch.sweeps import _common


def points(
    data: tuple[str, ...] = ("digits", "fashion_mnist"),
    methods: tuple[str, ...] = _common.METHODS,
    seeds: int = 3,
    first_seed: int = 0,
    words: tuple[str, ...] = (),
) -> Iterator[Point]:
    """One point a data set, method and seed."""
    for d in data:
        for seed in range(first_seed, first_seed + seeds):
            yield from _common.family("glow", d, methods, seed, words)
