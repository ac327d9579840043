"""Weights of pretrained networks from local files, checked before they are read.

Nothing is fetched. The bytes are read once, their sha256 is compared, and only then
does a reader look at them, one that cannot run code: of .npz, of PyTorch's format
before 1.6 or of pickles of numpy arrays, the forms in which the known weights are
published, told apart by their content.
"""

import hashlib
import importlib.util
import io
import os
import pathlib
import zipfile
import zlib
from typing import Any, NamedTuple

import numpy as np

from fdnf.metrics import unpickling


class WeightsError(ValueError):
    """A file of weights is not the one asked for, or cannot be read."""


class MissingWeightsError(FileNotFoundError):
    """There are no weights; the text says how to get them.

    A metric that needs them is left out, with this text as the reason.
    """


class Weights(NamedTuple):
    """What a file holds.

    Attributes:
        arrays: by name; the keys of nested dicts are joined by dots.
        sha256: of the file, 64 lower-case hexadecimal digits.
        path: the file.
    """

    arrays: dict[str, np.ndarray]
    sha256: str
    path: pathlib.Path

    def array(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        """One array in float32.

        Raises:
            WeightsError: it is absent or of another shape.
        """
        if name not in self.arrays:
            raise WeightsError(
                f"{self.path} has no array {name!r}; its first are"
                f" {', '.join(list(self.arrays)[:3])}: the weights of another network?"
            )
        if self.arrays[name].shape != shape:
            raise WeightsError(
                f"{self.path}: {name!r} has shape {self.arrays[name].shape}, expected"
                f" {shape}: the weights of another network?"
            )
        return np.asarray(self.arrays[name], np.float32)


def read(path: str | os.PathLike[str], *sha256: str) -> Weights:
    """Reads a file of weights.

    Args:
        path: the file.
        *sha256: the checksums that are admitted; any file where none is given.

    Returns:
        The arrays, of the types that they have in the file.

    Raises:
        MissingWeightsError: there is no such file.
        WeightsError: another checksum, an unknown format, damage, or content other
            than plain arrays.
    """
    path = pathlib.Path(os.path.expanduser(path))
    try:
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        raise MissingWeightsError(f"no file of weights at {path}") from None
    found = hashlib.sha256(data).hexdigest()
    if sha256 and found not in [value.lower() for value in sha256]:
        raise WeightsError(
            f"{path} has sha256 {found}: expected {' or '.join(sha256)}. It was not"
            " read. Get the file with that checksum, or give this file's if it is what"
            " you mean to use."
        )
    try:
        arrays = _flat(_parse(data))
    except ValueError as error:
        raise WeightsError(
            f"{path} is no readable file of weights: {error}. Expected plain arrays in"
            " .npz, in PyTorch's format before 1.6, or in a pickle of numpy arrays; of"
            " another, save them anew by np.savez."
        ) from None
    return Weights(arrays, found, path)


def installed(package: str, file: str) -> pathlib.Path | None:
    """Path of a file inside an installed package, which is not imported.

    Args:
        package: its top-level import name.
        file: path below the package.

    Returns:
        The path, or None if the package or the file is absent.
    """
    spec = importlib.util.find_spec(package)
    for place in (spec.submodule_search_locations or []) if spec else []:
        path = pathlib.Path(place) / file
        if path.is_file():
            return path
    return None


def _parse(data: bytes) -> Any:
    if data.startswith(b"PK\x03\x04"):
        return _npz(data)
    if data.startswith(unpickling.LEGACY_TORCH):
        return unpickling.torch_legacy(data)
    if data.startswith(b"\x80"):
        return unpickling.numpy_pickle(data)
    raise ValueError("unknown format")


def _npz(data: bytes) -> dict[str, Any]:
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    # Of memory: an array may announce any size.
    except (
        *(zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError),
        *(RuntimeError, MemoryError),
    ) as error:
        told = f"{type(error).__name__} {error}".strip()
        raise ValueError(f"damaged archive: {told}") from None


def _flat(tree: Any, name: str = "") -> dict[str, np.ndarray]:
    if isinstance(tree, np.ndarray):
        return {name: tree}
    if not isinstance(tree, dict):
        raise ValueError(
            f"{name or 'the file'!r} is a {type(tree).__name__}, not an array"
        )
    flat = {}
    for key, part in tree.items():
        flat |= _flat(part, f"{name}.{key}" if name else str(key))
    return flat
