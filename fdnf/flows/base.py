"""What a flow is: encode, decode, log_prob, sample over any stack of bijectors."""

import math
import warnings
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from jax import core
from jaxtyping import Array, Float, PRNGKeyArray

from fdnf.bijectors.base import Report
from fdnf.bijectors.combinators import Chain, Each, Repeat
from fdnf.nets import mlp
from fdnf.ops import entering, rows, statistics
from fdnf.types import (
    BlockKind,
    Blocks,
    Context,
    Decoding,
    Encoding,
    Events,
    Given,
    LogDet,
    Passed,
)

Latents = tuple[Array, ...]
Temperature = entering.Temperature


def standard_normal_log_prob(z: Latents) -> LogDet:
    """Log density of every part under N(0, I), in nats, summed over the parts."""
    total = jnp.zeros(z[0].shape[:1], z[0].dtype)
    for part in z:
        axes = tuple(range(1, part.ndim))
        size = math.prod(part.shape[1:])
        total -= 0.5 * (jnp.sum(part**2, axis=axes) + size * math.log(2 * math.pi))
    return total


def largest_gap(a: Latents, b: Latents) -> Float[Array, " batch"]:
    """Largest |a - b| of each row, over all parts."""
    gaps = [rows.largest(one - two) for one, two in zip(a, b, strict=True)]
    return rows.largest(jnp.stack(gaps, axis=1))


