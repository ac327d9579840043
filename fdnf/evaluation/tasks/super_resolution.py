"""Models of super-resolution: fidelity, perceptual distance, diversity, speed.

Reference: Baranchuk et al. (2021), table 1.
"""

import pathlib
from typing import Any

from fdnf.data import build as datasets
from fdnf.evaluation.models import upscaler
from fdnf.evaluation.pictures import strips
from fdnf.evaluation.scorers import context, fidelity
from fdnf.evaluation.scorers.context import Evaluation
from fdnf.evaluation.tables.columns import Column
from fdnf.evaluation.tables.view import View
from fdnf.evaluation.tasks import base
from fdnf.evaluation.tasks.base import Task
from fdnf.flows.base import FlowModule
from fdnf.students.rrdb import RRDBNet
from fdnf.train.preprocess import SuperResolution
from fdnf.train.teachers import Trained

_SCORES = (
    Column("psnr"),
    Column("ssim"),
    Column("lpips", features=None),
    Column("pdist", features=None),
    Column("lr_psnr"),
)
_DIVERSITY = Column("diversity", features=None)
QUALITY = View(
    "{data}: {split} ×{scale}",
    (
        *_SCORES,
        Column("parameters", show="millions", label="Param. (M)"),
        Column("upscaling_ms", show="spread"),
        _DIVERSITY,
        Column("exploded_images", show="fault"),
    ),
    each=("data", "scale", "split"),
    unit="item",
    items="images",
    needs=("psnr",),
    note="Baranchuk et al. (2021) report DIV2K and models trained on DF2K: another set "
    "of images, so that no figure here compares with theirs.",
)
OVER_SEEDS = View(
    "{data}: {split} ×{scale}, over seeds",
    (*_SCORES, _DIVERSITY),
    each=("data", "scale", "split"),
    least=2,
    baselines=False,
)
DIFFERENCES = View(
    "{data}: differences from the teacher",
    (*_SCORES, _DIVERSITY),
    index=("method", "split"),
    unit="item",
    items="images",
    against="teacher",
    baselines=False,
)
SHORT = View(
    "{data}: in short, beside the teacher",
    (
        Column("lpips", None, "", None, "percent", "LPIPS, change (%) ↓"),
        Column("pdist", None, "", None, "percent", "Distance, change (%) ↓"),
        Column("diversity", None, "", None, "times", "Diversity, share"),
        Column("upscaling_ms", show="times", label="Time, share ↓"),
        Column(
            "upscaling_ms",
            show="times",
            label="of the unfolded teacher's ↓",
            base_given="unfolded",
        ),
    ),
    unit="item",
    items="images",
    against="teacher",
    needs=("psnr",),
    baselines=False,
    note="Changes are paired differences, in percent of the teacher's mean.",
)
SPEED = View(
    "{data}: speed",
    (
        Column("upscaling_ms", show="spread"),
        Column("upscaling_ms", given="unfolded", show="spread", label="unfolded (ms)"),
        Column("upscaling_ms", show="faster", to="teacher", label="x teacher's speed"),
        Column(
            "upscaling_ms",
            show="faster",
            to="teacher",
            label="x unfolded teacher's",
            base_given="unfolded",
        ),
    ),
    note="One image, from 8-bit low to 8-bit high resolution with its noise, compiled "
    "and warmed up: median (10th-90th percentile). A folded flow has its activation "
    "norms within its convolutions and inverses computed beforehand, and gives the "
    "same images. Only times taken on one machine compare.",
)


def takes(trained: Trained) -> bool:
    """Whether a model enlarges images."""
    return isinstance(trained.preprocess, SuperResolution)


def label(trained: Trained, method: str) -> str:
    """A model as tables and pictures name it: "SRFlow", "RRDB", "Student v1"."""
    if isinstance(trained.flow, FlowModule):
        return "SRFlow"
    if isinstance(trained.flow, RRDBNet):
        return "RRDB"
    name = method.replace("_", " ").replace("srflow", "SRFlow")
    return name if "student" in name else f"Student {name}"


def draw(evaluation: Evaluation, folder: pathlib.Path) -> list[pathlib.Path]:
    """A picture a benchmark, `<benchmark>.png`, with run 0 of each model."""
    models = {
        label(model, method): upscaler.of(model)
        for method, model in evaluation.models.items()
    }
    section = evaluation.section
    return strips.draw(
        folder,
        models,
        evaluation.data,
        strips=section.strips,
        temperature=fidelity.settings_of(section).temperature,
    )


def sample(trained: Trained, workdir: pathlib.Path, seed: int) -> list[pathlib.Path]:
    """Draws `eval.strips` images of each benchmark, for each run of a model.

    Its teacher is shown before it, if it is still there: run r of it, or its last.

    Args:
        trained: the model, its config's `eval` as it shall be.
        workdir: that it was loaded from.
        seed: of run 0; run r has `seed + r`.

    Returns:
        The files, `run_0_Set5.png` and so on.
    """
    section = trained.config.eval
    data: Any = datasets.build(trained.config.data)
    teacher = context.teacher_of(trained, workdir)
    paths = []
    for run in range(trained.runs):
        models = {}
        if teacher is not None:
            model = upscaler.of(teacher, min(run, teacher.runs - 1))
            models[label(teacher, "teacher")] = model
        called = label(trained, trained.config.get("label") or "student")
        models[called] = upscaler.of(trained, run)
        paths += strips.draw(
            workdir / base.SAMPLES,
            models,
            data,
            strips=section.strips,
            temperature=fidelity.settings_of(section).temperature,
            seed=seed + run,
            prefix=f"run_{run}_",
        )
    return paths


TASK = Task(
    fidelity.KIND,
    takes,
    scorers=(fidelity.speed, fidelity.quality),
    views=(QUALITY, OVER_SEEDS, DIFFERENCES, SHORT, SPEED),
    sample=sample,
    baselines=(fidelity.bicubic,),
    draw=(draw,),
    check=fidelity.check,
    fits=fidelity.fits,
    label=label,
)
