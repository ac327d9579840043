"""A trained model as programs lowered by `jax.export`, functions of its weights."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from fdnf.evaluation.export import load
from fdnf.evaluation.models.sampler import Temperature
from fdnf.flows import weighed

# Of the names of a teacher's weights.
PREFIX = "teacher/"


class Sampler(NamedTuple):
    """What is exported.

    Attributes:
      model: a flow or a student.
      variables: its variables, of one run.
      event: shape of a row of the model's data.
      cond: shape of a row's condition, None for none.
      to_stored: from the model's data to the data's own units.
      encode: (key of the noise, rows as `to_stored` gives them) to the model's data and
        log |det| in nats; None where no density is exported, of what has none.
      noisy: whether `encode` adds noise, as to whole numbers.
      condition: from the condition that programs are given to the model's.
    """

    model: Any
    variables: Any
    event: tuple[int, ...]
    cond: tuple[int, ...] | None = None
    to_stored: Callable[[Any], Any] = lambda x: x
    encode: Callable[[Any, Any], tuple[Any, Any]] | None = None
    noisy: bool = False
    condition: Callable[[Any], Any] = lambda cond: cond

    @property
    def conditions(self) -> tuple[tuple[int, ...], ...]:
        """The shape of a row's condition, if there is one."""
        return () if self.cond is None else (tuple(self.cond),)


class Teacher(NamedTuple):
    """What weighs a student's draws, exported with it.

    Attributes:
      model: a flow that has a density.
      variables: its variables, of one run.
      exact: what `sampler.json` says of chains of weighed draws: `steps`, proposals a
        row, and what was measured of them.
    """

    model: Any
    variables: Any
    exact: dict[str, Any]


class Program(NamedTuple):
    """A lowered program and the names of its inputs beside the weights."""

    exported: export.Exported
    names: tuple[str, ...]


def lower(
    sampler: Sampler,
    weights: dict[str, np.ndarray],
    rows: int,
    temperature: Temperature,
    platforms: tuple[str, ...],
    teacher: Teacher | None = None,
) -> dict[str, Program]:
    """The sampler, the decoder, and the density where there is one.

    Of a student and its teacher also the draws with their weights, and the teacher's
    density.

    Args:
      sampler: what is lowered, as it is.
      weights: the leaves of its variables by name, in tree order; after them those of
        the teacher's, whose names begin with "teacher/".
      rows: of the sampler; the others take any number if the model's program can be
        written so, and otherwise this one.
      temperature: of the sampler's latents, see `FlowModule.draw`.
      platforms: that the programs can run on.
      teacher: of a student that has a density.
    """
    model, parts = sampler.model, sampler.model.latent_shapes(sampler.event)
    own = [name for name in weights if not name.startswith(PREFIX)]
    taught = [name for name in weights if name.startswith(PREFIX)]

    def variables(weights: dict[str, Any]) -> Any:
        tree = jax.tree.structure(sampler.variables)
        return tree.unflatten([weights[name] for name in own])

    def judge(weights: dict[str, Any]) -> Any:
        assert teacher is not None
        tree = jax.tree.structure(teacher.variables)
        return tree.unflatten([weights[name] for name in taught])

    def sample(weights: dict[str, Any], key: Any, cond: Any = None) -> Any:
        key = jax.random.wrap_key_data(key, impl="threefry2x32")
        shape = (rows, *sampler.event)
        cond = None if cond is None else sampler.condition(cond)
        drawn = model.apply(
            variables(weights), key, shape, temperature, cond, method="sample"
        )
        return sampler.to_stored(drawn)

    def decode(weights: dict[str, Any], *inputs: Any) -> Any:
        z, rest = inputs[: len(parts)], inputs[len(parts) :]
        cond = sampler.condition(rest[0]) if rest else None
        decoded = model.apply(variables(weights), z, cond, method="decode")
        return sampler.to_stored(decoded.x)

    def propose(weights: dict[str, Any], key: Any, cond: Any = None) -> Any:
        assert teacher is not None
        key = jax.random.wrap_key_data(key, impl="threefry2x32")
        cond = None if cond is None else sampler.condition(cond)
        pair = (model, teacher.model, variables(weights), judge(weights))
        drawn, log_w = weighed.proposed(*pair, key, (rows, *sampler.event), cond)
        return sampler.to_stored(drawn), log_w

    def density(of: Any, of_weights: Any, weights: Any, x: Any, *inputs: Any) -> Any:
        assert sampler.encode is not None
        data, rest = jnp.zeros((2,), jnp.uint32), inputs
        if sampler.noisy:
            data, *rest = inputs
        key = jax.random.wrap_key_data(data, impl="threefry2x32")
        y, log_det = sampler.encode(key, x)
        cond = sampler.condition(rest[0]) if rest else None
        encoding = of.apply(of_weights(weights), y, cond, method="encode")
        return encoding.log_prob + log_det

    def lowered(
        function: Callable[..., Any], *inputs: Any, names: Any = None
    ) -> export.Exported:
        jitted = jax.jit(function, keep_unused=True)
        taken = {name: specs[name] for name in names or own}
        return export.export(jitted, platforms=platforms)(taken, *inputs)

    def events(batch: Any, *shapes: tuple[int, ...]) -> list[jax.ShapeDtypeStruct]:
        return [jax.ShapeDtypeStruct((batch, *s), jnp.float32) for s in shapes]

    specs = {k: jax.ShapeDtypeStruct(v.shape, v.dtype) for k, v in weights.items()}
    key = jax.ShapeDtypeStruct((2,), jnp.uint32)
    sampled = lowered(sample, key, *events(rows, *sampler.conditions))
    shapes = (*parts, *sampler.conditions)
    (batch,) = export.symbolic_shape(load.ANY)

    def of_any(
        function: Callable[..., Any], inputs: Callable[[Any], list], names: Any = None
    ) -> Any:
        try:
            return lowered(function, *inputs(batch), names=names)
        # Whatever a program says that must know its batch size. If it was not that,
        # the next line says it again.
        except Exception:
            return lowered(function, *inputs(rows), names=names)

    decoded = of_any(decode, lambda size: events(size, *shapes))
    conds = tuple("cond" for _ in sampler.conditions)
    latents = tuple(f"z_{i}" for i in range(len(parts)))
    found = {
        "sampler": Program(sampled, ("key", *conds)),
        "decoder": Program(decoded, (*latents, *conds)),
    }
    if sampler.encode is not None:
        noise = [key] * sampler.noisy
        (output,) = sampled.out_avals

        def asked(size: Any) -> list[jax.ShapeDtypeStruct]:
            x = jax.ShapeDtypeStruct((size, *output.shape[1:]), output.dtype)
            return [x, *noise, *events(size, *sampler.conditions)]

        names_of = ("x", *(["key"] * sampler.noisy), *conds)
        own_density = functools.partial(density, model, variables)
        found["density"] = Program(of_any(own_density, asked), names_of)
        if teacher is not None:
            theirs = functools.partial(density, teacher.model, judge)
            made = of_any(theirs, asked, taught)
            found[load.TEACHER_DENSITY] = Program(made, names_of)
    if teacher is not None:
        conditions = events(rows, *sampler.conditions)
        made = lowered(propose, key, *conditions, names=[*own, *taught])
        found[load.PROPOSALS] = Program(made, ("key", *conds))
    return found
