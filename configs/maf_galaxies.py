"""Spline MAF of galaxies: p(redshift | six magnitudes), or the other way round.

python -m fdnf.main --config=configs/maf_galaxies.py:ilkd --workdir=runs/galaxies

Seed 0, 8,000 steps, test: log-likelihood in nats, CRPS in units of the redshift, and
distance of the PIT to the uniform distribution, which is below 0.0136 in 95 % of cases
of 10,000 calibrated rows:

                          log-likelihood   CRPS     KS of the PIT
  teacher (K=3)           2.834            0.0190   0.010
  student (K=1), plain    2.196            0.0336   0.021
  student (K=1), ilkd     2.205            0.0327   0.023
"""

from ml_collections import ConfigDict

from configs import common, teaching

OF = common.Choice(("redshift", "magnitudes"))
WORDS = (
    OF,
    common.Choice((*common.FLOWS.words, "iaf")),
    common.PRESET,
    teaching.GUIDED_IAF,
    common.SMOKE,
)
# The affine map moves a column with its condition, the spline gives it its peaks.
SPLINE = {"name": "compose", "parts": ("affine", "spline")}
MODELS = {
    "redshift": {
        "teacher": {"steps": 3, "hidden": (64, 64), "transformer": SPLINE},
        "student": {"steps": 1, "hidden": (64, 64), "transformer": SPLINE},
    },
    # Magnitudes go together: linear maps turn them to colours.
    "magnitudes": {
        role: {
            "steps": steps,
            "hidden": (64, 64),
            "transformer": SPLINE,
            "mixing": "lu",
        }
        for role, steps in (("teacher", 4), ("student", 2))
    },
}


def get_config(arg: str = "") -> ConfigDict:
    """A flow of the redshift given the magnitudes, a smaller one, or one taught.

    Args:
      arg: redshift (the default) or magnitudes, whose density is learned, given the
        others; teacher; student; lkd, ilkd, skd, with official; iaf (of magnitudes:
        one column samples in one pass anyway), with a method of `teaching.GUIDED_IAF`;
        smoke.
    """
    words = common.parse_arg(arg, WORDS)
    if "iaf" in words and "magnitudes" not in words:
        raise ValueError(
            "'iaf' goes with magnitudes: a flow of one column, the redshift, samples"
            " in one pass anyway"
        )
    of = "magnitudes" if "magnitudes" in words else "redshift"

    def make(role: str) -> ConfigDict:
        return _flow(of, role, "smoke" in words)

    if "iaf" in words:
        return teaching.iaf(make("student"), make("teacher"), words)
    return teaching.flow(make, words)


def _flow(of: str, role: str, smoke: bool) -> ConfigDict:
    config = common.tabular()
    config.role = role
    config.model.name = "maf"
    config.model.args = ConfigDict(MODELS[of][role])
    config.data.name = "galaxies"
    config.data.args = ConfigDict({"of": of})
    config.optim.lr = 1e-3
    config.optim.ema = 0.998
    config.train.update(steps=8_000, batch_size=1024, eval_every=500)
    if smoke:
        return common.smoke(config)
    return config
