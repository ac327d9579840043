"""Invertible 1x1 convolutions: full, in PLU and LU form, a rotation, folded."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.scipy import linalg
from jaxtyping import Array, Float

from fdnf.bijectors.base import Bijector, Moves
from fdnf.ops import conditioners, linear
from fdnf.types import Context, Events, LogDet

Matrix = Float[Array, "channels channels"]


class InvertibleConv(Bijector):
    """y = W x at every position, W one full matrix that starts as a rotation.

    log_det = positions * log |det W|; the inverse solves with an LU factorisation.

    Reference: Kingma and Dhariwal (2018), section 3.2.
    """

    @nn.compact
    def _weight(self, channels: int) -> Matrix:
        return self.param(
            "weight",
            lambda key: jax.random.orthogonal(key, channels, dtype=jnp.float32),
        )

    def forward(self, x: Events, cond: Context | None = None) -> tuple[Events, LogDet]:
        """Multiplies by W."""
        weight = self._weight(x.shape[-1])
        log_det = linear.log_abs_det(weight)
        return linear.multiply(x, weight), linear.total_log_det(log_det, x)

    def inverse(self, y: Events, cond: Context | None = None) -> tuple[Events, LogDet]:
        """Solves W x = y."""
        weight = self._weight(y.shape[-1])
        rows = y.reshape(-1, y.shape[-1])
        x = linear.solve(weight, rows.T).T.reshape(y.shape)
        return x, linear.total_log_det(-linear.log_abs_det(weight), y)

    def _moves(self, like: Events) -> Moves:
        channels = like.shape[-1]
        weight = self._weight(channels)

        def back() -> Matrix:
            identity = jnp.eye(channels, dtype=weight.dtype)
            return linear.solve(weight, identity)

        return Moves.of_matrix(weight, back)


class InvertibleConvPLU(Bijector):
    """y = W x with W = P L (U + diag(s)), so that log |det W| = sum log |s|.

    P and the signs of s are drawn once and kept in `constants`, as booleans (True where
    P is 1, and where s is positive): they have no gradient, and weight decay of a whole
    tree of variables cannot move them, as it would an integer, which it rounds towards
    0. L (unit lower) and U (strictly upper) are stored as full matrices of which the
    other half is masked, which is how the released code counts parameters (2 C^2 + C).
    The inverse is two triangular solves.

    Args:
      bound: largest |log |s||.

    Reference: Kingma and Dhariwal (2018), eq. 10-11.
    """

    bound: float = 5.0

    @nn.compact
    def _factors(self, channels: int) -> tuple[Matrix, Matrix, Matrix, Array]:
        # Not `is_initializing`: constants may be given where parameters are not.
        if not self.has_variable("params", "lower"):
            key = self.make_rng("params")
            rotation = jax.random.orthogonal(key, channels, dtype=jnp.float32)
            p, lower, upper = linalg.lu(rotation)
        else:
            p = lower = upper = jnp.zeros((channels, channels), jnp.float32)
        s = jnp.diagonal(upper)
        raw_lower = self.param("lower", lambda _: jnp.tril(lower, -1))
        raw_upper = self.param("upper", lambda _: jnp.triu(upper, 1))
        raw_log_s = self.param(
            "raw_log_s",
            lambda _: conditioners.inverse_soft_clamp(jnp.log(jnp.abs(s)), self.bound),
        )
        chosen = self.variable("constants", "permutation", lambda: p > 0).value
        positive = self.variable("constants", "sign", lambda: s > 0).value
        # Older trees have floats, 0 and 1 or -1 and 1, or what an optimizer left.
        permutation = jnp.asarray(chosen > 0, raw_lower.dtype)
        sign = jnp.where(positive > 0, 1, -1).astype(raw_lower.dtype)
        log_s = conditioners.soft_clamp(raw_log_s, self.bound)
        unit_lower = jnp.tril(raw_lower, -1) + jnp.eye(channels, dtype=raw_lower.dtype)
        full_upper = jnp.triu(raw_upper, 1) + jnp.diag(sign * jnp.exp(log_s))
        return permutation, unit_lower, full_upper, log_s

    def forward(self, x: Events, cond: Context | None = None) -> tuple[Events, LogDet]:
        """Multiplies by W, put together once."""
        permutation, lower, upper, log_s = self._factors(x.shape[-1])
        weight = jnp.linalg.multi_dot([permutation, lower, upper], precision="highest")
        return linear.multiply(x, weight), linear.total_log_det(jnp.sum(log_s), x)

    def inverse(self, y: Events, cond: Context | None = None) -> tuple[Events, LogDet]:
        """Undoes P, then solves with L, then with U."""
        permutation, lower, upper, log_s = self._factors(y.shape[-1])
        rows = linear.multiply(y.reshape(-1, y.shape[-1]), permutation.T).T
        rows = linear.solve_triangular(lower, rows, True)
        rows = linear.solve_triangular(upper, rows, False)
        return rows.T.reshape(y.shape), linear.total_log_det(-jnp.sum(log_s), y)

    def _moves(self, like: Events) -> Moves:
        channels = like.shape[-1]
        permutation, lower, upper, _ = self._factors(channels)
        weight = jnp.linalg.multi_dot([permutation, lower, upper], precision="highest")

        def back() -> Matrix:
            rows = linear.solve_triangular(lower, permutation.T, True)
            return linear.solve_triangular(upper, rows, False)

        return Moves.of_matrix(weight, back)


class LinearLU(Bijector):
    """y = L U x, L unit lower and U upper triangular, which starts as the identity.

    log_det = sum log s, s the diagonal of U, positive. Both factors are kept in one
    matrix of C^2 parameters, log s on its diagonal. The inverse is two triangular
    solves. A permutation beside it, such as `Reverse`, makes it P L U.

    Args:
      bound: largest |log s|.

    Reference: Oliva et al. (2018), Transformation autoregressive networks, section 3.2;
    Durkan et al. (2019), section 3.
    """

    bound: float = 5.0

    @nn.compact
    def _factors(self, channels: int) -> tuple[Matrix, Matrix, Array]:
        zeros, shape = nn.initializers.zeros, (channels, channels)
        packed = self.param("lu_kernel", zeros, shape, jnp.float32)
        log_s = conditioners.soft_clamp(jnp.diagonal(packed), self.bound)
        lower = jnp.tril(packed, -1) + jnp.eye(channels, dtype=packed.dtype)
        return lower, jnp.triu(packed, 1) + jnp.diag(jnp.exp(log_s)), log_s

    def forward(self, x: Events, cond: Context | None = None) -> tuple[Events, LogDet]:
        """Multiplies by L U."""
        lower, upper, log_s = self._factors(x.shape[-1])
        weight = jnp.matmul(lower, upper, precision="highest")
        return linear.multiply(x, weight), linear.total_log_det(jnp.sum(log_s), x)

    def inverse(self, y: Events, cond: Context | None = None) -> tuple[Events, LogDet]:
        """Solves with L, then with U."""
        lower, upper, log_s = self._factors(y.shape[-1])
        rows = linear.solve_triangular(lower, y.reshape(-1, y.shape[-1]).T, True)
        rows = linear.solve_triangular(upper, rows, False)
        return rows.T.reshape(y.shape), linear.total_log_det(-jnp.sum(log_s), y)

    def _moves(self, like: Events) -> Moves:
        channels = like.shape[-1]
        lower, upper, _ = self._factors(channels)
        weight = jnp.matmul(lower, upper, precision="highest")

        def back() -> Matrix:
            identity = jnp.eye(channels, dtype=weight.dtype)
            rows = linear.solve_triangular(lower, identity, True)
            return linear.solve_triangular(upper, rows, False)

        return Moves.of_matrix(weight, back)


class RotationConv(InvertibleConv):
    """y = W x at every position; W starts orthogonal with determinant +1.

    Reference: Prenger et al. (2018), section 2.1 and released code, where W is the Q
    of a random matrix, its first column turned around if det Q < 0.
    """

    @nn.compact
    def _weight(self, channels: int) -> Matrix:
        def start(key):
            weight = jax.random.orthogonal(key, channels, dtype=jnp.float32)
            sign = jnp.sign(jnp.linalg.det(weight))
            # Not an update of the column: in a loop of one step, XLA's CPU backend has
            # been seen to overwrite what the determinant still reads.
            return jnp.where(jnp.arange(channels) == 0, sign, 1.0) * weight

        return self.param("weight", start)


class FoldedConv(Bijector):
    """y = W x + b at every position, with W^-1 and log |det W| as parameters.

    Parameters come from `flows.surgery.fold`; they are for use, not for training, which
    would move W away from what stands for its inverse. `init` gives the identity.
    """

    @nn.compact
    def _map(self, channels: int) -> tuple[Array, Array, Array, Array]:
        def eye(_):
            return jnp.eye(channels, dtype=jnp.float32)

        zeros = nn.initializers.zeros
        weight = self.param("weight", eye)
        inverse = self.param("inverse", eye)
        bias = self.param("bias", zeros, (channels,), jnp.float32)
        log_det = self.param("log_det", zeros, (), jnp.float32)
        return weight, inverse, bias, log_det

    def forward(self, x: Events, cond: Context | None = None) -> tuple[Events, LogDet]:
        """Multiplies by W and adds b."""
        weight, _, bias, log_det = self._map(x.shape[-1])
        return linear.multiply(x, weight) + bias, linear.total_log_det(log_det, x)

    def inverse(self, y: Events, cond: Context | None = None) -> tuple[Events, LogDet]:
        """Takes b away and multiplies by the inverse."""
        _, inverse, bias, log_det = self._map(y.shape[-1])
        return linear.multiply(y - bias, inverse), linear.total_log_det(-log_det, y)
