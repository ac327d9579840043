"""The data sets by name, and the one a config asks for."""

import inspect
from collections.abc import Callable
from typing import Any

from fdnf.data import (
    asterisk,
    bsds300,
    celeba,
    cifar10,
    div2k,
    embedded,
    ljspeech,
    mnist,
    npz,
    photographs,
    synthetic,
    synthetic_images,
    synthetic_pairs,
    synthetic_speech,
    tabular_sets,
)
from fdnf.data.images import Images
from fdnf.data.speech import Clips
from fdnf.data.super_resolution import Pairs
from fdnf.data.tabular import DataError, Tabular

DATASETS: dict[str, Callable[..., Tabular | Images | Pairs | Clips]] = {
    "power": tabular_sets.power,
    "gas": tabular_sets.gas,
    "hepmass": tabular_sets.hepmass,
    "miniboone": tabular_sets.miniboone,
    "miniboone_small": tabular_sets.miniboone_small,
    "bsds300": bsds300.bsds300,
    "patches": embedded.patches,
    "digits": embedded.digits,
    "synthetic": synthetic.synthetic,
    "cifar10": cifar10.cifar10,
    "celeba64": celeba.celeba64,
    "mnist": mnist.mnist,
    "fashion_mnist": mnist.fashion_mnist,
    "digits_8x8": embedded.digits_8x8,
    "synthetic_images": synthetic_images.synthetic_images,
    "div2k": div2k.div2k,
    "bsds300_sr": photographs.bsds300_sr,
    "photographs": photographs.photographs,
    "synthetic_pairs": synthetic_pairs.synthetic_pairs,
    "ljspeech": ljspeech.ljspeech,
    "asterisk": asterisk.asterisk,
    "synthetic_speech": synthetic_speech.synthetic_speech,
    "npz": npz.npz,
}


def build(config: Any) -> Tabular | Images | Pairs | Clips:
    """Loads the data set that a config names.

    Args:
        config: Has `name`, a key of `DATASETS`, and may have `args`, a mapping of
            that data set's keyword arguments.

    Returns:
        The data set, vectors, images, pairs of images or recordings, validated.

    Raises:
        DataError: If the name or an argument is unknown, or the data cannot be had.
    """
    if config.name not in DATASETS:
        raise DataError(
            f"Unknown data set '{config.name}'; known: {', '.join(DATASETS)}."
        )
    dataset = DATASETS[config.name]
    args = dict(getattr(config, "args", None) or {})
    parameters = inspect.signature(dataset).parameters
    if unknown := sorted(set(args) - set(parameters)):
        raise DataError(
            f"Data set '{config.name}' takes no argument"
            f" {', '.join(map(repr, unknown))}; known: {', '.join(parameters)}."
        )
    for name, parameter in parameters.items():
        if parameter.default is parameter.empty and name not in args:
            raise DataError(f"Data set '{config.name}' needs the argument '{name}'.")
    return dataset(**args)
