"""Runs a builder once: source files to ArrayRecord files to arrays."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from absl import logging

from fdnf.data import paths, published
from fdnf.data.builders import bsds300, common, gas, hepmass, miniboone, power
from fdnf.data.tabular import SPLITS, DataError

BUILDERS: dict[str, type[common.Rows]] = {
    "power": power.Power,
    "gas": gas.Gas,
    "hepmass": hepmass.Hepmass,
    "miniboone": miniboone.Miniboone,
    "bsds300": bsds300.Bsds300,
}


def prepare(name: str, data_dir: str | None = None) -> common.Splits:
    """Prepares a published set with TFDS and reads it back.

    Source files come from `fdnf.data.download`, not from TFDS's downloader, which
    takes minutes to find that there is no network.

    Args:
        name: A key of `BUILDERS`.
        data_dir: Its `manual/` is where source files are looked for.

    Returns:
        Train, val and test, float32 `[rows, dim]`, in the recipe's order.

    Raises:
        DataError: If a source file cannot be had or read.
    """
    kind = BUILDERS[name]
    manual = paths.manual_dir(data_dir, kind.files())
    manual.mkdir(parents=True, exist_ok=True)
    builder = kind(data_dir=paths.cache_dir() / "tfds", file_format="array_record")
    config = tfds.download.DownloadConfig(manual_dir=manual)
    try:
        kind.obtain(manual)
    except DataError as error:
        title = published.PUBLISHED[name].title
        raise DataError(f"{title} has to be prepared first. {error}") from None
    logging.info("Preparing %s once from files in %s", name, manual)
    # Several bars for what is one step here; the line above has said enough.
    tfds.disable_progress_bar()
    builder.download_and_prepare(download_config=config)
    # Typed as a tree, which TFDS makes of any structure of splits.
    sources: Any = builder.as_data_source()
    train, val, test = (read(sources[split]) for split in SPLITS)
    found = (len(train), len(val), len(test))
    if difference := published.row_difference(name, found):
        logging.warning("%s: %s", name, difference)
    return train, val, test


def read(blocks: Iterable[Mapping]) -> np.ndarray:
    """Joins the blocks of a split, `[rows, dim]`, in the order they were written."""
    ordered = sorted(blocks, key=lambda block: int(block["start"]))
    return np.concatenate([block["rows"] for block in ordered])
