"""Where the teacher of a student lies, and what is refused before training."""

import pytest
from ml_collections import ConfigDict

from configs import common as sections
from fdnf.evaluation.tasks import conditional
from fdnf.metrics import lpips
from fdnf.train.settings import ConfigError
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


def shown(monkeypatch, trained, workdir):
    """The others that are shown beside a model, by name."""
    seen, data = {}, sr_pair.data()

    def load(path):
        return sr_pair.trained(0.2)._replace(meta={"place": path})

    def write(trained, data, folder, seed, others):
        seen.update({name: other.meta["place"] for name, other in others.items()})
        return []

    monkeypatch.setattr(conditional.datasets, "build", lambda _: data)
    monkeypatch.setattr(conditional.teachers, "load", load)
    monkeypatch.setattr(conditional.sr_sampling, "write", write)
    conditional.sample(trained, workdir, seed=0)
    return seen


@pytest.mark.parametrize("place", ["elsewhere", "study/v2/teacher", "study/teacher"])
def test_the_teacher_is_found(monkeypatch, tmp_path, place):
    teacher = finished(tmp_path / place)
    workdir = tmp_path / "study" / "v2"
    named = teacher if place == "elsewhere" else ""
    assert shown(monkeypatch, student(named), workdir) == {"teacher": teacher}
    # As the first said, if that is there.
    finished(tmp_path / "named")
    found = shown(monkeypatch, student(tmp_path / "named"), workdir)
    assert found == {"teacher": tmp_path / "named"}


def test_a_student_is_shown_without_its_teacher(monkeypatch, tmp_path, caplog):
    workdir = tmp_path / "run"
    assert shown(monkeypatch, student(tmp_path / "gone"), workdir) == {}
    assert "the teacher is not shown" in caplog.text
    assert shown(monkeypatch, sr_pair.trained(0.1), workdir) == {}


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("lpips", "squeezenet", "eval.lpips"),
        ("samples", -1, "expected numbers of at least 0"),
    ],
)
def test_what_could_not_be_judged(key, value, says):
    evaluation = sections.super_resolution().eval
    evaluation[key] = value
    with pytest.raises(ConfigError, match=says):
        conditional.check(evaluation)


def test_weights_are_looked_for_in_the_home_directory(monkeypatch, tmp_path):
    paths = []
    monkeypatch.setattr(lpips, "named", lambda net, path: paths.append(path))
    monkeypatch.setenv("HOME", str(tmp_path))
    evaluation = sections.super_resolution().eval
    evaluation.weights = "~/alex.npz"
    with pytest.raises(AttributeError):  # Of what stands for the metric.
        conditional.check(evaluation)
    assert paths == [f"{tmp_path}/alex.npz"]
    # Other data are judged by other things.
    conditional.check(sections.speech().eval)
