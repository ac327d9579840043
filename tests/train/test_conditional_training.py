"""Smoke configs of conditional flows and their students, trained a few steps."""

import jax
import numpy as np
import pytest

from configs import srflow_bsds300_student, waveglow_ljspeech_student
from fdnf.train import loop, teachers
from fdnf.train.writers import read_log


def few_steps(config):
    config.train.update(steps=4, steps_per_call=2, log_every=2, eval_every=2)
    return config


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A student of SRFlow, with all that is trained before it."""
    config = few_steps(srflow_bsds300_student.get_config("smoke"))
    teacher = few_steps(config.teacher.config)
    few_steps(teacher.pretrained.config)
    workdir = tmp_path_factory.mktemp("srflow")
    loop.train_and_evaluate(config, workdir)
    return config, workdir


def test_everything_that_comes_first_is_trained_first(trained):
    _, workdir = trained
    logs = [
        read_log(path)
        for path in (workdir / "teacher" / "pretrained", workdir / "teacher", workdir)
    ]
    for rows, name in zip(logs, ("l1", "nll", "reconstruction"), strict=True):
        assert [row["step"] for row in rows] == [2, 4]
        assert all(np.isfinite(row[name][0]) for row in rows)
        assert not any(row["skipped_steps"][0] for row in rows)
    assert all(np.isfinite(row["val_loss"][0]) for row in (*logs[0], *logs[2]))
    assert all(np.isfinite(row["val_bits_per_dim"][0]) for row in logs[1])


def test_encoder_stands_still_for_half_the_training(trained, tmp_path):
    config, workdir = trained
    teacher = few_steps(config.teacher.config.copy_and_resolve_references())
    teacher.pretrained.workdir = str(workdir / "teacher" / "pretrained")
    teacher.train.update(steps=2, eval_every=2)
    # Of as many steps as are taken, half is the first one.
    teacher.train.steps_per_call = 1
    teacher.train.eval_every = 1
    loop.train_and_evaluate(teacher, tmp_path)
    before = teachers.load(teacher.pretrained.workdir).variables["params"]["encoder"]
    kept = teachers.checkpoint.load_best(tmp_path)
    best = kept[2]["best"]["step"][0]
    after = kept[0]["encoder"]
    same = [
        np.array_equal(a, b)
        for a, b in zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True)
    ]
    assert all(same) == (best == 1)
    assert any(same) or best == 2


def test_student_starts_from_its_teachers_encoder(trained):
    _, workdir = trained
    found = teachers.load(workdir)
    theirs = teachers.load(workdir / "teacher").variables["params"]["encoder"]
    ours = found.variables["params"]["encoder"]
    rate = found.config.optim.lr
    gaps = jax.tree.map(lambda a, b: float(np.abs(a - b).max()), ours, theirs)
    # Four steps of Adam.
    assert 0 < max(jax.tree.leaves(gaps)) < 10 * rate


def test_speech_student_keeps_its_teachers_upsampler(tmp_path):
    config = few_steps(waveglow_ljspeech_student.get_config("smoke,v2"))
    few_steps(config.teacher.config)
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
