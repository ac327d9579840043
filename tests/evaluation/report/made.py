"""Directories of results and sweeps, made by hand."""

import json

import numpy as np
from PIL import Image

from fdnf.evaluation.core import scores
from fdnf.evaluation.core.scores import Result, Run, Score

GAIN = {"teacher": 4.0, "student": 0.0, "ilkd": 0.5, "skd": 1.0}


def put(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    text = content if isinstance(content, str) else json.dumps(content)
    path.write_text(text, encoding="utf-8")


def picture(path, width=40):
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(0).integers(0, 255, (width // 2, width, 4))
    Image.fromarray(noise.astype(np.uint8)).save(path)


def result(method, seed, data="bsds300", test=None, **settings):
    test = 144.0 + seed + GAIN.get(method, 1.0) if test is None else test
    facts = {"parameters": 21786, "steps": 100, "skipped_steps": 0}
    facts |= {"source": "BSDS300, a re-split", "versions": {"jax": "9.8.7"}}
    run = Run(data, method, seed, "MAF", "vectors", settings=settings, facts=facts)
    return Result(
        run,
        (
            Score("log_likelihood", test, "test", se=0.2),
            Score("log_likelihood", test + 1, "val", se=0.3),
            Score("density_ms", 1.0, low=0.9, high=1.25),
            Score("sampling_ms", 20.0, low=19.0, high=22.0),
        ),
    )


def log(folder, rows):
    put(folder / "log.jsonl", "".join(json.dumps(row) + "\n" for row in rows))


class Sweep:
    """A sweep's directory, filled point by point."""

    def __init__(self, root):
        self.root, self.points, self.states = root, [], []

    def point(self, method, seed, state="done", data="bsds300", label="", **overrides):
        overrides = {key.replace("_", "."): value for key, value in overrides.items()}
        told = "+".join([*(f"{k}={v}" for k, v in overrides.items()), f"seed={seed}"])
        name = f"{data}-{method}/{told}"
        entry = {"name": name, "workdir": name, "after": []}
        entry["config"] = f"configs/maf_{data}.py:{method}"
        given = {**overrides, "seed": seed} | ({"label": label} if label else {})
        entry["overrides"] = given
        self.points.append(entry)
        folder = self.root / name
        put(folder / "point.json", {**entry, "command": f"run {name}"})
        detail = "500 steps <in a row> were not finite" if state == "failed" else ""
        self.states.append({"name": name, "state": state, "detail": detail})
        if state != "waiting":
            self.begin(folder, method, seed, data, label, overrides)
        if state == "done":
            put(folder / "finished.json", {"steps": 100})
            put(folder / "table.md", "")
            test = 144.0 + seed + GAIN[method] - overrides.get("loss.weight", 0.0)
            made = result(label or method, seed, data, test)
            scores.write(made, folder / "results")
        return folder

    def begin(self, folder, method, seed, data, label, overrides):
        loss = {"method": "nll" if method in ("teacher", "student") else method}
        if "loss.weight" in overrides:
            loss["weight"] = overrides["loss.weight"]
        config = {
            "model": {"name": "maf", "args": {"steps": 5}},
            "data": {"name": data, "args": {}},
            "loss": loss,
            "role": "teacher" if method == "teacher" else "student",
            **{"label": label, "seed": seed, "runs": 1},
        }
        put(folder / "config.json", config)
        log(folder, [{"step": s, "nll": [-s], "val_log_prob": [s]} for s in (50, 100)])

    def write(self, **changes):
        whole = {"sweep": "mine", "arguments": {"seeds": 2}, "created_by": "launch it"}
        put(self.root / "sweep.json", {**whole, "points": self.points, **changes})
        put(self.root / "states.json", {"points": self.states})
        return self.root


def small(root, **states):
    """Two seeds of teacher, student and ILKD; `ilkd1="failed"` is of seed 1."""
    sweep = Sweep(root)
    for seed in (0, 1):
        for method in ("teacher", "student", "ilkd"):
            sweep.point(method, seed, states.get(f"{method}{seed}", "done"))
    sweep.write()
    return sweep
