"""Vocoders: tables of stored scores by hand; from models to tables and sounds."""

import copy
import json
import pathlib

import numpy as np
import pytest

from fdnf.evaluation.core import scores, stored
from fdnf.evaluation.scorers import speech as scorer
from fdnf.evaluation.tables import view
from fdnf.evaluation.tasks import speech
from fdnf.train.settings import ConfigError
from tests.evaluation import speech_models, whole
from tests.evaluation.tables import cells

STORED = pathlib.Path(__file__).parents[1] / "core" / "stored" / "speech"


@pytest.fixture(scope="module")
def results():
    return stored.read(STORED)


def _table(made, results):
    (table,) = view.build(made, results)
    return cells.by_row(table)


def test_as_table_2(results):
    rows = _table(speech.VOCODERS, results)
    assert list(rows) == [
        "Ground truth",
        "Griffin-Lim (32 iterations)",
        "Ground truth + noise, 0 dB",
        "WaveGlow (teacher)",
        "WG Student V2",
    ]
    found = [row["Mel l1 (nats) ↓"] for row in rows.values()]
    assert found[0] == "0.000 ± 0.000"
    # t of 2 degrees of freedom is 4.303, over clips 1, 2, 3: 4.303 / sqrt(3).
    assert found[1] == "2.000 ± 2.484"
    # Over seeds the clips' means are 1.5, 2.5 and 6.5.
    assert found[4].startswith("3.500 ± ")
    found = [row["Param. (M)"] for row in rows.values()]
    assert found == ["-", "-", "-", "0.0012", "0.0012"]
    # 8000 samples in 8 ms are 1 MHz.
    assert rows["WaveGlow (teacher)"]["Speed (MHz) ↑"] == "1.00"
    assert rows["WG Student V2"]["Speed (MHz) ↑"] == "4.00"


def test_as_table_4(results):
    rows = _table(speech.ABLATION, results)
    assert list(rows) == ["Flow Student", "WG Student V2"]
    assert rows["Flow Student"]["Mel l1 (nats) ↓"] == "9.000 ± 0.000 (2 of 3)"
    others = [r for r in results if "ablation" not in r.run.facts.get("group", ())]
    assert not view.build(speech.ABLATION, others)


def test_a_student_of_no_group_is_in_both(results):
    mine = []
    for result in results:
        facts = {k: v for k, v in result.run.facts.items() if k != "group"}
        mine.append(result._replace(run=result.run._replace(facts=facts)))
    assert "Flow Student" in _table(speech.VOCODERS, mine)
    assert "WaveGlow (teacher)" in _table(speech.ABLATION, mine)


def test_differences_are_paired_by_clip(results):
    rows = _table(speech.DIFFERENCES, results)
    found = {name: row["Mel l1 (nats) ↓"] for name, row in rows.items()}
    # Constant over clips, however much the clips differ.
    assert found["WG Student V2"] == "+0.500 ± 0.000 *"
    # 0, 0, -3.
    assert found["Griffin-Lim (32 iterations)"] == "-1.000 ± 4.303"
    assert "(2 of 3)" in found["Flow Student"]
    assert len(found) == 3
    (teacher,) = (r for r in results if r.run.method == "teacher")
    copy = teacher._replace(run=teacher.run._replace(method="copy", label="copy"))
    rows = _table(speech.DIFFERENCES, [teacher, copy])
    assert rows["copy"]["Mel l1 (nats) ↓"] == "0.000 ± 0.000"
    assert not view.build(speech.DIFFERENCES, [teacher])


def test_voice_and_pitch(results):
    heard = {
        "teacher": {"voiced_share": 10.0, "harmonicity": 1.0},
        "truth": {"voiced_share": 100.0, "harmonicity": 12.0},
    }
    given = []
    for result in results:
        for metric, value in heard.get(result.run.method, {}).items():
            score = scores.Score(metric, value, "test", item="clip_0")
            result = result._replace(scores=(*result.scores, score))
        given.append(result)
    (table,) = view.build(speech.VOICE, given)
    rows = cells.by_row(table)
    # Those without any of it have no row, and what nobody has no column.
    assert list(rows) == ["Ground truth", "WaveGlow (teacher)"]
    assert table.header == ("Model", "Voiced (%) ↑", "Harmonicity (dB) ↑")
    assert rows["WaveGlow (teacher)"]["Voiced (%) ↑"].startswith("10.0")
    assert "what to reach" in " ".join(table.notes)
    assert _table(speech.VOCODERS, given)["Ground truth"]["Harmonicity (dB) ↑"]
    assert not view.build(speech.VOICE, results)


