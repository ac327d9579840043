"""How methods are called, ordered and coloured, in every table and picture."""

import re
from collections.abc import Iterable
from typing import NamedTuple

from fdnf.evaluation.core.scores import Run


class Method(NamedTuple):
    """A way to train, or what stands beside what was trained.

    Attributes:
        label: as printed.
        color: as matplotlib names it; "" takes the next free one.
    """

    label: str
    color: str = ""


# What is no model; each stands at the head of its tables.
BASELINES = {
    "real": Method("Real images", "#222222"),
    # Training rows in the place of samples.
    "training": Method("Training data", "#222222"),
    # Validation rows, likewise.
    "validation": Method("Validation data", "#222222"),
    "bicubic": Method("Bicubic"),
    "truth": Method("Ground truth", "#222222"),
    "griffin_lim": Method("Griffin-Lim"),
    "predicted_noise": Method("Noise, mel's linear prediction"),
    "noise_0db": Method("Ground truth + noise, 0 dB"),
    "white_noise": Method("White noise"),
    # Further samples of the teacher: what a perfect student would score.
    "teacher_again": Method("Teacher (floor)", "#0072B2"),
}
# In the order of tables, the teacher first.
METHODS = {
    "pretrained": Method("Pretrained"),
    "teacher": Method("Teacher", "#0072B2"),
    "student": Method("Student", "#D55E00"),
    "longer": Method("Student, trained longer"),
    "longer_4": Method("Student, 4/3 of the steps"),
    "lkd": Method("LKD", "#56B4E9"),
    "ilkd": Method("ILKD", "#009E73"),
    "skd": Method("SKD", "#CC79A7"),
    # Recipes of `configs/recipes.py`.
    "ilkd_sum_fade": Method("ILKD, summed, fading"),
    "ilkd_heads": Method("ILKD by heads"),
    "ilkd_heads_cosine": Method("ILKD by heads, cosine"),
    "samples_quarter": Method("A quarter teacher samples"),
    "samples_half": Method("Half teacher samples"),
    "samples_all": Method("Teacher samples alone"),
    "layers": Method("Teacher's layers"),
    "layers_heads": Method("Teacher's layers, heads"),
    "layers_heads_4": Method("Layers, heads, every fourth row"),
    "layers_samples_half": Method("Teacher's layers, half samples"),
    "kl": Method("KL student", "#D55E00"),
    "clarinet": Method("ClariNet student", "#F0E442"),
    "parallel_wavenet": Method("Parallel WaveNet student", "#56B4E9"),
    "z": Method("z-reconstruction", "#CC79A7"),
    "x": Method("x-reconstruction", "#009E73"),
    "oracle": Method("Oracle prediction", "#E69F00"),
    "feed_forward": Method("Feed-forward student"),
    "guided": Method("Guided student", "#56B4E9"),
    "resnet_l2": Method("ResNet, l2"),
    "resnet_l1": Method("ResNet, l1"),
    "resnet_noise_l2": Method("ResNet, noise, l2"),
    "resnet_noise_l1": Method("ResNet, noise, l1"),
    "resnet_noise_mixed": Method("ResNet, noise, l1 + l2"),
    "srflow_student": Method("SRFlow student"),
    "srflow_student_l1": Method("SRFlow student l1"),
    "flow": Method("Flow Student"),
    "wide_flow": Method("Wide Flow Student"),
    "affine": Method("Affine Student"),
}
_ALL = {**BASELINES, **METHODS}
# Of data sets and architectures, as the papers order them.
DATASETS = (
    *("power", "gas", "hepmass", "miniboone", "bsds300"),
    *("cifar10", "celeba64", "mnist", "fashion_mnist", "digits_8x8"),
)
ARCHS = ("Glow", "MAF")
# As configs name models, to how tables do; others keep their name.
ARCHITECTURES = {
    "glow": "Glow",
    "glow_tabular": "Glow",
    "maf": "MAF",
    "iaf": "IAF",
    "iresnet": "i-ResNet",
    "iresnet_multiscale": "i-ResNet",
    "continuous": "Continuous flow",
    "nice": "NICE",
    "realnvp": "RealNVP",
    "realnvp_multiscale": "RealNVP",
    "affine": "Affine",
    "mintnet": "MintNet",
    "pixelcnn": "PixelCNN",
    "pixelcnn_iaf": "PixelCNN IAF",
    "tarflow": "TarFlow",
    "tarflow_iaf": "TarFlow IAF",
    "resnet": "ResNet",
    "srflow": "SRFlow",
    "srflow_student": "SRFlow student",
    "rrdb": "RRDB",
    "waveglow": "WaveGlow",
    "gaussian_wavenet": "WaveNet",
    "wavenet_iaf": "WaveNet IAF",
    "wavenet": "WG Student",
    "wave_flow": "Flow Student",
    "wave_wide_flow": "Wide Flow Student",
    "wave_affine": "Affine Student",
}


def is_baseline(run: Run) -> bool:
    """Whether it is no model."""
    return run.method in BASELINES


def is_shared(run: Run) -> bool:
    """Whether each evaluation has it anew: a baseline, or what teachers start from."""
    return is_baseline(run) or run.method == "pretrained"


def label(run: Run | str) -> str:
    """A method as tables and pictures name it."""
    if isinstance(run, str):
        return _ALL[run].label if run in _ALL else run
    return run.label or label(run.method)


def architecture(model: str) -> str:
    """A model of configs as tables name it."""
    return ARCHITECTURES.get(model, model)


def in_order(values: Iterable[str], known: Iterable[str]) -> list[str]:
    """Distinct values: the known ones in their order, then the others by name."""
    present, known = set(values), list(known)
    others = sorted(present - set(known), key=by_number)
    return [v for v in known if v in present] + others


def order(names: Iterable[str], teacher_last: bool = False) -> list[str]:
    """Distinct methods: baselines, teacher, known students, other recipes by name.

    Args:
        names: of methods.
        teacher_last: as the paper's table 1 has it.
    """
    found = in_order(names, _ALL)
    if teacher_last and "teacher" in found:
        found.remove("teacher")
        found.append("teacher")
    return found


def by_number(text: str) -> list[tuple[bool, float, str]]:
    """A key that sorts texts with the numbers in them by size: w=2 before w=10."""
    parts = re.split(r"(\d+(?:\.\d+)?(?:e[-+]?\d+)?)", text)
    return [
        (False, float(part), "") if i % 2 else (True, 0.0, part)
        for i, part in enumerate(parts)
    ]
