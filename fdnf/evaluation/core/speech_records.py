"""What a vocoder, or what stands beside vocoders in tables, was measured to be."""

import dataclasses
import math
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from fdnf import files

FILENAME = "speech.json"
# Rows that are no model.
TRUTH, GRIFFIN_LIM = "truth", "griffin_lim"
NOISY, NOISE = "noise_0db", "white_noise"
BASELINES = (TRUTH, GRIFFIN_LIM, NOISY, NOISE)
TEACHER = "teacher"
# Median, tenth and ninetieth percentile, in milliseconds.
Milliseconds = tuple[float, float, float]


class Speed(NamedTuple):
    """Time of one batch of waveforms on the default device, jitted and warmed up.

    Attributes:
        batch: waveforms of the batch.
        samples: of each.
        ms: from latents and the upsampled mel, as the paper takes it; of a model
            that has no upsampler of its own, from the mel.
        whole_ms: from latents and the mel, the upsampling included.
        unfolded_ms: as `ms`, of a flow whose 1x1 convolutions are inverted anew in
            each call; None of what is not folded.
    """

    batch: int
    samples: int
    ms: Milliseconds
    whole_ms: Milliseconds
    unfolded_ms: Milliseconds | None = None

    def mhz(self, ms: Milliseconds) -> tuple[float, float, float]:
        """Million samples a second: by the median time, the slow and the fast tenth."""
        made = 1e-3 * self.batch * self.samples
        median, fast, slow = (made / time for time in ms)
        return median, slow, fast


@dataclasses.dataclass(frozen=True)
class Record:
    """One run of a model, or a row that is no model, on the test clips.

    Attributes:
        data: name of the data set.
        method: of `BASELINES`, "teacher", or the name of a student's recipe.
        seed: of the run.
        kind: `model.name` of the config, such as "waveglow"; "" of no model.
        source: what the data are.
        rate: samples a second.
        clips: names of the clips.
        scores: metric to one value a clip, in the order of `clips`; nan where a
            sound is not finite or the metric is not defined.
        unmeasured: metric that was not taken to the reason.
        seconds: of all clips that were judged, together.
        left_out: clips too short to be judged.
        temperature: standard deviation of the latents; None of no model.
        iterations: of Griffin-Lim; None of all else.
        parameters: number of optimized scalars; None of no model.
        inherited: numbers of the mel's upsampler that come from the teacher; they are
            not among `parameters`.
        broken: clips with a sample that is not finite.
        clipped_percent: samples beyond full scale, of all, in percent.
        settings: of the architecture, by name.
        speed: of the first run of a method; None where none was taken.
    """

    data: str
    method: str
    seed: int
    kind: str
    source: str
    rate: int
    clips: tuple[str, ...]
    scores: Mapping[str, tuple[float, ...]]
    unmeasured: Mapping[str, str] = dataclasses.field(default_factory=dict)
    seconds: float = 0.0
    left_out: tuple[str, ...] = ()
    temperature: float | tuple[float, ...] | None = None
    iterations: int | None = None
    parameters: int | None = None
    inherited: int = 0
    broken: int = 0
    clipped_percent: float = 0.0
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    speed: Speed | None = None

    def to_json(self) -> str:
        """One JSON object; numbers that are not finite become null."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return files.dumps(fields, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Record":
        """The record that `to_json` wrote.

        Raises:
            ValueError: not JSON, or a field is missing, unknown or of another kind.
        """
        found = files.loads(text)
        names = {f.name for f in dataclasses.fields(cls)}
        if not isinstance(found, dict) or set(found) != names:
            given = sorted(found) if isinstance(found, dict) else found
            raise ValueError(f"record is {given}: expected the fields {sorted(names)}")
        try:
            found = {key: _tuples(value) for key, value in found.items()}
            found["scores"] = {
                metric: tuple(math.nan if v is None else float(v) for v in values)
                for metric, values in found["scores"].items()
            }
            if found["speed"] is not None:
                found["speed"] = Speed(*found["speed"])
        except (TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"a field is of another kind ({error})") from error
        lengths = {m: len(v) for m, v in found["scores"].items()}
        if set(lengths.values()) - {len(found["clips"])}:
            raise ValueError(f"{len(found['clips'])} clips, scores of {lengths}")
        return cls(**found)


def write(record: Record, folder: pathlib.Path) -> pathlib.Path:
    """Writes `<folder>/<method>/seed_<n>/speech.json`, whole or not at all."""
    path = folder / record.method / f"seed_{record.seed}" / FILENAME
    files.write_text(path, record.to_json())
    return path


def read(folder: str | pathlib.Path) -> list[Record]:
    """The records under a folder, in the order of their paths.

    Raises:
        FileNotFoundError: there is none.
        ValueError: a file is not a record; the message names it.
    """
    paths = sorted(pathlib.Path(folder).rglob(FILENAME))
    if not paths:
        raise FileNotFoundError(f"no {FILENAME} under {folder}")
    records = []
    for path in paths:
        try:
            records.append(Record.from_json(path.read_text(encoding="utf-8")))
        except ValueError as error:
            told = f"{path}: {error}; evaluate the models again"
            raise files.DamagedError(told) from error
    return records


def _tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _tuples(item) for key, item in value.items()}
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
