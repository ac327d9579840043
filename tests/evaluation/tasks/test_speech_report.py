"""A teacher, its students and what is no model: from models to tables and sounds."""

import wave

import numpy as np
import pytest

from fdnf.evaluation.core import speech_records
from fdnf.evaluation.pictures import spectrograms
from fdnf.evaluation.tasks import speech_report, speech_sampling
from fdnf.ops import mel
from fdnf.train.settings import ConfigError
from tests.evaluation import speech_models

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("speech")
    teacher = speech_models.teacher()
    models = {
        "teacher": teacher,
        # A student that is its teacher.
        "copy": teacher,
        "v2": speech_models.student(runs=2),
    }
    evaluation = teacher.config.eval
    text = speech_report.report(folder, models, speech_models.data(), evaluation)
    return folder, text


def _read_wav(path):
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getsampwidth()) == (1, 2)
        frames = file.readframes(file.getnframes())
        return file.getframerate(), np.frombuffer(frames, "<i2")


def test_rows(written):
    folder, text = written
    assert (folder / "table.md").read_text() == text
    found = {(r.method, r.seed): r for r in speech_records.read(folder / "results")}
    assert {method for method, _ in found} == {
        *speech_records.BASELINES,
        *("teacher", "copy", "v2"),
    }
    assert ("v2", 1) in found
    truth, noisy, noise = (
        found[name, 0].scores["sc"] for name in ("truth", "noise_0db", "white_noise")
    )
    assert truth == (0.0, 0.0)
    assert 0 < max(noisy) < min(noise)
    assert 0 < max(found["griffin_lim", 0].scores["sc"]) < min(noise)
    assert found["truth", 0].clips == ("short", "middle")
    assert len(found["teacher", 0].scores["nll"]) == 2
    assert "nll" not in found["v2", 0].scores
    assert found["v2", 0].scores != found["v2", 1].scores


def test_a_student_that_is_its_teacher(written):
    folder, text = written
    teacher, copy = (
        speech_records.Record.from_json(
            (folder / "results" / name / "seed_0" / "speech.json").read_text()
        )
        for name in ("teacher", "copy")
    )
    assert teacher.scores == copy.scores
    _, _, table = text.partition("difference to the teacher")
    (line,) = (row for row in table.split("###")[0].splitlines() if "(copy)" in row)
    cells = [cell.strip() for cell in line.split("|")[2:-1]]
    assert {cell.lstrip("+").split()[0] for cell in cells} <= {"0.000", "0.00", "-"}


def test_sizes_and_speed(written):
    found = {(r.method, r.seed): r for r in speech_records.read(written[0] / "results")}
    teacher, student = found["teacher", 0], found["v2", 0]
    assert teacher.speed.unfolded_ms[0] > 0
    assert teacher.speed == found["copy", 0].speed
    assert student.speed.unfolded_ms is None
    assert found["v2", 1].speed is None
    # 0.05 s in whole groups of 8.
    assert (student.speed.batch, student.speed.samples) == (2, 1104)
    # 128 taps from 8 mels to 4 features, and their bias.
    assert student.inherited == 128 * 8 * 4 + 4
    assert teacher.inherited == 0
    assert teacher.parameters > student.parameters > 0
    assert student.settings == {"blocks": 1, "layers": 2, "channels": 8}


def test_sounds_and_pictures(written):
    folder, _ = written
    rate, truth = _read_wav(folder / "samples" / "short_truth.wav")
    assert rate == 22_050
    np.testing.assert_array_equal(truth, speech_models.data().test[0])
    names = {path.name for path in (folder / "samples").iterdir()}
    assert names == {
        f"short_{name}.wav"
        for name in ("truth", "griffin_lim", "noise_0db", "teacher", "copy", "v2")
    }
    assert [path.name for path in (folder / "figures").iterdir()] == ["short.png"]
    assert (folder / "figures" / "short.png").read_bytes()[:8] == PNG


def test_tables_again(written):
    assert speech_report.again(written[0]) == written[1]


def test_sampling(tmp_path, written):
    """The same sounds as in the report, of which the seed is 0."""
    student, data = speech_models.student(runs=2), speech_models.data()
    others = {"teacher": speech_models.teacher()}
    paths = speech_sampling.write(student, data, tmp_path, 0, others)
    assert [path.name for path in paths] == [
        *(f"short_{name}.wav" for name in ("truth", "griffin_lim", "teacher")),
        *("short_run_0.wav", "short_run_1.wav", "short.png"),
    ]
    assert all(path.exists() for path in paths)
    first, second = (_read_wav(tmp_path / f"short_run_{r}.wav")[1] for r in (0, 1))
    assert len(first) == len(second) == 1536
    assert np.any(first != second)
    told = _read_wav(written[0] / "samples" / "short_v2.wav")[1]
    np.testing.assert_array_equal(first, told)


def test_errors_say_what_is_wrong(tmp_path):
    teacher, data = speech_models.teacher(), speech_models.data()
    evaluation = teacher.config.eval
    with pytest.raises(ConfigError, match="at least one"):
        speech_report.report(tmp_path, {}, data, evaluation)
    with pytest.raises(ConfigError, match="rows without a model"):
        speech_report.report(tmp_path, {"truth": teacher}, data, evaluation)
    slow = data._replace(rate=8000)
    with pytest.raises(ConfigError, match="22050 samples a second"):
        speech_report.report(tmp_path, {"teacher": teacher}, slow, evaluation)


def test_wav_files(tmp_path):
    samples = np.array([0, -32768, 32767], np.int16)
    path = spectrograms.write_wav(tmp_path / "new" / "a.wav", samples, 8000)
    rate, found = _read_wav(path)
    assert rate == 8000
    np.testing.assert_array_equal(found, samples)
    with pytest.raises(ValueError, match="float64"):
        spectrograms.write_wav(path, np.zeros(3), 8000)
    assert spectrograms.stem("digits/1 a?") == "digits_1_a"


def test_picture_of_silence(tmp_path):
    settings = mel.Settings(
        rate=8000, n_fft=256, window=256, hop=64, mels=8, high=4000.0
    )
    silent = {"truth": np.zeros(2000, np.int16), "other": speech_models.tone()}
    path = spectrograms.draw(tmp_path / "a.png", silent, settings, "silence")
    assert path.read_bytes()[:8] == PNG
