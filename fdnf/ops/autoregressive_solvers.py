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
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array

from fdnf.ops import conditioners

Layers = tuple[tuple[Array, Array], ...]
Elementwise = Callable[[Array], Array]


class Plan(NamedTuple):
    """Everything static: hashable, so that one program is compiled per plan."""

    activation: Elementwise
    log_scale: Elementwise
    method: str
    block: int
    chunk: int
    tol: float
    lowest: int


def dot(a: Array, b: Array) -> Array:
    """Matrix product in the full precision of its arguments."""
    # A GPU's default precision loses the digits that a round trip needs.
    return jnp.matmul(a, b, precision=lax.Precision.HIGHEST)


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


def _degrees(plan: Plan, layers: Layers) -> list[np.ndarray]:
    dim, hidden = layers[0][0].shape[0], tuple(k.shape[1] for k, _ in layers[:-1])
    return list(conditioners.made_degrees(dim, hidden, lowest=plan.lowest)[1:])


_take, _put = lax.dynamic_slice_in_dim, lax.dynamic_update_slice_in_dim


def _sweep(
    kernels: Sequence[Array],
    degrees: Sequence[np.ndarray],
    hidden: Callable[[int, Callable[[Array], Array], Array], Array],
    column: Callable[[Array, Array], Array],
    like: Array,
) -> Array:
    """Solves a triangular net, one column a step, each unit evaluated once.

    In step i, units of degree i are evaluated layer by layer, then the outputs of
    column i, then the inputs that column i has in the next steps.

    Args:
      kernels: [out, in] of the hidden layers, then [dim, outputs, in].
      degrees: Ascending degrees of the hidden layers' units.
      hidden: (layer, take, pre-activation [window, rows]) -> units; take(array) gives
        the window's rows of a feature-major array.
      column: (i, outputs [outputs, rows]) -> inputs [inputs, rows].
      like: [dim * inputs, rows], for shape and dtype.

    Returns:
      The inputs of all columns, [dim * inputs, rows].
    """
    dim, rows = kernels[-1].shape[0], like.shape[1]
    inputs = like.shape[0] // dim
    windows = _windows(degrees, np.arange(dim), 1)

    def step(i: Array, state: list[Array]) -> list[Array]:
        known, new = state[0], []
        for layer, (begins, size) in enumerate(windows):
            take = functools.partial(
                _take, start_index=begins[i], slice_size=size, axis=0
            )
            units = hidden(layer, take, dot(take(kernels[layer]), known))
            known = _put(state[layer + 1], units, begins[i], 0)
            new.append(known)
        solved = column(i, dot(kernels[-1][i], known))
        return [_put(state[0], solved, i * inputs, 0), *new]

    units = [jnp.zeros((len(degree), rows), like.dtype) for degree in degrees]
    return lax.fori_loop(0, dim, step, [jnp.zeros_like(like), *units])[0]


def exact(plan: Plan, layers: Layers, z: Array, bias: Array) -> Array:
    """Solves x = shift(x) + z exp(a(x)) column by column, each unit evaluated once.

    Args:
      plan: Static options.
      layers: Masked kernels [in, out] and biases; the first bias is not read.
      z: [rows, dim].
      bias: The first layer's bias, [out] or [rows, out].

    Returns:
      x, [rows, dim].
    """
    z_t, biases = z.T, _biases_t(layers, bias)
    *inner, last = [kernel.T for kernel, _ in layers]
    last = last.reshape(2, z.shape[1], -1).transpose(1, 0, 2)
    offset = layers[-1][1].reshape(2, -1).T[..., None]

    def hidden(layer: int, take: Callable[[Array], Array], h: Array) -> Array:
        return plan.activation(h + take(biases[layer]))

    def column(i: Array, outputs: Array) -> Array:
        shift, raw = jnp.split(outputs + offset[i], 2)
        return shift + z_t[i][None] * jnp.exp(plan.log_scale(raw))

    return _sweep([*inner, last], _degrees(plan, layers), hidden, column, z_t).T


def tangent(plan: Plan, layers: Layers, rows: Array, bias: Array) -> Array:
    """Solves v = b + (dg/dx) v; rows stacks z, x and b on axis 1.

    The net's own sweep with its units scaled by the activation's slope.
    """
    z, x, b = (rows[:, index].T for index in range(3))
    slopes, gain = _linearised(plan, layers, z, x, bias)
    *inner, last = [kernel.T for kernel, _ in layers]
    last = last.reshape(2, x.shape[0], -1).transpose(1, 0, 2)

    def hidden(layer: int, take: Callable[[Array], Array], h: Array) -> Array:
        return h * take(slopes[layer])

    def column(i: Array, outputs: Array) -> Array:
        return (b[i] + outputs[0] + gain[i] * outputs[1])[None]

    return _sweep([*inner, last], _degrees(plan, layers), hidden, column, b).T


