"""Convolutions whose window hangs over one side, and those of stride 2.

Causal networks want windows of even sides that reach up and left only. As in
`convolution`, XLA's CPU backend gets matrix products and shifts: of the output where
the input is the wider side, so that the wider side is never copied. Other backends
get the plain convolution.
"""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

METHODS = ("auto", "direct", "product")
Padding = tuple[tuple[int, int], tuple[int, int]]


def dot(a: Array, b: Array) -> Array:
    """Matrix product over the last axis of `a`, as one product of two matrices."""
    # An accelerator's default precision loses the digits that a round trip needs.
    flat = jnp.matmul(a.reshape(-1, a.shape[-1]), b, precision=lax.Precision.HIGHEST)
    return flat.reshape(*a.shape[:-1], b.shape[-1])


def convolve(
    x: Float[Array, "batch height width inputs"],
    kernel: Float[Array, "rows columns inputs outputs"],
    padding: Padding,
    stride: int = 1,
    method: str = "auto",
) -> Float[Array, "batch new_height new_width outputs"]:
    """out[p] = sum_k x[stride p + k - (top, left)] kernel[k], zeros outside the image.

    Args:
      x: images.
      kernel: of any height and width.
      padding: ((top, bottom), (left, right)), rows and columns of zeros.
      stride: between windows.
      method: "direct", XLA's convolution; "product", matrix products; "auto", the
        latter on CPU.

    Raises:
      ValueError: for an unknown method.
    """
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}; known: {METHODS}")
    if method == "auto":
        method = "product" if jax.default_backend() == "cpu" else "direct"
    if method == "direct":
        return lax.conv_general_dilated(
            x,
            kernel,
            (stride, stride),
            padding,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            precision=lax.Precision.HIGHEST,
        )
    rows, columns, inputs, outputs = kernel.shape
    if stride == 1 and inputs > outputs:
        return _shift_outputs(x, kernel, padding)
    x = jnp.pad(x, ((0, 0), *padding, (0, 0)))
    height = (x.shape[1] - rows) // stride + 1
    width = (x.shape[2] - columns) // stride + 1
    shifted = [
        x[
            :,
            i : i + stride * (height - 1) + 1 : stride,
            j : j + stride * (width - 1) + 1 : stride,
        ]
        for i in range(rows)
        for j in range(columns)
    ]
    return dot(jnp.concatenate(shifted, axis=-1), kernel.reshape(-1, outputs))


def _shift_outputs(x: Array, kernel: Array, padding: Padding) -> Array:
    rows, columns, inputs, outputs = kernel.shape
    (top, bottom), (left, right) = padding
    wide = dot(x, kernel.transpose(2, 0, 1, 3).reshape(inputs, -1))
    zero = jnp.zeros((), wide.dtype)
    total = None
    for i in range(rows):
        for j in range(columns):
            k = (i * columns + j) * outputs
            # Negative padding cuts off what leaves the image.
            edges = (
                (0, 0, 0),
                (top - i, bottom - (rows - 1 - i), 0),
                (left - j, right - (columns - 1 - j), 0),
                (0, 0, 0),
            )
            part = lax.pad(wide[..., k : k + outputs], zero, edges)
            total = part if total is None else total + part
    assert total is not None, "a kernel has at least one tap"
    return total
