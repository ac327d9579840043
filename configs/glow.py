"""Multi-scale Glow on images, as `glow_*.py` of images."""

from collections.abc import Collection, Mapping
from typing import Any

from ml_collections import ConfigDict

from configs import common, teaching

# Of grey images of 28x28, on two CPU cores.
GREY_28 = {
    "teacher": {"levels": 2, "steps": 8, "hidden": 64},
    "student": {"levels": 2, "steps": 4, "hidden": 64},
    "keys": {
        "train/steps": 2000,
        "train/batch_size": 32,
        "optim/lr": 5e-3,
        "optim/ema": 0.99,
        "eval/extractors": ("classifier",),
    },
    "channels": 1,
}
ARITHMETIC = (
    common.Choice(("n_bits=5",)),
    common.Choice(("logit",)),
    common.Choice(("bf16",)),
)


def words(larger: Collection[str] = ()) -> tuple[common.Choice, ...]:
    """Those of a Glow on images; `larger` teachers have words of their own."""
    more = (common.Choice(tuple(larger)),) if larger else ()
    return (common.FLOWS, common.PRESET, *more, *ARITHMETIC, common.SMOKE)


def images(
    data: str,
    arg: str,
    teacher: Mapping[str, Any],
    student: Mapping[str, Any],
    keys: Mapping[str, Any],
    channels: int = 3,
    larger: Mapping[str, Mapping[str, Any]] | None = None,
) -> ConfigDict:
    """A Glow, and one of fewer steps.

    Args:
      data: name of the data set.
      arg: teacher; student; lkd, ilkd, skd, with official; n_bits=5; logit (a margin of
        0.05, or 1e-6 for grey images, as MintNet); bf16 for the arithmetic of the
        coupling networks; smoke.
      teacher: attributes of the teacher.
      student: attributes of the student.
      keys: of the config, where it is not smoke.
      channels: of the images.
      larger: attributes of further teachers, by the word that asks for one.
    """
    larger = larger or {}
    given = common.parse_arg(arg, words(larger))
    taught = next((larger[word] for word in larger if word in given), teacher)

    def make(role: str) -> ConfigDict:
        config = common.images()
        config.data.name = data
        config.model.name = "glow"
        config.role = role
        config.model.args = ConfigDict(student if role == "student" else taught)
        config.model.args.dtype = "bfloat16" if "bf16" in given else "float32"
        if "n_bits=5" in given:
            config.data.n_bits = 5
        if "logit" in given:
            config.data.logit = 0.05 if channels == 3 else 1e-6
        if "smoke" in given:
            return common.smoke_images(config, channels)
        return common.set_keys(config, keys)

    return teaching.flow(make, given)
