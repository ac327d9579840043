"""Where the teacher of a student is looked for."""

import pytest
from ml_collections import ConfigDict

from fdnf.evaluation.scorers import context
from tests.evaluation import sr_pair


def student(teacher):
    """A trained student whose config names a teacher's directory."""
    found = sr_pair.trained(0.1)
    found.config.teacher = ConfigDict({"workdir": str(teacher)})
    return found


def finished(folder):
    folder.mkdir(parents=True)
    (folder / "finished.json").write_text("{}")
    return folder


@pytest.fixture(autouse=True)
def loaded(monkeypatch):
    """A directory stands for what lies in it."""
    monkeypatch.setattr(
        context.teachers,
        "load",
        lambda path: sr_pair.trained(0.2)._replace(meta={"place": path}),
    )


def place_of(trained):
    return trained.meta["place"]


@pytest.mark.parametrize("place", ["elsewhere", "study/v2/teacher", "study/teacher"])
def test_the_teacher_is_found(tmp_path, place):
    teacher = finished(tmp_path / place)
    workdir = tmp_path / "study" / "v2"
    named = teacher if place == "elsewhere" else ""
    assert place_of(context.teacher_of(student(named), workdir)) == teacher
    # As the first said, if that is there.
    finished(tmp_path / "named")
    found = context.teacher_of(student(tmp_path / "named"), workdir)
    assert place_of(found) == tmp_path / "named"


def test_a_student_is_shown_without_its_teacher(tmp_path, caplog):
    workdir = tmp_path / "run"
    assert context.teacher_of(student(tmp_path / "gone"), workdir) is None
    assert "the teacher is not shown" in caplog.text
    assert context.teacher_of(sr_pair.trained(0.1), workdir) is None
