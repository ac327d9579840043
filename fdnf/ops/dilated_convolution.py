"""Dilated convolution over time, as one matrix product where that is faster.

On CPU the shifted copies of the input stand side by side, and their product with the
whole kernel is a single one of two matrices, which runs at the same speed inside a
loop over the steps of a flow, where XLA's own convolution does not. Other backends
get the plain convolution.
"""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

METHODS = ("auto", "direct", "product")


def convolve(
    x: Float[Array, "batch time inputs"],
    kernel: Float[Array, "taps inputs outputs"],
    dilation: int = 1,
    method: str = "auto",
) -> Float[Array, "batch time outputs"]:
    """Non-causal convolution with zero padding that keeps the length.

    out[t] = sum_k x[t + dilation (k - (taps - 1) / 2)] kernel[k]

    Args:
      x: a series of vectors.
      kernel: of an odd number of taps; one tap is a linear map at every position.
      dilation: positions between taps.
      method: "direct", XLA's convolution; "product", one matrix product; "auto", the
        latter on CPU.

    Raises:
      ValueError: for an unknown method, an even kernel or a dilation below 1.

    Reference: van den Oord et al. (2016), WaveNet, section 2.1.
    """
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}; known: {METHODS}")
    taps, inputs, outputs = kernel.shape
    if taps % 2 == 0 or dilation < 1:
        raise ValueError(
            f"{taps} taps, dilation {dilation}: expected an odd number of taps and a "
            "dilation of at least 1"
        )
    reach = dilation * (taps // 2)
    if method == "auto":
        method = "product" if jax.default_backend() == "cpu" else "direct"
    if method == "direct" and taps > 1:
        return lax.conv_general_dilated(
            x,
            kernel,
            (1,),
            ((reach, reach),),
            rhs_dilation=(dilation,),
            dimension_numbers=("NTC", "TIO", "NTC"),
        )
    batch, time = x.shape[:2]
    if taps > 1:
        padded = jnp.pad(x, ((0, 0), (reach, reach), (0, 0)))
        starts = [k * dilation for k in range(taps)]
        x = jnp.concatenate([padded[:, s : s + time] for s in starts], axis=-1)
    flat = x.reshape(batch * time, -1) @ kernel.reshape(-1, outputs)
    return flat.reshape(batch, time, outputs)
