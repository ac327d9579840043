"""What the networks within flows are made with: activations, masks, bounded scales.

Masks are numpy and are made while a program is traced, so that they are constants of
the compiled program: MADE's kernels, causal convolutions, checkerboard, alternating.

Every multiplicative factor of a flow goes through one of the scales. An unbounded
exp(a) is what makes flows explode in the direction that nobody trained: a latent
slightly outside the training range then decodes to infinity. The maps here are smooth,
strictly monotone and bounded on both sides.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "relu": jax.nn.relu,
    "tanh": jnp.tanh,
    "elu": jax.nn.elu,
    "gelu": jax.nn.gelu,
    "silu": jax.nn.silu,
}


def activation(name: str) -> Callable[[Array], Array]:
    """The elementwise function of that name.

    Raises:
      ValueError: for an unknown name, with the known ones.
    """
    if name not in ACTIVATIONS:
        raise ValueError(f"unknown activation {name!r}; known: {sorted(ACTIVATIONS)}")
    return ACTIVATIONS[name]


ORDERS = ("channels", "raster")


def made_degrees(
    dim: int, hidden: tuple[int, ...], *, lowest: int = 1
) -> tuple[np.ndarray, ...]:
    """Assigns each unit of a MADE the index of the last input that it may see.

    Inputs have degrees 1..dim. A hidden layer's degrees are spread evenly over
    lowest..dim-1 and sorted ascending, so that the units of one degree are a slice
    and not a gather; a layer narrower than that range skips degrees evenly.

    Args:
      dim: Number of inputs D, at least 1.
      hidden: Width of each hidden layer; may be empty.
      lowest: Smallest hidden degree. With 1, the usual choice, the first output sees
        biases only. With 0 some units see no input at all, through which a condition
        added to the first layer's bias reaches the first output.

    Returns:
      Integer arrays [dim], then [width] for each hidden layer.

    Raises:
      ValueError: If a size is below 1, or `lowest` is neither 0 nor 1.

    Reference: Germain et al. (2015), MADE, section 4.
    """
    if dim < 1:
        raise ValueError(f"made_degrees: dim is {dim}, expected at least 1.")
    if any(width < 1 for width in hidden):
        raise ValueError(
            f"made_degrees: hidden is {tuple(hidden)}, expected widths of at least 1; "
            "leave a layer out instead of giving it no units."
        )
    if lowest not in (0, 1):
        raise ValueError(
            f"made_degrees: lowest is {lowest}, expected 1, or 0 for a conditional net."
        )
    values = max(1, dim - lowest)
    spread = tuple(lowest + np.arange(width) * values // width for width in hidden)
    return (np.arange(1, dim + 1), *spread)


def made_masks(
    dim: int, hidden: tuple[int, ...], *, lowest: int = 1
) -> tuple[np.ndarray, ...]:
    """Masks of MADE's kernels, which make output i a function of inputs below i.

    A hidden unit sees units of at most its own degree, an output units of strictly
    lower degree. Without hidden layers the one mask is strictly upper triangular.

    Args:
      dim: Number of inputs D, at least 1.
      hidden: Width of each hidden layer; may be empty.
      lowest: Smallest hidden degree, as in `made_degrees`.

    Returns:
      One float32 array [in, out] of zeros and ones per kernel. The last one is
      [hidden[-1], dim]; tile it along its second axis for several outputs per input.

    Raises:
      ValueError: As `made_degrees`.

    Reference: Germain et al. (2015), MADE, eq. 13 and 14.
    """
    degrees = made_degrees(dim, hidden, lowest=lowest)
    inner = [
        below[:, None] <= above[None, :]
        for below, above in zip(degrees[:-1], degrees[1:], strict=True)
    ]
    last = degrees[-1][:, None] < degrees[0][None, :]
    return tuple(mask.astype(np.float32) for mask in (*inner, last))


def conv_mask(
    channels: int,
    *,
    copies: tuple[int, int] = (1, 1),
    size: int = 3,
    order: str = "channels",
    mirrored: bool = False,
    centre: bool = True,
) -> np.ndarray:
    """Mask of a convolution's kernel that makes its Jacobian triangular.

    In order "channels" a channel comes after all pixels of the channels before it, and
    its own pixels follow each other row by row: a unit sees whole windows of earlier
    channels and the past of its own. In order "raster" pixels come first and channels
    within a pixel: a unit sees the past of all channels, and earlier channels at its
    own pixel.

    Args:
      channels: of the image.
      copies: units per channel of input and of output; unit k of channel c has index
        c * copies + k and the order of its channel.
      size: height and width of the kernel, odd.
      order: "channels" or "raster".
      mirrored: the reverse of that order.
      centre: whether a unit sees its own pixel and channel.

    Returns:
      Float32 [size, size, channels * copies[0], channels * copies[1]], ones where a
      weight may stand.

    Raises:
      ValueError: for a count below 1, an even size or an unknown order.

    Reference: Song, Meng, Ermon (2019), MintNet, section 3.2 and figure 2; van den Oord
    et al. (2016), Pixel recurrent neural networks, section 3.4.
    """
    if min(channels, *copies) < 1 or size < 1 or size % 2 == 0:
        raise ValueError(
            f"conv_mask: channels is {channels}, copies {copies}, size {size}; "
            "expected counts of at least 1 and an odd size."
        )
    if order not in ORDERS:
        raise ValueError(f"conv_mask: order is {order!r}, expected one of {ORDERS}.")
    taps = np.arange(size * size).reshape(size, size, 1, 1)
    before, own = taps < taps.size // 2, taps == taps.size // 2
    given, made = np.arange(channels)[:, None], np.arange(channels)[None, :]
    earlier, same = given < made, given == made
    seen = (own & same) if centre else np.zeros_like(own & same)
    if order == "channels":
        seen = seen | earlier | (same & before)
    else:
        seen = seen | before | (own & earlier)
    if mirrored:
        seen = seen[::-1, ::-1, ::-1, ::-1]
    wide = np.repeat(np.repeat(seen, copies[0], axis=2), copies[1], axis=3)
    return wide.astype(np.float32)


def checkerboard(height: int, width: int, parity: int = 0) -> np.ndarray:
    """Float32 mask [height, width], one where row + column has the given parity.

    Raises:
      ValueError: If a size is below 1 or the parity is neither 0 nor 1.

    Reference: Dinh et al. (2017), RealNVP, figure 3.
    """
    if height < 1 or width < 1:
        raise ValueError(
            f"checkerboard: size is {height} x {width}, expected at least 1 x 1."
        )
    rows, columns = np.indices((height, width))
    return _of_parity(rows + columns, parity)


def alternating(dim: int, parity: int = 0) -> np.ndarray:
    """Float32 mask [dim], one at the positions of the given parity.

    Raises:
      ValueError: If `dim` is below 1 or the parity is neither 0 nor 1.
    """
    if dim < 1:
        raise ValueError(f"alternating: dim is {dim}, expected at least 1.")
    return _of_parity(np.arange(dim), parity)


def _of_parity(index: np.ndarray, parity: int) -> np.ndarray:
    if parity not in (0, 1):
        raise ValueError(f"mask: parity is {parity}, expected 0 or 1.")
    return (index % 2 == parity).astype(np.float32)


Raw = Float[Array, "*shape"]


def soft_clamp(raw: Raw, bound: float = 5.0) -> Raw:
    """Log-scale in (-bound, bound): bound * tanh(raw / bound), slope 1 at 0."""
    return bound * jnp.tanh(raw / bound)


def inverse_soft_clamp(log_scale: Raw, bound: float = 5.0) -> Raw:
    """The `raw` whose soft clamp is `log_scale`, which is cut to 99 % of the bound."""
    return bound * jnp.arctanh(jnp.clip(log_scale / bound, -0.99, 0.99))


def sigmoid_log_scale(raw: Raw, floor: float = 1e-3) -> Raw:
    """Log-scale in (log floor, 0): log(floor + (1 - floor) sigmoid(raw + 2)).

    Near 0 for raw = 0, as in Glow's released code; the floor bounds what the inverse
    divides by, which the released code leaves open.

    Reference: Kingma and Dhariwal (2018), released code.
    """
    return jnp.log(floor + (1.0 - floor) * jax.nn.sigmoid(raw + 2.0))
