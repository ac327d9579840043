"""Vocoders: how far their sounds are from the recordings, size and speed.

Reference: Baranchuk et al. (2021), section 3.2 and appendix F, tables 2 and 4. The
paper asked listeners. Nobody was asked here: its column of opinions is replaced by
measures of how far a sound is from the recording, which are not comparable with it.
"""

from fdnf.evaluation.tables.columns import Column
from fdnf.evaluation.tables.view import View

_DISTANCES = tuple(
    map(Column, ("sc", "log_magnitude", "mel_l1", "mcd", "estoi", "stoi", "pesq"))
)
_PARAMETERS = Column("parameters", show="millions", label="Param. (M)")
VOCODERS = View(
    "{data}: vocoders, from the recording's mel",
    (
        *_DISTANCES,
        Column("nll"),
        _PARAMETERS,
        Column("audio_mhz", show="median", label="Speed (MHz) ↑"),
        Column("broken_clips", show="fault"),
        Column("clipped_percent", show="fault"),
    ),
    unit="item",
    items="clips",
    group="vocoders",
    needs=("mel_l1",),
    note="No listener was asked. None of these figures is a mean opinion score, and "
    "none is comparable with the MOS of Baranchuk et al. (2021), whose tables 2 and 4 "
    "this follows.",
)
ABLATION = VOCODERS._replace(
    title="{data}: design of the student",
    group="ablation",
    baselines=False,
    note="Flow: coupling layers on the samples of a group, all restrictions of a flow. "
    "Wide flow: coupling layers on a representation of more channels, not invertible. "
    "Affine: no partition, each layer sees and moves all channels. WG: WaveNets in "
    "place of the layers.",
)
DIFFERENCES = View(
    "{data}: difference to the teacher",
    _DISTANCES,
    unit="item",
    items="clips",
    against="teacher",
    baselines=("griffin_lim",),
)
COST = View(
    "{data}: size and speed",
    (
        Column("size", show="setting", label="Blocks x layers x channels"),
        _PARAMETERS,
        Column("parameters_with_upsampler", show="millions", label="with upsampler"),
        Column("audio_mhz", show="spread"),
        Column("audio_mhz", given="mel", show="spread", label="from the mel"),
        Column("audio_mhz", given="unfolded", show="spread", label="unfolded"),
        Column("audio_mhz", show="times", to="teacher", label="x teacher"),
        Column(
            "audio_mhz",
            given="unfolded",
            show="times",
            to="teacher",
            label="unfolded x teacher",
            base_given="",
        ),
    ),
    baselines=("griffin_lim",),
    needs=("audio_mhz", "parameters_with_upsampler"),
    note="Param. (M): optimised scalars. Students take over the teacher's upsampler of "
    "the mel, which is not theirs in this count, as in the paper, and is in the next. "
    "Speeds: median (10th-90th percentile). Only times taken on one machine compare.",
)
VIEWS = (VOCODERS, ABLATION, DIFFERENCES, COST)
