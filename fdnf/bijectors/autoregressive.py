"""Masked autoregressive maps, parallel forward and sequential inverse, and MADE.

MADE is the network: a masked one whose outputs for x_i see x_1 .. x_{i-1} only. What it
says of x_i goes to a transformer, the map of that one number.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fdnf.bijectors import transformers
from fdnf.bijectors.base import Bijector, Inspection, Moves, Report
from fdnf.bijectors.transformers import Transformer
from fdnf.ops import autoregressive_inverse, conditioners, entering, statistics
from fdnf.ops.autoregressive_inverse import Form, Net
from fdnf.ops.entering import Ints
from fdnf.types import Context, LogDet

CONDITIONERS = ("plain", "residual")

# (x, the network's numbers without its last bias) -> that bias, None for zeros.
BiasInit = Callable[
    [Float[Array, "batch dim"], Float[Array, "outputs batch dim"]],
    Float[Array, "outputs dim"] | None,
]


def lowest_degree(cond: Array | None) -> int:
    """Smallest degree of a hidden unit, see `conditioners.made_degrees`."""
    return 1 if cond is None else 0


def masks(
    dim: int, widths: Sequence[int], factors: int, *, conditional: bool
) -> tuple[np.ndarray, ...]:
    """Masks of a MADE's kernels, 0 or 1, each of its kernel's shape [in, out].

    Args:
      dim: columns of the data.
      widths: of the hidden layers.
      factors: columns of the last kernel for each dimension; column j dim + i is of i.
      conditional: whether some units see the condition alone.
    """
    lowest = 0 if conditional else 1
    made = conditioners.made_masks(dim, tuple(widths), lowest=lowest)
    return (*made[:-1], np.tile(made[-1], (1, factors)))


class MADE(nn.Module):
    """Masked dense layers; hidden units are sorted by degree, so slices are blocks.

    Args:
      hidden: width of each hidden layer; of a residual net, equal widths, one for each
        residual block.
      activation: name of the activation.
      outputs: numbers per input dimension; output j of dimension i is column
        j * dim + i of the last bias.
      output_scale: the last kernel starts at this multiple of its usual scale.
      conditioner: "plain", or "residual": a first layer and then blocks
        h + V f(W f(h)), all masked alike, with the activation f once more before the
        last layer.
      rank: None, or the last kernel gives so many factors per dimension only, and one
        matrix makes outputs of them, the same for all dimensions.
      folded: kernels are masked already, by `flows.surgery.fold`, and taken as they
        are; for use, not for training.

    Context enters as one more, unmasked, kernel into the first hidden layer, where some
    units then see nothing else: through them it reaches the first output too.

    Reference: Germain et al. (2015), eq. 8-13; Papamakarios et al. (2017), section 3;
    Nash and Durkan (2019), Autoregressive energy machines, section 4.1 (ResMADE).
    """

    hidden: Ints = (32, 32)
    activation: str = "relu"
    outputs: int = 2
    output_scale: float = 0.1
    conditioner: str = "plain"
    rank: int | None = None
    folded: bool = False

    def __post_init__(self):
        entering.make_hashable(self)
        if self.conditioner not in CONDITIONERS:
            raise ValueError(
                f"MADE: conditioner is {self.conditioner!r}, expected one of "
                f"{CONDITIONERS}"
            )
        if self.rank is not None and self.rank < 1:
            raise ValueError(f"MADE: rank is {self.rank}, expected at least 1 or None")
        super().__post_init__()

    @property
    def form(self) -> Form:
        """What the network does besides products."""
        function = conditioners.activation(self.activation)
        return Form(function, self.conditioner == "residual")

    def _widths(self) -> tuple[int, ...]:
        """Of each hidden layer, those within residual blocks included."""
        hidden = tuple(self.hidden)
        if not hidden:
            raise ValueError("MADE needs at least one hidden layer, got hidden=()")
        if not self.form.residual:
            return hidden
        if len({*hidden}) > 1:
            raise ValueError(
                f"MADE: hidden is {hidden}, expected equal widths of the blocks of a "
                "residual conditioner"
            )
        return (hidden[0],) * (1 + 2 * len(hidden))

    @nn.compact
    def net(
        self,
        x: Float[Array, "batch dim"],
        cond: Float[Array, "batch context"] | None = None,
        bias_init: BiasInit | None = None,
    ) -> Net:
        """The network's masked kernels and biases, made on the first call.

        Args:
          x: used for its width; in `init` also for `bias_init`.
          cond: context; makes the first bias one row per example.
          bias_init: in `init`, what the last bias starts as. With one, columns that
            are constant in x, of which the batch says nothing, start with outputs of 0
            beside that bias.
        """
        dim = x.shape[-1]
        factors = self.outputs if self.rank is None else self.rank
        made = masks(dim, self._widths(), factors, conditional=cond is not None)
        lecun = nn.initializers.lecun_normal()
        small = nn.initializers.variance_scaling(
            self.output_scale**2, "fan_in", "truncated_normal"
        )
        layers, head = [], None
        for i, mask in enumerate(made):
            is_last = i == len(made) - 1
            # What a block adds starts small, too.
            init = small if is_last or self.form.joins(i) else lecun
            of_batch = bias_init if is_last and self.is_initializing() else None
            if of_batch is not None:
                init = functools.partial(self._without_still, x, init)
            kernel = self.param(f"dense_{i}_kernel", init, mask.shape, jnp.float32)
            if not self.folded:
                kernel = kernel * jnp.asarray(mask, kernel.dtype)
            width = self.outputs * dim if is_last else mask.shape[1]
            bias_0 = jnp.zeros(width, kernel.dtype)
            if is_last and self.rank is not None:
                shape = (self.rank, self.outputs)
                head = self.param("head_kernel", lecun, shape, jnp.float32)
            if of_batch is not None:
                net = Net((*layers, (kernel, bias_0)), head)
                found = of_batch(x, autoregressive_inverse.evaluate(self.form, net, x))
                bias_0 = bias_0 if found is None else found.reshape(-1)
            bias = self.param(f"dense_{i}_bias", lambda _, value=bias_0: value)
            if i == 0 and cond is not None:
                shape = (cond.shape[-1], mask.shape[1])
                context = self.param("context_kernel", lecun, shape, jnp.float32)
                # The inverse of a flow computes these in full precision; at an
                # accelerator's default one the two directions would not undo each
                # other.
                bias = bias + jnp.matmul(cond, context, precision="highest")
            layers.append((kernel, bias))
        return Net(tuple(layers), head)

    def _without_still(
        self, x: Array, init: Callable, key: Array, shape: tuple[int, ...], dtype: Any
    ) -> Array:
        """`init`, with no weights for the outputs of columns that `x` has constant.

        What a new network says of these is all that varies in them, and the next layer
        to normalise would blow it up.
        """
        still = jnp.tile(statistics.constant(x, 0), shape[-1] // x.shape[-1])
        return jnp.where(still, 0, init(key, shape, dtype))

    def __call__(
        self,
        x: Float[Array, "batch dim"],
        cond: Float[Array, "batch context"] | None = None,
        bias_init: BiasInit | None = None,
    ) -> Float[Array, "outputs batch dim"]:
        """All outputs in one pass."""
        net = self.net(x, cond, bias_init)
        return autoregressive_inverse.evaluate(self.form, net, x)


Vectors = Float[Array, "batch dim"]


class MaskedAutoregressive(Bijector):
    """u_i = T(x_i; raw_i(x_{<i})), with the raw numbers of a MADE.

    `init` gives each u_i mean 0 and variance 1 on its batch where the transformer can,
    through the last biases of the network; what does not vary there gets the scale of
    the others, see `ops.statistics`. Slopes of transformers are bounded, the same in
    both directions, so that no latent decodes to infinity.

    Args:
      made: the network; it must have the transformer's outputs per dimension.
      transformer: T, the map of one element.
      method: how `inverse` is computed, one of `autoregressive_inverse.METHODS`;
        all agree, see there.
      tolerance: of the iterative methods.

    Raises:
      ValueError: for a network with another number of outputs.

    Reference: Papamakarios et al. (2017), eq. 3-5; Durkan et al. (2019), section 3.
    """

    made: MADE
    transformer: Transformer = transformers.Affine()
    method: str = "auto"
    tolerance: float = 1e-5

    def __post_init__(self):
        if self.made.outputs != self.transformer.outputs:
            raise ValueError(
                f"MaskedAutoregressive: the network has outputs={self.made.outputs}, "
                f"expected the {self.transformer.outputs} of {self.transformer}"
            )
        super().__post_init__()

    def forward(
        self, x: Vectors, cond: Context | None = None
    ) -> tuple[Vectors, LogDet]:
        """One pass of the network."""
        raw = self.made(x, cond, self.transformer.start)
        y, log_slope = self.transformer.forward(raw, x)
        return y, jnp.sum(log_slope, axis=-1)

    def inverse(
        self, y: Vectors, cond: Context | None = None
    ) -> tuple[Vectors, LogDet]:
        """x_i = T^-1(u_i; raw_i(x_{<i})), each unit computed once."""
        return self.inverse_with_report(y, cond)[:2]

    def inverse_with_report(
        self, y: Vectors, cond: Context | None = None, start: Vectors | None = None
    ) -> tuple[Vectors, LogDet, Report]:
        """`inverse`; from a start by iteration of the whole network."""
        solution = autoregressive_inverse.invert(
            self.made.net(y, cond),
            y,
            form=self.made.form,
            transformer=self.transformer,
            method=self.method,
            tol=self.tolerance,
            lowest=lowest_degree(cond),
            start=start,
        )
        report = Report(solution.residual[None], solution.iterations[None])
        return solution.x, jnp.sum(solution.log_slope, axis=-1), report

    def parameters(
        self, x: Vectors, cond: Context | None = None
    ) -> tuple[Vectors, tuple[Float[Array, "batch outputs dim"], ...]]:
        """`forward`, and the raw numbers with which it maps x."""
        raw = self.made(x, cond)
        return self.transformer.forward(raw, x)[0], (jnp.moveaxis(raw, 0, 1),)

    def inspect_forward(self, x: Vectors, cond: Context | None = None) -> Inspection:
        """One pass of the network."""
        raw = self.made(x, cond)
        y, log_slope = self.transformer.forward(raw, x)
        return _told(y, log_slope, raw, log_slope)

    def inspect_inverse(self, y: Vectors, cond: Context | None = None) -> Inspection:
        """Column by column, and one pass more."""
        x, _ = self.inverse(y, cond)
        raw = self.made(x, cond)
        _, log_slope = self.transformer.forward(raw, x)
        return _told(x, -log_slope, raw, log_slope)


def _told(out: Array, own: Array, raw: Array, log_slope: Array) -> Inspection:
    """Of one direction with log-slopes `own`, and those of `forward`."""
    log_det = jnp.sum(own, axis=-1)
    moves = Moves.of_elements(log_slope)
    return Inspection(out, log_det, (jnp.moveaxis(raw, 0, 1),), moves)
