"""Prompts of a telephone exchange: 25 minutes of one professional voice at 8 kHz."""

import os
import pathlib

from fdnf.data import paths, recordings, speech
from fdnf.data.recordings import Cut
from fdnf.data.speech import Clips
from fdnf.data.tabular import DataError

RATE = 8_000
PACKAGE = "asterisk-core-sounds-en-wav"
INSTALLED = pathlib.Path("/usr/share/asterisk/sounds")
VOICES = ("en_US_f_Allison", "en")
# Tones, apes and nothing at all, in a set of one voice.
NOT_SPEECH = ("ascending-2tone", "descending-2tone", "beep", "beeperr", "tt-monkeys")
SILENCE = "silence"


def asterisk(
    data_dir: str | None = None,
    rows: int | None = None,
    segment: int = 4_096,
    rate: int = RATE,
    root: str | None = None,
    windows: int = 256,
) -> Clips:
    """The English prompts of Debian's package asterisk-core-sounds-en-wav.

    Silence within and around words is kept; clips of nothing but silence or tones are
    not. Clips are held out by a hash of their names, for test 30 of two seconds or
    more. Many are shorter than a tile and have zeros after them, as is published for
    LJSpeech: 1.5 % of the samples at a segment of 4,096, 13 % at 8,192.

    Args:
        data_dir: Its `asterisk/` is looked at before the place the package installs to.
        rows: Training tiles to keep, evenly over the clips; all by default.
        segment: Samples in a window; tiles have twice as many, one every `segment`.
        rate: Samples a second; another than 8,000 resamples.
        root: A directory with WAV files, at any depth, instead of those.
        windows: Validation windows, evenly over the clips.

    Returns:
        The data set.

    Raises:
        DataError: If there are no clips or one is damaged, or an argument does not fit.
    """
    speech.check_windows("asterisk", segment, rate, rows, windows)
    directory = _directory(data_dir, root)
    files = [
        path
        for path in directory.rglob("*.wav")
        if path.stem not in NOT_SPEECH and path.parent.name != SILENCE
    ]
    if not files:
        raise DataError(f"No WAV files in {directory}.{_remedy(data_dir)}")
    clips = recordings.from_files(files, RATE)
    how = Cut(segment, RATE, rate, rows, None, windows, test=30, shortest=2.0)
    source = "Asterisk's English prompts, comparable with nothing published"
    return recordings.assemble("asterisk", clips, how, source, None)


def _directory(data_dir: str | None, root: str | None) -> pathlib.Path:
    if root is not None:
        directory = pathlib.Path(os.path.expanduser(root))
        if not directory.is_dir():
            raise DataError(
                f"data.args.root is {root!r}, which is no directory.{_remedy(data_dir)}"
            )
        return directory
    own = paths.data_dir(data_dir) / "asterisk"
    for place in (own, *(INSTALLED / voice for voice in VOICES)):
        if place.is_dir():
            return place
    raise DataError(
        f"Asterisk's prompts are not at hand, neither in {own} nor in"
        f" {INSTALLED}.{_remedy(data_dir)}"
    )


def _remedy(data_dir: str | None) -> str:
    own = paths.data_dir(data_dir) / "asterisk"
    return (
        f" On Debian: apt-get install {PACKAGE}; or without rights to install: apt-get"
        f" download {PACKAGE} && dpkg-deb -x {PACKAGE}_*.deb {own}, and give"
        f" data.args.root={str(own)!r} if that is not where data are looked for."
        " data.name='synthetic_speech' needs no files."
    )
