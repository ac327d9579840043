"""The layer of invertible residual networks: y = x + g(x), g a contraction."""

import math
from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array

from fdnf.bijectors.base import Bijector, Report
from fdnf.bijectors.combinators import PROBES
from fdnf.ops import convolutions, entering, fixed_point, residual_log_det
from fdnf.ops import spectral_norm as norms
from fdnf.ops.entering import Ints
from fdnf.types import Context, Events, LogDet

# Side of the first and last kernel on images; those between are 1x1.
SIZE = 3
# Largest slope of x sigmoid(b x), whatever b.
_STEEPEST = 1.0998394
LOG_DETS = ("auto", "exact", "series")


def lipswish(a: Array, raw: Array) -> Array:
    """X sigmoid(b x) / 1.1, b = softplus(raw): smooth, of slopes in [-0.1, 1].

    Reference: Chen et al. (2019), section 4.
    """
    return a * jax.nn.sigmoid(jax.nn.softplus(raw) * a) / _STEEPEST


# No slope is above 1. All but ELU, that of Behrmann et al., have second derivatives.
ACTIVATIONS: dict[str, Callable[..., Array]] = {
    "lipswish": lipswish,
    "elu": lambda a, raw: jax.nn.elu(a),
    "softplus": lambda a, raw: jax.nn.softplus(a),
    "tanh": lambda a, raw: jnp.tanh(a),
}


class Weights(NamedTuple):
    """What g is made of, with bounded kernels, one a layer.

    Attributes:
      kernels: [inputs, outputs], or [3, 3, inputs, outputs] of a convolution.
      biases: of each layer.
      raws: of each layer's activation, see `lipswish`.
      context: [batch, units], what the condition adds in the first layer, if any.
    """

    kernels: tuple[Array, ...]
    biases: tuple[Array, ...]
    raws: tuple[Array, ...]
    context: Array | None


