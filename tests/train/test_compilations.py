"""A program compiles its step once, however it starts."""

import itertools
import signal

import pytest
from jax import monitoring

from fdnf.train import interruption, loop, packs, step, validation
from fdnf.train.interruption import StoppedBySignalError
from fdnf.train.settings import Experiment
from fdnf.train.writers import read_log
from tests import tiny

LOWERED = "/jax/core/compile/jaxpr_to_mlir_module_duration"


@pytest.fixture
def compilations(monkeypatch):
    """Of each call of a training step, how many programs were made for it."""
    made, calls = [], []

    def note(event, seconds, **about):
        if event == LOWERED:
            made.append(about)

    make = step.make_train_step

    def counting(*args, **kwargs):
        take = make(*args, **kwargs)

        def counted(*given):
            before = len(made)
            result = take(*given)
            calls.append(len(made) - before)
            return result

        return counted

    monkeypatch.setattr(step, "make_train_step", counting)
    monitoring.register_event_duration_secs_listener(note)
    yield calls
    monitoring.unregister_event_duration_listener(note)


# In CI a pack and a student compile once; this starts as they do.
@pytest.mark.slow
def test_a_resume(compilations, tmp_path, monkeypatch):
    config = tiny.config(eval_every=3)
    signals = iter([None, None, signal.SIGTERM, *[None] * 9])
    with monkeypatch.context() as patched:
        patched.setattr(interruption, "requested", lambda: next(signals))
        with pytest.raises(StoppedBySignalError):
            loop.train_and_evaluate(config, tmp_path)
    stopped = len(compilations)
    assert 0 < stopped < 4
    loop.train_and_evaluate(config, tmp_path)
    assert compilations[stopped:] == [1, *[0] * (3 - stopped)]


# In CI runs without averages are counted.
@pytest.mark.slow
def test_a_pack_with_averages(compilations, tmp_path):
    members = []
    for name, rate in (("a", 1e-3), ("b", 1e-2)):
        config = tiny.config()
        config.optim.update(lr=rate, ema=0.9)
        members.append(Experiment(config, tmp_path / name))
    assert len(list(packs.train(members))) == 2
    assert compilations == [1, 0, 0, 0]


def test_a_student(compilations, tmp_path):
    config = tiny.config("lkd")
    loop.train_and_evaluate(config, tmp_path)
    # The teacher's, then the student's; neither has an average.
    assert not config.optim.ema
    assert not config.teacher.config.optim.ema
    assert compilations == [1, 0, 0, 0] * 2


def test_the_pace_leaves_out_what_is_no_step(tmp_path, monkeypatch):
    """Neither compilation nor validation nor saving count as time of steps."""
    now, calls = [0.0], itertools.count()
    monkeypatch.setattr("fdnf.train.writers.time.monotonic", lambda: now[0])
    make, measure = step.make_train_step, validation.by_likelihood

    def timed(function, seconds):
        def called(*args):
            now[0] += seconds()
            return function(*args)

        return called

    def stepping(*args, **kwargs):
        return timed(make(*args, **kwargs), lambda: 1.0 if next(calls) else 100.0)

    def measuring(*args, **kwargs):
        return timed(measure(*args, **kwargs), lambda: 1000.0)

    monkeypatch.setattr(step, "make_train_step", stepping)
    monkeypatch.setattr(validation, "by_likelihood", measuring)
    loop.train_and_evaluate(tiny.config(), tmp_path)
    rows = read_log(tmp_path)
    assert "steps_per_second" not in rows[0]
    # Three steps a call of one second.
    assert [row["steps_per_second"] for row in rows[1:]] == [3.0] * 3
