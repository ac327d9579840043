"""Splits kept as .npy files, written whole or not at all."""

import hashlib
import os
import pathlib
import shutil
import tempfile

import numpy as np
from absl import logging

from fdnf.data import npz, paths
from fdnf.data.tabular import SPLITS

Splits = tuple[np.ndarray, np.ndarray, np.ndarray]


def load(key: str) -> Splits | None:
    """Reads the splits kept under a key.

    Args:
        key: What identifies the rows: name, recipe version, hash of the source.

    Returns:
        Train, val and test, of the type and shape they were kept in; None if they are
        not there, or are damaged, in which case they will be made again.
    """
    directory = paths.cache_dir() / key
    if not directory.is_dir():
        return None
    try:
        train, val, test = (
            npz.read_npy(directory / f"{split}.npy") for split in SPLITS
        )
    except (OSError, ValueError, EOFError) as error:
        logging.warning("Ignoring the damaged cache %s: %s", directory, error)
        return None
    return train, val, test


def save(key: str, splits: Splits) -> None:
    """Keeps splits under a key; a cache that cannot be written is only a warning.

    Args:
        key: What identifies the rows.
        splits: Train, val and test.
    """
    directory = paths.cache_dir() / key
    temporary = None
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        temporary = tempfile.mkdtemp(prefix=f".{directory.name}-", dir=directory.parent)
        for split, rows in zip(SPLITS, splits, strict=True):
            np.save(pathlib.Path(temporary) / f"{split}.npy", rows, allow_pickle=False)
        if load(key) is None:
            shutil.rmtree(directory, ignore_errors=True)
        os.replace(temporary, directory)
    except OSError as error:
        # Also the loser of a race between two runs ends here, and may.
        if not directory.is_dir():
            logging.warning("Could not keep %s: %s", directory, error)
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def sha256(*files: str | os.PathLike[str]) -> str:
    """SHA-256 of the files' contents one after the other, in hex."""
    digest = hashlib.sha256()
    for path in files:
        with open(path, "rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
