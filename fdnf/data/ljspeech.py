"""LJSpeech: one reader, 22,050 samples a second; the whole corpus or some clips."""

import functools
import pathlib
from typing import Any

import numpy as np

from fdnf.data import cache, paths, prepared, recordings, speech, wav
from fdnf.data.recordings import Cut, Recording
from fdnf.data.speech import Clips
from fdnf.data.tabular import DataError

FOLDER = "ljspeech"
COUNT = 13_100
ROWS = 16_000


def ljspeech(
    data_dir: str | None = None,
    rows: int | None = None,
    segment: int = 16_000,
    rate: int = wav.LJSPEECH_RATE,
    subset: bool | None = None,
    windows: int = 256,
) -> Clips:
    """LJSpeech 1.1 (Ito and Johnson, 2017), read by one voice.

    Clips are held out by a hash of their names: of the whole corpus 100 for validation
    and 50 for test, of fewer a tenth and at most a fifth. The published lists of the
    WaveGlow and Tacotron 2 releases are others: figures compare over the corpus, not
    clip by clip.

    Args:
        data_dir: Where `ljspeech/*.wav`, prepared sets and `manual/` are looked for.
        rows: Training tiles to keep, evenly over the clips; by default all, at most
            16,000.
        segment: Samples in a window; tiles have twice as many, one every `segment`.
        rate: Samples a second; another than 22,050 resamples.
        subset: True for the clips in `ljspeech/`, False for the whole corpus, None for
            the former if there are any.
        windows: Validation windows, evenly over the clips.

    Returns:
        The data set. The whole corpus by default gives 16,000 tiles, 1.0 GB, of about
        119,000.

    Raises:
        DataError: If no copy can be had or a clip is damaged, or an argument does not
            fit.
    """
    speech.check_windows("ljspeech", segment, rate, rows, windows)
    folder = paths.data_dir(data_dir) / FOLDER
    files = sorted(folder.glob("*.wav"))
    how = Cut(segment, wav.LJSPEECH_RATE, rate, rows, ROWS, windows)
    if subset or (subset is None and files):
        if not files:
            raise DataError(
                f"No WAV files in {folder}. Put clips of LJSpeech there, or leave out"
                " subset=True for the whole corpus."
            )
        clips = recordings.from_files(files, wav.LJSPEECH_RATE)
        source = (
            f"LJSpeech, subset: {len(clips)} of {COUNT:,} clips; not comparable with"
            " published figures"
        )
        return recordings.assemble("ljspeech", clips, how, source, None)
    directory = _prepared(data_dir)
    return recordings.assemble(
        "ljspeech",
        whole(directory),
        how,
        "LJSpeech 1.1, full",
        f"ljspeech-{prepared.fingerprint(directory)}",
    )


def whole(directory: pathlib.Path) -> list[Recording]:
    """The clips of a prepared corpus, each decoded when it is read.

    Raises:
        DataError: If the corpus does not open.
    """
    from fdnf.data.builders import encoded

    source = encoded.source(directory, "train")
    key = f"ljspeech-{prepared.fingerprint(directory)}-clips"
    # Their names and lengths lie within 4 GB of samples.
    found = cache.load(key)
    if found is None:
        examples = (source[index] for index in range(len(source)))
        facts = [(clip["name"].decode(), int(clip["length"])) for clip in examples]
        names, lengths = map(np.array, zip(*facts, strict=True))
        found = names, lengths, np.arange(len(names))
        cache.save(key, found)
    return [
        Recording(
            str(name).removesuffix(".wav"),
            int(length),
            functools.partial(_samples, source, int(index), str(name)),
        )
        for name, length, index in zip(*found, strict=True)
    ]


def _prepared(data_dir: str | None) -> pathlib.Path:
    from fdnf.data.builders import encoded
    from fdnf.data.builders import ljspeech as builder

    return encoded.prepare(builder.LjspeechWav, data_dir)


def _samples(source: Any, index: int, name: str) -> np.ndarray:
    return wav.decode(source[index]["file"].tobytes(), name)[0]
