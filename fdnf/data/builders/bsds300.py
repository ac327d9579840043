"""BSDS300: 63-dimensional patches of photographs (Martin et al.), as published."""

import pathlib
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from fdnf.data import archives, published
from fdnf.data.builders import common
from fdnf.data.tabular import DataError, told

MEMBER = "BSDS300/BSDS300.hdf5"
# The file's own names of train, val and test.
GROUPS = ("train", "validation", "test")


class Bsds300(common.Rows):
    """BSDS300, 63 columns."""

    VERSION = tfds.core.Version(published.PUBLISHED["bsds300"].version)

    def splits(self, manual: pathlib.Path) -> common.Splits:
        """Takes BSDS300 out of the archive."""
        with common.scratch() as directory:
            return preprocess(*parse(common.from_archive(manual, MEMBER, directory)))


def parse(path: pathlib.Path) -> common.Splits:
    """Reads the three splits from the HDF5 file.

    Args:
        path: The file.

    Returns:
        Train, val and test, `[rows, 63]`.

    Raises:
        DataError: If h5py is not installed, or the file does not read.
    """
    try:
        import h5py
    except ImportError:
        raise DataError(
            "BSDS300 as published is an HDF5 file. Try: pip install h5py."
        ) from None
    try:
        with h5py.File(path, "r") as file:
            for group in GROUPS:
                # Of what was never written, nothing but the size is in the file.
                rows: Any = file[group]
                archives.fits(rows.nbytes, f"'{group}' in {path}")
            train, val, test = (np.asarray(file[group]) for group in GROUPS)
    except (OSError, KeyError, AttributeError) as error:
        raise DataError(
            f"{path} is not an HDF5 file with {', '.join(GROUPS)}: {told(error)}."
        ) from None
    return train, val, test


def preprocess(train: np.ndarray, val: np.ndarray, test: np.ndarray) -> common.Splits:
    """Casts to float32: the file holds the patches ready made."""
    return common.to_float32((train, val, test))
