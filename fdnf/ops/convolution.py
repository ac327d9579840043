"""Convolutions of stride 1, as matrix products where those are faster.

Within a loop over the steps of a flow, the gradient of XLA's own convolution takes 12
to 84 times as long on CPU as that of a matrix product. On CPU a convolution is
therefore written as one product of two matrices and shifts of images: the shifts are
of the input where that is the narrower side, and of the output otherwise, so that the
wider side is never copied nine times. A loop over the steps of a flow then costs
nothing, and its program compiles once.

Without a gradient, and once the matrices no longer fit into the processor's cache, XLA
is up to ten times faster (32 channels, 256x256 pixels: 6 ms for 63), so that sampling
large images goes that way. Other backends always get the plain convolution.
"""

import math

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array, Float

METHODS = ("auto", "direct", "product")

# Bytes of the matrix of shifted images beyond which XLA's convolution is faster.
_LARGE = 16 * 2**20


def convolve(
    x: Float[Array, "batch height width inputs"],
    kernel: Float[Array, "rows columns inputs outputs"],
    method: str = "auto",
) -> Float[Array, "batch height width outputs"]:
    """Convolution with zero padding that keeps height and width.

    out[p] = sum_k x[p + k - centre] kernel[k]

    Args:
      x: images.
      kernel: of odd height and width.
      method: "direct", XLA's convolution; "product", matrix products; "auto", on CPU
        the latter for gradients and for small images.

    Raises:
      ValueError: for an unknown method or an even kernel.
    """
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}; known: {METHODS}")
    rows, columns, inputs, outputs = kernel.shape
    if rows % 2 == 0 or columns % 2 == 0:
        raise ValueError(f"kernel of {rows} x {columns}: expected odd sides")
    if method == "auto":
        method = "chosen" if jax.default_backend() == "cpu" else "direct"
    ways = {"direct": _direct, "product": _product, "chosen": _chosen}
    return ways[method](x, kernel)


@jax.custom_jvp
def _chosen(x: Array, kernel: Array) -> Array:
    """On CPU; what is not differentiated comes here, all else to the rule below."""
    large = x.dtype == jnp.float32 and _matrix_bytes(x, kernel) > _LARGE
    return (_direct if large else _product)(x, kernel)


def _matrix_bytes(x: Array, kernel: Array) -> int:
    """Size of the matrix of shifted images; 0 where there is none, or none is known."""
    rows, columns, inputs, outputs = kernel.shape
    # A program exported for any number of rows has at least one.
    sides = [side if isinstance(side, int) else 1 for side in x.shape[:1]]
    sides += x.shape[1:3]
    if rows == columns == 1 or not all(isinstance(side, int) for side in sides):
        return 0
    channels = rows * columns * min(inputs, outputs)
    return math.prod(sides) * channels * x.dtype.itemsize


def _chosen_jvp(primals, tangents):
    moved = [not isinstance(tangent, SymbolicZero) for tangent in tangents]

    def product(*some):
        rest = iter(some)
        pairs = zip(moved, primals, strict=True)
        return _product(*(next(rest) if its else given for its, given in pairs))

    pick = [i for i, its in enumerate(moved) if its]
    return jax.jvp(
        product, tuple(primals[i] for i in pick), tuple(tangents[i] for i in pick)
    )


# Whose tangent is zero, data or frozen kernels, gets no derivative.
_chosen.defjvp(_chosen_jvp, symbolic_zeros=True)


def _direct(x: Array, kernel: Array) -> Array:
    return jax.lax.conv_general_dilated(
        x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def _product(x: Array, kernel: Array) -> Array:
    rows, columns, inputs, outputs = kernel.shape
    if rows == columns == 1:
        return _rows_times(x, kernel[0, 0])
    if inputs <= outputs:
        return _shift_inputs(x, kernel)
    return _shift_outputs(x, kernel)


def _rows_times(x: Array, weight: Array) -> Array:
    """Product at every position, as one product of two matrices."""
    flat = x.reshape(-1, x.shape[-1]) @ weight
    return flat.reshape(*x.shape[:-1], weight.shape[-1])


def _shift_inputs(x: Array, kernel: Array) -> Array:
    rows, columns, inputs, outputs = kernel.shape
    height, width = x.shape[1:3]
    top, left = rows // 2, columns // 2
    padded = jnp.pad(x, ((0, 0), (top, top), (left, left), (0, 0)))
    shifted = [
        padded[:, i : i + height, j : j + width]
        for i in range(rows)
        for j in range(columns)
    ]
    wide = jnp.concatenate(shifted, axis=-1)
    return _rows_times(wide, kernel.reshape(rows * columns * inputs, outputs))


def _shift_outputs(x: Array, kernel: Array) -> Array:
    rows, columns, inputs, outputs = kernel.shape
    side_by_side = kernel.transpose(2, 0, 1, 3).reshape(inputs, -1)
    wide = _rows_times(x, side_by_side)
    zero = jnp.zeros((), wide.dtype)
    total = jnp.zeros((*x.shape[:-1], outputs), wide.dtype)
    for i in range(rows):
        for j in range(columns):
            k = (i * columns + j) * outputs
            down, right = rows // 2 - i, columns // 2 - j
            # Negative padding cuts off what leaves the image.
            edges = ((0, 0, 0), (down, -down, 0), (right, -right, 0), (0, 0, 0))
            total += jax.lax.pad(wide[..., k : k + outputs], zero, edges)
    return total
