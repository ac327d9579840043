"""Weights of pretrained networks from local files, checked before they are read.

Nothing is fetched. The bytes are read once, their sha256 is compared, and only then
does a reader look at them, one that cannot run code: of .npz, safetensors, both
formats of PyTorch or pickles of numpy arrays, told apart by their content.
"""

import hashlib
import importlib.util
import io
import json
import os
import pathlib
import zipfile
import zlib
from typing import Any, NamedTuple

import numpy as np

from fdnf.metrics import unpickling

_SAFETENSORS = {
    **{"F16": "<f2", "F32": "<f4", "F64": "<f8", "BOOL": "<b1", "I8": "<i1"},
    **{"I16": "<i2", "I32": "<i4", "I64": "<i8", "U8": "<u1"},
}


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
            " .npz, safetensors, PyTorch's format or a pickle of numpy arrays."
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
        return _npz(data) if _is_npz(data) else unpickling.torch_zip(data)
    if data.startswith(unpickling.LEGACY_TORCH):
        return unpickling.torch_legacy(data)
    if data.startswith(b"\x80"):
        return unpickling.numpy_pickle(data)
    if data[8:9] == b"{":
        return _safetensors(data)
    raise ValueError("unknown format")


def _is_npz(data: bytes) -> bool:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return any(name.endswith(".npy") for name in archive.namelist())
    except zipfile.BadZipFile as error:
        raise ValueError(f"damaged archive: {error}") from None


def _npz(data: bytes) -> dict[str, np.ndarray]:
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


def _safetensors(data: bytes) -> dict[str, np.ndarray]:
    """A length as uint64, a JSON table of that many bytes, then the numbers."""
    start = 8 + int.from_bytes(data[:8], "little")
    table = json.loads(data[8:start])
    table.pop("__metadata__", None)
    arrays = {}
    for name, entry in table.items():
        try:
            kind = _SAFETENSORS[entry["dtype"]]
            begin, end = entry["data_offsets"]
            part = data[start + begin : start + end] if 0 <= begin <= end else b""
            arrays[name] = np.frombuffer(part, kind).reshape(entry["shape"])
        except (KeyError, TypeError) as error:
            raise ValueError(f"tensor {name!r}: {error!r} in its entry") from None
    return arrays


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
