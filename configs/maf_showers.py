"""Spline MAF of showers in a calorimeter, and a spline IAF that samples in one pass.

python -m fdnf.main --config=configs/maf_showers.py:d368,iaf,guided
    --workdir=runs/showers

Showers are simulated by Grindhammer and Peters's parametrisation (`data/showers.py`),
given the energy of the particle, 10 to 100 GeV, and the position of its impact. As in
CaloFlow (Krause and Shih, 2021) both flows are of rational-quadratic splines, and the
student has its teacher's blocks and orders; it is no larger than its teacher here.

AUC of a classifier against simulated showers, of cells and of high-level features,
5,000 + 5,000 rows, where it is about 0.5 for the simulation itself (se 0.006), seed 0,
and of three seeds at d368:

          teacher         guided student
  d28     0.502, 0.504    0.504, 0.506 (with 4,800 steps of a second stage)
  d96     0.496, 0.501    0.503, 0.513 (after 12,000 of its 12,800 steps)
  d368    0.506, 0.505    0.512, 0.528
"""

from ml_collections import ConfigDict

from configs import common, teaching

CELLS = common.Choice(("d28", "d96", "d184", "d368"))
WORDS = (
    CELLS,
    common.Choice((*common.FLOWS.words, "iaf")),
    common.PRESET,
    teaching.GUIDED_IAF,
    common.SMOKE,
)
# By cells: blocks, bins of the splines, batch. A step costs what splines do, blocks x
# cells x bins x rows, and from 96 cells on what the networks do.
SIZES = {
    28: {"steps": 4, "bins": 8, "batch_size": 512},
    96: {"steps": 3, "bins": 6, "batch_size": 256},
    184: {"steps": 3, "bins": 5, "batch_size": 256},
    368: {"steps": 3, "bins": 5, "batch_size": 256},
}
# Widths of the networks. Of (64, 64) a student of 28 cells is told from showers, where
# its teacher is not.
HIDDEN = (256, 256)
# Numbers a cell that the last layer makes, of which a small matrix makes those of the
# spline: a third of the weights.
RANK = 8
TEACHER_STEPS = {28: 6_000, 96: 8_000, 184: 10_000, 368: 10_000}


def get_config(arg: str = "") -> ConfigDict:
    """A flow of showers, a smaller one, or one that the first teaches.

    Args:
      arg: d28 (the default), d96, d184 or d368, how many cells; teacher; student; lkd,
        ilkd, skd, with official; iaf, with a method of `teaching.GUIDED_IAF`; smoke.
    """
    words = common.parse_arg(arg, WORDS)
    cells = next((int(w[1:]) for w in CELLS.words if w in words), 28)

    def make(role: str) -> ConfigDict:
        return _flow(cells, role, "smoke" in words)

    if "iaf" not in words:
        return teaching.flow(make, words)
    teacher = make("teacher")
    config = teaching.iaf(make("student"), teacher, words)
    if "smoke" in words:
        return config
    # As large as the teacher, not larger, and taught by the simulated rows, whose noise
    # is new in each step: drawing others from the teacher takes longer than it learns.
    # By the blocks alone: most of the divergences is of where a cell's noise below the
    # threshold ends, which nobody sees, and learning it undoes what is seen.
    seen = teacher.train.steps * teacher.train.batch_size
    own = {
        **teaching.stages((1.0,), (1.0,), local=(1.0,)),
        "train/steps": 4 * seen // (5 * teaching.GUIDED_TRAINING["train/batch_size"]),
        "teacher/samples": 0,
        "optim/lr": 1e-3,
    }
    guided = config.study.recipes.guided
    guided.update(own)
    guided.model.args.hidden = teacher.model.args.hidden
    if "guided" in words:
        common.set_keys(config, own)
        config.model.args.hidden = teacher.model.args.hidden
    return config


def _flow(cells: int, role: str, smoke: bool) -> ConfigDict:
    size = SIZES[cells]
    spline = {"name": "spline", "bins": size["bins"], "box": 4.0}
    config = common.tabular()
    config.role = role
    config.model.name = "maf"
    config.model.args = ConfigDict(
        {
            "steps": size["steps"] if role == "teacher" else size["steps"] // 2,
            "hidden": HIDDEN,
            "rank": RANK,
            "transformer": {"name": "compose", "parts": ("affine", spline)},
        }
    )
    config.data.name = "showers"
    config.data.args = ConfigDict({"cells": cells})
    config.optim.lr = 1e-3
    config.train.update(
        steps=TEACHER_STEPS[cells], batch_size=size["batch_size"], eval_every=1000
    )
    config.eval.batch_size = 1000
    if smoke:
        return common.smoke(config)
    return config
