"""What a model of super-resolution was measured to be, image by image, as JSON."""

import dataclasses
import math
import pathlib
from collections.abc import Mapping
from typing import Any

from fdnf import files

FILENAME = "super_resolution.json"
# Rows that are no student's.
BICUBIC, PRETRAINED, TEACHER = "bicubic", "pretrained", "teacher"
# Median, tenth and ninetieth percentile, in milliseconds.
Milliseconds = tuple[float, float, float]
# Image to number; metric to those; benchmark to those.
Values = Mapping[str, Mapping[str, Mapping[str, float]]]


@dataclasses.dataclass(frozen=True)
class Record:
    """One run.

    Attributes:
        data: name of the data set.
        method: "bicubic", "pretrained", "teacher", or what a student is called.
        seed: of the run; 0 for bicubic.
        scale: sides of high over sides of low resolution.
        values: benchmark to metric to image to number, of one sample an image.
            Metrics are "psnr" (dB), "ssim", "lr_psnr" (dB), the perceptual distance
            under its name ("lpips_alex") and "diversity", its mean over pairs of
            samples of one image.
        source: what the data are.
        perceptual: name of the perceptual distance, None where there is none.
        settings: how the samples were drawn, of `sr_scores.Settings`: "temperature",
            "images", "samples" and "sample_crop".
        parameters: number of optimized scalars, None for bicubic.
        time_ms: of one image, from 8-bit low to 8-bit high resolution; median, tenth
            and ninetieth percentile.
        unfolded_ms: likewise of a flow as it was trained, not made ready for sampling.
        timed: size of that image.
        exploded: images with a value that is not finite or far beyond [0, 1].
        notes: what tables say of how these numbers were taken.
    """

    data: str
    method: str
    seed: int
    scale: int
    values: Values
    source: str = ""
    perceptual: str | None = None
    settings: Mapping[str, float] = dataclasses.field(default_factory=dict)
    parameters: int | None = None
    time_ms: Milliseconds | None = None
    unfolded_ms: Milliseconds | None = None
    timed: str = ""
    exploded: int = 0
    notes: tuple[str, ...] = ()

    def to_json(self) -> str:
        """One JSON object; numbers that are not finite become "nan", "inf", "-inf"."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return files.dumps(_plain(fields), indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Record":
        """The record that `to_json` wrote.

        Raises:
            ValueError: not JSON, a field missing or unknown, or values that are not
                numbers.
        """
        found = files.loads(text)
        names = [field.name for field in dataclasses.fields(cls)]
        if not isinstance(found, dict) or set(found) != set(names):
            given = sorted(found) if isinstance(found, dict) else type(found).__name__
            raise ValueError(f"record is {given}: expected the fields {sorted(names)}")
        values = {
            benchmark: {
                metric: {
                    name: _number(v, f"{benchmark}.{metric}.{name}")
                    for name, v in images.items()
                }
                for metric, images in metrics.items()
            }
            for benchmark, metrics in found["values"].items()
        }
        found["values"], found["notes"] = values, tuple(found["notes"])
        for name in ("time_ms", "unfolded_ms"):
            found[name] = found[name] and tuple(found[name])
        return cls(**found)


def path_of(record: Record, folder: pathlib.Path) -> pathlib.Path:
    """Where the record of a run goes below the results."""
    return folder / record.method / f"seed_{record.seed}" / FILENAME


def read(folder: str | pathlib.Path) -> list[Record]:
    """Every record under a directory, in the order of their paths.

    Raises:
        FileNotFoundError: there is none.
        ValueError: a file that is not a record; the message names it.
    """
    found = []
    for path in sorted(pathlib.Path(folder).rglob(FILENAME)):
        try:
            found.append(Record.from_json(path.read_text(encoding="utf-8")))
        except ValueError as error:
            told = f"{path}: {error}; evaluate that run again"
            raise files.DamagedError(told) from error
    if not found:
        raise FileNotFoundError(f"no {FILENAME} under {folder}: evaluate a run first")
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def _number(value: Any, where: str) -> float:
    if value in ("nan", "inf", "-inf"):
        return float(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    raise ValueError(f"{where} is {value!r}: expected a number")
