"""Solvers of triangular nets: the inverse of a MADE block, its tangent and adjoint.

Sequential in columns, parallel in rows. Three observations keep that cheap. Hidden
units are sorted by degree (`conditioners.made_degrees`), so those of one degree are a
window of rows. Arrays are held feature-major, [features, rows], so a window is
contiguous in memory. And a window may be wider than its degree: a unit of higher degree
gets a value too early, which only masked, zero weights read before its own step
overwrites it.

Solvers take one chunk of rows and return one; `autoregressive_inverse` maps them.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array

from fdnf.ops import conditioners

Layers = tuple[tuple[Array, Array], ...]
Elementwise = Callable[[Array], Array]


@runtime_checkable
class Transformer(Protocol):
    """A monotone map of one number, given `outputs` raw ones; all elementwise.

    `raw` is [outputs, *shape], `x` and `y` are [*shape]. Hashable: one program is
    compiled per transformer.
    """

    @property
    def outputs(self) -> int:
        """Raw numbers that describe the map of one number."""
        ...

    def forward(self, raw: Array, x: Array) -> tuple[Array, Array]:
        """(y, log dy/dx)."""
        ...

    def inverse(self, raw: Array, y: Array) -> tuple[Array, Array]:
        """(x, log dx/dy)."""
        ...

    def gains(self, raw: Array, y: Array) -> Array:
        """dx/d raw of the inverse at y, [outputs, *shape]."""
        ...


class Net(NamedTuple):
    """The numbers of a MADE.

    Attributes:
      layers: masked kernels [in, out] and biases; the first bias may be [batch, out].
        The last kernel is [hidden, factors dim], the last bias [outputs dim]: number j
        of column i is j dim + i.
      head: [factors, outputs], of every column; None where factors are the outputs.
    """

    layers: Layers
    head: Array | None = None


class Form(NamedTuple):
    """What a net does besides products: static, hashable.

    Attributes:
      activation: after each hidden layer.
      residual: the layers after the first come in pairs; each pair adds to what the
        activation before it was taken of.
    """

    activation: Elementwise
    residual: bool = False

    def joins(self, layer: int) -> bool:
        """Whether what this hidden layer gives is added to what was before its pair."""
        return self.residual and layer > 0 and layer % 2 == 0


class Plan(NamedTuple):
    """Everything static: hashable, so that one program is compiled per plan."""

    form: Form
    transformer: Transformer
    method: str
    block: int
    chunk: int
    tol: float
    lowest: int


def dot(a: Array, b: Array) -> Array:
    """Matrix product in the full precision of its arguments."""
    # A GPU's default precision loses the digits that a round trip needs.
    return jnp.matmul(a, b, precision=lax.Precision.HIGHEST)


def evaluate(form: Form, net: Net, x: Array) -> Array:
    """The net's numbers, [outputs, batch, dim], for x [batch, dim]."""
    h = before = x
    for layer, (kernel, bias) in enumerate(net.layers[:-1]):
        h = dot(h, kernel) + bias
        if form.joins(layer):
            h = before + h
        if layer % 2 == 0:
            before = h
        h = form.activation(h)
    kernel, bias = net.layers[-1]
    batch, dim = x.shape
    found = dot(h, kernel)
    if net.head is not None:
        factors = found.reshape(batch, -1, dim)
        found = jnp.einsum("bfd,fo->bod", factors, net.head, precision="highest")
        found = found.reshape(batch, -1)
    return jnp.moveaxis((found + bias).reshape(batch, -1, dim), 1, 0)


def iterate(
    step: Callable[[Array], tuple[Array, Any]],
    x: Array,
    aside: Any,
    scale: Array | float,
    cap: int,
    tol: float,
) -> tuple[Array, Any]:
    """Iterates x, aside = step(x) to |change| <= tol (scale + |x|), cap times at most.

    A row that is nan never settles, so it runs to the cap, where all rows are exact.
    """

    def body(carry: Any) -> Any:
        count, _, x, _ = carry
        new, aside = step(x)
        settled = jnp.all(jnp.abs(new - x) <= tol * (scale + jnp.abs(new)))
        return count + 1, settled, new, aside

    def unsettled(carry: Any) -> Array:
        return (carry[0] < cap) & ~carry[1]

    start = (0, jnp.asarray(False), jnp.zeros_like(x), aside)
    return lax.while_loop(unsettled, body, start)[2:]


