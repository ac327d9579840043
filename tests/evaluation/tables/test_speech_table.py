"""Records of vocoders on disk and in tables, by hand."""

import dataclasses
import math

import pytest

from fdnf.evaluation.core import speech_records
from fdnf.evaluation.tables import speech_cells, speech_table
from tests.evaluation import speech_models

record, speed = speech_models.record, speech_models.speed
WAVENET = {"blocks": 2, "layers": 5, "channels": 24}


@pytest.fixture
def records():
    teacher = {"kind": "waveglow", "inherited": 0, "settings": WAVENET | {"flows": 6}}
    teacher["settings"].pop("blocks")
    return [
        record("truth"),
        record("griffin_lim", iterations=32, mel=(1.0, 2.0, 3.0), speed=speed(1)),
        record("noise_0db", mel=(4.0, 4.0, 4.0)),
        record("teacher", mel=(1.0, 2.0, 6.0), speed=speed(8, 10, 16), **teacher),
        # Over seeds the clips' means are 1.5, 2.5 and 6.5: all half above.
        record("v2", "wavenet", 0, (1.0, 2.0, 6.0), speed=speed(2), settings=WAVENET),
        record("v2", "wavenet", 1, (2.0, 3.0, 7.0), settings=WAVENET),
        record("flow", "wave_flow", 0, (9.0, 9.0, math.nan), settings=WAVENET),
    ]


def _cells(table):
    return [dict(zip(table.header, row, strict=True)) for row in table.rows]


def test_as_table_2(records):
    rows = _cells(speech_table.scores(records))
    assert [row["Models"] for row in rows] == [
        "Ground truth",
        "Griffin-Lim (32 iterations)",
        "Ground truth + noise, 0 dB",
        "WaveGlow (teacher)",
        "WG Student V2",
    ]
    assert rows[0]["Mel l1 ↓"] == "0.000 ± 0.000"
    # t of 2 degrees of freedom is 4.303, over clips 1, 2, 3: 4.303 / sqrt(3).
    assert rows[1]["Mel l1 ↓"] == "2.000 ± 2.484"
    assert rows[4]["Mel l1 ↓"].startswith("3.500 ± ")
    assert [row["Param. (M)"] for row in rows] == ["-", "-", "-", "0.0012", "0.0012"]
    # 8000 samples in 8 ms are 1 MHz.
    assert rows[3]["Speed (MHz) ↑"] == "1.00"
    assert rows[4]["Speed (MHz) ↑"] == "4.00"


def test_as_table_4(records):
    rows = _cells(speech_table.ablation(records))
    assert [row["Models"] for row in rows] == ["Flow Student", "WG Student V2"]
    assert rows[0]["Mel l1 ↓"] == "9.000 ± 0.000 (2 of 3 clips)"
    # Of another size it is no part of the ablation.
    records[4:6] = [
        dataclasses.replace(r, settings=WAVENET | {"blocks": 4}) for r in records[4:6]
    ]
    rows = _cells(speech_table.ablation(records))
    assert [row["Models"] for row in rows] == ["Flow Student"]
    assert speech_table.ablation(records[:6]) is None


def test_differences_are_paired_by_clip(records):
    rows = _cells(speech_table.differences(records))
    found = {row["Models"]: row["Mel l1 ↓"] for row in rows}
    # Constant over clips, however much the clips differ.
    assert found["WG Student V2"] == "+0.500 ± 0.000 *"
    # 0, 0, -3.
    assert found["Griffin-Lim (32 iterations)"] == "-1.000 ± 4.303"
    assert "(2 of 3 clips)" in found["Flow Student"]
    copy = dataclasses.replace(records[3], method="copy", kind="wavenet")
    rows = _cells(speech_table.differences([records[3], copy]))
    assert rows[0]["Models"] == "WG Student (copy)"
    assert rows[0]["Mel l1 ↓"] == "+0.000 ± 0.000"
    assert speech_table.differences(records[:4]) is None


