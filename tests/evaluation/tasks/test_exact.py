"""`--mode=sample --exact`: samples of a teacher, their files, and what is said."""

import pathlib

import numpy as np
import pytest

from fdnf import files
from fdnf.evaluation.tasks import exact, rows
from fdnf.train import teachers
from fdnf.train.settings import ConfigError
from tests import flagged, tiny
from tests.evaluation.tasks.test_rows import BESIDE, OWN, people, read, stored, write

CONFIG = pathlib.Path(__file__).parents[3] / "configs" / "maf_gas.py"
__all__ = ["people"]


@pytest.fixture(scope="module")
def student(tmp_path_factory):
    """In a study that has moved, beside its teacher."""
    root = tmp_path_factory.mktemp("study")
    config = tiny.affine("ilkd")
    config.teacher.workdir = "/elsewhere/teacher"
    tiny.stored(tiny.affine(), root / "teacher")
    return tiny.stored(config, root / "ilkd")


def test_the_command(student, capfd):
    arguments = (f"--workdir={student}", "--mode=sample", "--exact")
    more = "--config.eval.samples=300"
    assert flagged.run(f"--config={CONFIG}:smoke", *arguments, more) == 0
    out = capfd.readouterr().out.splitlines()
    assert out[0].startswith("300 samples of the teacher by metropolis: ")
    assert "effective samples a second" in out[2]
    folder = student / "samples"
    assert out[-2:] == [str(folder / "exact.npz"), str(folder / "exact.json")]
    with np.load(folder / "exact.npz") as archive:
        assert archive["run_0"].shape == (300, 3)
        drawn = archive["run_0"]
    about = files.read_json(folder / "exact.json", "it is needed")
    assert about["teacher"] == str(student.parent / "teacher")
    (told,) = about["runs"]
    trained = teachers.load(student)
    found = trained.corrected(about["seed"], 300)
    np.testing.assert_allclose(drawn, found.x, atol=1e-5)
    assert told["ess_share"] == pytest.approx(found.ess_share)
    assert told["total_variation"] == pytest.approx(found.distance)
    assert told["proposals"] == found.proposals == 4096 + 300 * found.steps
    assert told["samples_a_second"] > 0
    # By another way.
    arguments = (*arguments[:2], "--exact=defects")
    assert flagged.run(f"--config={CONFIG}:smoke", *arguments, more) == 0
    out = capfd.readouterr().out.splitlines()
    assert out[0].startswith("300 samples of the teacher by defects: ")
    with np.load(folder / "exact.npz") as archive:
        solved = trained.sample(about["seed"], 300, exact="defects")
        np.testing.assert_allclose(archive["run_0"], solved, atol=1e-5)
    arguments = (*arguments[:2], "--exact=slowly")
    assert flagged.run(f"--config={CONFIG}:smoke", *arguments) == 2
    assert "expected alone, or one of metropolis, res" in capfd.readouterr().err


def test_conditions_of_a_file(tmp_path):
    student = stored(tmp_path / "one", "nice", conditional=True)
    config = tiny.config("ilkd")
    config.teacher.workdir = str(stored(tmp_path / "two", "nice", conditional=True))
    path = write(tmp_path / "who.csv", ["height", "age"], slice(0, 3))
    text = exact.sample(student, config, str(path), each=20)
    folder = student / "samples"
    names = ["exact_who.npz", "exact_who.csv", "exact_who_weights.json"]
    assert text.splitlines()[-3:] == [str(folder / name) for name in names]
    head, found = read(folder / "exact_who.csv")
    assert head == ["row", "sample", *BESIDE, *OWN]
    assert found.shape == (60, 6)
    # One beside the other.
    rows.sample(student, config.eval, str(path), 0, each=20)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"temperature": 0.7}, r"--exact with eval.temperature=0.7.*temperature=1.0"),
        ({}, "learned from no teacher, whose samples it could draw: name it"),
    ],
)
def test_what_cannot_be(people, change, text):
    config = tiny.config()
    config.eval.update(change)
    with pytest.raises(ConfigError, match=text):
        exact.sample(people, config)


def test_another_mode(tmp_path, capfd):
    arguments = (f"--workdir={tmp_path}", "--mode=export", "--exact")
    assert flagged.run(f"--config={CONFIG}:smoke", *arguments) == 2
    assert "--exact is for --mode=sample; got --mode=export" in capfd.readouterr().err
