"""Adapters: results written in the formats that each kind of data once had.

They read what is on disk, and are all that knows of those formats.
"""

import math
from collections.abc import Mapping
from typing import Any

from fdnf.evaluation.core import quantities
from fdnf.evaluation.core.scores import Result, Run, Score


def of_result(found: Mapping[str, Any]) -> list[Result]:
    """Vectors and images: a record with a dict for each sort of number.

    Args:
        found: the content of a `result.json` without a format.

    Returns:
        The run, and its floors as a run of real data.

    Raises:
        KeyError, TypeError, ValueError: a field is missing or of another type.
    """
    bits = found.get("bits_per_dim") or {}
    kind = "images" if bits or found.get("floors") or found.get("counts") else "vectors"
    run = Run(
        found["data"],
        found["method"],
        found["seed"],
        found["arch"],
        kind,
        settings=_tuples(found.get("settings") or {}),
        facts={
            "parameters": found["parameters"],
            "steps": found["steps"],
            "skipped_steps": found["skipped_steps"],
            "source": found.get("source", ""),
            "notes": tuple(found.get("notes", ())),
        },
    )
    scores = [
        Score(metric, _number(mean), split, se=_number(error))
        for metric, splits in (
            ("log_likelihood", found["log_likelihood"]),
            ("bits_per_dim", bits),
        )
        for split, (mean, error) in splits.items()
    ]
    counts = found.get("counts") or {}
    for name, value in found["metrics"].items():
        n = counts.get(name, (None,))[0]
        scores.append(_metric(name)._replace(value=_number(value), n=n))
    for name in ("density", "sampling"):
        if (times := found.get(f"{name}_ms")) is not None:
            median, low, high = map(_number, times)
            batch = found.get("time_batch")
            scores.append(Score(f"{name}_ms", median, n=batch, low=low, high=high))
        if (size := found.get(f"{name}_mib")) is not None:
            scores.append(Score(f"{name}_mib", size, n=found.get("time_batch")))
    results = [Result(run, tuple(scores))]
    if floors := found.get("floors"):
        real = Run(
            found["data"], "real", kind=kind, facts={"source": run.facts["source"]}
        )
        given = tuple(
            _metric(name)._replace(value=_number(value))
            for name, value in floors.items()
        )
        results.append(Result(real, given))
    return results


def _metric(name: str) -> Score:
    """The parts of a name such as "fd_vgg16@2ecbe4ce/t0.7"."""
    metric, _, given = name.partition("/")
    kind, _, features = metric.partition("_")
    if metric in quantities.QUANTITIES or kind not in quantities.QUANTITIES:
        return Score(metric, math.nan, "test", given)
    return Score(kind, math.nan, "test", given, features)


def _number(value: Any) -> float:
    if value is None:
        return math.nan
    if value in ("nan", "inf", "-inf"):
        return float(value)
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise ValueError(f"{value!r}: expected a number")
    return float(value)


def _tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _tuples(item) for key, item in value.items()}
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