def test_costs(records):
    rows = {row["Models"]: row for row in _cells(speech_table.costs(records))}
    assert list(rows) == [
        "Griffin-Lim (32 iterations)",
        "WaveGlow (teacher)",
        "WaveGlow (teacher), not folded",
        "WG Student V2",
        "Flow Student",
    ]
    teacher, student = rows["WaveGlow (teacher)"], rows["WG Student V2"]
    assert teacher["Blocks x layers x channels"] == "6 x 5 x 24"
    assert student["Blocks x layers x channels"] == "2 x 5 x 24"
    assert (student["Param. (M)"], student["with upsampler"]) == ("0.0012", "0.0022")
    assert teacher["with upsampler"] == teacher["Param. (M)"]
    assert teacher["Speed (MHz)"] == "1.00 (0.91-1.11)"
    assert teacher["from the mel"] == "0.800 (0.727-0.889)"
    assert rows["WaveGlow (teacher), not folded"]["x teacher"] == "0.50x"
    assert student["x teacher"] == "4.00x"
    assert rows["Flow Student"]["Speed (MHz)"] == "-"
    assert rows["Griffin-Lim (32 iterations)"]["Speed (MHz)"] == "-"
    assert speech_table.costs([records[0]]) is None


def test_page_says_what_it_is(records):
    records[4] = dataclasses.replace(records[4], broken=2, clipped_percent=0.5)
    text = speech_table.page(records)
    assert "None of these figures is a mean opinion score" in text
    assert "Not measured: PESQ (package pesq is not installed)." in text
    assert "standard deviation 0.6" in text
    assert "not finite, which have no score" in text
    assert "WG Student V2 seed 0: 2" in text
    assert "WG Student V2 seed 0: 0.50 %" in text
    assert "Data: tones of a machine." in text
    assert "Mel l1: not defined for every clip" in text
    assert "not defined" not in speech_table.page(records[:6])
    assert ", of 4 waveforms of 0.25 s" in text
    # No column and no row is called so.
    assert not [line for line in text.splitlines() if line[:1] == "|" and "MOS" in line]


def test_records_that_do_not_belong_together(records):
    other = dataclasses.replace(records[1], clips=("x", "y", "z"))
    with pytest.raises(ValueError, match="several sets of clips"):
        speech_table.page([records[0], other])
    with pytest.raises(ValueError, match="'other', 'tones'"):
        speech_table.page([records[0], dataclasses.replace(other, data="other")])


def test_files(records, tmp_path):
    for made in records:
        speech_records.write(made, tmp_path)
    found = {(r.method, r.seed): r for r in speech_records.read(tmp_path)}
    assert found.keys() == {(r.method, r.seed) for r in records}
    assert found["teacher", 0] == records[3]
    assert math.isnan(found["flow", 0].scores["mel_l1"][2])
    text = speech_table.page(records)
    assert speech_table.page(list(found.values())) == text
    (tmp_path / "truth" / "seed_0" / speech_records.FILENAME).write_text("[1]")
    with pytest.raises(
        ValueError, match=r"truth/seed_0/speech.json: expected one JSON dict, got list"
    ):
        speech_records.read(tmp_path)
    with pytest.raises(FileNotFoundError, match="speech.json"):
        speech_records.read(tmp_path / "empty")


@pytest.mark.parametrize(
    ("field", "value"), [("scores", 3), ("speed", [1]), ("scores", {"sc": [1.0]})]
)
def test_records_of_another_kind(field, value, records):
    import json

    fields = json.loads(records[0].to_json()) | {field: value}
    with pytest.raises(ValueError, match=r"another kind|3 clips, scores of"):
        speech_records.Record.from_json(json.dumps(fields))


def test_names():
    assert speech_cells.label(record("wide_flow", "wave_wide_flow")) == (
        "Wide Flow Student"
    )
    assert speech_cells.label(record("mine", "wavenet")) == "WG Student (mine)"
    assert speech_cells.millions(87_731_816) == "87.73"
