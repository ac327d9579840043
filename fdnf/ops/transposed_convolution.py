"""Transposed convolution over time: a frame becomes `stride` samples.

Every run of `stride` outputs is a linear map of the same few frames, so the whole is
one product of two matrices on any backend, without overlapping sums.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float


def upsample(
    x: Float[Array, "batch frames inputs"],
    kernel: Float[Array, "taps inputs outputs"],
    stride: int,
) -> Float[Array, "batch time outputs"]:
    """The first `frames * stride` outputs of a transposed convolution.

    out[t] = sum_f x[f] kernel[t - stride f], over taps that the kernel has

    What a transposed convolution gives after these, `taps - stride` samples at which
    frames are missing, is left out, as WaveGlow does when it samples.

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
