"""Models of super-resolution: fidelity, perceptual distance, diversity, speed.

Reference: Baranchuk et al. (2021), table 1.
"""

from fdnf.evaluation.tables.columns import Column
from fdnf.evaluation.tables.view import View

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
VIEWS = (QUALITY, OVER_SEEDS, DIFFERENCES, SHORT, SPEED)
