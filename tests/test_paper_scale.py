"""One training step of each model of super-resolution and speech at the papers' size.

`pytest -m slow -s tests/test_paper_scale.py`: nine minutes on two cores. A window a
device, of photographs that packages carry and of synthetic sounds; the teachers of
students are drawn instead of trained.
"""

import pathlib
import time

import jax
import numpy as np
import pytest

from configs import srflow_div2k, waveglow, waveglow_ljspeech, wavenet_ljspeech
from fdnf.data import build as datasets
from fdnf.ops import trees
from fdnf.train import models, preprocess, program, settings, teachers

# All but the oracle, whose teacher would have to speak first.
VOICES = ("clarinet", "parallel_wavenet", "z", "x", "feed_forward")
CASES = [
    (srflow_div2k, "pretrained"),
    (srflow_div2k, "x4"),
    (srflow_div2k, "x8"),
    (srflow_div2k, "student,x4"),
    (srflow_div2k, "student,x8"),
    (waveglow_ljspeech, ""),
    *((waveglow_ljspeech, f"student,{name}") for name in waveglow.STUDENTS),
    (wavenet_ljspeech, ""),
    *((wavenet_ljspeech, word) for word in VOICES),
]


def reduced(config):
    """The same model, loss and windows, on little data."""
    args = config.data.args
    if config.data.name == "div2k":
        config.data.name = "photographs"
        config.data.args = {
            "scale": args.scale,
            "crop": args.crop,
            "tile": args.crop,
            "windows": 2,
            "rows": 8,
        }
    else:
        config.data.name = "synthetic_speech"
        config.data.args = {"segment": args.segment, "rows": 8}
    config.train.update(
        steps=1, steps_per_call=1, eval_every=1, log_every=1, init_rows=1
    )
    config.optim.update(warmup=0.0, schedule="constant")
    config.train.batch_size = config.eval.batch_size = jax.local_device_count()
    if "pretrained" in config:
        del config["pretrained"]
    if "teacher" in config:  # Whose section names the published data still.
        config.teacher.other_data = True
    return config


def drawn_teacher(student, section):
    """What `teachers.load` would find, its weights those of `init`."""
    config = reduced(section)
    flow, data = models.build(config.model), datasets.build(student.data)
    prepared = settings.prepared(student, data)
    first = program.first_batches(data, prepared, 1, [0])
    init = jax.jit(lambda key, x, cond: models.init(flow, key, x, cond))
    variables = init(jax.random.key(0), first["x"][0], first["cond"][0])
    variables = {"constants": {}} | jax.tree.map(lambda leaf: leaf[None], variables)
    meta = {"event": data.event, "preprocess": preprocess.describe(prepared)}
    return teachers.Trained(flow, variables, config, meta)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "word"), CASES, ids=lambda case: getattr(case, "__name__", case)
)
def test_one_step(file, word, tmp_path, monkeypatch, capsys):
    config = reduced(file.get_config(word))
    settings.check(config)
    teacher = None
    if config.role == "student":
        teacher = pathlib.Path("drawn")
        found = drawn_teacher(config, config.teacher.config)
        monkeypatch.setattr(teachers, "load", lambda _: found)
    begin = time.perf_counter()
    built = program.build([settings.Experiment(config, tmp_path, teacher)])
    state = jax.device_put(built.state, built.replicated)
    before = jax.tree.map(np.array, state.params)
    run = np.zeros(1, np.int32)
    state, scalars = built.take(state, run)
    loss = float(np.mean(jax.device_get(scalars["loss"])))
    took = time.perf_counter() - begin
    assert np.isfinite(loss)
    assert not np.any(jax.device_get(scalars["skipped_steps"]))
    moved = jax.tree.map(lambda a, b: bool(np.any(a != b)), before, state.params)
    # Networks whose last layer starts at 0 pass no gradient on in their first step.
    assert any(jax.tree.leaves(moved))
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(state.params))
    with capsys.disabled():
        size = trees.parameter_count(before)
        print(
            f"\n{file.__name__} {word}: {size:,} weights, loss {loss:.4g}, {took:.0f} s"
        )
