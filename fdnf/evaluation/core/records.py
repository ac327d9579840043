"""Results of one trained model as `result.json`, and reading many of them."""

import math
import pathlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from fdnf import files

FILENAME = "result.json"


class Record(NamedTuple):
    """What one model, trained with one seed, was measured to be.

    Attributes:
        arch: architecture as printed, such as "MAF" or "Glow".
        data: name of the data set, such as "bsds300".
        method: "teacher", "student" (without distillation), "lkd", "ilkd", "skd", or
            any other name of a recipe.
        seed: of the run; runs of one seed are paired.
        log_likelihood: split ("val", "test") to mean and standard error over its
            examples, in nats; nan for a run that diverged.
        parameters: number of optimized scalars.
        density_ms: median, p10 and p90 of evaluating the density of one batch, in ms.
        sampling_ms: likewise of drawing one batch.
        metrics: further numbers by name, such as "sliced_wasserstein"; lower is better
            but for those in `quantities.HIGHER`. Scores of images may end in the
            condition they were taken under: "fd_vgg16@2ecbe4ce/t0.7".
        steps: training steps taken.
        skipped_steps: those of them that were not finite and changed nothing.
        source: what the data are; a text with "subset" is footnoted as such.
        bits_per_dim: of images, split to mean and standard error over its examples.
        settings: of the architecture, by name, such as "levels", "steps", "hidden".
        density_mib: peak memory of evaluating the density of one batch, in MiB.
        sampling_mib: likewise of drawing one batch.
        time_batch: examples of the batch whose time and memory were taken.
        floors: metric to its value for real data in place of samples.
        counts: metric to the numbers of samples and of real examples behind it.
        notes: what tables say of how these numbers were taken.
    """

    arch: str
    data: str
    method: str
    seed: int
    log_likelihood: Mapping[str, tuple[float, float]]
    parameters: int
    density_ms: tuple[float, float, float] | None
    sampling_ms: tuple[float, float, float] | None
    metrics: Mapping[str, float]
    steps: int
    skipped_steps: int
    source: str = ""
    bits_per_dim: Mapping[str, tuple[float, float]] = MappingProxyType({})
    settings: Mapping[str, Any] = MappingProxyType({})
    density_mib: float | None = None
    sampling_mib: float | None = None
    time_batch: int | None = None
    floors: Mapping[str, float] = MappingProxyType({})
    counts: Mapping[str, tuple[int, int]] = MappingProxyType({})
    notes: tuple[str, ...] = ()

    def to_json(self) -> str:
        """The record as a JSON object; numbers that are not finite become null."""
        return files.dumps(self._asdict(), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Record":
        """The record that `to_json` wrote.

        Args:
            text: one JSON object with exactly the record's fields.

        Returns:
            The record; null numbers are nan.

        Raises:
            ValueError: not JSON, not an object, a field missing, unknown or of
                another type.
        """
        fields = files.loads(text)
        missing = [k for k in cls._fields if k not in fields | cls._field_defaults]
        unknown = [k for k in fields if k not in cls._fields]
        if missing or unknown:
            raise ValueError(f"fields missing: {missing}, unknown: {unknown}")
        converted = {key: _CONVERT[key](key, value) for key, value in fields.items()}
        return cls(**converted)


def read_records(workdir: str | pathlib.Path) -> list[Record]:
    """Every `result.json` under a directory, in the order of their paths.

    Args:
        workdir: directory to search, with all below it.

    Returns:
        One record a file.

    Raises:
        FileNotFoundError: no such directory, or no result in it.
        ValueError: a file that is not a record, or two files with one architecture,
            data set, method and seed; the message names them.
    """
    root = pathlib.Path(workdir)
    if not root.is_dir():
        raise FileNotFoundError(f"{root} is not a directory: expected a work directory")
    origin: dict[tuple, pathlib.Path] = {}
    records = []
    for path in sorted(root.rglob(FILENAME)):
        try:
            record = Record.from_json(path.read_text(encoding="utf-8"))
        except (ValueError, OSError) as error:
            raise files.DamagedError(
                f"{path}: {error}; evaluate that run again, or move the file away"
            ) from error
        key = record[:4]
        if key in origin:
            raise ValueError(
                f"{origin[key]} and {path} both hold {record.arch} {record.data} "
                f"{record.method} seed {record.seed}: give a directory with one of them"
            )
        origin[key] = path
        records.append(record)
    if not records:
        raise FileNotFoundError(
            f"no {FILENAME} under {root}: a run writes one when it is evaluated"
        )
    return records


def _text(key: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{key} is {value!r}: expected a string")
    return value


def _texts(key: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ValueError(f"{key} is {value!r}: expected a list of strings")
    return tuple(_text(key, item) for item in value)


def _count(key: str, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{key} is {value!r}: expected an integer, 0 or more")
    return value


def _number(key: str, value: Any) -> float:
    if value is None:
        return math.nan
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise ValueError(f"{key} is {value!r}: expected a number or null")
    return float(value)


def _numbers(key: str, value: Any, length: int) -> tuple[float, ...]:
    if not isinstance(value, list) or len(value) != length:
        raise ValueError(f"{key} is {value!r}: expected {length} numbers")
    return tuple(_number(key, item) for item in value)


def _latency(key: str, value: Any) -> tuple[float, ...] | None:
    return None if value is None else _numbers(key, value, 3)


def _object(key: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{key} is {value!r}: expected an object")
    return value


def _metrics(key: str, value: Any) -> dict[str, float]:
    return {k: _number(f"{key}.{k}", v) for k, v in _object(key, value).items()}


def _size(key: str, value: Any) -> float | None:
    return None if value is None else _number(key, value)


def _batch(key: str, value: Any) -> int | None:
    return None if value is None else _count(key, value)


def _counts(key: str, value: Any) -> dict[str, tuple[int, ...]]:
    found = {}
    for name, pair in _object(key, value).items():
        if not isinstance(pair, list) or len(pair) != 2:
            raise ValueError(f"{key}.{name} is {pair!r}: expected 2 integers")
        found[name] = tuple(_count(f"{key}.{name}", item) for item in pair)
    return found


def _settings(key: str, value: Any) -> dict[str, Any]:
    tuples = {
        k: tuple(v) if isinstance(v, list) else v
        for k, v in _object(key, value).items()
    }
    wrong = [k for k, v in tuples.items() if isinstance(v, dict)]
    if wrong:
        raise ValueError(f"{key}.{wrong[0]} is an object: expected a plain value")
    return tuples


def _splits(key: str, value: Any) -> dict[str, tuple[float, ...]]:
    return {k: _numbers(f"{key}.{k}", v, 2) for k, v in _object(key, value).items()}


_CONVERT = {
    "arch": _text,
    "data": _text,
    "method": _text,
    "seed": _count,
    "log_likelihood": _splits,
    "parameters": _count,
    "density_ms": _latency,
    "sampling_ms": _latency,
    "metrics": _metrics,
    "steps": _count,
    "skipped_steps": _count,
    "source": _text,
    "bits_per_dim": _splits,
    "settings": _settings,
    "density_mib": _size,
    "sampling_mib": _size,
    "time_batch": _batch,
    "floors": _metrics,
    "counts": _counts,
    "notes": _texts,
}