def test_costs(results):
    rows = _table(speech.COST, results)
    assert set(rows) == {
        "Griffin-Lim (32 iterations)",
        "WaveGlow (teacher)",
        "WG Student V2",
        "Flow Student",
    }
    teacher, student = rows["WaveGlow (teacher)"], rows["WG Student V2"]
    assert teacher["Blocks x layers x channels"] == "6 x 5 x 24"
    assert student["Blocks x layers x channels"] == "2 x 5 x 24"
    assert (student["Param. (M)"], student["with upsampler"]) == ("0.0012", "0.0022")
    assert teacher["with upsampler"] == teacher["Param. (M)"]
    assert teacher["Speed (MHz)"] == "1.00 (0.91-1.11)"
    assert teacher["from the mel"] == "0.800 (0.727-0.889)"
    assert teacher["unfolded"] == "0.500 (0.455-0.556)"
    assert (teacher["x teacher"], teacher["unfolded x teacher"]) == ("1.00x", "0.50x")
    assert student["x teacher"] == "4.00x"
    assert rows["Flow Student"]["Speed (MHz)"] == "-"
    truth = [r for r in results if r.run.method == "truth"]
    assert not view.build(speech.COST, truth)


def test_page_says_what_it_is(results):
    faulty = []
    for result in results:
        scores = result.scores
        if result.run.label == "WG Student V2" and result.run.seed == 0:
            values = {"broken_clips": 2.0, "clipped_percent": 0.5}
            scores = tuple(
                s._replace(value=values.get(s.metric, s.value)) for s in scores
            )
        faulty.append(result._replace(scores=scores))
    table = view.page(speech.TASK.views, faulty)[0]
    text = " ".join(table.notes)
    for said in (
        "None of these figures is a mean opinion score",
        "Not measured: pesq (package pesq is not installed).",
        "standard deviation 0.6",
        "not finite, and no score",
        "tones: tones of a machine.",
        "over 3 clips",
        "3 test clips, 12.0 s in all, at 8000 samples a second",
        "of 4 waveforms of 0.25 s",
    ):
        assert said in text
    row = cells.by_row(table)["WG Student V2"]
    assert (row["Broken clips ↓"], row["Clipped (%) ↓"]) == ("2", "0.50")
    sound = view.page(speech.TASK.views, results)[0]
    assert not {"Broken clips ↓", "Clipped (%) ↓"} & set(sound.header)
    # No column and no row is called so.
    names = [*table.header, *(row[0] for row in table.texts())]
    assert not [name for name in names if "MOS" in name]


@pytest.mark.parametrize(
    ("field", "value"), [("scores", 3), ("speed", [1]), ("scores", {"sc": [1.0]})]
)
def test_a_file_of_another_kind(field, value, tmp_path):
    (path,) = (STORED / "truth").rglob("*.json")
    fields = json.loads(path.read_text()) | {field: value}
    (tmp_path / path.name).write_text(json.dumps(fields))
    with pytest.raises(ValueError, match="evaluate that run again"):
        stored.read(tmp_path)


def test_results_of_today_stand_for_those_of_before(results, tmp_path):
    (old,) = (STORED / "truth").rglob("*.json")
    folder = tmp_path / "truth" / "seed_0"
    folder.mkdir(parents=True)
    (folder / old.name).write_text(old.read_text())
    truth = next(r for r in results if r.run.method == "truth")
    assert stored.read(tmp_path) == [truth]
    today = scores.Result(truth.run, (scores.Score("sc", 7.0, "test", item="clip_0"),))
    scores.write(today, tmp_path)
    (found,) = stored.read(tmp_path)
    assert found.scores == today.scores
    (folder / scores.FILENAME).write_text("{")
    with pytest.raises(ValueError, match="result.json"):
        stored.read(tmp_path)


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
    section = teacher.config.eval
    text = whole.of(folder, models, speech_models.data(), section)
    results = stored.read(folder / "results")
    return folder, text, {(r.run.method, r.run.seed): r for r in results}


def values(result, metric):
    """One value a clip."""
    return [s.value for s in result.scores if s.metric == metric]


def test_rows(written):
    folder, text, found = written
    assert (folder / "table.md").read_text() == text
    baselines = ("truth", "griffin_lim", "predicted_noise", "noise_0db", "white_noise")
    assert {method for method, _ in found} == {*baselines, "teacher", "copy", "v2"}
    assert ("v2", 1) in found
    truth, made, predicted, noisy, noise = (
        values(found[name, 0], "sc") for name in baselines
    )
    assert truth == [0.0, 0.0]
    assert 0 < max(predicted) < min(noise)
    assert 0 < max(noisy) < min(noise)
    assert 0 < max(made) < min(noise)
    clips = [s.item for s in found["truth", 0].scores if s.metric == "sc"]
    assert clips == ["short", "middle"]
    assert len(values(found["teacher", 0], "nll")) == 2
    assert not values(found["v2", 0], "nll")
    assert found["v2", 0].scores != found["v2", 1].scores