def _windows(
    degrees: Sequence[np.ndarray], lows: np.ndarray, width: int
) -> list[tuple[Array, int]]:
    """Starts and common size of each layer's windows over degrees low..low+width-1."""
    windows = []
    for degree in degrees:
        begins = np.searchsorted(degree, lows, side="left")
        ends = np.searchsorted(degree, lows + width, side="left")
        size = max(1, int((ends - begins).max()))
        windows.append((jnp.asarray(np.minimum(begins, len(degree) - size)), size))
    return windows


def _degrees(plan: Plan, net: Net) -> list[np.ndarray]:
    dim = net.layers[0][0].shape[0]
    hidden = tuple(kernel.shape[1] for kernel, _ in net.layers[:-1])
    return list(conditioners.made_degrees(dim, hidden, lowest=plan.lowest)[1:])


_take, _put = lax.dynamic_slice_in_dim, lax.dynamic_update_slice_in_dim

# (layer, take, pre-activation [window, rows], stream) -> (units, stream): take(array)
# gives the window's rows of a feature-major array, and the stream is what a residual
# net adds to, None before the first layer.
Hidden = Callable[[int, Callable[[Array], Array], Array, Any], tuple[Array, Any]]


def _sweep(
    kernels: Sequence[Array],
    degrees: Sequence[np.ndarray],
    hidden: Hidden,
    column: Callable[[Array, Array], Array],
    like: Array,
    gains: Array | None = None,
) -> Array:
    """Solves a triangular net, one column a step, each unit evaluated once.

    In step i, units of degree i are evaluated layer by layer, then the numbers of
    column i, then what column i is.

    Args:
      kernels: [out, in] of the hidden layers, then [dim, numbers, in].
      degrees: Ascending degrees of the hidden layers' units.
      hidden: A layer's units, see `Hidden`.
      column: (i, its numbers [numbers, rows]) -> column i, [rows].
      like: [dim, rows], for shape and dtype.
      gains: [dim, inputs, rows]: the net reads column i times these, at i inputs + j;
        None where it reads the columns themselves.

    Returns:
      All columns, [dim, rows].
    """
    dim, rows = like.shape
    windows = _windows(degrees, np.arange(dim), 1)

    def step(i: Array, state: list[Array]) -> list[Array]:
        known, stream, new = state[0 if gains is None else -1], None, []
        for layer, (begins, size) in enumerate(windows):
            take = functools.partial(
                _take, start_index=begins[i], slice_size=size, axis=0
            )
            read = dot(take(kernels[layer]), known)
            units, stream = hidden(layer, take, read, stream)
            known = _put(state[layer + 1], units, begins[i], 0)
            new.append(known)
        solved = column(i, dot(kernels[-1][i], known))
        columns = _put(state[0], solved[None], i, 0)
        if gains is None:
            return [columns, *new]
        inputs = solved * gains[i]
        return [columns, *new, _put(state[-1], inputs, i * len(inputs), 0)]

    state = [jnp.zeros((len(degree), rows), like.dtype) for degree in degrees]
    if gains is not None:
        state.append(jnp.zeros((gains.shape[0] * gains.shape[1], rows), like.dtype))
    return lax.fori_loop(0, dim, step, [jnp.zeros_like(like), *state])[0]


def _feature_major(net: Net, dim: int) -> tuple[list[Array], Array]:
    """Hidden kernels [out, in], [dim, factors, in]; last bias [outputs, dim, 1]."""
    *inner, last = [kernel.T for kernel, _ in net.layers]
    last = last.reshape(-1, dim, last.shape[1]).transpose(1, 0, 2)
    return [*inner, last], net.layers[-1][1].reshape(-1, dim, 1)


