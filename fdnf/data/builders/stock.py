"""Prepares TFDS's own image sets so that they read without TensorFlow.

`python -m fdnf.data.builders.stock mnist` with the extra `prepare` installed. Nothing
here is needed for training: the public archives read without it (`fdnf.data.mnist`,
`cifar10`, `celeba`).
"""

import argparse
import importlib.util
import pathlib
import sys

import tensorflow_datasets as tfds

from fdnf.data import paths
from fdnf.data.tabular import DataError

NAMES = ("cifar10", "mnist", "fashion_mnist", "celeb_a")


def prepare(name: str, manual_dir: str | None = None) -> pathlib.Path:
    """Downloads and prepares a set in ArrayRecord files, where `prepared` finds it.

    Args:
        name: One of `NAMES`.
        manual_dir: A directory with the set's source files under their published
            names; those there are not downloaded. `manual/` of the data directory by
            default, if there is one.

    Returns:
        The prepared set's directory.

    Raises:
        DataError: If TensorFlow is not installed, or the set cannot be had.
    """
    if name not in NAMES:
        raise DataError(f"Unknown set '{name}'; known: {', '.join(NAMES)}.")
    # TFDS encodes images with it, and would fail half-way through a download.
    if importlib.util.find_spec("tensorflow") is None:
        raise DataError(
            f"Preparing '{name}' takes TensorFlow, which is not installed. Try: pip"
            " install 'fdnf[prepare]', or let fdnf read the set's own archive, which"
            " needs neither."
        )
    manual = pathlib.Path(manual_dir) if manual_dir else paths.data_dir() / "manual"
    builder = tfds.builder(
        name, data_dir=paths.cache_dir() / "tfds", file_format="array_record"
    )
    config = tfds.download.DownloadConfig(
        manual_dir=manual if manual.is_dir() else None
    )
    try:
        builder.download_and_prepare(download_config=config)
    # The network and TFDS's checks each have errors of their own.
    except Exception as error:
        raise DataError(
            f"TFDS could not prepare '{name}': {type(error).__name__}: {error}\nFiles"
            f" put into {manual} under their published names are not downloaded."
        ) from error
    return pathlib.Path(builder.data_dir)


def main(arguments: list[str] | None = None) -> int:
    """Runs `prepare` from the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m fdnf.data.builders.stock")
    parser.add_argument("name", choices=NAMES)
    parser.add_argument("--manual_dir", help="where source files lie already")
    given = parser.parse_args(arguments)
    try:
        print(prepare(given.name, given.manual_dir))
    except DataError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