class FlowModule(entering.Model):
    """A flow with a standard normal prior on every latent.

    Subclasses give `_encode(x, cond) -> (z, log_det, levels)` and
    `_decode(z, cond) -> (x, log_det, levels)`, or `earlier` too; `levels` in the same
    order and, for matching arguments, with the same values. A learned prior of a part
    split off is an affine map of it, in `log_det`: the latents stay standard normal.

    `variables = flow.init(key, x)` with a real batch: data-dependent parameters take
    their statistics there. Where it has none, in one row or a constant column, they
    start at harmless scales (`ops.statistics`); called outside of `jit`, `init` warns
    of it by name.

    What enters is looked at and cast in `encode`, `decode` and `draw`, see
    `entering.Model`; `_encode` and `_decode` may rely on it.
    """

    # Whether first parameters depend on the batch of `init`.
    takes_statistics: ClassVar[bool] = False
    # Whether `encode` estimates its log-determinant where it is given a key, as
    # `apply(..., rngs={"probes": key})`: unbiased, and cheaper than without.
    estimates: ClassVar[bool] = False
    # Widths of the network that a vector condition passes first, which all blocks
    # share; an attribute of the flows that have one.
    embedding = None

    def __post_init__(self):
        if self.embedding is not None and not tuple(self.embedding):
            raise ValueError(
                f"{type(self).__name__}(embedding=()): expected a width at least; "
                "None for the condition as it is"
            )
        super().__post_init__()

    def _make_embedder(self) -> None:
        """For `setup`."""
        if self.embedding is not None:
            self.embedder = mlp.Embedding(tuple(self.embedding))

    def _embedded(self, cond: Array | None) -> Array | None:
        if self.embedding is None:
            return cond
        if cond is None or cond.ndim != 2:
            given = "no condition" if cond is None else f"one of shape {cond.shape}"
            raise ValueError(
                f"{self._name}(embedding={tuple(self.embedding)}) with {given}: "
                "expected a vector a row, [batch, features]; embedding=None without"
            )
        return self.embedder(cond)

    def _made(self) -> entering.Made | None:
        made = super()._made()
        if made is None or self.embedding is None:
            return made
        # What the blocks were made with are features.
        first = self.variables["params"]["embedder"]["dense_0"]["kernel"]
        return made._replace(cond=(first.shape[-2],))

    def _encode(self, x: Events, cond: Context | None):
        raise NotImplementedError

    def _decode(self, z: Latents, cond: Context | None):
        raise NotImplementedError

    def _passed(self, levels: Latents) -> Passed | None:
        """What of each level is passed on; None, the default, for all of all."""
        del levels
        return None

    def encode(self, x: Given, cond: Given | None = None) -> Encoding:
        """Data to latents, with the exact density of the data.

        Args:
          x: data `[batch, *event]`.
          cond: context of a flow that was made with one, a row for each of `x`; or one
            row for all, `[1, ...]` or without its batch axis.

        Raises:
          ValueError: for data or a condition other than those the flow was made with.
        """
        x = self._given_data(x)
        z, log_det, levels = self._encode(x, self._given_condition(cond, x.shape[0]))
        prior = standard_normal_log_prob(z)
        return Encoding(z, log_det, levels, prior, self._passed(levels))

    def decode(
        self, z: Given, cond: Given | None = None, *, residual: bool = False
    ) -> Decoding:
        """Latents to data.

        Args:
          z: one array per latent, as `encode` gives them.
          cond: context, as of `encode`.
          residual: also encode the result and report the round-trip error of each
            row, max |encode(x).z - z|. A stiff flow loses digits on the way, in any
            library; this says where.

        Raises:
          ValueError: for latents or a condition other than those of the flow.
        """
        z = self._given_latents(z)
        cond = self._given_condition(cond, z[0].shape[0])
        x, log_det, levels, *earlier = self._decode(z, cond)
        error = largest_gap(self._encode(x, cond)[0], z) if residual else None
        return Decoding(x, log_det, levels, error, *earlier)

    def log_prob(self, x: Given, cond: Given | None = None) -> LogDet:
        """Log density of each row of `x`, in nats."""
        return self.encode(x, cond).log_prob

    def condition_rank(self, cond: Given | None) -> int:
        """Axes of one row's condition in `cond`, before which it may have any others.

        Raises:
          ValueError: for other than what the flow was made with.
        """
        made = self._made()
        shape = None if cond is None else jnp.shape(cond)
        rank = 0 if shape is None else len(shape)
        if made is not None and made.cond is not None:
            rank = len(made.cond)
        if shape is not None and rank <= len(shape):
            shape = (1, *shape[len(shape) - rank :])
        entering.check_condition(self._name, made, shape, None)
        return rank

    def block_parameters(
        self, x: Given, cond: Given | None = None
    ) -> tuple[Array, ...]:
        """What the network of each block says of data: its transformer's raw numbers.

        Args:
          x: data.
          cond: context.

        Returns:
          One array a block (a masked layer or a coupling), in the order of `encode`:
          `[batch, outputs, *elements]` for the elements that it moves.

        Raises:
          ValueError: as `encode`, or of a flow without such blocks.
        """
        x = self._given_data(x)
        found = self._block_parameters(x, self._given_condition(cond, x.shape[0]))
        if not found:
            raise ValueError(f"{type(self).__name__} has no blocks with a transformer")
        return found

    def _block_parameters(self, x: Events, cond: Context | None) -> tuple[Array, ...]:
        del x, cond
        return ()

    def block_kind(self) -> BlockKind | None:
        """What the flow's equal blocks are; None without. Needs no variables."""

    def encode_blocks(self, activations: Given, cond: Given | None = None) -> Blocks:
        """Each block alone, from its data side to its latent side.

        Args:
          activations: [blocks, batch, *event], what each block is given, in the order
            of the data: (x, level 1, .., level K - 1) gives (level 1, .., level K).
          cond: context, a row for each row of the batch.

        Raises:
          ValueError: of a flow that is no stack of equal blocks, or as `encode`.
        """
        return self._blocks(activations, cond, inverse=False)

    def decode_blocks(self, activations: Given, cond: Given | None = None) -> Blocks:
        """Each block alone, from its latent side to its data side.

        (level 1, .., level K) gives (x, level 1, .., level K - 1); see `encode_blocks`.
        """
        return self._blocks(activations, cond, inverse=True)

    def encode_with_blocks(
        self, x: Given, cond: Given | None = None
    ) -> tuple[Encoding, Blocks]:
        """`encode`, with what each block did on the way, in one pass.

        Raises:
          ValueError: as `encode_blocks`.
        """
        del x, cond
        raise ValueError(self._no_blocks())

    def _blocks(self, activations: Given, cond: Given | None, inverse: bool) -> Blocks:
        del activations, cond, inverse
        raise ValueError(self._no_blocks())

    def _no_blocks(self) -> str:
        return (
            f"{self._name} is no stack of equal blocks, so that none can be asked "
            "alone; encode and decode give its levels"
        )

    def sample(
        self,
        key: PRNGKeyArray,
        shape: tuple[int, ...],
        temperature: Temperature = 1.0,
        cond: Given | None = None,
    ) -> Events:
        """Draws data of shape `(batch, *event)`.

        Args:
          key: randomness.
          shape: batch and event.
          temperature: standard deviation of the latents, or a tuple of one a latent;
            below 1, samples come from the middle of the distribution.
          cond: context.
        """
        return self.decode(self.draw(key, shape, temperature), cond).x

    def __call__(self, x: Given, cond: Given | None = None) -> Encoding:
        """Runs `encode`; what `init` calls."""
        encoding = self.encode(x, cond)
        if self.takes_statistics and self.is_initializing():
            _warn_of_constant(x)
        return encoding