def adjoint(plan: Plan, layers: Layers, rows: Array, bias: Array) -> Array:
    """Solves lam = x_bar + (dg/dx)^T lam; rows stacks z, x and x_bar on axis 1.

    The transposed net with the order of columns and units reversed is a MADE again:
    its inputs are (lam, lam z d exp(a)/d raw), its units scale by the activation's
    slope, and degree k becomes dim - k.
    """
    z, x, x_bar = (rows[:, index].T for index in range(3))
    dim = x.shape[0]
    slopes, gain = _linearised(plan, layers, z, x, bias)
    slopes, gain = [slope[::-1] for slope in slopes], gain[::-1]
    x_bar = x_bar[::-1]
    first = layers[-1][0].reshape(-1, 2, dim).transpose(0, 2, 1)[::-1, ::-1]
    kernels = [first.reshape(-1, 2 * dim)]
    kernels += [kernel[::-1, ::-1] for kernel, _ in layers[-2:0:-1]]
    kernels += [layers[0][0][::-1, ::-1][:, None]]
    degrees = [(dim - degree)[::-1] for degree in reversed(_degrees(plan, layers))]
    slopes = slopes[::-1]

    def hidden(layer: int, take: Callable[[Array], Array], h: Array) -> Array:
        return h * take(slopes[layer])

    def column(i: Array, outputs: Array) -> Array:
        lam = x_bar[i] + outputs[0]
        return jnp.stack([lam, lam * gain[i]])

    like = jnp.concatenate([x, x])
    return _sweep(kernels, degrees, hidden, column, like)[::2][::-1].T


def _linearised(
    plan: Plan, layers: Layers, z: Array, x: Array, bias: Array
) -> tuple[list[Array], Array]:
    """Slopes of the hidden units at x, and z d exp(a)/d raw; feature-major."""
    dim, h, slopes = x.shape[0], x, []
    for (kernel, _), offset in zip(layers, _biases_t(layers, bias), strict=False):
        h, slope = _value_and_slope(plan.activation, dot(kernel.T, h) + offset)
        slopes.append(slope)
    raw = dot(layers[-1][0].T[dim:], h) + layers[-1][1][dim:, None]
    a, slope = _value_and_slope(plan.log_scale, raw)
    return slopes, z * jnp.exp(a) * slope


def _biases_t(layers: Layers, bias: Array) -> list[Array]:
    """Feature-major hidden biases; `bias` is the first layer's part for these rows."""
    later = [other[:, None] for _, other in layers[1:-1]]
    return [bias.T if bias.ndim == 2 else bias[:, None], *later]


def _value_and_slope(function: Elementwise, x: Array) -> tuple[Array, Array]:
    return jax.jvp(function, (x,), (jnp.ones_like(x),))


def blocked(plan: Plan, layers: Layers, z: Array, bias: Array) -> Array:
    """As `exact`, in blocks of columns; each block's own net is iterated to `tol`."""
    dim, rows = z.shape[1], z.shape[0]
    block = min(plan.block, dim)
    lows = np.minimum(np.arange(0, dim, block), dim - block)
    windows = [(jnp.asarray(lows), block)]
    windows += _windows(_degrees(plan, layers), lows, block)
    z_t, biases = z.T, _biases_t(layers, bias)
    *inner, last = [kernel.T for kernel, _ in layers]
    last = last.reshape(2, dim, -1)
    offset = layers[-1][1].reshape(2, dim, 1)

    def step(k: Array, state: list[Array]) -> list[Array]:
        at = [(begins[k], size) for begins, size in windows]
        # Windows may overlap those before: what the block computes itself must not
        # reach it from outside as well.
        outside = [
            _put(known, jnp.zeros((size, rows), z.dtype), begin, 0)
            for known, (begin, size) in zip(state, at, strict=True)
        ]
        kernels = [_take(w, *to, 0) for w, to in zip(inner, at[1:], strict=True)]
        kernels.append(_take(last, *at[0], 1).reshape(2 * block, -1))
        offsets = [_take(b, *to, 0) for b, to in zip(biases, at[1:], strict=True)]
        offsets.append(_take(offset, *at[0], 1).reshape(2 * block, 1))
        panels = [
            dot(w, known) + b
            for w, b, known in zip(kernels, offsets, outside, strict=True)
        ]
        kernels = [_take(w, *of, 1) for w, of in zip(kernels, at, strict=True)]
        target = _take(z_t, *at[0], 0)

        def evaluate(x: Array) -> tuple[Array, list[Array]]:
            known, units = x, []
            for kernel, panel in zip(kernels[:-1], panels[:-1], strict=True):
                known = plan.activation(panel + dot(kernel, known))
                units.append(known)
            shift, raw = jnp.split(panels[-1] + dot(kernels[-1], known), 2)
            return shift + target * jnp.exp(plan.log_scale(raw)), units

        start = [jnp.zeros((size, rows), z.dtype) for _, size in at[1:]]
        x, units = iterate(evaluate, target, start, 1.0, block, plan.tol)
        return [
            _put(known, part, begin, 0)
            for known, part, (begin, _) in zip(outside, [x, *units], at, strict=True)
        ]

    widths = [dim, *(kernel.shape[1] for kernel, _ in layers[:-1])]
    state = [jnp.zeros((width, rows), z.dtype) for width in widths]
    return lax.fori_loop(0, len(lows), step, state)[0].T
