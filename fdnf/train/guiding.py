"""What is trained where a teacher guides a sampler block by block, in stages.

`config.loss.method` is "guided", and `config.loss.guided` says, stage by stage, what
the terms of `losses.guided` weigh: by default first each block on its own, then also
the divergences of whole flows. Where such a loss comes first, it is taken of samples
that are nowhere near the teacher's.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from fdnf.flows import maf
from fdnf.losses import activations, guided, levels
from fdnf.ops import entering
from fdnf.train import batches, models, rules
from fdnf.train.batches import Arrays, Moment, Noise, Objective, fold
from fdnf.types import Flow, Variables

METHODS = ("guided",)
# Terms of latents that are drawn.
_OF_LATENTS = ("path_z", "kl")
# Of each term its weights in two stages, for a student of the teacher's own blocks, and
# what it compares. A mean of squares over the elements of 6 blocks of 63 is 400 times
# less than the nats that they cost: blocks alone still weigh about as much as the
# divergences of both directions.
_TERMS = {
    "local": ((1.0, 400.0), "what each block makes of the teacher's activation"),
    "path_x": (
        (0.0, 0.0),
        "the levels from an encoding to the data, each of the one before",
    ),
    "path_z": (
        (0.0, 0.0),
        "the levels that the teacher makes of the student's samples",
    ),
    "parameters": ((0.0, 0.0), "what the blocks computed, their transformers' numbers"),
    "kl": ((0.0, 1.0), "the reverse KL, of the student's samples"),
    "forward_kl": (
        (0.0, 1.0),
        "the KL of the teacher's samples, by the student's slow direction",
    ),
}
_POSITIVE = rules.number(above=0)
# Levels of a student, and of its teacher, that are compared.
PAIRS = rules.either(
    rules.one_of(levels.PAIRINGS),
    rules.several(
        rules.several(rules.whole(-rules.SIZE, rules.SIZE), length=2), least=1
    ),
)
# The settings: keys of `loss.guided`.
KEYS = {
    "until": rules.spare(
        rules.several(rules.number(above=0, most=1)),
        "ends of the stages, as fractions of the training",
        (1 / 3, 1.0),
    ),
    "lr": rules.spare(
        rules.several(_POSITIVE),
        "stage by stage the learning rate at its start, as a factor of optim.lr",
        (1.0, 0.5),
    ),
    **{
        term: rules.spare(
            rules.several(rules.number(0)),
            f"stage by stage the weight of {meaning}",
            usual,
        )
        for term, (usual, meaning) in _TERMS.items()
    },
    "units": rules.spare(
        rules.one_of(activations.UNITS),
        "of distances: the teacher's own scale of an element, a level's spread, none",
        "teacher",
    ),
    "robust": rules.spare(
        rules.optional(_POSITIVE),
        "of these units, from where a distance counts as its logarithm",
        3.0,
    ),
    "pairs": rules.spare(
        rules.optional(PAIRS),
        "levels of a path: of the student, with which of the teacher",
        None,
    ),
    "screen": rules.spare(
        rules.yes_no(),
        "whether samples and encodings are looked at before gradients go through them",
        True,
    ),
    "cap": rules.spare(
        rules.optional(_POSITIVE),
        "nats from where a row's log ratio counts logarithmically in kl, forward_kl",
        10.0,
    ),
    "forward_share": rules.spare(
        rules.number(above=0, most=1),
        "of the rows of a batch, those that forward_kl looks at",
        0.5,
    ),
    "reach": rules.spare(
        _POSITIVE,
        "what is beyond this multiple of the data's largest |x|, or of 1, is out",
        1000.0,
    ),
}
DEFAULTS: dict[str, Any] = {name: key.default for name, key in KEYS.items()}
_OF_STAGES = ("lr", *guided.TERMS)
_OF_DISTANCES = ("units", "robust", "pairs", "screen", "cap", "forward_share")


class Stage(NamedTuple):
    """A part of the training with a loss and a learning rate of its own.

    Attributes:
      first: steps before it.
      steps: its length.
      lr: factor of `optim.lr`.
      weights: of the terms that are computed in it.
    """

    first: int
    steps: int
    lr: float
    weights: Mapping[str, float]


def arguments(config: Any) -> dict[str, Any]:
    """The settings of `config.loss.guided`, with the defaults of those left out.

    Returns:
      `until`, the ends of the stages as fractions of the training; for each stage `lr`,
      a factor of `optim.lr`, and of each term of `guided.TERMS` its weight; `units`,
      `robust`, `pairs`, `screen`, `cap` and `forward_share` as of `losses.guided`.

    Raises:
      ValueError: for tuples that do not agree. What each may be by itself `KEYS` says.
    """
    settings = DEFAULTS | dict(config.loss.get("guided", {}))
    until = settings["until"]
    rising = all(a < b for a, b in zip(until, until[1:], strict=False))
    if not rising or until[-1] != 1.0:
        raise ValueError(
            f"loss.guided.until={until}: expected the ends of the stages as rising "
            "fractions of the training, the last one 1.0"
        )
    for key in _OF_STAGES:
        if len(settings[key]) != len(until):
            raise ValueError(
                f"loss.guided.{key}={settings[key]}: expected a number for each of "
                f"the {len(until)} stages of loss.guided.until={until}"
            )
    for i, end in enumerate(until):
        if not any(settings[term][i] for term in guided.TERMS):
            raise ValueError(
                f"loss.guided: stage {i + 1}, until {end}, has no term: give one of "
                f"{', '.join(guided.TERMS)} a weight there"
            )
    if settings["pairs"] is not None:
        settings["pairs"] = entering.tuples(settings["pairs"])
    return settings


def stages(config: Any) -> tuple[Stage, ...]:
    """The stages of a training, in steps; none where the method has no stages.

    Raises:
      ValueError: as `arguments`, or for a stage without a step.
    """
    if config.loss.method not in METHODS:
        return ()
    settings, total = arguments(config), config.train.steps
    ends = [round(end * total) for end in settings["until"]]
    found = []
    for i, (first, end) in enumerate(zip([0, *ends], ends, strict=False)):
        if first == end:
            raise ValueError(
                f"loss.guided.until={settings['until']}: stage {i + 1} of "
                f"train.steps={total} has no step"
            )
        weights = {term: settings[term][i] for term in guided.TERMS}
        weights = {term: weight for term, weight in weights.items() if weight}
        found.append(Stage(first, end - first, settings["lr"][i], weights))
    return tuple(found)


def lengths(config: Any) -> list[tuple[int, float]]:
    """What `optim.make` wants to know of the stages."""
    return [(stage.steps, stage.lr) for stage in stages(config)]


def limit(config: Any, reach: float) -> float:
    """Largest |activation| of a row that counts, and |x| of the teacher's samples.

    A teacher may have rare far activations, and a student that never sees them makes
    others there, of no density at all: only what is about to overflow is to be left
    out. Latents are about N(0, 1) whatever the scale of the data.

    Args:
      config: of a guided student.
      reach: largest |x| of the training data.
    """
    return arguments(config)["reach"] * max(reach, 1.0)


def build(
    config: Any, student: models.Model, teacher: Flow | None, reach: float
) -> Objective:
    """The objective of a guided student.

    Args:
      config: the experiment; read are `loss` and `train.steps`.
      student: the flow to train.
      teacher: the flow that guides it; it encodes only.
      reach: largest |x| of the training data, see `limit`.

    Returns:
      A pure function to the loss and named scalars, see `batches.Objective`. Every
      stage reports the same: the terms, each without its weight and 0 where it is not
      computed, "rejected", the share of rows that do not count, and "stage", from 1 on.

    Raises:
      ValueError: as `stages`, or without a teacher.
    """
    if teacher is None:
        raise ValueError(f"loss.method={config.loss.method!r} needs a teacher")
    settings = arguments(config)
    plan = stages(config)
    how = {k: settings[k] for k in _OF_DISTANCES}
    how["limit"] = limit(config, reach)

    def loss(stage: Stage, variables, fixed, batch: Arrays, moment: Moment):
        cond, z = batch.get("cond"), None
        if any(term in stage.weights for term in _OF_LATENTS):
            z = _latents(student, batch, moment)
        value, aux = guided.guided(
            student,
            teacher,
            variables,
            fixed,
            batch["x"],
            z,
            cond,
            None if z is None else cond,
            weights=stage.weights,
            terms=tuple(stage.weights),
            axis=moment.share.axis,
            **how,
        )
        return value, aux.terms

    def objective(variables, fixed, batch, moment):
        def of(stage: Stage):
            return lambda variables: loss(stage, variables, fixed, batch, moment)

        # All branches must report the same scalars.
        zeros = {
            name: jnp.zeros(value.shape, value.dtype)
            for stage in plan
            for name, value in jax.eval_shape(of(stage), variables)[1].items()
        }

        def reporting(number: int, stage: Stage):
            def run(variables):
                value, terms = of(stage)(variables)
                return value, {**zeros, **terms, "stage": jnp.full((), number, float)}

            return run

        branches = [reporting(i, stage) for i, stage in enumerate(plan, start=1)]
        if len(branches) == 1:
            return branches[0](variables)
        begun = [moment.step >= stage.first for stage in plan[1:]]
        now = sum(jnp.asarray(each, jnp.int32) for each in begun)
        return jax.lax.switch(now, branches, variables)

    return objective


def held_out(objective: Objective) -> Objective:
    """The objective by which held-out rows are judged: its mean over rows that count.

    In training a row that does not count is worth 0. A student that sends its worst
    rows further away would be the better one.
    """

    def judged(variables, fixed, batch, moment):
        value, terms = objective(variables, fixed, batch, moment)
        return value / (1.0 - terms["rejected"]), terms

    return judged


def check(
    config: Any,
    student: models.Model,
    teacher: Flow,
    event: tuple[int, ...],
    cond: tuple[int, ...] | None,
    variables: Variables = None,
) -> None:
    """Refuses flows that the terms cannot compare, by shapes alone.

    Args:
      config: of the student.
      student: what is trained.
      teacher: what guides it.
      event: shape of one row of the data.
      cond: shape of its condition, if it has one.
      variables: the teacher's, where they are there.

    Raises:
      ValueError, TypeError: as `guided.guided`.
    """
    settings, plan = arguments(config), stages(config)
    terms = tuple(t for t in guided.TERMS if any(t in s.weights for s in plan))

    def compare(variables: Variables) -> Any:
        x = jnp.zeros((2, *event))
        given = None if cond is None else jnp.zeros((2, *cond))
        ours = models.init(student, jax.random.key(0), x, given)
        theirs: Any = teacher
        if variables is None:
            variables = models.init(theirs, jax.random.key(0), x, given)
        z: Any = student.draw(jax.random.key(0), x.shape)
        weights = dict.fromkeys(terms, 1.0)
        return guided.guided(
            *(student, teacher, ours, variables),
            *(x, z, given, given),
            weights=weights,
            terms=terms,
            **{k: settings[k] for k in _OF_DISTANCES},
        )

    jax.eval_shape(compare, variables)


def shares(config: Any, student: models.Model, teacher: Any) -> bool:
    """Whether parts of a student are the teacher's by construction, see `IAF.of`."""
    if config.loss.method not in METHODS or not isinstance(student, maf.IAF):
        return False
    if not isinstance(teacher, maf.MAF):
        return False
    ours, theirs = (
        (flow.steps, flow.mixing, flow.marginal, flow.embedding)
        for flow in (student, teacher)
    )
    # There is nothing but networks otherwise.
    return ours == theirs and ours[1:] != ("reverse", None, None)


def _latents(student: models.Model, batch: Arrays, moment: Moment) -> Any:
    """A device's latents, one for each of its rows."""
    key, x = fold(moment.key, Noise.LATENTS), batch["x"]
    return batches.draw(
        moment.share,
        x.shape[0],
        lambda rows: student.draw(key, (rows, *x.shape[1:])),
    )
