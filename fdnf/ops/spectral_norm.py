"""Upper bounds of the spectral norm of matrices and convolutions, without a state.

The largest singular value of A is at most the Schatten norm of order 4 p,

    S_4p(A) = (sum_i sigma_i^4p)^(1 / 4p) = ||(A^H A)^p||_F^(1 / 2p),

and at least S_4p(A) / r^(1 / 4p), where r is the rank of A. With p = 2^7, seven
squarings of a Gram matrix as wide as the smaller side, that is 1 % for 128 columns. The
bound holds whatever A is, where a power iteration gives a lower bound that depends on
its start; nothing is kept from step to step; and it is smooth wherever A is not 0, also
where singular values meet.

Reference: Delattre et al. (2023), "Efficient bound of Lipschitz constant for
convolutional layers by Gram iteration", theorems 3.2 and 3.4; Behrmann et al. (2019),
section 2.1, and Gouk et al. (2021) for what it is used for.
"""

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Inexact

SQUARINGS = 7

Scalar = Float[Array, ""]


def of_matrices(stack: Inexact[Array, "count rows columns"]) -> Scalar:
    """Bound of the largest singular value of all matrices of a stack.

    It is above the largest by a factor of at most (count r)^(1 / 512), r being the
    smaller side. Of zeros it is a small positive number.
    """
    # Of kernels far from 1 the squares would leave the range of floats.
    tiny = float(jnp.finfo(stack.dtype).tiny)
    size = lax.stop_gradient(jnp.maximum(jnp.max(jnp.abs(stack)), 1e3 * tiny))
    scaled = stack / size
    turned = jnp.conj(scaled).swapaxes(1, 2)
    narrow = stack.shape[1] < stack.shape[2]
    gram = _matmul(scaled, turned) if narrow else _matmul(turned, scaled)

    def square(carry, weight):
        power, log = carry
        power, change = _normalised(power)
        return (_matmul(power, power), log + weight * change), None

    weights = jnp.asarray(0.5 ** np.arange(SQUARINGS), size.dtype)
    start = (gram, jnp.zeros((), size.dtype))
    (power, log), _ = lax.scan(square, start, weights)
    log += 0.5**SQUARINGS * _normalised(power)[1]
    return size * jnp.exp(log / 2)


def of_matrix(kernel: Float[Array, "inputs outputs"]) -> Scalar:
    """Bound of the largest singular value of a matrix, see `of_matrices`."""
    return of_matrices(kernel[None])


def of_convolution(
    kernel: Float[Array, "rows columns inputs outputs"], height: int, width: int
) -> Scalar:
    """Bound of the norm of a zero-padded convolution of images of this size.

    The operator itself, from images to images, is a block of the circular convolution
    on a torus as much larger as the kernel reaches over the edge. That one is block
    diagonal under Fourier's transform: its norm is the largest of the symbols

        K(w) = sum_k kernel[k] exp(i w k)

    over the frequencies w of the torus, matrices of inputs by outputs. So the bound is
    nearly met by large images, and is above the norm for small ones (a mean over 3 x 3
    pixels of a 4 x 4 image: 1 for 0.76), never below.

    Args:
      kernel: of odd sides.
      height: of the images.
      width: of the images.
    """
    rows, columns, inputs, outputs = kernel.shape
    symbols = jnp.einsum(
        "wk,kio->wio",
        jnp.asarray(_phases(rows, columns, height, width), _complex(kernel.dtype)),
        kernel.reshape(rows * columns, inputs, outputs),
        precision="highest",
    )
    return of_matrices(symbols)


def shrunk(kernel: Array, norm: Scalar, bound: float) -> Array:
    """The kernel, made smaller if its norm is above the bound.

    Reference: Behrmann et al. (2019), section 2.1; Gouk et al. (2021), algorithm 1.
    """
    return kernel * jnp.minimum(1.0, bound / norm)


def _phases(rows: int, columns: int, height: int, width: int) -> np.ndarray:
    """exp(i w k), frequencies of half a torus by places of the kernel.

    Kernels are real, so the other half of the symbols are conjugates of these.
    """
    high, wide = height + rows // 2, width + columns // 2
    down = np.outer(np.arange(high) / high, np.arange(rows))
    right = np.outer(np.arange(wide // 2 + 1) / wide, np.arange(columns))
    turns = down[:, None, :, None] + right[None, :, None, :]
    return np.exp(2j * np.pi * turns).reshape(-1, rows * columns)


def _matmul(a: Array, b: Array) -> Array:
    return jnp.matmul(a, b, precision="highest")


def _complex(dtype) -> type:
    return jnp.complex128 if dtype == jnp.float64 else jnp.complex64


def _normalised(power: Array) -> tuple[Array, Scalar]:
    """A stack divided by its Frobenius norm, and the logarithm of that."""
    total = jnp.sum(jnp.real(power * jnp.conj(power)))
    total = jnp.where(total > 0, total, 1)
    return power * lax.rsqrt(total), jnp.log(total) / 2