def _headed(net: Net, factors: Array) -> Array:
    """Numbers [outputs, ...] of factors [factors, ...]."""
    if net.head is None:
        return factors
    return jnp.einsum("fo,f...->o...", net.head, factors, precision="highest")


def _activated(plan: Plan, layer: int, read: Array, stream: Any) -> tuple[Array, Any]:
    """A layer's units of its pre-activations, and the stream after it."""
    if plan.form.joins(layer):
        read = stream + read
    return plan.form.activation(read), stream if layer % 2 else read


def exact(plan: Plan, net: Net, z: Array, bias: Array) -> Array:
    """Solves T(x; raw(x)) = z column by column, each unit evaluated once.

    Args:
      plan: Static options.
      net: The net; its first bias is not read.
      z: [rows, dim].
      bias: The first layer's bias, [out] or [rows, out].

    Returns:
      x, [rows, dim].
    """
    z_t, biases = z.T, _biases_t(net, bias)
    kernels, offset = _feature_major(net, z.shape[1])
    offset = offset.transpose(1, 0, 2)

    def hidden(layer: int, take: Callable, read: Array, stream: Any) -> Any:
        return _activated(plan, layer, read + take(biases[layer]), stream)

    def column(i: Array, factors: Array) -> Array:
        raw = _headed(net, factors) + offset[i]
        return plan.transformer.inverse(raw, z_t[i])[0]

    return _sweep(kernels, _degrees(plan, net), hidden, column, z_t).T


def tangent(plan: Plan, net: Net, rows: Array, bias: Array) -> Array:
    """Solves v = b + (dg/dx) v; rows stacks z, x and b on axis 1.

    The net's own sweep with its units scaled by the activation's slope.
    """
    z, x, b = (rows[:, index].T for index in range(3))
    slopes, gains = _linearised(plan, net, z, x, bias)

    def hidden(layer: int, take: Callable, read: Array, stream: Any) -> Any:
        if plan.form.joins(layer):
            read = stream + read
        return read * take(slopes[layer]), stream if layer % 2 else read

    def column(i: Array, factors: Array) -> Array:
        return b[i] + jnp.sum(gains[i] * factors, axis=0)

    kernels, _ = _feature_major(net, len(x))
    return _sweep(kernels, _degrees(plan, net), hidden, column, b).T


def adjoint(plan: Plan, net: Net, rows: Array, bias: Array) -> Array:
    """Solves lam = x_bar + (dg/dx)^T lam; rows stacks z, x and x_bar on axis 1.

    The transposed net with the order of columns and units reversed is a MADE again:
    its inputs are lam times the gains, its units scale by the activation's slope, and
    degree k becomes dim - k. What a residual net adds, it adds backwards too.
    """
    z, x, x_bar = (rows[:, index].T for index in range(3))
    dim = x.shape[0]
    slopes, gains = _linearised(plan, net, z, x, bias)
    slopes, gains = [slope[::-1] for slope in slopes][::-1], gains[::-1]
    x_bar = x_bar[::-1]
    layers, factors = net.layers, gains.shape[1]
    first = layers[-1][0].reshape(-1, factors, dim).transpose(0, 2, 1)[::-1, ::-1]
    kernels = [first.reshape(-1, factors * dim)]
    kernels += [kernel[::-1, ::-1] for kernel, _ in layers[-2:0:-1]]
    kernels += [layers[0][0][::-1, ::-1][:, None]]
    degrees = [(dim - degree)[::-1] for degree in reversed(_degrees(plan, net))]

    def hidden(layer: int, take: Callable, read: Array, stream: Any) -> Any:
        units = read * take(slopes[layer])
        if plan.form.joins(layer):
            units = stream + units
        return units, stream if layer % 2 else units

    def column(i: Array, read: Array) -> Array:
        return x_bar[i] + read[0]

    return _sweep(kernels, degrees, hidden, column, x, gains)[::-1].T


