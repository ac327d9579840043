"""Models that are trained first, and conditional flows and their students."""

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from configs import srflow_bsds300, waveglow_ljspeech
from fdnf.train import checkpoint, loop, stored, teachers
from fdnf.train.writers import read_log
from tests import tiny


def few_steps(config):
    config.train.update(steps=4, steps_per_call=2, log_every=2, eval_every=2)
    return config


def pretrained(teacher):
    """Of as many steps as are taken, half is the first one."""
    teacher.train.update(steps=2, steps_per_call=1, log_every=1, eval_every=1)
    few_steps(teacher.pretrained.config)


def of_images():
    """A student of SRFlow, of a single level."""
    config = few_steps(srflow_bsds300.get_config("student,smoke"))
    config.model.args.widths = (12,)
    teacher = config.teacher.config
    teacher.model.args.update(levels=1, transitions=1)
    pretrained(teacher)
    return config


def of_vectors():
    """A student of a MAF that takes over all of another one."""
    config, before = few_steps(tiny.config("ilkd")), tiny.config().to_dict()
    teacher = config.teacher.config
    given = {"workdir": "", "into": "stack", "frozen": 0.5, "other_data": False}
    with teacher.unlocked():
        teacher.pretrained = ConfigDict({**given, "config": before})
    pretrained(teacher)
    return config


NAMES = {of_vectors: ("nll", "nll", "ilkd"), of_images: ("l1", "nll", "reconstruction")}


# That a student of images takes over an encoder is in `test_models`, too.
@pytest.fixture(
    scope="module", params=[of_vectors, pytest.param(of_images, marks=pytest.mark.slow)]
)
def trained(request, tmp_path_factory):
    """A student, with all that is trained before it, and how it is made."""
    workdir = tmp_path_factory.mktemp("trained")
    loop.train_and_evaluate(request.param(), workdir)
    return workdir, request.param


def test_everything_that_comes_first_is_trained_first(trained):
    workdir, made = trained
    folders = (workdir / "teacher" / "pretrained", workdir / "teacher", workdir)
    logs = [read_log(path) for path in folders]
    steps = ([2, 4], [1, 2], [2, 4])
    for rows, name, taken in zip(logs, NAMES[made], steps, strict=True):
        assert [row["step"] for row in rows] == taken
        assert all(np.isfinite(row[name][0]) for row in rows)
        assert not any(row["skipped_steps"][0] for row in rows)
    measures = ["val_log_prob"] * 3
    if made is of_images:
        measures = ["val_loss", "val_bits_per_dim", "val_loss"]
    for rows, name in zip(logs, measures, strict=True):
        assert all(np.isfinite(row[name][0]) for row in rows)


def test_what_is_given_stands_still_for_half_the_training(trained):
    workdir, made = trained[0] / "teacher", trained[1]
    part = made().teacher.config.pretrained.into
    before = teachers.load(workdir / "pretrained").variables["params"][part]
    folder, leaves = workdir / checkpoint.SUBDIRECTORY, f"params/{part}/"
    seen = []
    for step in (1, 2):
        tree = stored.one(folder, step, ("state",))[0]["state"]
        after = {
            name.removeprefix(leaves): leaf
            for name, leaf in tree.items()
            if name.startswith(leaves)
        }
        expected = stored.flatten(before)
        assert after.keys() == expected.keys()
        seen.append([np.array_equal(after[name], expected[name]) for name in after])
    assert all(seen[0])
    assert not all(seen[1])


@pytest.mark.slow
@pytest.mark.parametrize("trained", [of_images], indirect=True)
def test_student_starts_from_its_teachers_encoder(trained):
    found = teachers.load(trained[0])
    theirs = teachers.load(trained[0] / "teacher").variables["params"]["encoder"]
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
