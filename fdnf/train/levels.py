"""Whether the levels and latents of two flows can be compared."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from fdnf.losses import distillation
from fdnf.train import models, objectives
from fdnf.train.faults import ConfigError
from fdnf.types import Encoding


def check(
    config: Any,
    student: models.Model,
    teacher: models.Model,
    event: tuple[int, ...],
    cond: tuple[int, ...] | None = None,
) -> None:
    """Refuses levels or latents that cannot be compared, by shapes alone.

    Args:
      config: of the student.
      student: what is trained.
      teacher: what it is compared with.
      event: shape of one row of the data.
      cond: shape of its condition, if it has one.

    Raises:
      ConfigError: as `distillation.ilkd` and `distillation.lkd`.
    """
    try:
        _compare(config, student, teacher, event, cond)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"loss.method={config.loss.method!r}: {error}") from error


def _compare(config, student, teacher, event, cond) -> None:
    if config.loss.method == "feed_forward":
        ours, theirs = (m.latent_shapes(tuple(event)) for m in (student, teacher))
        if ours != theirs:
            raise ValueError(
                f"the student takes latents of shapes {ours}, the teacher {theirs}: "
                "they share them, so model.args must agree in levels and splits"
            )
    if config.loss.method in objectives.SAMPLERS:
        return
    kwargs = objectives.arguments(config)
    if not kwargs["weights"][1]:
        return

    encodings = [_encoding(flow, tuple(event), cond) for flow in (student, teacher)]
    distance = kwargs["distance"]
    parts = kwargs.get("parts", "passed")
    if kwargs["latents"] != "levels":
        jax.eval_shape(
            lambda a, b: distillation.rowwise(
                a.latents(parts), b.latents(parts), distance
            ),
            *encodings,
        )
        return
    counts = [len(encoding.levels) for encoding in encodings]
    for s, t in distillation.pairs_of(kwargs["pairs"], *counts):
        jax.eval_shape(
            lambda a, b, s=s, t=t: distillation.rowwise(
                a.part(s % counts[0], parts), b.part(t % counts[1], parts), distance
            ),
            *encodings,
        )


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
