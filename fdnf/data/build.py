"""The data sets by name, and the one a config asks for."""

import difflib
import importlib
import inspect
import typing
from collections.abc import Callable
from typing import Any

from fdnf.data import (
    asterisk,
    bsds300,
    celeba,
    cifar10,
    div2k,
    embedded,
    galaxies,
    images,
    ljspeech,
    mnist,
    npz,
    own_images,
    photographs,
    sbi,
    showers,
    speech,
    super_resolution,
    synthetic,
    synthetic_images,
    synthetic_pairs,
    synthetic_speech,
    tables,
    tabular,
    tabular_sets,
    toys,
)
from fdnf.data.images import Images
from fdnf.data.speech import Clips
from fdnf.data.super_resolution import Pairs
from fdnf.data.tabular import DataError, Tabular

Data = Tabular | Images | Pairs | Clips
# What a data set may be, and what looks through one of a user's own.
VALIDATE: dict[type, Callable[[Any], Any]] = {
    Tabular: tabular.validate,
    Images: images.validate,
    Pairs: super_resolution.validate,
    Clips: speech.validate,
}
DATASETS: dict[str, Callable[..., Data]] = {
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
    "two_moons": toys.two_moons,
    "rings": toys.rings,
    "checkerboard": toys.checkerboard,
    "eight_gaussians": toys.eight_gaussians,
    "showers": showers.showers,
    "sbi": sbi.sbi,
    "galaxies": galaxies.galaxies,
    "npz": npz.npz,
    "table": tables.table,
    "image_folder": own_images.image_folder,
    "image_npz": own_images.image_npz,
}


def find(name: str) -> Callable[..., Data]:
    """The function that gives the data set of that name.

    Args:
        name: A key of `DATASETS`, or a function of the user's own,
            "package.module:function", whose return annotation says which of the four
            kinds of data it gives. It is imported from where Python looks.

    Raises:
        DataError: If there is none, or it cannot be imported.
    """
    if name in DATASETS:
        return DATASETS[name]
    module, colon, attribute = name.partition(":")
    if not colon:
        near = difflib.get_close_matches(name, DATASETS, 1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise DataError(
            f"Unknown data set '{name}'; known: {', '.join(DATASETS)}.{hint} Your own"
            " is named as package.module:function."
        )
    try:
        found: Any = importlib.import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
        calls = callable(found)
        kind = typing.get_type_hints(found).get("return") if calls else None
    # A user's module may raise anything.
    except Exception as error:
        raise DataError(
            f"data.name={name!r}: {module} cannot be imported with {attribute!r} in"
            f" it ({type(error).__name__}: {error}). Expected package.module:function,"
            " of a module in the current directory or on PYTHONPATH."
        ) from error
    if kind not in VALIDATE:
        raise DataError(
            f"data.name={name!r}: expected a function with a return annotation, which"
            f" says what data it gives: {_kinds()} of fdnf.data; got"
            f" {kind if calls else type(found).__name__!r}."
        )
    return found


def _kinds() -> str:
    return ", ".join(kind.__name__ for kind in VALIDATE)


def build(config: Any) -> Data:
    """Loads the data set that a config names.

    Args:
        config: Has `name`, see `find`, and may have `args`, a mapping of that data
            set's keyword arguments.

    Returns:
        The data set, vectors, images, pairs of images or recordings, validated.

    Raises:
        DataError: If the name or an argument is unknown, or the data cannot be had.
    """
    dataset = find(config.name)
    given: Any = getattr(config, "args", None) or {}
    args = given.to_dict() if hasattr(given, "to_dict") else dict(given)
    parameters = inspect.signature(dataset).parameters
    if unknown := sorted(set(args) - set(parameters)):
        raise DataError(
            f"Data set '{config.name}' takes no argument"
            f" {', '.join(map(repr, unknown))}; known: {', '.join(parameters)}."
        )
    for name, parameter in parameters.items():
        if parameter.default is parameter.empty and name not in args:
            raise DataError(f"Data set '{config.name}' needs the argument '{name}'.")
    data = dataset(**args)
    return data if config.name in DATASETS else _own(config.name, data)


def _own(name: str, data: Any) -> Data:
    """What a user's function gave, looked through."""
    if type(data) not in VALIDATE:
        raise DataError(
            f"data.name={name!r} gave {type(data).__name__}; expected one of {_kinds()}"
            " of fdnf.data."
        )
    return VALIDATE[type(data)](data)
