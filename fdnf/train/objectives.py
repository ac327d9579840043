"""What is trained: the only place that branches on `config.loss.method`."""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from fdnf.losses import distillation, flow_matching, levels, presets
from fdnf.ops import entering
from fdnf.train import batches, generators, guiding, models, transfer
from fdnf.train.batches import Moment, Noise, Objective, fold
from fdnf.train.rules import ConfigError
from fdnf.types import Encoding, Flow

MATCHING = "flow_matching"
METHODS = (
    *("nll", MATCHING, "lkd", "ilkd", "skd"),
    *(*transfer.METHODS, *generators.METHODS),
)
# Those that are no loss of a teacher's.
ALONE = ("nll", MATCHING, "regression")
# Those whose measure is the loss itself: they have no likelihood, or a slow one.
BY_LOSS = (MATCHING, *transfer.METHODS, *generators.METHODS)


def needs_teacher(config: Any) -> bool:
    """Whether `config.loss.method` compares the student with a teacher."""
    return _method(config) not in ALONE


def _method(config: Any) -> str:
    method = config.loss.method
    if method not in METHODS:
        raise ValueError(f"unknown loss.method {method!r}; known: {METHODS}")
    return method


def build(
    config: Any,
    student: models.Model,
    teacher: Flow | None,
    reach: float,
) -> Objective:
    """The objective that `config.loss` describes.

    Args:
      config: the experiment; read are `loss` and `train.steps`.
      student: the flow, or feed-forward student, to train.
      teacher: the flow to imitate, unless the method is one of ALONE.
      reach: largest |x| of the training data. Samples beyond `loss.skd.reach` times
        this do not count in SKD.

    Returns:
      A pure function to the loss and named scalars, see `Objective`.

    Raises:
      ValueError: for an unknown method, preset or argument.
    """
    method = _method(config)
    if method == "nll":
        return _nll(student, config.loss.get("units", "nats"))
    if method == MATCHING:
        check_velocity(student)
        return _matching(student)
    if method in generators.METHODS:
        return generators.build(config, student, teacher)
    if teacher is None:
        raise ValueError(f"loss.method={method!r} needs a teacher")
    if method in transfer.METHODS:
        return transfer.build(config, student, teacher, reach)
    return _distilled(student, teacher, config, reach)


def only_encodes(config: Any) -> bool:
    """Whether the loss asks a teacher what it makes of a batch, and nothing else."""
    method = _method(config)
    if method not in ("lkd", "ilkd"):
        return method in ("x", "oracle")
    return not arguments(config)["weights"][2]


def arguments(config: Any) -> dict[str, Any]:
    """Keyword arguments of `distillation.combined`: the preset's, then the config's.

    Raises:
      ValueError: for an unknown method or preset. Which arguments there are, and what
        each may be, `keys` says.
    """
    method = _method(config)
    if method == MATCHING:
        return {}
    if method in transfer.METHODS:
        return transfer.arguments(config)
    if method in generators.METHODS:
        return generators.arguments(config)
    kwargs = presets.preset(config.loss.preset, method)
    given = dict(config.loss.args)
    kwargs.setdefault("pairs", "ratio")
    kwargs["units"] = config.loss.get("units", "nats")
    return kwargs | {k: entering.tuples(v) for k, v in given.items() if v is not None}


def weights(config: Any) -> tuple[float, float, float]:
    """Weights of likelihood, latents and samples; zeros where a loss has none.

    A term of weight 0 is not computed, so programs with other zeros are others.
    """
    if config.loss.method in ("nll", *BY_LOSS):
        return (0.0, 0.0, 0.0)
    nll, latents, samples = arguments(config)["weights"]
    return (float(nll), float(latents), float(samples))


def _nll(student: models.Model, units: str) -> Objective:
    def objective(variables, teacher_variables, batch, moment):
        loss, aux = distillation.nll(
            student,
            variables,
            batch["x"],
            batch.get("cond"),
            units=units,
            key=_probes(student, moment),
        )
        return loss, aux.terms

    return objective


