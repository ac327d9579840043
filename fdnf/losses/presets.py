"""Published settings of `distillation.combined`, by source and method.

"paper" is the text of Walton et al. (2023), section 4.2, with L1 distances. There, the
weights printed for LKD, (1, 0, 0), are those of no distillation at all; LKD takes
ILKD's. "official" is the released code, nf_distillation: latents are compared by
squared distances (its KD loss takes only "mse"), samples by L1 (its perceptual loss
without VGG), levels by its own pairs (see `levels.pairs_of`), with the weights
that it has for tabular Glows (0.85, 0.05, 0.1); those of images and of MAF, 0.9 and 0.1
without samples, are those of LKD and ILKD here. Of images, the released code counts as
a level the squeezed input too, which is the same for both flows: of three levels, its
mean is three quarters of the one here.

Both average over dimensions and over levels, and both add a likelihood in nats, summed
over dimensions, to a distance averaged over them: the balance therefore depends on the
dimension of the data.
"""

from typing import Any

PAPER: dict[str, dict[str, Any]] = {
    "lkd": {"weights": (0.9, 0.1, 0.0), "latents": "final", "distance": "l1"},
    "ilkd": {"weights": (0.9, 0.1, 0.0), "latents": "levels", "distance": "l1"},
    "skd": {"weights": (0.85, 0.075, 0.075), "latents": "levels", "distance": "l1"},
}
OFFICIAL: dict[str, dict[str, Any]] = {
    "lkd": {"weights": (0.9, 0.1, 0.0), "latents": "final", "distance": "l2"},
    "ilkd": {
        "weights": (0.9, 0.1, 0.0),
        "latents": "levels",
        "distance": "l2",
        "pairs": "released",
    },
    "skd": {
        "weights": (0.85, 0.05, 0.1),
        "latents": "levels",
        "distance": "l2",
        "sample_distance": "l1",
        "pairs": "released",
    },
}
PRESETS = {"paper": PAPER, "official": OFFICIAL}


def preset(source: str, method: str) -> dict[str, Any]:
    """Keyword arguments of `distillation.combined`.

    Args:
      source: "paper" or "official".
      method: "lkd", "ilkd" or "skd".

    Raises:
      ValueError: for other names.
    """
    if source not in PRESETS:
        raise ValueError(f"unknown preset {source!r}; known: {sorted(PRESETS)}")
    if method not in PRESETS[source]:
        raise ValueError(f"unknown method {method!r}; known: {sorted(PAPER)}")
    return dict(PRESETS[source][method])