class Residual(Bijector):
    """y = x + g(x), with g a network of a Lipschitz constant of at most `bound` < 1.

    g has dense layers on vectors, and on images 3x3 convolutions, first and last, with
    1x1 ones between. No activation has a slope above 1, and every kernel is shrunk to
    a norm of at most bound^(1 / layers), by an upper bound of its spectral norm
    (`ops.spectral_norm`; of a convolution that of the operator with its padding). So
    the constant holds for any weights and at any step, and there is no state of a power
    iteration. A condition, one vector a row, is added in the first layer through a
    kernel that nothing bounds: g is a contraction in x whatever it is.

    log_det: exact for few dimensions; a cut-off power series; or, where the caller
    gives a key, an unbiased estimate, which is what training by likelihood takes
    (`ops.residual_log_det`):

        flow.apply(variables, x, method="encode")  # the same at every call
        flow.apply(variables, x, method="encode", rngs={"probes": key})

    With "auto" the Jacobian is formed up to `exact` dimensions without a key, and with
    one where that takes fewer products than the estimate. With "exact" it always is;
    with "series" it never is.

    The inverse is the fixed-point iteration x <- y - g(x), which converges from
    anywhere and shrinks the error by `bound` in each step; gradients are implicit.

    Args:
      hidden: width of each hidden layer.
      activation: a key of ACTIVATIONS.
      bound: of the Lipschitz constant of g, in (0, 1).
      log_det: "auto", "exact" or "series".
      exact: largest number of dimensions whose Jacobian "auto" forms.
      terms: of the series without a key; `residual_log_det.rest` bounds its error.
      probes: of its traces, drawn once, the same for all rows, whose errors therefore
        do not average out; from the number of dimensions on traces are exact.
      sure: terms of the estimate that are always taken.
      chance: of one more each; None for `residual_log_det.survival`.
      tolerance: of the inverse's residual, see `fixed_point.solve`.
      limit: of its iterations.

    References: Behrmann et al. (2019), "Invertible residual networks", section 2 and 3;
    Chen et al. (2019), "Residual flows for invertible generative modeling", section 3.
    """

    hidden: Ints = (64, 64)
    activation: str = "lipswish"
    bound: float = 0.9
    log_det: str = "auto"
    exact: int = 64
    terms: int = 30
    probes: int = 8
    sure: int = 5
    chance: float | None = None
    tolerance: float = 1e-6
    limit: int = 500

    def __post_init__(self):
        entering.make_hashable(self)
        _check(self)
        super().__post_init__()

    @nn.compact
    def _weights(self, shape: tuple[int, ...], cond: Context | None) -> Weights:
        zeros, images = nn.initializers.zeros, len(shape) == 3
        widths = (shape[-1], *self.hidden, shape[-1])
        layers = len(widths) - 1
        share = self.bound ** (1 / layers)
        kernels, biases, raws = [], [], []
        for i in range(layers):
            wide = images and i in (0, layers - 1)
            kernel = self._kernel(f"kernel_{i}", widths[i], widths[i + 1], wide)
            norm = norms.of_convolution if wide else norms.of_matrix
            kernels.append(norms.shrunk(kernel, norm(kernel, *shape[:2] * wide), share))
            biases.append(self.param(f"bias_{i}", zeros, (widths[i + 1],), jnp.float32))
            if self.activation == "lipswish" and i < layers - 1:
                half = nn.initializers.constant(0.5)
                raws.append(self.param(f"raw_slope_{i}", half, (), jnp.float32))
        context = None
        if cond is not None:
            kernel = self._kernel("context_kernel", cond.shape[-1], widths[1], False)
            context = convolutions.dot(cond, kernel)
            context = context.reshape(-1, *(1,) * (len(shape) - 1), widths[1])
        return Weights(tuple(kernels), tuple(biases), tuple(raws), context)

    def _kernel(self, name: str, inputs: int, outputs: int, wide: bool) -> Array:
        window = (SIZE, SIZE) * wide
        start = nn.initializers.normal(1 / math.sqrt(inputs * math.prod(window)))
        return self.param(name, start, (*window, inputs, outputs), jnp.float32)

    def _g(self, weights: Weights, x: Events) -> Events:
        last = len(weights.kernels) - 1
        h = x
        for i, (kernel, bias) in enumerate(
            zip(weights.kernels, weights.biases, strict=True)
        ):
            h = _product(h, kernel) + bias
            if i == 0 and weights.context is not None:
                h += weights.context
            if i < last:
                raw = weights.raws[i] if weights.raws else None
                h = ACTIVATIONS[self.activation](h, raw)
        return h

    def _log_det(self, weights: Weights, x: Events) -> LogDet:
        size = math.prod(x.shape[1:])
        drawn = self.has_rng(PROBES) and self.log_det != "exact"
        chance = self.chance or residual_log_det.survival(self.bound)
        most = residual_log_det.expected(self.sure, chance) if drawn else self.exact
        if self.log_det == "exact" or (self.log_det == "auto" and size <= most):
            return residual_log_det.exact(self._g, weights, x)
        if drawn:
            key = self.make_rng(PROBES)
            return residual_log_det.estimate(
                key, self._g, weights, x, self.sure, chance
            )
        vectors = residual_log_det.probes(self.probes, x.shape[1:])
        return residual_log_det.series(self._g, weights, x, self.terms, vectors)

    def forward(self, x: Events, cond: Context | None = None) -> tuple[Events, LogDet]:
        """One evaluation, and the log-determinant."""
        weights = self._weights(x.shape[1:], cond)
        return x + self._g(weights, x), self._log_det(weights, x)

    def inverse_with_report(
        self, y: Events, cond: Context | None = None, start: Events | None = None
    ) -> tuple[Events, LogDet, Report]:
        """`inverse`, with what it took; the report is of one layer."""
        weights = self._weights(y.shape[1:], cond)
        found = fixed_point.solve(
            lambda x: (x + self._g(weights, x), jnp.ones_like(x)),
            y,
            y if start is None else start,
            tolerance=self.tolerance,
            limit=self.limit,
            adjoint_limit=self.limit,
        )
        report = Report(found.residual[None], found.iterations[None])
        return found.x, -self._log_det(weights, found.x), report

    def inverse(self, y: Events, cond: Context | None = None) -> tuple[Events, LogDet]:
        """Fixed-point iteration, each row until its residual is within tolerance."""
        return self.inverse_with_report(y, cond)[:2]


def _check(layer: Residual) -> None:
    def known(name: str, names) -> None:
        value = getattr(layer, name)
        if value not in names:
            expected = f"expected one of {tuple(names)}"
            raise ValueError(f"Residual({name}={value!r}): {expected}")

    known("activation", ACTIVATIONS)
    known("log_det", LOG_DETS)
    if not 0 < layer.bound < 1:
        raise ValueError(
            f"Residual(bound={layer.bound}): expected a Lipschitz constant in (0, 1); "
            "from 1 on x + g(x) need not be invertible"
        )
    if layer.chance is not None and not 0 < layer.chance < 1:
        raise ValueError(
            f"Residual(chance={layer.chance}): expected a number in (0, 1), or None"
        )
    counts = (layer.terms, layer.probes, layer.limit, *layer.hidden)
    if min(counts) < 1 or layer.sure < 0:
        raise ValueError(
            f"Residual(hidden={layer.hidden}, terms={layer.terms}, "
            f"probes={layer.probes}, limit={layer.limit}, sure={layer.sure}): expected "
            "at least 1 each, and at least 0 of sure"
        )


def _product(h: Array, kernel: Array) -> Array:
    if kernel.ndim == 2:
        return convolutions.dot(h, kernel)
    around = (SIZE // 2, SIZE // 2)
    return convolutions.convolve_shifted(h, kernel, (around, around))