def _linearised(
    plan: Plan, net: Net, z: Array, x: Array, bias: Array
) -> tuple[list[Array], Array]:
    """Slopes of the hidden units at x, [units, rows], and gains [dim, factors, rows].

    A gain is the derivative of the inverse T^-1(z; raw) in a number (a factor) of the
    net.
    """
    h, slopes, stream = x, [], x
    for layer, offset in enumerate(_biases_t(net, bias)):
        h = dot(net.layers[layer][0].T, h) + offset
        if plan.form.joins(layer):
            h = stream + h
        stream = stream if layer % 2 else h
        h, slope = jax.jvp(plan.form.activation, (h,), (jnp.ones_like(h),))
        slopes.append(slope)
    kernel, offset = net.layers[-1]
    dim, rows = x.shape
    factors = dot(kernel.T, h).reshape(-1, dim, rows)
    raw = _headed(net, factors) + offset.reshape(-1, dim, 1)
    gains = plan.transformer.gains(raw, z)
    if net.head is not None:
        gains = jnp.einsum("fo,oir->fir", net.head, gains, precision="highest")
    return slopes, gains.transpose(1, 0, 2)


def _biases_t(net: Net, bias: Array) -> list[Array]:
    """Feature-major hidden biases; `bias` is the first layer's part for these rows."""
    later = [other[:, None] for _, other in net.layers[1:-1]]
    return [bias.T if bias.ndim == 2 else bias[:, None], *later]


def blocked(plan: Plan, net: Net, z: Array, bias: Array) -> Array:
    """As `exact`, in blocks of columns; each block's own net is iterated to `tol`."""
    dim, rows = z.shape[1], z.shape[0]
    block = min(plan.block, dim)
    lows = np.minimum(np.arange(0, dim, block), dim - block)
    windows = [(jnp.asarray(lows), block)]
    windows += _windows(_degrees(plan, net), lows, block)
    z_t, biases = z.T, _biases_t(net, bias)
    (*inner, last), offset = _feature_major(net, dim)

    def step(k: Array, state: list[Array]) -> list[Array]:
        at = [(begins[k], size) for begins, size in windows]
        # Windows may overlap those before: what the block computes itself must not
        # reach it from outside as well.
        outside = [
            _put(known, jnp.zeros((size, rows), z.dtype), begin, 0)
            for known, (begin, size) in zip(state, at, strict=True)
        ]
        kernels = [_take(w, *to, 0) for w, to in zip(inner, at[1:], strict=True)]
        kernels.append(
            _take(last, *at[0], 0).transpose(1, 0, 2).reshape(-1, last.shape[-1])
        )
        panels = [dot(w, known) for w, known in zip(kernels, outside, strict=True)]
        offsets = [_take(b, *to, 0) for b, to in zip(biases, at[1:], strict=True)]
        target, given = _take(z_t, *at[0], 0), _take(offset, *at[0], 1)
        if net.head is None:
            offsets.append(given.reshape(-1, 1))
            given = jnp.zeros_like(given)
        panels = [
            # A head stands between the last panel and its bias.
            panel + offsets[layer] if layer < len(offsets) else panel
            for layer, panel in enumerate(panels)
        ]
        kernels = [_take(w, *of, 1) for w, of in zip(kernels, at, strict=True)]

        def evaluate(x: Array) -> tuple[Array, list[Array]]:
            known, stream, units = x, None, []
            for layer, (kernel, panel) in enumerate(
                zip(kernels[:-1], panels[:-1], strict=True)
            ):
                read = panel + dot(kernel, known)
                known, stream = _activated(plan, layer, read, stream)
                units.append(known)
            factors = (panels[-1] + dot(kernels[-1], known)).reshape(-1, block, rows)
            raw = _headed(net, factors) + given
            return plan.transformer.inverse(raw, target)[0], units

        start = [jnp.zeros((size, rows), z.dtype) for _, size in at[1:]]
        x, units = iterate(evaluate, target, start, 1.0, block, plan.tol)
        return [
            _put(known, part, begin, 0)
            for known, part, (begin, _) in zip(outside, [x, *units], at, strict=True)
        ]

    widths = [dim, *(kernel.shape[1] for kernel, _ in net.layers[:-1])]
    state = [jnp.zeros((width, rows), z.dtype) for width in widths]
    return lax.fori_loop(0, len(lows), step, state)[0].T