def _warn_of_constant(x: Given) -> None:
    said = None if isinstance(x, core.Tracer) else statistics.constant_part(x)
    if said:
        warnings.warn(said, stacklevel=3)


class StackFlow(FlowModule):
    """A flow of one latent: a stack of bijectors whose activations are the levels.

    Subclasses give `_stack()`, the Chain or Repeat, which becomes the submodule
    `stack`.
    """

    def setup(self):
        """Makes the stack."""
        self._make_embedder()
        self.stack = self._stack()

    def _stack(self) -> Chain | Repeat:
        raise NotImplementedError

    def _reverses(self) -> bool:
        """Whether every step reverses the order of the dimensions for the next one.

        That is undone in what is reported: levels of flows with other numbers of steps
        would be compared back to front.
        """
        return False

    def _turned(self, x: Array, leading: int) -> Array:
        """The reverse order of `_reverses`, of events behind so many axes."""
        return jnp.flip(x, -1)

    def _in_data_order(self, level: Array, steps: int, leading: int = 1) -> Array:
        return self._turned(level, leading) if self._reverses() and steps % 2 else level

    def _levels_in_data_order(self, levels: Latents) -> Latents:
        return tuple(
            self._in_data_order(level, i) for i, level in enumerate(levels, start=1)
        )

    def _encode(self, x: Events, cond: Context | None):
        z, log_det, levels = self.stack.trace(x, cond)
        z = self._in_data_order(z, len(levels))
        return (z,), log_det, self._levels_in_data_order(levels)

    def _decode(self, z: Latents, cond: Context | None):
        whole = self._in_data_order(z[0], self._length())
        x, log_det, levels = self.stack.trace_inverse(whole, cond)
        return x, log_det, self._levels_in_data_order(levels)

    def _length(self) -> int:
        stack = self.stack
        return stack.length if isinstance(stack, Repeat) else len(stack.parts)

    def decode_with_report(
        self, z: Given, cond: Given | None = None, *, start: Given | None = None
    ) -> tuple[Decoding, Report]:
        """`decode`, with residual and iterations of every layer's inverse.

        Args:
          z: latents, as of `decode`.
          cond: context, as of `encode`.
          start: data near the result, such as a student's sample of `z`, from which
            layers iterate that can, see `Bijector.inverse_with_report`; the result is
            that of `decode` to the flow's tolerance. Zeros stand in for infinite rows;
            other shapes than the data's are refused.
        """
        z = self._given_latents(z)
        cond = self._given_condition(cond, z[0].shape[0])
        if start is not None:
            start = self._given_data(start)
            if len(start) != len(z[0]):
                given = f"start has {len(start)} rows, the latents {len(z[0])}"
                raise ValueError(f"{self._name}: {given}; expected one of each")
            start = rows.zeroed(rows.exploded(start), (start,))[0]
        whole = self._in_data_order(z[0], self._length())
        found = self.stack.trace_inverse_with_report(whole, cond, start)
        return Decoding(*found[:2], self._levels_in_data_order(found[2])), found[3]

    def _block_parameters(self, x: Events, cond: Context | None) -> tuple[Array, ...]:
        return self.stack.parameters(x, cond)[1]

    def _blocks(self, activations: Given, cond: Given | None, inverse: bool) -> Blocks:
        stack = self._steps()
        given = entering.array(
            f"{self._name}: activations", activations, self._compute_dtype()
        )
        if given.ndim < 3 or given.shape[0] != stack.length:
            raise ValueError(
                f"{self._name} of {stack.length} blocks on activations of shape "
                f"{given.shape}: expected [{stack.length}, batch, ...], one for each "
                "block"
            )
        entering.check_data(self._name, self._made(), given.shape[1:])
        cond = self._given_condition(cond, given.shape[1])
        side = int(inverse)
        run = stack.each_inverse if inverse else stack.each_forward
        found = run(self._alternate(given, side), cond)
        return self._told(found._replace(out=self._alternate(found.out, 1 - side)))

    def encode_with_blocks(
        self, x: Given, cond: Given | None = None
    ) -> tuple[Encoding, Blocks]:
        """`encode`, with what each block did on the way, in one pass."""
        stack, x = self._steps(), self._given_data(x)
        cond = self._given_condition(cond, x.shape[0])
        _, log_det, found = stack.inspect_trace(x, cond)
        blocks = self._told(found._replace(out=self._alternate(found.out, 1)))
        levels = tuple(jnp.unstack(blocks.out))
        prior = standard_normal_log_prob(levels[-1:])
        passed = self._passed(levels)
        return Encoding(levels[-1:], log_det, levels, prior, passed), blocks

    def _steps(self) -> Repeat:
        if not isinstance(self.stack, Repeat) or self.block_kind() is None:
            raise ValueError(self._no_blocks())
        return self.stack

    def _alternate(self, stacked: Array, first: int, leading: int = 2) -> Array:
        """Between what steps see and the order of the data.

        Args:
          stacked: [steps, ...].
          first: 0 for the data sides of the steps, 1 for their latent sides.
          leading: axes before those of events.
        """
        if not self._reverses():
            return stacked
        odd = (np.arange(stacked.shape[0]) + first) % 2 > 0
        odd = odd.reshape(-1, *[1] * (stacked.ndim - 1))
        return jnp.where(odd, self._turned(stacked, leading), stacked)

    def _told(self, found: Each) -> Blocks:
        """What steps did, in the order of the data but for `out`, which is already."""
        raw = None
        # Of couplings, numbers are those of a part of the elements.
        if len(found.parameters) == 1 and (
            found.parameters[0].shape[3:] == found.out.shape[2:]
        ):
            raw = self._alternate(found.parameters[0], 0, leading=3)
        scale = found.log_scale
        scale = None if scale is None else self._alternate(scale, 0)
        return Blocks(found.out, found.log_det, raw, scale)


