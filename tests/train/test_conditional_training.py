"""Smoke configs of conditional flows and their students, trained a few steps."""

import jax
import numpy as np
import pytest

from configs import srflow_bsds300, waveglow_ljspeech
from fdnf.train import checkpoint, loop, stored, teachers
from fdnf.train.writers import read_log

# Of the encoder's leaves in a stored state.
PARAMS = "params/encoder/"


def few_steps(config):
    config.train.update(steps=4, steps_per_call=2, log_every=2, eval_every=2)
    return config


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A student of SRFlow, with all that is trained before it; of a single level."""
    config = few_steps(srflow_bsds300.get_config("student,smoke"))
    config.model.args.widths = (12,)
    teacher = config.teacher.config
    teacher.model.args.update(levels=1, transitions=1)
    # Of as many steps as are taken, half is the first one.
    teacher.train.update(steps=2, steps_per_call=1, log_every=1, eval_every=1)
    few_steps(teacher.pretrained.config)
    workdir = tmp_path_factory.mktemp("srflow")
    loop.train_and_evaluate(config, workdir)
    return workdir


def test_everything_that_comes_first_is_trained_first(trained):
    folders = (trained / "teacher" / "pretrained", trained / "teacher", trained)
    logs = [read_log(path) for path in folders]
    names, steps = ("l1", "nll", "reconstruction"), ([2, 4], [1, 2], [2, 4])
    for rows, name, taken in zip(logs, names, steps, strict=True):
        assert [row["step"] for row in rows] == taken
        assert all(np.isfinite(row[name][0]) for row in rows)
        assert not any(row["skipped_steps"][0] for row in rows)
    assert all(np.isfinite(row["val_loss"][0]) for row in (*logs[0], *logs[2]))
    assert all(np.isfinite(row["val_bits_per_dim"][0]) for row in logs[1])


def test_encoder_stands_still_for_half_the_training(trained):
    workdir = trained / "teacher"
    before = teachers.load(workdir / "pretrained").variables["params"]["encoder"]
    folder = workdir / checkpoint.SUBDIRECTORY
    seen = []
    for step in (1, 2):
        tree = stored.one(folder, step, ("state",))[0]["state"]
        after = {
            name.removeprefix(PARAMS): leaf
            for name, leaf in tree.items()
            if name.startswith(PARAMS)
        }
        expected = stored.flatten(before)
        assert after.keys() == expected.keys()
        seen.append([np.array_equal(after[name], expected[name]) for name in after])
    assert all(seen[0])
    assert not all(seen[1])


def test_student_starts_from_its_teachers_encoder(trained):
    found = teachers.load(trained)
    theirs = teachers.load(trained / "teacher").variables["params"]["encoder"]
    ours = found.variables["params"]["encoder"]
    rate = found.config.optim.lr
    gaps = jax.tree.map(lambda a, b: float(np.abs(a - b).max()), ours, theirs)
    # Four steps of Adam.
    assert 0 < max(jax.tree.leaves(gaps)) < 10 * rate


# `students.test_wave` has that it is taken over.
@pytest.mark.slow
def test_speech_student_keeps_its_teachers_upsampler(tmp_path):
    config = few_steps(waveglow_ljspeech.get_config("smoke,student,v2"))
    config.loss.feed_forward.stft = ((64, 16, 32),)
    few_steps(config.teacher.config)
    for each in (config, config.teacher.config):
        each.model.args.layers = 1
    loop.train_and_evaluate(config, tmp_path)
    rows = read_log(tmp_path)
    assert all(np.isfinite(row["feature"][0]) for row in rows)
    student, teacher = teachers.load(tmp_path), teachers.load(tmp_path / "teacher")
    jax.tree.map(
        np.testing.assert_array_equal,
        student.variables["constants"]["upsampler"],
        teacher.variables["params"]["upsampler"],
    )
    assert "val_log_prob" in read_log(tmp_path / "teacher")[-1]
