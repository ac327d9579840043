"""Adapters: results written in the formats that each kind of data once had.

They read what is on disk, and are all that knows of those formats.
"""

import math
from collections.abc import Mapping
from typing import Any

from fdnf.evaluation.core import methods, quantities
from fdnf.evaluation.core.scores import Result, Run, Score

# Rows of old tables that were of no student: the teacher once more, training rows.
_FLOORS = {"teacher": "teacher_again", "data": "training"}
# What the names of sets of images begin with, where a file does not tell.
_IMAGES = ("cifar10", "celeba64", "mnist", "fashion_mnist", "digits", "synthetic_im")


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
    counts = found.get("counts") or {}
    notes = dict.fromkeys(
        f"Scores of images are of {n:,} "
        f"{'interpolations' if quantities.INTERPOLATION in name else 'samples'}, "
        f"against {real:,} test images."
        for name, (n, real) in counts.items()
    )
    run = Run(
        found["data"],
        found["method"],
        found["seed"],
        found["arch"],
        kind,
        settings=found.get("settings") or {},
        facts={
            "parameters": found["parameters"],
            "steps": found["steps"],
            "skipped_steps": found["skipped_steps"],
            "source": found.get("source", ""),
            "notes": (*found.get("notes", ()), *notes),
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
    for name, value in found["metrics"].items():
        n = counts.get(name, (None,))[0]
        scores.append(_metric(name)._replace(value=_number(value), n=n))
    for name in ("density", "sampling"):
        if (times := found.get(f"{name}_ms")) is not None:
            scores.append(_timed(f"{name}_ms", "", times, found.get("time_batch")))
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


def of_gaussian(found: Mapping[str, Any]) -> list[Result]:
    """The Gaussian study: a list over seeds for each loss, T and quantity.

    Args:
        found: the content of its `results.json`.
    """
    results = []
    for name, cell in found["cells"].items():
        loss, _, dim = name.partition("/")
        seeds = cell["seeds"]
        for seed in range(len(seeds["ks"])):
            run = Run("gaussian", loss, seed, kind="gaussian", settings={"T": int(dim)})
            scores = (Score(k, _number(values[seed])) for k, values in seeds.items())
            results.append(Result(run, tuple(scores)))
    return results


def of_transfer(found: Mapping[str, Any]) -> list[Result]:
    """A student of a teacher's density held against it, or one of the floors.

    Args:
        found: the content of a `transfer.json`.

    Raises:
        KeyError, TypeError, ValueError: a field is missing or of another type.
    """
    parts, split, rows = found["scores"], "teacher", found["scores"]["rows"]
    scores = [
        Score("exploded_percent", _number(parts["exploded_percent"]), split, n=rows)
    ]
    for name in ("teacher_log_prob", "reverse_kl", "forward_kl", "data_log_prob"):
        if (taken := parts[name]) is None:
            continue
        side = "test" if name == "data_log_prob" else split
        mean, error, median = (
            _number(taken[key]) for key in ("mean", "standard_error", "median")
        )
        n, lost = taken["rows"], taken["left_out"]
        se = None if math.isnan(error) else error
        scores.append(Score(name, mean, side, n=n, se=se))
        scores.append(Score(name, median, side, "median", n=n + lost))
        if lost:
            scores.append(Score(name, float(lost), side, "left_out", n=n + lost))
    for name, metric, key, side in (
        ("ks", "ks", "statistic", split),
        ("shift", "log_prob_shift", "difference", split),
        ("c2st_teacher", "c2st", "accuracy", split),
        ("c2st_data", "c2st", "accuracy", "test"),
    ):
        if (test := parts[name]) is not None:
            score = Score(metric, _number(test[key]), side)
            if name == "shift":
                low, high = _number(test["low"]), _number(test["high"])
                scores.append(score._replace(low=low, high=high))
            else:
                scores.append(score._replace(n=test.get("rows", rows)))
            scores.append(Score(metric, _number(test["p_value"]), side, "p"))
    for name in ("sliced_wasserstein", "mmd"):
        if parts[name] is not None:
            scores.append(Score(name, _number(parts[name]), split, n=parts["judged"]))
    if (speed := found["speed"]) is not None:
        for name, metric, given, batch in (
            ("sampling_ms", "sampling_ms", "flow_alone", speed["batch"]),
            ("density_ms", "density_ms", "flow_alone", speed["batch"]),
            ("naive_ms", "naive_ms", "", speed["naive_batch"]),
        ):
            if (times := speed[name]) is not None:
                median, low, high = map(_number, times)
                score = Score(metric, median, given=given, n=batch)
                scores.append(score._replace(low=low, high=high))
    run = Run(
        found["data"],
        _FLOORS[found["method"]] if found["method"] in _FLOORS else found["method"],
        found["seed"],
        kind="images" if found["data"].startswith(_IMAGES) else "vectors",
        facts={"source": found["source"]},
    )
    return [Result(run, tuple(scores))]


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


def of_super_resolution(found: Mapping[str, Any]) -> list[Result]:
    """Super-resolution: a dict of benchmarks of metrics of images.

    Args:
        found: the content of a `super_resolution.json`.

    Returns:
        The one run.

    Raises:
        KeyError, TypeError, ValueError: a field is missing or of another type.
    """
    method, drawn = found["method"], found["settings"]
    notes = [*found["notes"]]
    if drawn:
        side, first = drawn["sample_crop"], drawn["images"]
        of = f"middle {side}x{side} pixels" if side else "whole image"
        notes.append(
            f"Samples are drawn at temperature {drawn['temperature']}, one an image; "
            f"{drawn['samples']} of the {of} of each for their diversity."
        )
        notes += [f"Only the first {first} images of each benchmark."] if first else []
    notes += [f"Timed: {found['timed']}."] if found["timed"] else []
    names = {"bicubic": ("", ""), "pretrained": ("RRDB", "RRDB")}
    usual = ("SRFlow student", f"Student {method.replace('_', ' ')}")
    if "student" in method:
        usual = (usual[0], method.replace("_", " ").replace("srflow", "SRFlow"))
    arch, label = names.get(method, usual) if method != "teacher" else ("SRFlow",) * 2
    facts = {
        "parameters": found["parameters"],
        "scale": found["scale"],
        "source": found["source"],
        "notes": tuple(notes),
    }
    run = Run(
        found["data"],
        method,
        found["seed"],
        arch,
        "super_resolution",
        label,
        {},
        {key: value for key, value in facts.items() if value is not None},
    )
    kind, _, features = (found["perceptual"] or "").partition("_")
    scores = []
    for split, metrics in found["values"].items():
        for metric, images in metrics.items():
            over = features if metric in (found["perceptual"], "diversity") else ""
            called = kind if metric == found["perceptual"] else metric
            scores += [
                Score(called, _number(value), split, features=over, item=image)
                for image, value in images.items()
            ]
    scores.append(Score("exploded_images", float(found["exploded"])))
    for given, times in (("", found["time_ms"]), ("unfolded", found["unfolded_ms"])):
        scores += [_timed("upscaling_ms", given, times, 1)] if times else []
    return [Result(run, tuple(scores))]


def of_speech(found: Mapping[str, Any]) -> list[Result]:
    """Speech: a list of clips, and a list of as many values for each metric.

    Args:
        found: the content of a `speech.json`.

    Returns:
        The one run.

    Raises:
        KeyError, TypeError, ValueError: a field is missing or of another type.
    """
    method, kind, clips = found["method"], found["kind"], found["clips"]
    lengths = {metric: len(values) for metric, values in found["scores"].items()}
    if set(lengths.values()) - {len(clips)}:
        raise ValueError(f"{len(clips)} clips, scores of {lengths}")
    arch = methods.architecture(kind)
    # The tables that students stand in.
    group = ("ablation",) if kind.startswith("wave_") else ("vocoders",)
    label = arch
    if method == "teacher":
        label = f"{arch} (teacher)"
    elif kind and kind != f"wave_{method}":
        version = method[:1] == "v" and method[1:].isdigit()
        label = f"{arch} {method.upper()}" if version else f"{arch} ({method})"
    elif found["iterations"] is not None:
        label = f"Griffin-Lim ({found['iterations']} iterations)"
    if method == "v2":
        group = ("vocoders", "ablation")
    notes = [
        f"{len(clips)} test clips, {found['seconds']:.1f} s in all, at {found['rate']} "
        "samples a second."
    ]
    if found["temperature"] is not None:
        notes.append(
            f"Latents of standard deviation {found['temperature']}, the same for all "
            "models: one draw a clip, none rejected. Each is given the mel of the "
            "recording."
        )
    if left := found["left_out"]:
        notes.append(f"Left out, being too short: {', '.join(left)}.")
    notes += [f"Not measured: {m} ({w})." for m, w in found["unmeasured"].items()]
    if found["speed"] is not None and kind:
        batch, length = found["speed"][:2]
        seconds = round(length / found["rate"], 3)
        notes.append(f"Speed: of {batch} waveforms of {seconds:g} s.")
    facts = {
        "parameters": found["parameters"],
        "source": found["source"],
        "rate": found["rate"],
        "group": group,
        "size": _size(found["settings"]),
        "notes": tuple(notes),
    }
    run = Run(
        found["data"],
        method,
        found["seed"],
        arch,
        "speech",
        label,
        found["settings"],
        {key: value for key, value in facts.items() if value is not None},
    )
    scores = [
        Score(metric, _number(value), "test", item=clip)
        for metric, values in found["scores"].items()
        for clip, value in zip(clips, values, strict=True)
    ]
    scores += [
        Score("broken_clips", float(found["broken"]), "test"),
        Score("clipped_percent", _number(found["clipped_percent"]), "test"),
    ]
    if found["parameters"] is not None:
        both = found["parameters"] + found["inherited"]
        scores.append(Score("parameters_with_upsampler", float(both)))
    if (speed := found["speed"]) is not None:
        batch, length, *times = speed
        # Million samples in a second from milliseconds: the fast end is the high one.
        for given, ms in zip(("", "mel", "unfolded"), times, strict=True):
            if ms is not None:
                value, high, low = (1e-3 * batch * length / _number(t) for t in ms)
                scores.append(
                    Score("audio_mhz", value, given=given, n=batch, low=low, high=high)
                )
    return [Result(run, tuple(scores))]


def _size(settings: Mapping[str, Any]) -> str | None:
    depth = settings.get("flows") or settings.get("blocks")
    parts = (depth, settings.get("layers"), settings.get("channels"))
    return None if None in parts else " x ".join(map(str, parts))


def _timed(metric: str, given: str, times: Any, batch: int | None) -> Score:
    median, low, high = map(_number, times)
    return Score(metric, median, given=given, n=batch, low=low, high=high)
