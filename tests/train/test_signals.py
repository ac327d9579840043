"""A signal stops training at a step, saved; the same command goes on from there."""

import os
import signal

import pytest

from fdnf.train import interruption, loop
from fdnf.train.checkpoint import Checkpointer
from fdnf.train.interruption import StoppedBySignalError
from fdnf.train.writers import Writer, read_log
from tests import processes, tiny


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("unbroken")
    loop.train_and_evaluate(tiny.config(), workdir)
    return workdir


def signalled(config, workdir, number, step, monkeypatch):
    """Trains, and gets a signal when this step is logged."""
    write = Writer.write

    def writes(self, now, scalars):
        write(self, now, scalars)
        if now == step:
            os.kill(os.getpid(), number)

    with monkeypatch.context() as patch, interruption.handled():
        patch.setattr(Writer, "write", writes)
        loop.train_and_evaluate(config, workdir)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1", "SIGUSR2"])
def test_saved_at_the_step_and_resumed(name, unbroken, tmp_path, monkeypatch):
    config = tiny.config()
    says = rf"stopped by {name} at step 9, saved in {tmp_path}/checkpoints: the same"
    with pytest.raises(StoppedBySignalError, match=says):
        signalled(config, tmp_path, signal.Signals[name], 9, monkeypatch)
    assert Checkpointer(tmp_path).steps() == [9, 6]
    assert not (tmp_path / loop.FINISHED).exists()
    loop.train_and_evaluate(config, tmp_path)
    tiny.same_rows(read_log(tmp_path), read_log(unbroken))
    tiny.same_best(tmp_path, unbroken)


def test_between_rows_of_the_log_none_is_lost(unbroken, tmp_path, monkeypatch):
    config = tiny.config()
    config.train.log_every = config.train.eval_every = 6
    rows = [row for row in read_log(unbroken) if row["step"] % 6 == 0]
    take = loop.program.step.make_train_step

    def make(*args, **kwargs):
        step = take(*args, **kwargs)

        def counted(state, *more):
            if state.step == 6:
                os.kill(os.getpid(), signal.SIGTERM)
            return step(state, *more)

        return counted

    with monkeypatch.context() as patch, interruption.handled():
        patch.setattr(loop.program.step, "make_train_step", make)
        with pytest.raises(StoppedBySignalError, match="at step 9"):
            loop.train_and_evaluate(config, tmp_path)
    assert [row["step"] for row in read_log(tmp_path)] == [6]
    loop.train_and_evaluate(config, tmp_path)
    for ours, theirs in zip(read_log(tmp_path), rows, strict=True):
        assert ours["step"] == theirs["step"]
        assert ours["val_log_prob"] == theirs["val_log_prob"]


def test_at_the_last_step_the_run_is_finished_and_then_stops(tmp_path, monkeypatch):
    with pytest.raises(StoppedBySignalError, match="stopped by SIGTERM"):
        signalled(tiny.config(), tmp_path, signal.SIGTERM, 12, monkeypatch)
    assert (tmp_path / loop.FINISHED).exists()


def test_the_command_ends_with_75(tmp_path):
    overrides = processes.SMALL | {"train.steps": 300}
    workdir, messages = tmp_path / "run", tmp_path / "stderr"
    with processes.started(
        f"--workdir={workdir}", messages=messages, overrides=overrides, devices=2
    ) as run:
        processes.until(lambda: processes.rows(workdir) > 5, [run])
        run.signal(signal.SIGUSR1)
        assert run.ended() == interruption.EXIT_CODE
    says = run.stderr()
    assert "fdnf: stopped by SIGUSR1 at step" in says
    assert "Traceback" not in says
    stopped = Checkpointer(workdir).steps()[0]
    assert stopped == read_log(workdir)[-1]["step"]
    config = processes.config(overrides)
    loop.train_and_evaluate(config, workdir)
    loop.train_and_evaluate(config, tmp_path / "unbroken")
    tiny.same_rows(read_log(workdir), read_log(tmp_path / "unbroken"))
    tiny.same_best(workdir, tmp_path / "unbroken")
