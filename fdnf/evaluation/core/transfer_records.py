"""What a student of a teacher's density was measured to be, as JSON."""

import dataclasses
import math
import types
import typing
from typing import Any, NamedTuple

import numpy as np

from fdnf import files
from fdnf.metrics.c2st import C2ST
from fdnf.metrics.two_sample import KolmogorovSmirnov, MeanDifference

FILENAME = "transfer.json"
# Rows of a record that are no student's: fresh samples of the teacher, which give the
# floor of every distance to its samples, and training rows, which give that of every
# distance to held-out rows.
TEACHER, DATA = "teacher", "data"
# Median, tenth and ninetieth percentile, in milliseconds.
Milliseconds = tuple[float, float, float]


class Estimate(NamedTuple):
    """A mean over rows. The median stands beside it where a few rows decide the mean.

    Attributes:
        mean: in nats, of the rows that count.
        standard_error: of the mean, in nats; nan for fewer than two rows.
        median: in nats, of all rows, those that do not count at the worst end.
        rows: how many count.
        left_out: rows that do not: not finite, or of an exploded sample.
    """

    mean: float
    standard_error: float
    median: float
    rows: int
    left_out: int


class Speed(NamedTuple):
    """Time of one batch on the default device, jitted and warmed up.

    Attributes:
        batch: rows of the batch.
        sampling_ms: of decoding one batch of latents, with the density of the samples
            where the flow has one.
        density_ms: of the density of one batch; None where there is none.
        naive_ms: of decoding `naive_batch` rows by evaluating the whole network once a
            dimension; None where that is not how the flow could sample, or not taken.
        naive_batch: rows of that batch, fewer where `batch` of them would take minutes.
    """

    batch: int
    sampling_ms: Milliseconds
    density_ms: Milliseconds | None = None
    naive_ms: Milliseconds | None = None
    naive_batch: int = 0


@dataclasses.dataclass(frozen=True)
class Scores:
    """One student against its teacher; None where a part was not taken.

    Log densities are in nats, of the flow's own data space. Exploded rows (not finite,
    or beyond a multiple of the training rows) are left out of distances and of the
    mean of log densities under the teacher, and counted.

    Attributes:
        rows: samples that were drawn.
        exploded_percent: of them, in percent; lower is better.
        teacher_log_prob: log p_T of the samples. Best where it is as of the teacher's
            own samples: higher is a concentrated student.
        ks: log p_T of the samples against that of the teacher's, all rows.
        shift: mean of log p_T of the samples minus that of the teacher's.
        reverse_kl: E_S[log q - log p_T]; lower is better, 0 the least.
        forward_kl: E_T[log p_T - log q], likewise.
        data_log_prob: log q of held-out rows; higher is better.
        judged: rows of each sample behind the four that follow, at most.
        c2st_teacher: samples against the teacher's.
        c2st_data: samples against held-out rows.
        sliced_wasserstein: to the teacher's samples, in units of the data; lower is
            better.
        mmd: squared, unbiased, to the teacher's samples; lower is better, and slightly
            below 0 is chance.
    """

    rows: int
    exploded_percent: float
    teacher_log_prob: Estimate
    ks: KolmogorovSmirnov
    shift: MeanDifference | None = None
    reverse_kl: Estimate | None = None
    forward_kl: Estimate | None = None
    data_log_prob: Estimate | None = None
    judged: int = 0
    c2st_teacher: C2ST | None = None
    c2st_data: C2ST | None = None
    sliced_wasserstein: float | None = None
    mmd: float | None = None


@dataclasses.dataclass(frozen=True)
class Record:
    """One run: what it is, its scores, and its speed if that was taken.

    Attributes:
        data: name of the data set.
        method: "kl", "z", "x", "oracle" or another name; TEACHER or DATA for floors.
        seed: of the run; of floors, of the teacher's run.
        source: what the data are.
        scores: the scores.
        speed: of the flow; the runs of one method share it.
    """

    data: str
    method: str
    seed: int
    source: str
    scores: Scores
    speed: Speed | None = None

    def to_json(self) -> str:
        """One JSON object; numbers that are not finite become "nan", "inf", "-inf"."""
        return files.dumps(_plain(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Record":
        """The record that `to_json` wrote.

        Raises:
            ValueError: not JSON, or a field is missing, unknown or of another type.
        """
        found = files.loads(text)
        return _read(cls, found, "record")


def estimate(
    values: np.ndarray, worst: float, counted: np.ndarray | None = None
) -> Estimate:
    """Mean of the rows that count, median of all.

    Args:
        values: `[rows]`, in nats, at least one.
        worst: inf or -inf: what a value that is not a number stands for.
        counted: `[rows]`, bool, all by default; rows that are not finite never count.
    """
    values = np.asarray(values, np.float64)
    counted = np.ones(len(values), bool) if counted is None else counted
    kept = values[counted & np.isfinite(values)]
    mean = float(kept.mean()) if len(kept) else math.nan
    error = math.nan
    if len(kept) > 1:
        error = float(kept.std(ddof=1)) / math.sqrt(len(kept))
    ranked = np.where(np.isnan(values) | ~counted, worst, values)
    # A point of the sample: between two infinities there is no mean.
    median = float(np.quantile(ranked, 0.5, method="higher"))
    return Estimate(mean, error, median, len(kept), len(values) - len(kept))


def _fields(kind: Any) -> dict[str, Any] | None:
    """Names and types of a record's parts; None for what has no names."""
    if not isinstance(kind, type):
        return None
    if dataclasses.is_dataclass(kind) or hasattr(kind, "_fields"):
        return typing.get_type_hints(kind)
    return None


def _plain(value: Any) -> Any:
    names = _fields(type(value))
    if names is not None:
        return {name: _plain(getattr(value, name)) for name in names}
    if isinstance(value, tuple):
        return [_plain(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def _read(kind: Any, value: Any, where: str) -> Any:
    """A value of JSON as the type that a field declares."""
    if isinstance(kind, types.UnionType):
        (kind,) = (part for part in typing.get_args(kind) if part is not type(None))
        return None if value is None else _read(kind, value, where)
    names = _fields(kind)
    if names is not None:
        if not isinstance(value, dict) or set(value) != set(names):
            given = sorted(value) if isinstance(value, dict) else value
            raise ValueError(f"{where} is {given}: expected the fields {sorted(names)}")
        return kind(
            **{k: _read(part, value[k], f"{where}.{k}") for k, part in names.items()}
        )
    parts = typing.get_args(kind)
    if parts and isinstance(value, list) and len(value) == len(parts):
        read = (_read(part, v, where) for part, v in zip(parts, value, strict=True))
        return tuple(read)
    if kind is float and value in ("nan", "inf", "-inf"):
        return float(value)
    if kind is float and isinstance(value, int | float) and value is not True:
        return float(value)
    if isinstance(kind, type) and type(value) is kind:
        return value
    raise ValueError(
        f"{where} is {value!r}: expected {getattr(kind, '__name__', kind)}"
    )
