"""The builders of the published tabular sets, and their rows."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from absl import logging

from fdnf.data import published
from fdnf.data.builders import bsds300, common, gas, hepmass, miniboone, power
from fdnf.data.tabular import SPLITS

BUILDERS: dict[str, type[common.Rows]] = {
    "power": power.Power,
    "gas": gas.Gas,
    "hepmass": hepmass.Hepmass,
    "miniboone": miniboone.Miniboone,
    "bsds300": bsds300.Bsds300,
}


def rows(name: str, data_dir: str | None = None) -> common.Splits:
    """Prepares a published set with TFDS and reads it back.

    Args:
        name: A key of `BUILDERS`.
        data_dir: Its `manual/` is where source files are looked for.

    Returns:
        Train, val and test, float32 `[rows, dim]`, in the recipe's order.

    Raises:
        DataError: If a source file cannot be had or read.
    """
    builder = common.prepare(BUILDERS[name], data_dir)
    # Typed as a tree, which TFDS makes of any structure of splits.
    sources: Any = builder.as_data_source()
    train, val, test = (joined(sources[split]) for split in SPLITS)
    found = (len(train), len(val), len(test))
    if difference := published.row_difference(name, found):
        logging.warning("%s: %s", name, difference)
    return train, val, test


def joined(blocks: Iterable[Mapping]) -> np.ndarray:
    """Joins the blocks of a split, `[rows, dim]`, in the order they were written."""
    ordered = sorted(blocks, key=lambda block: int(block["start"]))
    return np.concatenate([block["rows"] for block in ordered])
