"""Images as metrics take them: floats, in the range that each metric names."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import core
from jaxtyping import Array, Float

# What rounding may add to a value at an end of the range, of its width.
SLACK = 1e-3


def checked(
    x: Array | np.ndarray, low: float = 0.0, high: float = 1.0
) -> Float[Array, "batch height width channels"]:
    """The images, in float32 at least, after a look at their type and values.

    Inside of `jax.jit`, `jax.grad` and `jax.vmap` there are no values to look at: type
    and shape are checked there too, and images outside of the range give numbers that
    mean nothing.

    Args:
        x: images NHWC.
        low: the smallest value an image may have.
        high: the largest.

    Returns:
        The same values; half precision is widened, in which squares of small
        differences are lost.

    Raises:
        ValueError: for integers, for other than four axes, and for values that are not
            numbers or outside of the range.
    """
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise ValueError(
            f"images of type {x.dtype}: expected floats in [{low:g}, {high:g}]. Of"
            f" 8-bit images that is {_scaling(low, high)}."
        )
    if x.ndim != 4:
        raise ValueError(
            f"images of shape {x.shape}: expected [batch, height, width, channels]; a"
            " single image is x[None]"
        )
    if x.size and not isinstance(x, core.Tracer):
        # A constant of a program that is being traced has values too.
        with jax.ensure_compile_time_eval():
            least, most = float(jnp.min(x)), float(jnp.max(x))
            # On a CPU, minima and maxima may pass over a NaN.
            if jnp.any(jnp.isnan(x)):
                most = float("nan")
        slack = SLACK * (high - low)
        if not (low - slack <= least and most <= high + slack):
            raise ValueError(
                f"images with values from {least:g} to {most:g}: expected [{low:g},"
                f" {high:g}]. Of 8-bit images that is {_scaling(low, high)}; a model's"
                f" overshoots are cut by jnp.clip(x, {low:g}, {high:g})."
            )
    return jnp.asarray(x, jnp.promote_types(x.dtype, jnp.float32))


def _scaling(low: float, high: float) -> str:
    return "x / 255" if low == 0 else f"{high - low:g} * x / 255 - {-low:g}"
