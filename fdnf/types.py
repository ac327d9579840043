"""The words that every layer shares: arrays, results and protocols."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Variables = Any
"""The pytree that a flow's `apply` understands.

For flows of this package what `init` returns: the collections `params` and, for some,
`constants`. Other libraries' flows bring their own kinds of tree.
"""

Given = Any
"""What comes from outside: an array of any library and number's kind, or a list.

Models and losses look at it and cast it where it enters, see `ops.entering`.
"""

Events = Float[Array, "batch *event"]
# What a map makes of events, whose shape it may change.
Mapped = Float[Array, "batch *mapped"]
Context = Float[Array, "batch *context"]
LogDet = Float[Array, " batch"]
Scalar = Float[Array, ""]

# What of a level, or of the latents, a loss compares, see `Encoding.part`.
PARTS = ("passed", "split", "both")


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Passed:
    """Which channels of each level a flow passes on; the others it splits off.

    Static: no leaf of a tree, and the same object's worth in and out of `jit`.

    Attributes:
      channels: one (start, stop) a level, along the last axis.
    """

    channels: tuple[tuple[int, int], ...]


class Encoding(NamedTuple):
    """What a flow says of data: its latents and its density.

    Attributes:
      z: latents, one `[batch, ...]` array per factored-out part.
      log_det: `[batch]`, log |det dz/dx| in nats.
      levels: the activation at the end of each level, in data order.
      log_prior: `[batch]`, log density of `z` under the flow's prior, in nats.
      passed: what of each level is passed on; None if every level is, as a whole.
    """

    z: tuple[Array, ...]
    log_det: Array
    levels: tuple[Array, ...]
    log_prior: Array
    passed: Passed | None = None

    @property
    def log_prob(self) -> Array:
        """`[batch]`, log density of the data in nats: log p(z) + log |det dz/dx|."""
        return self.log_prior + self.log_det

    def part(self, i: int, parts: str) -> Array:
        """The part of level i that a loss compares.

        A multi-scale flow passes some channels of a level on and splits the others
        off: which, `passed` says; a flow that says nothing passes all on.

        Args:
          i: index of the level, negative ones from the end.
          parts: "passed", as the released code of Walton et al.; "split"; or "both",
            the whole level.

        Raises:
          ValueError: for another name, or "split" of a level that splits nothing off.
        """
        if parts not in PARTS:
            raise ValueError(f"unknown parts {parts!r}; known: {PARTS}")
        level = self.levels[i]
        start, stop = 0, level.shape[-1]
        if self.passed is not None:
            start, stop = self.passed.channels[i]
        whole = (start, stop) == (0, level.shape[-1])
        if parts == "split" and whole:
            raise ValueError(
                f'parts="split": level {i} of shape {level.shape[1:]} splits nothing '
                'off; compare other pairs, or parts="passed" or "both"'
            )
        if parts == "both" or whole:
            return level
        if parts == "passed":
            return level[..., start:stop]
        return jnp.concatenate([level[..., :start], level[..., stop:]], axis=-1)

    def latents(self, parts: str) -> tuple[Array, ...]:
        """The latents that a loss compares: the top, those split off, or all.

        Args:
          parts: "passed", the top alone, as the released code; "split"; or "both".

        Raises:
          ValueError: for another name, or "split" where there is one latent.
        """
        if parts not in PARTS:
            raise ValueError(f"unknown parts {parts!r}; known: {PARTS}")
        if parts == "split" and len(self.z) == 1:
            raise ValueError('parts="split": this flow has one latent, none split off')
        return {"passed": self.z[-1:], "split": self.z[:-1], "both": self.z}[parts]


class Decoding(NamedTuple):
    """What a flow makes of latents.

    Attributes:
      x: `[batch, ...]`, data.
      log_det: `[batch]`, log |det dx/dz| in nats; None of a student that is no flow.
      levels: the activations that `encode(x)` would report, in the same order.
      residual: `[batch]`, max |encode(x).z - z| of each row, if asked for.
      earlier: what the passes before the last took for `x`, the first first, each of
        its shape; none of a flow that samples in one pass.
    """

    x: Array
    log_det: Array | None
    levels: tuple[Array, ...]
    residual: Array | None = None
    earlier: tuple[Array, ...] = ()


@dataclasses.dataclass(frozen=True)
class BlockKind:
    """What the equal blocks of a flow are, as far as another flow's can be like them.

    Attributes:
      count: how many.
      order: in which order columns come to a block, and what stands between blocks;
        those of two flows are equal where their blocks can do the same.
      transformer: the map (raw, data side) -> latent side of one element, see
        `bijectors.Transformer`; None of blocks with none, or with several.
    """

    count: int
    order: tuple[str, ...]
    transformer: Any = None


class Blocks(NamedTuple):
    """What each block of a flow made of activations of its own, in the data's order.

    Attributes:
      out: `[blocks, batch, *event]`, the activations on the other side.
      log_det: `[blocks, batch]`, of the direction that was asked for, in nats.
      parameters: `[blocks, batch, outputs, *event]`, raw numbers of the transformers;
        None of blocks without, or with several.
      log_scale: `[blocks, batch, *event]`, log of how far each element of a block's
        data side moves where the elements of its latent side move by one,
        independently, and its network says the same; None of blocks that cannot tell.
    """

    out: Array
    log_det: Array
    parameters: Array | None
    log_scale: Array | None


class Aux(NamedTuple):
    """What a loss hands back beside its value.

    Attributes:
      terms: named float32 scalars, each without its weight.
      per_level: one scalar per compared pair of levels.
      student: the student's Encoding or Decoding (or a pair), as the loss saw it.
      teacher: the teacher's.
    """

    terms: dict[str, Array]
    per_level: tuple[Array, ...]
    student: Any
    teacher: Any


@runtime_checkable
class Flow(Protocol):
    """Anything whose `apply` answers to the methods "encode" and "decode".

    Every flow of this package does, being a Flax module; `ExternalFlow` makes one of
    two functions. The object must be hashable, since losses take it as a static
    argument.
    """

    def apply(
        self, variables: Variables, *args: Any, method: str, **kwargs: Any
    ) -> Any:
        """Calls `encode(x, cond)` -> Encoding or `decode(z, cond)` -> Decoding."""
        ...


@dataclasses.dataclass(frozen=True)
class Judge:
    """A density and nothing else, as the losses that only ask for one want a teacher.

    A posterior known up to a constant, a physical energy, a mixture: what scores rows,
    and neither draws nor has latents. `losses.reverse_kl` makes a sampler of it.

        judge = Judge(lambda variables, x, cond: -0.5 * jnp.sum((x - cond) ** 2, 1))
        loss, aux = reverse_kl(student, judge, student_variables, None, z, cond)

    Args:
      density: `(variables, x, cond) -> [batch]`, log p(x | cond) in nats, up to a
        constant (of `cond` alone). The same function is the same judge: it is a static
        argument, so that a new lambda is compiled anew.

    `variables` is whatever pytree the function understands.
    """

    density: Callable[..., Array]

    def apply(self, variables: Any, *args: Any, method: str, **kwargs: Any) -> Any:
        """Of (x, cond) `encode`, an Encoding without latents; or `log_prob`."""
        if method not in ("encode", "log_prob"):
            raise ValueError(
                f"a Judge is a density alone and has no {method!r}: its students learn "
                "by reverse_kl, or from samples that come with it"
            )
        return self._judged(variables, *args, method=method, **kwargs)

    def _judged(self, variables: Any, x: Any, cond: Any = None, *, method: str) -> Any:
        found = jnp.asarray(self.density(variables, x, cond))
        if found.shape != x.shape[:1]:
            raise ValueError(
                f"the density of {x.shape[0]} rows has shape {found.shape}: expected "
                f"one number a row, ({x.shape[0]},)"
            )
        if method == "log_prob":
            return found
        return Encoding((), found, (), jnp.zeros_like(found))


@dataclasses.dataclass(frozen=True)
class ExternalFlow:
    """A flow of any other library, as the losses want it.

    Args:
      encode: `(variables, x, cond) -> Encoding`, or None if it is never asked for.
      decode: `(variables, z, cond) -> Decoding`, or None likewise. `z` is a tuple.

    `variables` is whatever pytree the two functions understand. `sample` decodes one
    normal latent of the data's shape.
    """

    encode: Callable[..., Encoding] | None = None
    decode: Callable[..., Decoding] | None = None

    def apply(self, variables: Any, *args: Any, method: str, **kwargs: Any) -> Any:
        """Calls the function named by `method`."""
        if method == "sample":
            return self._sample(variables, *args, **kwargs)
        function = {"encode": self.encode, "decode": self.decode}.get(method)
        if function is None:
            raise ValueError(
                f"this ExternalFlow has no {method!r}; give it one: "
                f"ExternalFlow({method}=function)"
            )
        return function(variables, *args, **kwargs)

    def _sample(
        self,
        variables: Any,
        key: Array,
        shape: tuple[int, ...],
        temperature: float = 1.0,
        cond: Array | None = None,
    ) -> Array:
        z = temperature * jax.random.normal(key, shape)
        return self.apply(variables, (z,), cond, method="decode").x
