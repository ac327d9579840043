"""What is trained where a teacher's density becomes a parallel sampler.

The teacher is autoregressive (fast densities, slow samples), the student its inverse
in kind (fast samples, slow densities). `config.loss.method` names the loss, and
`config.loss.transfer` has its settings, see `KEYS`; those of "guided", which has
stages, are in `guiding`.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from fdnf.losses import (
    density,
    expansion,
    gaussian_conditionals,
    inverse_matching,
    levels,
    spectra,
)
from fdnf.train import batches, generators, guiding, models, rules
from fdnf.train.batches import Noise, Objective, fold
from fdnf.types import Flow

# Those of one loss throughout, or but for a start, which keep the newest parameters.
NEWEST = ("kl", "clarinet", "z", "x", "oracle")
METHODS = (*NEWEST, *guiding.METHODS)
# Those where the student samples and the teacher judges. They start from what
# x-reconstruction reached in `warm` of the training; the others need no such start.
EVALUATIVE = ("kl", "clarinet", "z")
# Of these, those that are a divergence from the teacher's density.
DIVERGENCES = ("kl", "clarinet")
# Those that ask nothing of the student but samples.
DECODING = ("z", "x", "oracle")
# The settings: keys of `loss.transfer`.
KEYS = {
    "distance": rules.spare(
        rules.one_of(inverse_matching.DISTANCES), "of reconstructions", "l2"
    ),
    "reduction": rules.spare(
        rules.one_of(levels.REDUCTIONS), "of distances over dimensions", "mean"
    ),
    "temperature": rules.spare(
        rules.number(above=0), "of the latents that the student decodes", 1.0
    ),
    "path": rules.spare(rules.yes_no(), "the path derivative of the reverse KL", False),
    "noise": rules.spare(
        rules.number(0), "standard deviation, added to encodings", 0.0
    ),
    "warm": rules.spare(
        rules.number(0, below=1),
        "fraction of training by x-reconstruction before kl, clarinet or z",
        0.0,
    ),
    "earlier": rules.spare(
        rules.number(0),
        "how much the image of a pass counts beside the next one's",
        0.0,
    ),
    "feature": rules.spare(
        rules.one_of(("none", *spectra.KINDS)),
        "by which a student's sounds are held against those of the batch",
        "none",
    ),
    "alpha": rules.spare(rules.number(0), "weight of the feature", 0.0),
    "stft": generators.KEYS["stft"],
    "floor": rules.spare(
        rules.number(),
        "least log-scale of clarinet's divergence",
        gaussian_conditionals.FLOOR,
    ),
    "expansion": rules.spare(
        rules.whole(0, rules.ROWS),
        "rows of a batch whose expansion signal is logged",
        0,
    ),
    "centre": rules.spare(
        rules.one_of(expansion.CENTRES), "of the expansion signal", "student_mean"
    ),
}
DEFAULTS = {name: key.default for name, key in KEYS.items()}


def arguments(config: Any) -> dict[str, Any]:
    """The settings of `config.loss.transfer`, with the defaults of those left out.

    Returns:
      `distance` ("l1", "l2", "mixed") and `reduction` ("mean", "sum") of the
      reconstructions; `temperature` of the latents that the student decodes, and
      `path` (the path derivative) of kl; `noise`, the standard deviation of what is
      added to encodings (x and oracle, and the warm start); `warm`, the fraction of
      the training by x-reconstruction that goes before kl or z; `earlier`, how much the
      image of a pass counts in a reconstruction beside the next one's (x and oracle,
      and the warm start), of a student of several passes; `feature`, a kind of
      `spectra.compare`, `alpha`, its weight, and `stft`, its resolutions: the student's
      sounds beside those of the batch, which have the same condition;
      `floor`, below which clarinet's divergence tells no log-scales from each other;
      `expansion`, of how many rows of a batch the expansion signal of kl and z is
      logged, about `centre`, a key of `expansion.CENTRES` ("teacher_mode" decodes with
      the teacher at every step).

    Raises:
      ValueError: for settings that the method cannot have. What each may be by itself
        `KEYS` says.
    """
    loss = config.loss
    if loss.method in guiding.METHODS:
        return guiding.arguments(config)
    settings = DEFAULTS | dict(loss.get("transfer", {}))
    divergence = loss.method in DIVERGENCES
    if divergence and settings["temperature"] != 1.0:
        raise ValueError(
            f"loss.transfer.temperature={settings['temperature']}: the divergence is "
            "an expectation over the student's own samples, so "
            f"{loss.method} needs 1.0"
        )
    if settings["alpha"] and settings["feature"] == "none":
        raise ValueError(
            f"loss.transfer.alpha={settings['alpha']} weighs no feature: set "
            f"loss.transfer.feature to one of {spectra.KINDS}, or alpha to 0"
        )
    teacher = config.get("teacher") or {"samples": 0, "share": 0.0}
    samples, share = teacher["samples"], teacher["share"]
    if loss.method == "oracle" and not (samples and share == 1.0):
        raise ValueError(
            f"teacher.samples={samples}, teacher.share={share}: "
            "loss.method='oracle' learns from the teacher's samples alone; set "
            "teacher.samples to how many are drawn, and teacher.share=1.0"
        )
    return settings


def warm_steps(config: Any) -> int:
    """Steps by x-reconstruction before the method's own loss.

    The optimizer's moments start anew after them: gradients grow a thousandfold.
    """
    if config.loss.method not in EVALUATIVE:
        return 0
    return round(arguments(config)["warm"] * config.train.steps)


def check(
    config: Any,
    student: models.Model,
    teacher: models.Model | Flow,
    event: tuple[int, ...],
    cond: tuple[int, ...] | None = None,
) -> None:
    """Refuses flows and passes that cannot be compared, by shapes alone.

    Args:
      config: of the student.
      student: what is trained.
      teacher: what it is compared with.
      event: shape of one row of the data.
      cond: shape of its condition, if it has one.

    Raises:
      ValueError: as `inverse_matching.by_pass` and `gaussian_conditionals.check`.
    """
    if config.loss.method == "clarinet":
        gaussian_conditionals.check(student, teacher)
    earlier = arguments(config)["earlier"]
    if not earlier or (config.loss.method in EVALUATIVE and not warm_steps(config)):
        return

    def decode(key: Array) -> Any:
        shape, given = (2, *event), None if cond is None else jnp.zeros((2, *cond))
        _, variables = models.start(student, key, jnp.zeros(shape), given)
        z = student.draw(key, shape)
        return student.apply(variables, z, given, method="decode")

    made = jax.eval_shape(decode, jax.random.key(0))
    try:
        inverse_matching.check_passes(made, earlier)
    except ValueError as error:
        raise ValueError(f"loss.transfer.{error}") from error


def build(
    config: Any, student: models.Model, teacher: Flow | None, reach: float
) -> Objective:
    """The objective of `config.loss.method`, one of METHODS.

    Args:
      config: the experiment; read are `loss`, `teacher` and `train.steps`.
      student: the flow, or feed-forward student, to train; it decodes only.
      teacher: the flow to imitate; it encodes only.
      reach: largest |x| of the training data. For oracle, a student's samples beyond
        `loss.skd.reach` times this do not count, as the teacher's, which were limited
        when they were drawn. For kl and z that would reward the student for them.

    Returns:
      A pure function to the loss and named scalars, see `batches.Objective`. Where
      the student samples and the teacher judges (kl, z), "kl" and "variance" are the
      mean and the variance over the rows of all devices of log q - log p_T, if the
      student has a density (q is that of its samples at the loss's temperature), and
      "expansion" is the expansion signal, if it was asked for. While the student
      warms up, the terms of the method are 0 and "warm" is 1; after that the term "x"
      is 0.

    Raises:
      ValueError: as `arguments`, or without a teacher.
    """
    if config.loss.method in guiding.METHODS:
        return guiding.build(config, student, teacher, reach)
    settings = arguments(config)
    if teacher is None:
        raise ValueError(f"loss.method={config.loss.method!r} needs a teacher")
    screened = config.loss.get("skd")
    limit = screened["reach"] * reach if screened else None
    loss = _losses(student, teacher, settings, limit)[config.loss.method]
    # Whose feature is weighed for another loss.
    alone = settings | {"alpha": 0.0}
    warm_up = _losses(student, teacher, alone, limit)["x"]
    until = warm_steps(config)

    def objective(variables, teacher_variables, batch, moment):
        def main(variables):
            return loss(variables, teacher_variables, batch, moment)

        if not until:
            return main(variables)

        def first(variables):
            return warm_up(variables, teacher_variables, batch, moment)

        # Both branches must report the same scalars.
        zeros = {
            name: jnp.zeros(value.shape, value.dtype)
            for branch in (first, main)
            for name, value in jax.eval_shape(branch, variables)[1].items()
        }

        def reporting(branch, warm):
            def run(variables):
                value, terms = branch(variables)
                return value, {**zeros, **terms, "warm": jnp.full((), warm)}

            return run

        return jax.lax.cond(
            moment.step < until, reporting(first, 1.0), reporting(main, 0.0), variables
        )

    return objective


def _losses(
    student: models.Model, teacher: Flow, settings: dict[str, Any], limit: float | None
):
    """Each method by name.

    Like an `Objective`; the loss of such a method has one term.
    """
    flows = (student, teacher)
    distance = {k: settings[k] for k in ("distance", "reduction")}
    sampling = distance | {"earlier": settings["earlier"]}

    def draw(batch, key, share, scale):
        x = batch["x"]
        return batches.draw(
            share,
            x.shape[0],
            lambda rows: student.draw(key, (rows, *x.shape[1:]), scale),
        )

    def latents(batch, moment):
        key = fold(moment.key, Noise.LATENTS)
        return draw(batch, key, moment.share, settings["temperature"])

    def noise(batch, moment):
        if not settings["noise"]:
            return None
        key = fold(moment.key, Noise.ENCODINGS)
        return draw(batch, key, moment.share, settings["noise"])

    def expanding(variables, fixed, z, cond, share):
        """The expansion signal of the first rows of the whole batch.

        Each device looks at as many of its own, and counts those that are among them:
        the mean over devices does not depend on how many there are.
        """
        here = z[0].shape[0]
        wanted = min(settings["expansion"], here * share.count)
        if not wanted:
            return {}
        rows = min(wanted, here)
        z = tuple(part[:rows] for part in z)
        cond = None if cond is None else cond[:rows]
        args = (*flows, variables, fixed, z, cond)
        centre = expansion.CENTRES[settings["centre"]](*args)
        outward = expansion.expanding(*args, centre=centre, log_prior=prior)
        first = share.index * here + jnp.arange(rows) < wanted
        return {"expansion": share.count * jnp.sum(outward * first) / wanted}

    def spread(ratio, share):
        """Mean and variance of log q - log p_T over the rows of all devices."""
        ratio = jax.lax.stop_gradient(ratio)
        mean = batches.mean(share, jnp.mean(ratio))
        return {"kl": mean, "variance": jnp.mean((ratio - mean) ** 2)}

    def prior(z):
        """Log density of latents drawn at the temperature, t: N(0, t^2)."""
        scale = settings["temperature"]
        size = sum(part[0].size for part in z)
        unit = density.standard_normal(tuple(part / scale for part in z))
        return unit - size * math.log(scale)

    resolutions = generators.resolutions(settings)

    def with_feature(value, terms, made, x):
        """A loss and what the sounds made should have in common with the batch's."""
        if not settings["alpha"]:
            return value, terms
        found = spectra.compare(settings["feature"], made.x, x, resolutions)
        return value + settings["alpha"] * found, terms | {"feature": found}

    def clarinet(variables, fixed, batch, moment):
        z, cond = latents(batch, moment), batch.get("cond")
        value, aux = gaussian_conditionals.clarinet(
            *flows, variables, fixed, z, cond, floor=settings["floor"]
        )
        return with_feature(value, aux.terms, aux.student, batch["x"])

    def kl(variables, fixed, batch, moment):
        z, cond = latents(batch, moment), batch.get("cond")
        value, aux = density.reverse_kl(
            *flows, variables, fixed, z, cond, path=settings["path"]
        )
        log_q = density.standard_normal(z) - aux.student.log_det
        moments = spread(log_q - aux.teacher.log_prob, moment.share)
        terms = aux.terms | {"variance": moments["variance"]}
        terms |= expanding(variables, fixed, z, cond, moment.share)
        return with_feature(value, terms, aux.student, batch["x"])

    def z(variables, fixed, batch, moment):
        drawn, cond = latents(batch, moment), batch.get("cond")
        value, aux = inverse_matching.z_reconstruction(
            *flows, variables, fixed, drawn, cond, **distance
        )
        terms = aux.terms
        if aux.student.log_det is not None:
            log_q = prior(drawn) - aux.student.log_det
            terms = terms | spread(log_q - aux.teacher.log_prob, moment.share)
            terms |= expanding(variables, fixed, drawn, cond, moment.share)
        return with_feature(value, terms, aux.student, batch["x"])

    def x(variables, fixed, batch, moment):
        value, aux = inverse_matching.x_reconstruction(
            *flows,
            variables,
            fixed,
            batch["x"],
            batch.get("cond"),
            noise=noise(batch, moment),
            **sampling,
        )
        return with_feature(value, aux.terms, aux.student, batch["x"])

    def oracle(variables, fixed, batch, moment):
        # With teacher.share=1 the batch is the teacher's samples, and their latents
        # come back from the direction that is fast.
        samples, cond = batch["x"], batch.get("cond")
        encoded = teacher.apply(fixed, samples, cond, method="encode")
        value, aux = inverse_matching.oracle(
            *flows,
            variables,
            fixed,
            jax.lax.stop_gradient(encoded.z),
            cond,
            x=samples,
            noise=noise(batch, moment),
            limit=limit,
            **sampling,
        )
        return with_feature(value, aux.terms, aux.student, samples)

    return {"kl": kl, "clarinet": clarinet, "z": z, "x": x, "oracle": oracle}