def test_a_student_that_is_its_teacher(written):
    _, text, found = written
    teacher, copy = (found[name, 0].scores for name in ("teacher", "copy"))
    assert repr(teacher) == repr(copy)  # nan too
    _, _, table = text.partition("difference to the teacher")
    (line,) = (row for row in table.split("###")[0].splitlines() if "(copy)" in row)
    differences = [cell.strip() for cell in line.split("|")[2:-1]]
    assert {cell.split()[0] for cell in differences} <= {"0.000", "0.00", "-"}


def test_sizes_and_speed(written):
    _, _, found = written
    teacher, student = found["teacher", 0], found["v2", 0]
    assert teacher.get("audio_mhz", given="unfolded").value > 0
    assert teacher.get("audio_mhz") == found["copy", 0].get("audio_mhz")
    assert student.get("audio_mhz", given="unfolded") is None
    assert found["v2", 1].get("audio_mhz") is None
    speed = student.get("audio_mhz", given="")
    assert speed.low <= speed.value <= speed.high
    assert speed.n == 2
    # 0.05 s in whole groups of 8: 1104 samples.
    assert "Speed: of 2 waveforms of 0.05 s." in student.run.facts["notes"]
    both = student.get("parameters_with_upsampler").value
    # 128 taps from 8 mels to 4 features, and their bias.
    assert both - student.run.facts["parameters"] == 128 * 8 * 4 + 4
    both = teacher.get("parameters_with_upsampler").value
    assert both == teacher.run.facts["parameters"] > student.run.facts["parameters"] > 0
    assert student.run.facts["size"] == "1 x 2 x 8"
    assert student.run.facts["group"] == ("vocoders", "ablation")
    assert teacher.run.label == "WaveGlow (teacher)"
    assert student.run.label == "WG Student V2"
    assert found["griffin_lim", 0].run.label == "Griffin-Lim (2 iterations)"


def test_sounds_and_pictures(written):
    folder, _, _ = written
    rate, truth = speech_models.read_wav(folder / "samples" / "short_truth.wav")
    assert rate == 22_050
    np.testing.assert_array_equal(truth, speech_models.data().test[0])
    names = {path.name for path in (folder / "samples").iterdir()}
    assert names == {
        f"short_{name}.wav" for name in (*speech.BASELINES, "teacher", "copy", "v2")
    }
    assert [path.name for path in (folder / "figures").iterdir()] == ["short.png"]
    assert (folder / "figures" / "short.png").read_bytes()[:4] == b"\x89PNG"


def test_sampling(tmp_path, written, monkeypatch):
    """The same sounds as in the report, of which the seed is 0."""
    student, data = speech_models.student(runs=2), speech_models.data()
    teacher = speech_models.teacher()
    monkeypatch.setattr(speech.datasets, "build", lambda _: data)
    monkeypatch.setattr(speech.context, "teacher_of", lambda *_: teacher)
    paths = speech.sample(student, tmp_path, 0)
    assert [path.name for path in paths] == [
        *("short_truth.wav", "short_griffin_lim.wav", "short_predicted_noise.wav"),
        *("short_teacher.wav", "short_run_0.wav", "short_run_1.wav"),
        "short.png",
    ]
    folder = tmp_path / "samples"
    assert all(path.parent == folder and path.exists() for path in paths)
    first, second = (
        speech_models.read_wav(folder / f"short_run_{r}.wav")[1] for r in (0, 1)
    )
    assert len(first) == len(second) == 1536
    assert np.any(first != second)
    told = speech_models.read_wav(written[0] / "samples" / "short_v2.wav")[1]
    np.testing.assert_array_equal(first, told)


def test_errors_say_what_is_wrong(tmp_path):
    teacher, data = speech_models.teacher(), speech_models.data()
    section = teacher.config.eval
    with pytest.raises(ConfigError, match="names of baselines"):
        whole.of(tmp_path, {"truth": teacher}, data, section)
    slow = data._replace(rate=8000)
    with pytest.raises(ConfigError, match="22050 samples a second"):
        whole.of(tmp_path, {"teacher": teacher}, slow, section)
    changed = copy.deepcopy(teacher.meta)
    changed["preprocess"]["mel"]["hop"] = 32
    both = {"teacher": teacher, "b": teacher._replace(meta=changed)}
    with pytest.raises(ConfigError, match="models of different mels"):
        scorer.fits(scorer.Evaluation(data, section, both))


def test_labels():
    named = {"wide_flow": "Wide Flow Student", "mine": "Wide Flow Student (mine)"}
    model = speech_models.student("wide_flow")
    for method, label in named.items():
        assert speech.label(model, method) == label
    assert speech.label(speech_models.student(), "v2") == "WG Student V2"
