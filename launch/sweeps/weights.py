"""The combined loss at a grid of weights, over seeds (ablation of ILKD).

The likelihood has weight 1, the distance between levels each of `ilkd`, and samples
each of `skd`: their products, beside the teacher and a student without distillation.
"""

from collections.abc import Iterator

from launch.points import Point
from launch.sweeps import _common


def points(
    arch: tuple[str, ...] = ("maf",),
    data: tuple[str, ...] = ("bsds300",),
    ilkd: tuple[float, ...] = (0.01, 0.1, 1.0, 10.0),
    skd: tuple[float, ...] = (0.0,),
    seeds: int = 4,
    first_seed: int = 0,
    words: tuple[str, ...] = (),
) -> Iterator[Point]:
    """One point a pair of weights and a seed, after its teacher."""
    for a in arch:
        for d in data:
            for seed in range(first_seed, first_seed + seeds):
                ends = list(_common.family(a, d, ("teacher", "student"), seed, words))
                yield from ends
                for weights in ((1.0, w, v) for w in ilkd for v in skd):
                    yield _student(a, d, seed, words, weights, ends[0])


def _student(arch, data, seed, words, weights, teacher) -> Point:
    name, overrides = _common.source(arch, data, words)
    # Samples are only drawn for the method that compares them.
    method = "skd" if weights[2] else "ilkd"
    told = f"{method} w={weights[1]:g}" + (f" v={weights[2]:g}" * bool(weights[2]))
    own = {
        **overrides,
        "label": told,
        **_common.label(told, data, words),
        "loss.args.weights": weights,
        "seed": seed,
    }
    return _common.point(name, (method, *words), own, teacher)