def _matching(student: models.Model) -> Objective:
    def objective(variables, teacher_variables, batch, moment):
        x, share = batch["x"], moment.share
        key, clock = (fold(moment.key, n) for n in (Noise.LATENTS, Noise.TIMES))

        def drawn(rows: int) -> tuple[Any, Array]:
            z = student.draw(key, (rows, *x.shape[1:]))
            return z, jax.random.uniform(clock, (rows,), x.dtype)

        z, t = batches.draw(share, len(x), drawn)
        loss, aux = flow_matching.flow_matching(
            student, variables, x, z, t, batch.get("cond")
        )
        return loss, aux.terms

    return objective


def check_velocity(model: models.Model) -> None:
    """Refuses what flow matching cannot train.

    Raises:
      ValueError: for a model without a velocity.
    """
    if not hasattr(model, "velocity"):
        raise ValueError(
            f"loss.method={MATCHING!r} fits a velocity, which {type(model).__name__} "
            "does not have: train it by 'nll', or take a ContinuousFlow "
            "(model.name='continuous')"
        )


def _probes(student: models.Model, moment: Moment) -> Array | None:
    """The key of a flow that estimates its log-determinant, another on each device."""
    if not getattr(student, "estimates", False):
        return None
    return fold(moment.key, Noise.PROBES, moment.share.index)


def _latent_share(config: Any, step: Array) -> Array:
    """Weight of what distils, 1 until it fades out linearly.

    `loss.fade` = (start, end), fractions of the training; (1, 1) never fades.
    """
    start, end = config.loss.fade
    total = config.train.steps
    width = max((end - start) * total, 1.0)
    return jnp.clip((end * total - step) / width, 0.0, 1.0)


def _distilled(
    student: models.Model, teacher: Flow, config: Any, reach: float
) -> Objective:
    """`distillation.combined`, with weights that fade; SKD starts at `loss.skd.start`.

    The method's stability rests on the latent spaces being alike before samples are
    compared (Walton et al., section 3.3). Before the start, the sampling direction is
    not computed at all.
    """
    settings = arguments(config)
    given = settings.pop("weights")
    terms = distillation.terms_of(given)
    if "samples" in terms:
        settings.setdefault("limit", config.loss.skd.reach * reach)

    def objective(variables, teacher_variables, batch, moment):
        x, cond = batch["x"], batch.get("cond")
        weights = given if moment.weights is None else moment.weights
        own, heads = levels.split(variables.get("params", {}))
        if heads is not None:
            variables = {**variables, "params": own}
        faded = _latent_share(config, moment.step)

        def loss(terms, z=None, z_cond=None):
            value, aux = distillation.combined(
                student,
                teacher,
                variables,
                teacher_variables,
                x,
                z,
                cond,
                z_cond,
                weights=(weights[0], faded * weights[1], faded * weights[2]),
                terms=terms,
                heads=heads,
                key=_probes(student, moment),
                **settings,
            )
            return value, aux.terms

        if "samples" not in terms:
            return loss(terms)
        skd = config.loss.skd
        start = skd.start * config.train.steps
        z, z_cond = _latents(student, skd, x, cond, moment)

        def with_samples():
            value, found = loss(terms, z, z_cond)
            return value, _floats(found)

        def without():
            value, found = loss(tuple(t for t in terms if t != "samples"))
            return value, _floats({**found, "skd": 0.0, "rejected": 0.0})

        return jax.lax.cond(moment.step >= start, with_samples, without)

    return objective


def _latents(student: models.Model, skd: Any, x: Array, cond: Any, moment: Moment):
    """A device's latents to compare samples of, and their conditions."""
    share = moment.share
    own, rest = divmod(skd.batch, share.count)
    if rest:
        raise ValueError(
            f"loss.skd.batch={skd.batch} does not divide among the devices"
        )
    key = fold(moment.key, Noise.LATENTS)
    z = batches.draw(
        share,
        own,
        lambda rows: student.draw(key, (rows, *x.shape[1:]), skd.temperature),
    )
    if cond is None:
        return z, None
    # Evenly spread: the same pairs on any number of devices.
    return z, cond[jnp.arange(own) * len(cond) // own]


def _floats(terms: Mapping[str, Any]) -> dict[str, Array]:
    """In one dtype, also where 64-bit mode makes some of them float64."""
    return {name: jnp.asarray(term, jnp.float32) for name, term in terms.items()}


def check_levels(
    config: Any,
    student: models.Model,
    teacher: models.Model | Flow,
    event: tuple[int, ...],
    cond: tuple[int, ...] | None = None,
    variables: Any = None,
) -> None:
    """Refuses levels or latents that cannot be compared, by shapes alone.

    Args:
      config: of the student.
      student: what is trained.
      teacher: what it is compared with.
      event: shape of one row of the data.
      cond: shape of its condition, if it has one.
      variables: the teacher's, where it is there already.

    Raises:
      ConfigError: as `distillation.ilkd`, `distillation.lkd`, `guided.guided` and
        `inverse_matching.by_pass`.
    """
    try:
        _compare_levels(config, student, teacher, event, cond, variables)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"loss.method={config.loss.method!r}: {error}") from error


