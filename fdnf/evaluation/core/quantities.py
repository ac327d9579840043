"""Every number that a table may show: what it is called, its unit, what is better.

A scorer that yields a metric adds its quantity here, or to `QUANTITIES` from its own
file: a table asks for the label, the arrow, the decimals and the legend by name.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

from fdnf.evaluation.core import methods
from fdnf.metrics import importance


class Quantity(NamedTuple):
    """What a metric is.

    Attributes:
        label: as printed, without its unit.
        unit: as printed; "" of a number without.
        better: 1 where more is better, -1 where less is, 0 of what is neither.
        digits: decimals; None gives the typical value three digits.
        legend: a sentence of how it is taken, below tables that show it.
    """

    label: str
    unit: str = ""
    better: int = -1
    digits: int | None = None
    legend: str = ""

    @property
    def arrow(self) -> str:
        """Up where more is better, down where less is."""
        return {1: " ↑", -1: " ↓", 0: ""}[self.better]


_FRECHET = "Frechet distance of Gaussians fitted to features of samples and images."
_NOT_FID = (
    f"FD: {_FRECHET} Over other features than Inception's it is not FID and compares "
    "with no published FID."
)
_SAMPLES = (
    "Exploded samples are not finite, or beyond 3 times the largest value of the "
    "training data; they are left out of distances of samples."
)
_FIDELITY = (
    "PSNR (dB) and SSIM are of 8-bit RGB, all pixels, no luma and no cut border. SSIM "
    "has a uniform 7x7 window and sample covariances, and is averaged over channels "
    "(scikit-image's default). LR-PSNR (dB) is that of the result's antialiased "
    "bicubic reduction, rounded to 8 bits, against the low-resolution image."
)
_PERCEPTUAL = (
    "A perceptual distance is of the whole image; images too small for its network "
    "have none."
)
_DIVERSITY = (
    "Diversity is the mean perceptual distance of two samples of one image, which is "
    "neither good nor bad alone."
)
_EXPLODED = (
    "Exploded images have a value that is not finite or beyond 5; they are scored as "
    "they are, cut to 8 bits."
)
_STFT = (
    "STFT conv. and log mag.: spectral convergence and mean |log magnitude| "
    "difference, means over three resolutions (1024, 2048 and 512 samples)."
)
_MCD = (
    "MCD: mel-cepstral distortion of 13 cepstra, or as many as there are, of the same "
    "mel, frame by frame; figures from another analysis are not comparable."
)
_STOI = (
    "STOI and ESTOI: short-time objective intelligibility, about 0 to 1; what is "
    "understood, not how it sounds. Not defined for less than about 0.4 s of speech."
)
_PESQ = (
    "PESQ: narrow band below 16,000 samples a second, else wide; made for coding and "
    "transmission. Among bad vocoders it may prefer one that cannot be understood, and "
    "noise: mel l1, the STFT distance and ESTOI decide before it. Not defined without "
    "an utterance."
)
_HARMONICITY = (
    "Harmonicity: energy at the multiples of the recording's pitch over energy between "
    "them, where the recording is voiced: 0 dB of white noise, and of a whisper; the "
    "recording's own figure is what to reach."
)
_VOICED = (
    "Voiced: of the frames (5 ms) in which the recording is voiced, those in which the "
    "sound is, by the tracker DIO; few of a whisper."
)
_VOICING = (
    "Voicing error: frames voiced in only one of recording and sound. Gross pitch "
    "error: of the frames voiced in both, those whose pitch is more than 20 % off; "
    "pitch RMSE is over the same frames. Neither says much where these are few, and "
    "clips without any have none."
)
_NLL = (
    "NLL: negative log density of the recordings in windows as long as those of "
    "training, of waveforms in [-1, 1), with the 0.5 log(2 pi) that WaveGlow's "
    "published loss leaves out; not defined for shorter clips. Feed-forward students "
    "have none."
)
_MHZ = (
    "Speed: 10^6 samples of audio a second, float32, one device, compiled and warmed "
    "up. The upsampling of the mel is left out, as in the paper; Griffin-Lim, which "
    "has none, begins at the mel. "
    "The teacher has the inverses of its 1x1 convolutions computed beforehand, but "
    "for what is called unfolded. The paper's figures are of half precision on a V100 "
    "and include a denoiser."
)
_KS = (
    "KS of log p_T: Kolmogorov-Smirnov statistic between the log densities, under the "
    "teacher, of samples and of the teacher's samples: 0 equal, 1 apart."
)
_C2ST = (
    "C2ST: how often a network names rightly which of two samples a row held out is "
    "of, 0.5 cannot tell, 1 always can; against the teacher's samples, and against "
    "held-out data."
)
_AUC = (
    "AUC: how often that network's logit of a row of the second sample is above that "
    "of one of the first, 0.5 cannot tell, 1 always can."
)
_ESS = (
    "ESS/N: effective share of draws weighed by p_T / q, (mean w)² / mean w²; 1 for a "
    "student that equals its teacher. Draws cannot tell of what the student lacks, so "
    "that it may be too high."
)
_KHAT = (
    "k-hat: shape of the generalised Pareto distribution of the largest weights "
    "(Vehtari et al. 2024); below 0.5 their variance is finite, from 0.7 on averages "
    "with them are not to be trusted."
)
_TAIL = (
    "Worst tail: how many times as often samples are there as the teacher's, or the "
    "other way round, in that tail of all columns, or of log p_T, in which it is most; "
    "a tail is beyond 25 of the teacher's own rows (or 1 in 10,000)."
)
_SPREAD = (
    "Spread given a condition: standard deviation of draws for one condition over "
    "that of the teacher's for it, median over conditions and columns; the worst "
    "condition is that whose median over columns is farthest from 1, the worst column "
    "likewise. Near 0 is a student that has collapsed."
)
_CRPS = (
    "CRPS: mean over test rows of E|X - x| - E|X - X'| / 2, X and X' drawn given the "
    "row's condition; a proper score in the column's unit, unbiased for any number of "
    "draws."
)
_PIT = (
    "KS of the PIT: largest distance to the uniform distribution of the rows' places "
    "in their conditional distributions; of n rows of a calibrated model below "
    "1.36 / sqrt(n) in 95 % of cases."
)
_COVERAGE = "Coverage: share of test rows within the central interval of so many %."
_REDSHIFTS = (
    "Of redshifts: errors (median of the draws - z) / (1 + z), their median, 1.4826 "
    "times their median absolute deviation, and the share beyond 0.15."
)
_SHOWERS = (
    "AUC: how often a network gives a sample a higher score than a test row, neither "
    "of which it has seen; 0.5 cannot tell, 1 always can. Of the cells' energies, 0 "
    "below the threshold, and of high-level features, both beside the conditions. It "
    "depends on the number of rows, and on the network, which is smaller than that of "
    "the CaloChallenge."
)
_REVERSE = (
    "Reverse KL: E[log q - log p_T] over the student's samples, what kl minimises; "
    "small also where the student has but a part of the teacher. At least 0."
)
_REVERSE_SECOND = (
    "Reverse KL: E[log q - log p_T] over the student's own sound given the recording's "
    "mel, at temperature 1, in nats a second. At least 0."
)
_FORWARD = (
    "Forward KL: E[log p_T - log q] over the teacher's samples; large where the "
    "student lacks a part of it. At least 0."
)
_IMPOSSIBLE = (
    "Impossible draws: those of a student whose log q - log p_T is not finite or above "
    f"{importance.IMPOSSIBLE:,.0f} nats, so that the teacher never makes them. One of "
    "them alone decides a mean; their share, and the mean without them, are of all "
    "draws weighed."
)
QUANTITIES: dict[str, Quantity] = {
    # Of densities.
    "log_likelihood": Quantity("log-likelihood", "nats", 1, 3),
    "bits_per_dim": Quantity("bits/dim", "", -1, 3),
    # Of samples of vectors.
    "sliced_wasserstein": Quantity("Sliced W2"),
    "energy_distance": Quantity("Energy distance"),
    "mmd": Quantity("MMD²"),
    "exploded_percent": Quantity("Exploded samples", "%", legend=_SAMPLES),
    # Of conditional densities, column by column.
    "crps": Quantity("CRPS", legend=_CRPS),
    "pit_ks": Quantity("KS of the PIT", digits=4, legend=_PIT),
    "coverage_50": Quantity("in 50 %", "%", 0, 1, _COVERAGE),
    "coverage_90": Quantity("in 90 %", "%", 0, 1),
    "redshift_bias": Quantity("bias", better=0, digits=4, legend=_REDSHIFTS),
    "redshift_sigma_mad": Quantity("sigma_MAD", digits=4),
    "redshift_outliers": Quantity("outliers", "%", digits=2),
    # Of showers in a calorimeter.
    "cells_auc": Quantity("AUC of cells", digits=3, legend=_SHOWERS),
    "features_auc": Quantity("AUC of features", digits=3),
    # Of a student's samples and density, against its teacher's.
    "teacher_log_prob": Quantity("log p_T", "nats", 0, 2),
    "log_prob_shift": Quantity("mean minus teacher's", better=0, digits=2),
    "ks": Quantity("KS of log p_T", legend=_KS),
    "c2st": Quantity("C2ST", legend=_C2ST),
    "reverse_kl": Quantity("Reverse KL", "nats", digits=2, legend=_REVERSE),
    "forward_kl": Quantity("Forward KL", "nats", digits=2, legend=_FORWARD),
    "data_log_prob": Quantity("log q of held-out data", "nats", 1, 2),
    "auc": Quantity("AUC", digits=3, legend=_AUC),
    "ess_share": Quantity("ESS/N", "", 1, 3, _ESS),
    "khat": Quantity("Pareto k-hat", digits=2, legend=_KHAT),
    "largest_weight": Quantity("Largest share of a weight", digits=3),
    "impossible_percent": Quantity(
        "Impossible draws", "%", digits=3, legend=_IMPOSSIBLE
    ),
    "tail": Quantity("Worst tail", digits=2, legend=_TAIL),
    "weights": Quantity("Weights", better=0, digits=0),
    "spread_ratio": Quantity("Spread ratio", better=0, digits=3, legend=_SPREAD),
    # Of samples of images, over features.
    "fid": Quantity("FID", legend=_FRECHET),
    "fd": Quantity("FD", legend=_NOT_FID),
    "kid": Quantity("KID"),
    "precision": Quantity("Precision", better=1),
    "recall": Quantity("Recall", better=1),
    "density": Quantity("Density", better=1),
    "coverage": Quantity("Coverage", better=1),
    # Of enlarged images.
    "psnr": Quantity("PSNR", "dB", 1, 2, _FIDELITY),
    "ssim": Quantity("SSIM", "", 1, 3, _FIDELITY),
    "lpips": Quantity("LPIPS", digits=4, legend=_PERCEPTUAL),
    # Over a network that is not LPIPS's own.
    "pdist": Quantity("Perceptual distance", digits=4, legend=_PERCEPTUAL),
    "lr_psnr": Quantity("LR-PSNR", "dB", 1, 2, _FIDELITY),
    "diversity": Quantity("Diversity", "", 1, 4, _DIVERSITY),
    "exploded_images": Quantity("Exploded", digits=0, legend=_EXPLODED),
    # Of speech.
    "sc": Quantity("STFT conv.", digits=3, legend=_STFT),
    "log_magnitude": Quantity("STFT log mag.", digits=3, legend=_STFT),
    "mel_l1": Quantity("Mel l1", "nats", digits=3, legend="Mel l1 is of log mels."),
    "mcd": Quantity("MCD", "dB", digits=2, legend=_MCD),
    "voiced_share": Quantity("Voiced", "%", 1, 1, _VOICED),
    "harmonicity": Quantity("Harmonicity", "dB", 1, 1, _HARMONICITY),
    "voicing_error": Quantity("Voicing error", "%", digits=1, legend=_VOICING),
    "gross_pitch_error": Quantity("Gross pitch error", "%", digits=1, legend=_VOICING),
    "pitch_rmse": Quantity("Pitch RMSE", "cents", digits=0, legend=_VOICING),
    "estoi": Quantity("ESTOI", "", 1, 3, _STOI),
    "stoi": Quantity("STOI", "", 1, 3, _STOI),
    "pesq": Quantity("PESQ", "", 1, 2, _PESQ),
    "nll": Quantity("NLL", "nats/sample", digits=3, legend=_NLL),
    "reverse_kl_second": Quantity("Reverse KL", "nats/s", -1, 0, _REVERSE_SECOND),
    "broken_clips": Quantity(
        "Broken clips",
        digits=0,
        legend="Broken clips have samples that are not finite, and no score.",
    ),
    "clipped_percent": Quantity(
        "Clipped", "%", digits=2, legend="Clipped: samples cut to full scale."
    ),
    # Of cost: times are medians of a batch, low and high its 10th and 90th percentile.
    "parameters": Quantity("Params", better=0, digits=0),
    "steps": Quantity("Steps", better=0, digits=0),
    "density_ms": Quantity("Density", "ms"),
    "sampling_ms": Quantity("Sampling", "ms"),
    "naive_ms": Quantity("Sampling, one pass a dimension", "ms"),
    "batch_ms": Quantity("Sampling in a batch", "ms"),
    "batch_naive_ms": Quantity("Sampling in a batch, one pass a dimension", "ms"),
    "density_mib": Quantity("Density", "MiB", digits=1),
    "sampling_mib": Quantity("Sampling", "MiB", digits=1),
    "upscaling_ms": Quantity("Time", "ms"),
    "audio_mhz": Quantity("Speed", "MHz", 1, legend=_MHZ),
    "parameters_with_upsampler": Quantity("With upsampler", "M", 0, 0),
}
# Of metrics that are not quantities: where they stand, and with which decimals.
UNKNOWN = Quantity("", better=0)
SPLITS = {"test": "Test", "val": "Validation"}
# What a condition of interpolated images begins with.
INTERPOLATION = "interpolation"


def of(metric: str) -> Quantity:
    """The quantity of a metric; one that nobody has described is called by its name."""
    if metric in QUANTITIES:
        return QUANTITIES[metric]
    return UNKNOWN._replace(label=metric.replace("_", " "))


def in_order(metrics: Iterable[str]) -> list[str]:
    """Distinct metrics in the order of `QUANTITIES`, then the others by name."""
    return methods.in_order(metrics, QUANTITIES)


def condition(given: str) -> str:
    """A condition in words: "t0.7" is "temp 0.7"."""
    return re.sub(r"\bt(?=\d)", "temp ", given.replace("_", " "))


def place(given: str) -> tuple:
    """A key that sorts conditions: the usual first, higher temperatures before lower.

    Interpolations stand last.
    """
    temperatures = [-float(t) for t in re.findall(r"(?<=[t-])[\d.]+", given)]
    numbers = methods.by_number(given)
    return given.startswith(INTERPOLATION), given != "", temperatures, numbers


def short(features: Iterable[str]) -> dict[str, str]:
    """Id of features to what tables call them: their network, where that is plain."""
    ids = sorted(set(features) - {""})
    networks = [re.split("[_@]", i)[0] for i in ids]
    found = {
        i: network if networks.count(network) == 1 else i
        for i, network in zip(ids, networks, strict=True)
    }
    return {"": "", **found}
