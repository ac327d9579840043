"""One record for all that is measured: a run, and its scores, one number a row.

A run is a trained model under one seed, or a baseline that is no model: real images in
place of samples, bicubic upsampling, white noise. Each has a folder of its own with one
file, `<method>/seed_<n>/result.json`, whatever the kind of data.
"""

import math
import pathlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from fdnf import files

FILENAME = "result.json"
FORMAT = 2


class Run(NamedTuple):
    """What was measured.

    Attributes:
        data: name of the data set, such as "bsds300".
        method: "teacher", "student" (without distillation), "ilkd", "kl", or another
            name of a recipe; of a baseline a key of `methods.BASELINES`.
        seed: of the run; runs of one seed are paired. 0 of a baseline.
        arch: architecture as printed, such as "MAF"; "" of a baseline.
        kind: "vectors", "images", "super_resolution", "speech", or the name of a study.
        label: as tables call it, where that is not what `methods.label` gives.
        settings: of the architecture, and others by which runs may differ, by name.
        facts: what was not scored: "parameters", "steps", "skipped_steps", "source"
            (what the data are), "notes" (of how numbers were taken), and whatever a
            task adds. Those that are numbers may be columns of tables.
    """

    data: str
    method: str
    seed: int = 0
    arch: str = ""
    kind: str = ""
    label: str = ""
    settings: Mapping[str, Any] = MappingProxyType({})
    facts: Mapping[str, Any] = MappingProxyType({})

    @property
    def key(self) -> tuple:
        """What tells one run from another: two files of one key are one too many."""
        settings = files.dumps(self.settings, sort_keys=True)
        return self.kind, self.data, self.arch, self.method, self.seed, settings


class Score(NamedTuple):
    """One number.

    Attributes:
        metric: a key of `quantities.QUANTITIES`.
        value: nan where the run diverged, or the metric is not defined.
        split: "test", "val", or the name of a benchmark, such as "Set5".
        given: what it was taken under, such as "t0.7" or "interpolation_t0.7"; "" as
            usual.
        features: id of the features that it is over, such as
            "vgg16_relu5_3_gap_min32@2ecbe4ce"; "" of a metric without features.
        item: an image or a clip; "" of a value over the whole split.
        n: examples behind the value, or of the batch that was timed.
        se: standard error over these examples.
        low: lower end of the spread: tenth percentile of times, or of an interval.
        high: upper end, likewise.
    """

    metric: str
    value: float
    split: str = ""
    given: str = ""
    features: str = ""
    item: str = ""
    n: int | None = None
    se: float | None = None
    low: float | None = None
    high: float | None = None

    @property
    def key(self) -> tuple[str, ...]:
        """What tells one score of a run from another."""
        return self.metric, self.split, self.given, self.features, self.item


class Result(NamedTuple):
    """A run and all its scores."""

    run: Run
    scores: tuple[Score, ...]

    def get(self, metric: str, **where: Any) -> Score | None:
        """The first score of a metric whose fields are as given, or None."""
        for score in self.scores:
            if score.metric == metric and all(
                getattr(score, name) == value for name, value in where.items()
            ):
                return score
        return None


def place(run: Run, folder: str | pathlib.Path) -> pathlib.Path:
    """Where the file of a run goes below a folder of results."""
    return pathlib.Path(folder) / run.method / f"seed_{run.seed}" / FILENAME


def write(result: Result, folder: str | pathlib.Path) -> pathlib.Path:
    """Writes `<folder>/<method>/seed_<n>/result.json`, whole or not at all.

    Raises:
        ValueError: two scores of it say the same of the same.
    """
    check_once(result)
    path = place(result.run, folder)
    files.write_text(path, to_json(result))
    return path


def to_json(result: Result) -> str:
    """The result as JSON: one line a score, without what is as usual.

    Numbers that are not finite become "nan", "inf", "-inf".
    """
    run = {k: v for k, v in result.run._asdict().items() if v not in ("", {})}
    head = {"format": FORMAT, "run": plain(run)}
    lines = [files.dumps(_fields(score)) for score in result.scores]
    text = files.dumps(head, indent=1)[:-2]
    return f'{text},\n "scores": [\n  ' + ",\n  ".join(lines) + "\n ]\n}\n"


def from_json(text: str | bytes) -> Result:
    """The result that `to_json` wrote.

    Raises:
        ValueError: not JSON, or a field is missing, unknown or of another type.
    """
    return from_plain(files.loads(text))


def from_plain(found: Mapping[str, Any]) -> Result:
    """The result of what JSON holds; see `from_json`."""
    if found.get("format") != FORMAT:
        raise ValueError(f"format {found.get('format')!r}: expected {FORMAT}")
    if set(found) != {"format", "run", "scores"} or not isinstance(found["run"], dict):
        raise ValueError(f"fields {sorted(found)}: expected format, run and scores")
    run = _read(Run, found["run"], "run")
    if not isinstance(found["scores"], list):
        raise ValueError("scores: expected a list of objects")
    scores = tuple(
        _read(Score, each, f"scores[{i}]") for i, each in enumerate(found["scores"])
    )
    result = Result(run, scores)
    check_once(result)
    return result


def name(run: Run) -> str:
    """A run in a sentence: "MAF bsds300 ilkd seed 3"."""
    return f"{run.arch} {run.data} {run.method} seed {run.seed}".strip()


def _fields(score: Score) -> dict[str, Any]:
    usual = Score._field_defaults
    return {
        key: plain(value)
        for key, value in score._asdict().items()
        if key not in usual or value != usual[key]
    }


def plain(value: Any) -> Any:
    """What strict JSON can hold; numbers that are not finite are their names."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def _read(kind: Any, fields: Any, where: str) -> Any:
    if not isinstance(fields, dict):
        raise ValueError(f"{where} is {fields!r}: expected an object")
    missing = [k for k in kind._fields if k not in fields | kind._field_defaults]
    unknown = [k for k in fields if k not in kind._fields]
    if missing or unknown:
        raise ValueError(f"{where}: fields missing: {missing}, unknown: {unknown}")
    return kind(
        **{k: _READ[_KINDS[k]](f"{where}.{k}", value) for k, value in fields.items()}
    )


def _text(where: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{where} is {value!r}: expected a string")
    return value


def _count(where: str, value: Any) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{where} is {value!r}: expected an integer, 0 or more")
    return value


def _number(where: str, value: Any) -> float | None:
    if value is None:
        return None
    if value in ("nan", "inf", "-inf"):
        return float(value)
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise ValueError(f"{where} is {value!r}: expected a number")
    return float(value)


def _mapping(where: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{where} is {value!r}: expected an object")
    return {key: _tuples(item) for key, item in value.items()}


def _tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _tuples(item) for key, item in value.items()}
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


_READ = {"text": _text, "count": _count, "number": _number, "mapping": _mapping}
_KINDS = {
    **dict.fromkeys(("data", "method", "arch", "kind", "label"), "text"),
    **dict.fromkeys(("metric", "split", "given", "features", "item"), "text"),
    **dict.fromkeys(("seed", "n"), "count"),
    **dict.fromkeys(("value", "se", "low", "high"), "number"),
    **dict.fromkeys(("settings", "facts"), "mapping"),
}


def check_once(result: Result) -> None:
    """Refuses a result that tells the same twice.

    Raises:
        ValueError: two scores of it say the same of the same.
    """
    seen = set()
    for score in result.scores:
        if score.key in seen:
            what = " ".join(str(part) for part in score.key if part)
            raise ValueError(f"{name(result.run)} has two scores of {what}")
        seen.add(score.key)
