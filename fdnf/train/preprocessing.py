"""The kind of preprocessing that a data set needs, and its passage to JSON and back."""

import dataclasses
from typing import Any

from fdnf.data.images import Images
from fdnf.data.speech import Clips
from fdnf.data.super_resolution import Pairs
from fdnf.data.tabular import Tabular
from fdnf.ops import mel
from fdnf.train import preprocess
from fdnf.train.preprocess import Preprocess
from fdnf.train.preprocess_pairs import Speech, SuperResolution

Data = Tabular | Images | Pairs | Clips
Prepared = Preprocess | SuperResolution | Speech

KINDS: dict[str, Any] = {
    "plain": Preprocess,
    "super_resolution": SuperResolution,
    "speech": Speech,
}


def make(config: Any, data: Data) -> Prepared:
    """What the `data` section asks to be done to batches.

    Args:
      config: `data`; read are for images `n_bits`, `logit`, `flip` and `conditional`,
        for super-resolution `bins` and `flip`, for speech `noise` and `mel`.
      data: what is loaded.

    Raises:
      ValueError: for options that the data do not allow.
    """
    if isinstance(data, Pairs):
        bins = config.get("bins", 32)
        if not (isinstance(bins, int) and bins >= 0):
            raise ValueError(f"data.bins={bins!r}: expected a whole number, 0 for none")
        return SuperResolution(
            data.scale, data.event[0], config.get("flip", False), bins
        )
    if isinstance(data, Clips):
        noise = config.get("noise", 1.0)
        if not noise >= 0:
            raise ValueError(f"data.noise={noise}: expected at least 0")
        settings = mel.Settings(rate=data.rate, **dict(config.get("mel", {})))
        return Speech(data.event[0], settings, noise)
    return preprocess.make(config, data)


def describe(prepared: Prepared) -> dict[str, Any]:
    """What a checkpoint keeps of it."""
    (kind,) = (name for name, made in KINDS.items() if type(prepared) is made)
    return {"kind": kind, **dataclasses.asdict(prepared)}


def restore(described: dict[str, Any]) -> Prepared:
    """What `describe` wrote; that of vectors if nothing was written."""
    fields = dict(described)
    made = KINDS[fields.pop("kind", "plain")]
    if "mel" in fields:
        fields["mel"] = mel.Settings(**fields["mel"])
    return made(**fields)
