"""Tables of vocoders: means, differences, sizes and speed of stored scores by hand."""

import json
import pathlib

import pytest

from fdnf.evaluation.core import stored
from fdnf.evaluation.tables import view
from fdnf.evaluation.tasks import speech
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
    table = view.page(speech.VIEWS, faulty)[0]
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
    sound = view.page(speech.VIEWS, results)[0]
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
    from fdnf.evaluation.core import scores

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
