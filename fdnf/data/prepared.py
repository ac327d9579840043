"""Image sets that TFDS prepared, read without TensorFlow and without its downloader."""

import json
import os
import pathlib
from collections.abc import Callable, Collection, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from absl import logging

from fdnf.data import cache, decoding, paths
from fdnf.data.tabular import DataError, told

if TYPE_CHECKING:
    from PIL import Image

_INFO = "dataset_info.json"
_BLOCK = 512


def places(data_dir: str | None = None) -> list[pathlib.Path]:
    """Directories that prepared sets are looked for in, in order."""
    given = paths.data_dir(data_dir)
    found = [given / "tfds", given, paths.cache_dir() / "tfds"]
    if named := os.environ.get("TFDS_DATA_DIR"):
        found.append(pathlib.Path(os.path.expanduser(named)))
    if (home := paths.home()) is not None:
        found.append(home / "tensorflow_datasets")
    return found


def find(name: str, data_dir: str | None = None) -> pathlib.Path | None:
    """Looks for a prepared set; nothing is prepared or downloaded.

    Args:
        name: TFDS's name of the set.
        data_dir: A data directory that overrides the environment.

    Returns:
        The directory of its newest version in the first place that has one in
        ArrayRecord files, which are what reads without TensorFlow; or None.
    """
    for place in places(data_dir):
        versions = (place / name).glob(f"[0-9]*/{_INFO}")
        for info in sorted(versions, key=_version, reverse=True):
            try:
                content = json.loads(info.read_text(encoding="utf-8"))
                form = content.get("fileFormat", "tfrecord")
            except (OSError, ValueError, AttributeError, RecursionError) as error:
                form = f"unreadable ({told(error)})"
            if form == "array_record":
                return info.parent
            logging.warning(
                "Passing over %s: its files are %s, only array_record reads without"
                " TensorFlow. Prepare it again: python -m fdnf.data.builders.stock %s",
                *(info.parent, form, name),
            )
    return None


def fingerprint(directory: pathlib.Path) -> str:
    """What tells one prepared copy from another: version, counts and sizes."""
    return cache.sha256(directory / _INFO)[:16]


def read(
    directory: pathlib.Path,
    split: str,
    event: tuple[int, int, int],
    labelled: bool = True,
    convert: Callable[["Image.Image"], "Image.Image"] | None = None,
    sizes: Collection[tuple[int, int]] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Reads one split of a prepared set.

    Args:
        directory: As from `find`.
        split: TFDS's name of the split.
        event: Height, width and channels.
        labelled: Whether the set has a feature `label`.
        convert: What is done to each image, as in `decoding.decode`.
        sizes: (width, height) that images may have before that, likewise.

    Returns:
        Images, uint8 `[images, *event]`, and labels, int32 `[images]`, zeros without
        labels; in TFDS's order, which is not the original's.

    Raises:
        DataError: If the copy is damaged or lacks the split.
    """
    import tensorflow_datasets as tfds

    where = f"{directory}, split '{split}'"
    labels: list[int] = []

    def streams(source: Any) -> Iterator[bytes]:
        # Single examples cost a call into TFDS each.
        for start in range(0, len(source), _BLOCK):
            block = range(start, min(start + _BLOCK, len(source)))
            for example in source.__getitems__(block):
                labels.append(int(example["label"]) if labelled else 0)
                yield example["image"]

    try:
        # Its decorators hide the method's parameters from the type checker.
        builder: Any = tfds.builder_from_directory(str(directory))
        source = builder.as_data_source(
            split=split, decoders={"image": tfds.decode.SkipDecoding()}
        )
        _check_count(directory, len(source))
        pixels = decoding.decode(
            streams(source), len(source), event, where, convert, sizes
        )
    except DataError:
        raise
    # Records, protocol buffers and features each have errors of their own.
    except Exception as error:
        raise DataError(
            f"{where} does not read: {type(error).__name__}: {error}. Delete the"
            " directory and prepare the set again."
        ) from None
    return pixels, np.array(labels, np.int32)


def read_both(
    directory: pathlib.Path, event: tuple[int, int, int]
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Splits "train" and "test" of a labelled set, each as `read` returns it."""
    return read(directory, "train", event), read(directory, "test", event)


def _check_count(directory: pathlib.Path, count: int) -> None:
    """The number of images is the word of a text file beside them."""
    held = sum(file.stat().st_size for file in directory.iterdir() if file.is_file())
    if count > held:
        raise ValueError(f"{_INFO} announces {count:,} images in {held:,} bytes")


def _version(info: pathlib.Path) -> tuple[int, ...]:
    parts = info.parent.name.split(".")
    return tuple(int(part) if part.isdigit() else -1 for part in parts)
