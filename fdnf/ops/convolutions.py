"""Convolutions, as products of two matrices where those are faster than XLA's own.

Within a loop over the steps of a flow, the gradient of XLA's own convolution takes 12
to 84 times as long on CPU as that of a matrix product. On CPU a convolution is
therefore written as one product of two matrices and shifts of images: the shifts are
of the input where that is the narrower side, and of the output otherwise, so that the
wider side is never copied nine times. A loop over the steps of a flow then costs
nothing, and its program compiles once. Other backends always get the plain convolution.

Each function takes `method`: "direct", XLA's convolution; "product", matrix products;
or "auto", the latter on CPU.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array, Float

METHODS = ("auto", "direct", "product")
Padding = tuple[tuple[int, int], tuple[int, int]]

# Bytes of the matrix of shifted images beyond which XLA's convolution is faster.
_LARGE = 16 * 2**20


def _resolved(method: str, on_cpu: str = "product") -> str:
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}; known: {METHODS}")
    if method == "auto":
        return on_cpu if jax.default_backend() == "cpu" else "direct"
    return method


def convolve(
    x: Float[Array, "batch height width inputs"],
    kernel: Float[Array, "rows columns inputs outputs"],
    method: str = "auto",
) -> Float[Array, "batch height width outputs"]:
    """Convolution with zero padding that keeps height and width.

    out[p] = sum_k x[p + k - centre] kernel[k]

    Without a gradient, and once the matrices no longer fit into the processor's cache,
    XLA is up to ten times faster (32 channels, 256x256 pixels: 6 ms for 63), so that
    with "auto" the sampling of large images goes that way on CPU too.

    Args:
      x: images.
      kernel: of odd height and width.
      method: see above.

    Raises:
      ValueError: for an unknown method or an even kernel.
    """
    method = _resolved(method, on_cpu="chosen")
    rows, columns, _, _ = kernel.shape
    if rows % 2 == 0 or columns % 2 == 0:
        raise ValueError(f"kernel of {rows} x {columns}: expected odd sides")
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
    return lax.conv_general_dilated(
        x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def _product(x: Array, kernel: Array) -> Array:
    rows, columns, inputs, outputs = kernel.shape
    if rows == columns == 1:
        return dot(x, kernel[0, 0], None)
    around = ((rows // 2, rows // 2), (columns // 2, columns // 2))
    if inputs <= outputs:
        return _shift_inputs(x, kernel, around, 1, None)
    return _shift_outputs(x, kernel, around, None)


def convolve_shifted(
    x: Float[Array, "batch height width inputs"],
    kernel: Float[Array, "rows columns inputs outputs"],
    padding: Padding,
    stride: int = 1,
    method: str = "auto",
) -> Float[Array, "batch new_height new_width outputs"]:
    """Convolution whose window hangs over one side, or of a stride.

    out[p] = sum_k x[stride p + k - (top, left)] kernel[k], zeros outside the image.
    Causal networks want windows of even sides that reach up and left only. At full
    precision, which the inverses of these networks need.

    Args:
      x: images.
      kernel: of any height and width.
      padding: ((top, bottom), (left, right)), rows and columns of zeros.
      stride: between windows.
      method: see above.

    Raises:
      ValueError: for an unknown method.
    """
    precision = lax.Precision.HIGHEST
    if _resolved(method) == "direct":
        return lax.conv_general_dilated(
            x,
            kernel,
            (stride, stride),
            padding,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            precision=precision,
        )
    if stride == 1 and kernel.shape[2] > kernel.shape[3]:
        return _shift_outputs(x, kernel, padding, precision)
    return _shift_inputs(x, kernel, padding, stride, precision)


def dot(a: Array, b: Array, precision: Any = lax.Precision.HIGHEST) -> Array:
    """Matrix product over the last axis of `a`, as one product of two matrices.

    An accelerator's default precision loses the digits that a round trip needs.
    """
    flat = jnp.matmul(a.reshape(-1, a.shape[-1]), b, precision=precision)
    return flat.reshape(*a.shape[:-1], b.shape[-1])


def _shift_inputs(
    x: Array, kernel: Array, padding: Padding, stride: int, precision: Any
) -> Array:
    rows, columns, _, outputs = kernel.shape
    x = jnp.pad(x, ((0, 0), *padding, (0, 0)))
    down = stride * ((x.shape[1] - rows) // stride) + 1
    right = stride * ((x.shape[2] - columns) // stride) + 1
    shifted = [
        x[:, i : i + down : stride, j : j + right : stride]
        for i in range(rows)
        for j in range(columns)
    ]
    wide = jnp.concatenate(shifted, axis=-1)
    return dot(wide, kernel.reshape(-1, outputs), precision)


def _shift_outputs(x: Array, kernel: Array, padding: Padding, precision: Any) -> Array:
    rows, columns, inputs, outputs = kernel.shape
    (top, bottom), (left, right) = padding
    wide = dot(x, kernel.transpose(2, 0, 1, 3).reshape(inputs, -1), precision)
    total: Any = 0
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
            zero = jnp.zeros((), wide.dtype)
            total += lax.pad(wide[..., k : k + outputs], zero, edges)
    return total


def convolve_dilated(
    x: Float[Array, "batch time inputs"],
    kernel: Float[Array, "taps inputs outputs"],
    dilation: int = 1,
    method: str = "auto",
    causal: bool = False,
) -> Float[Array, "batch time outputs"]:
    """Dilated convolution over time with zero padding that keeps the length.

    out[t] = sum_k x[t + dilation (k - (taps - 1) / 2)] kernel[k], which sees both ways;
    causal, out[t] = sum_k x[t + dilation (k - (taps - 1))] kernel[k], which sees the
    past and the present.

    Args:
      x: a series of vectors.
      kernel: of an odd number of taps, causal of any; one tap is a linear map at every
        position.
      dilation: positions between taps.
      method: see above.
      causal: whether the last tap is the present. At full precision, which the
        inverses of causal networks need.

    Raises:
      ValueError: for an unknown method, an even kernel or a dilation below 1.

    Reference: van den Oord et al. (2016), WaveNet, section 2.1.
    """
    method = _resolved(method)
    taps, _, outputs = kernel.shape
    if (taps % 2 == 0 and not causal) or dilation < 1:
        raise ValueError(
            f"{taps} taps, dilation {dilation}: expected an odd number of taps and a "
            "dilation of at least 1"
        )
    precision = lax.Precision.HIGHEST if causal else None
    before = dilation * (taps - 1) if causal else dilation * (taps // 2)
    around = (before, 0 if causal else before)
    if method == "direct" and taps > 1:
        return lax.conv_general_dilated(
            x,
            kernel,
            (1,),
            (around,),
            rhs_dilation=(dilation,),
            dimension_numbers=("NTC", "TIO", "NTC"),
            precision=precision,
        )
    if taps > 1:
        time = x.shape[1]
        padded = jnp.pad(x, ((0, 0), around, (0, 0)))
        starts = [k * dilation for k in range(taps)]
        x = jnp.concatenate([padded[:, s : s + time] for s in starts], axis=-1)
    return dot(x, kernel.reshape(-1, outputs), precision)


def upsample(
    x: Float[Array, "batch frames inputs"],
    kernel: Float[Array, "taps inputs outputs"],
    stride: int,
) -> Float[Array, "batch time outputs"]:
    """The first `frames * stride` outputs of a transposed convolution.

    out[t] = sum_f x[f] kernel[t - stride f], over taps that the kernel has

    Every run of `stride` outputs is a linear map of the same few frames, so the whole
    is one product of two matrices on any backend, without overlapping sums. What a
    transposed convolution gives after these, `taps - stride` samples at which frames
    are missing, is left out, as WaveGlow does when it samples.

    Args:
      x: frames.
      kernel: of any number of taps.
      stride: samples a frame.

    Raises:
      ValueError: for a stride below 1.

    Reference: Prenger et al. (2018), released code (`upsample`).
    """
    if stride < 1:
        raise ValueError(f"stride {stride}: expected at least 1")
    batch, frames, inputs = x.shape
    taps, _, outputs = kernel.shape
    runs = -(-taps // stride)
    whole = jnp.pad(kernel, ((0, runs * stride - taps), (0, 0), (0, 0)))
    whole = whole.reshape(runs, stride, inputs, outputs).transpose(0, 2, 1, 3)
    padded = jnp.pad(x, ((0, 0), (runs - 1, 0), (0, 0)))
    # Frame f, the one before it, and so on, as far back as the kernel reaches.
    starts = [runs - 1 - j for j in range(runs)]
    seen = jnp.concatenate([padded[:, s : s + frames] for s in starts], axis=-1)
    flat = seen.reshape(batch * frames, -1) @ whole.reshape(-1, stride * outputs)
    return flat.reshape(batch, frames * stride, outputs)
