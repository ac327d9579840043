"""Arrays out of pickles, without running what a pickle can ask for.

A pickle is a program that names functions to call. The readers here know a handful of
names (those that numpy's and PyTorch's own writers use for plain arrays), answer them
with stand-ins that only note bytes, shape and type, and refuse every other name.
"""

import io
import pickle
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

# First bytes of the format that PyTorch wrote before 1.6: a pickled magic number.
LEGACY_TORCH = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."
LEGACY_PROTOCOL = 1001

_DTYPES = ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")
_STORAGES = {
    "BoolStorage": "<b1",
    "ByteStorage": "<u1",
    "CharStorage": "<i1",
    "ShortStorage": "<i2",
    "IntStorage": "<i4",
    "LongStorage": "<i8",
    "HalfStorage": "<f2",
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
}


class UnpicklingError(ValueError):
    """The bytes hold something else than plain arrays, or are damaged."""


def numpy_pickle(data: bytes) -> Any:
    """Reads a pickle of containers of numpy arrays (protocols 3 and 4).

    Args:
        data: the file's bytes.

    Returns:
        The pickled object, with dicts, lists, numbers and strings as they were.

    Raises:
        UnpicklingError: the pickle names anything but numpy's array and its type, or
            is damaged.
    """
    known = {("numpy", "ndarray"): _Array, ("numpy", "dtype"): _Type}
    # numpy 2 moved the function; files of both kinds are about.
    for module in ("numpy.core.multiarray", "numpy._core.multiarray"):
        known[module, "_reconstruct"] = _Array.empty
    return _resolved(_load(_Reader(io.BytesIO(data), known)))


def torch_legacy(data: bytes) -> Any:
    """Reads what `torch.save` wrote before PyTorch 1.6.

    Five pickles (magic number, protocol, system, object, keys of the storages), then
    for each storage its length as int64 and its numbers.

    Args:
        data: the file's bytes.

    Returns:
        The saved object, its tensors as numpy arrays.

    Raises:
        UnpicklingError: it holds anything but containers of plain dense tensors of
            a type that numpy has, or is damaged.
    """
    storages: dict[str, np.ndarray] = {}

    def storage(kind: str, key: str, count: int) -> np.ndarray:
        # Tensors are views of this, and its numbers come after all of them.
        if key not in storages:
            if not 0 <= count * np.dtype(kind).itemsize <= len(data):
                raise UnpicklingError(f"a storage of {count} numbers")
            storages[key] = np.zeros(count, kind)
        return storages[key]

    file = io.BytesIO(data)
    _load(_Reader(file, {}))
    protocol = _load(_Reader(file, {}))
    if protocol != LEGACY_PROTOCOL:
        raise UnpicklingError(f"PyTorch's file protocol {protocol!r}")
    _load(_Reader(file, {}))
    tensors = _load(_TorchReader(file, storage))
    for key in _load(_Reader(file, {})):
        if key not in storages:
            raise UnpicklingError(f"a storage {key!r} of no tensor")
        held = storages.pop(key)
        length = int.from_bytes(file.read(8), "little", signed=True)
        numbers = file.read(held.nbytes)
        if length != len(held) or len(numbers) != held.nbytes:
            raise UnpicklingError(f"{length} of {len(held)} numbers of {key}")
        held[:] = np.frombuffer(numbers, held.dtype)
    if storages:
        raise UnpicklingError(f"no numbers for {', '.join(map(repr, storages))}")
    return tensors


class _Reader(pickle.Unpickler):
    """An unpickler that knows the names it is given and no others."""

    def __init__(self, file: io.BytesIO, known: dict[tuple[str, str], Any]) -> None:
        super().__init__(file)
        self.known = known

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self.known[module, name]
        except KeyError:
            raise UnpicklingError(f"a pickle that asks for {module}.{name}") from None

    def persistent_load(self, pid: Any) -> NoReturn:
        raise UnpicklingError(f"a pickle with outside parts ({pid!r})")


class _TorchReader(_Reader):
    """A reader of PyTorch's object pickle; `storage(kind, key, count)` has numbers."""

    def __init__(
        self, file: io.BytesIO, storage: Callable[[str, str, int], np.ndarray]
    ) -> None:
        known: dict[tuple[str, str], Any] = {
            ("collections", "OrderedDict"): _Dict,
            ("torch._utils", "_rebuild_tensor_v2"): _tensor,
        }
        known |= {("torch", name): kind for name, kind in _STORAGES.items()}
        super().__init__(file, known)
        self.storage = storage

    def persistent_load(self, pid: Any) -> np.ndarray:
        mark, kind, key, _, count, *view = pid
        if mark != "storage" or any(part is not None for part in view):
            raise UnpicklingError(f"a tensor's storage of another kind ({pid!r})")
        return self.storage(kind, key, count)


class _Dict(dict):
    """An ordered dict; its attributes, such as versions of modules, are dropped."""

    def __setstate__(self, state: Any) -> None:
        pass


class _Type:
    """Stands for numpy.dtype while a pickle is read."""

    def __init__(self, code: str, *_: Any) -> None:
        if code not in _DTYPES:
            raise UnpicklingError(f"an array of type {code!r}, not of numbers")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple) -> None:
        if state[1] in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
    """Stands for numpy.ndarray while a pickle is read."""

    @classmethod
    def empty(cls, *_: Any) -> "_Array":
        return cls()

    def __setstate__(self, state: tuple) -> None:
        _, shape, kind, by_columns, data = state
        flat = np.frombuffer(data, kind.dtype)
        self.value = flat.reshape(shape, order="F" if by_columns else "C")


def _tensor(
    storage: np.ndarray, offset: int, shape: tuple, strides: tuple, *_: Any
) -> np.ndarray:
    """A view of the storage; strides and offset count numbers, not bytes."""
    if len(shape) != len(strides) or min((offset, *shape, *strides)) < 0:
        raise UnpicklingError(f"a tensor of shape {shape} and strides {strides}")
    last = offset + sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
    if 0 not in shape and last >= len(storage):
        raise UnpicklingError(f"a tensor that ends behind its {len(storage)} numbers")
    return np.lib.stride_tricks.as_strided(
        storage[offset:],
        shape,
        [s * storage.itemsize for s in strides],
        writeable=False,
    )


def _load(reader: _Reader) -> Any:
    try:
        return reader.load()
    except UnpicklingError:
        raise
    # A hostile or cut program can fail in any way that Python has.
    except Exception as error:
        raise UnpicklingError(f"damaged ({type(error).__name__}: {error})") from None


def _resolved(value: Any) -> Any:
    """The object with arrays in place of their stand-ins."""
    if isinstance(value, _Array):
        if not hasattr(value, "value"):
            raise UnpicklingError("an array without its numbers")
        return value.value
    if isinstance(value, dict):
        return {key: _resolved(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_resolved(part) for part in value]
    return value