def _compare_levels(
    config: Any, student: Any, teacher: Any, event: Any, cond: Any, variables: Any
) -> None:
    if config.loss.method == "feed_forward":
        ours, theirs = (m.latent_shapes(tuple(event)) for m in (student, teacher))
        if ours != theirs:
            raise ValueError(
                f"the student takes latents of shapes {ours}, the teacher {theirs}: "
                "they share them, so model.args must agree in levels and splits"
            )
    if config.loss.method in guiding.METHODS:
        guiding.check(config, student, teacher, tuple(event), cond, variables)
    if config.loss.method in transfer.NEWEST:
        transfer.check(config, student, teacher, tuple(event), cond)
    if config.loss.method in BY_LOSS:
        return
    kwargs = arguments(config)
    if not kwargs["weights"][1]:
        return
    encodings = [
        _encoding(flow, tuple(event), cond)
        if hasattr(flow, "init_with_output")
        else _encoding_of(flow, variables, tuple(event), cond)
        for flow in (student, teacher)
    ]

    def gaps(ours: Encoding, theirs: Encoding) -> Any:
        given = levels.compared(ours, theirs, **_compared(kwargs))
        learned = bool(config.loss.get("heads", False))
        heads = levels.identity(given, learned=learned) if learned else None
        return levels.gaps(given, heads, distance=kwargs["distance"])

    jax.eval_shape(gaps, *encodings)


def _compared(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Of the arguments of `distillation.combined` those of `levels.compared`."""
    usual = {"latents": "levels", "pairs": "index", "parts": "passed"}
    return {name: kwargs.get(name, value) for name, value in usual.items()}


def heads(
    config: Any,
    student: Any,
    taught: Encoding,
    event: tuple[int, ...],
    cond: tuple[int, ...] | None = None,
) -> Any:
    """What stands between student and teacher before training; None without.

    Args:
      config: of the student; read are `loss.heads` and `loss.normalise`.
      student: what is trained.
      taught: what its teacher makes of a first batch.
      event: shape of one row of the data.
      cond: shape of its condition, if it has one.

    Returns:
      See `levels.identity`.
    """
    learned, measured = asked = heads_asked(config)
    if not any(asked):
        return None
    rows = len(taught.log_det)
    ours = jax.tree.map(
        lambda leaf: jnp.zeros((rows, *leaf.shape[1:]), leaf.dtype),
        _encoding(student, tuple(event), cond),
    )
    given = levels.compared(ours, taught, **_compared(arguments(config)))
    return levels.identity(given, learned=learned, measured=measured)


def heads_asked(config: Any) -> tuple[bool, bool]:
    """Whether heads are learned, and whether levels have units, see `heads`."""
    if _method(config) not in ("lkd", "ilkd", "skd"):
        return False, False
    loss = config.loss
    return bool(loss.get("heads", False)), bool(loss.get("normalise", False))


# A study and the program that it starts ask the same.
@functools.lru_cache(maxsize=16)
def _encoding(
    flow: models.Model, event: tuple[int, ...], cond: tuple[int, ...] | None
) -> Encoding:
    """Shapes of what a flow makes of two rows."""

    def encode() -> Encoding:
        given = None if cond is None else jnp.zeros((2, *cond))
        return flow.init_with_output(jax.random.key(0), jnp.zeros((2, *event)), given)[
            0
        ]

    return jax.eval_shape(encode)


def _encoding_of(
    flow: Flow, variables: Any, event: tuple[int, ...], cond: tuple[int, ...] | None
) -> Encoding:
    """The same of another library's flow, whose variables are there."""

    def encode() -> Encoding:
        given = None if cond is None else jnp.zeros((2, *cond))
        return flow.apply(variables, jnp.zeros((2, *event)), given, method="encode")

    return jax.eval_shape(encode)