def beside(coupling: Any, width: int) -> tuple[int | None, ...] | None:
    """Shape of the condition that a coupling's network was made with, or None.

    Args:
      coupling: parameters of a coupling whose conditioner is an MLP, ConvBlock or
        ConvResNet, see there: what of its input is not x is the condition.
      width: channels of x that it sees.
    """
    net = coupling["conditioner"]
    if "context" in net:
        return (net["context"]["kernel"].shape[-2],)
    images = "conv_in" in net
    # A network without hidden layers has one kernel.
    first = net["conv_in"] if images else net.get("dense_0", net.get("output"))
    extra = first["kernel"].shape[-2] - width
    if not extra:
        return None
    # Of images, channels depend on the size: see `MultiScale`.
    return (None, None, None) if images else (extra,)


def extra_channels(coupling: Any, width: int) -> int:
    """Channels of an image condition that a coupling's network was made with.

    Args:
      coupling: parameters, see `beside`.
      width: channels of x that it sees.
    """
    return coupling["conditioner"]["conv_in"]["kernel"].shape[-2] - width


def leading_halves(levels: Latents, splits: int) -> Passed:
    """`Passed` of a flow that splits the first `splits` levels in the middle."""
    widths = [level.shape[-1] for level in levels]
    return Passed(tuple((0, w // 2 if i < splits else w) for i, w in enumerate(widths)))
