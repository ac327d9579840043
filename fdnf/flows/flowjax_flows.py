"""Distributions of flowjax as teachers; flowjax need not be installed for the rest."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from fdnf.types import Decoding, Encoding, ExternalFlow, Variables


def from_flowjax(distribution: Any) -> tuple[ExternalFlow, Variables]:
    """A flow of flowjax as a teacher: `(flow, variables)`.

        trained = flowjax.flows.coupling_flow(key, base_dist=Normal(jnp.zeros(8)))
        teacher = from_flowjax(trained)
        student = fdnf.distil(teacher, fdnf.flows.MAF(), x, method="lkd")

    Each layer of a chain or scan ends a level; latents are those of the innermost base.
    Levels and latents have their columns in the order in which flowjax left them, which
    its permutations change.

    Args:
      distribution: of flowjax, conditional or not, of events `[dim]` or any shape. One
        that is no transformed distribution has a density, which is all that
        `method="kl"` asks for.

    Returns:
      The flow and its variables, the arrays of real numbers.

    Raises:
      ImportError: flowjax is not installed.
      TypeError: for what is no distribution of flowjax.
    """
    try:
        import equinox as eqx
        import paramax
        from flowjax import distributions
    except ImportError as error:
        raise ImportError(
            "from_flowjax needs flowjax, which is not installed: pip install flowjax"
        ) from error
    if not isinstance(distribution, distributions.AbstractDistribution):
        raise TypeError(
            f"from_flowjax({type(distribution).__name__}): expected a distribution of "
            "flowjax, such as flowjax.flows.coupling_flow gives"
        )
    variables, static = eqx.partition(distribution, eqx.is_inexact_array)
    normal = distributions.StandardNormal

    def parts(variables: Variables) -> tuple[Any, Any]:
        """The base, and the bijection from it to the data."""
        whole = paramax.unwrap(eqx.combine(variables, static))
        if not isinstance(whole, distributions.AbstractTransformed):
            return whole, None
        merged = whole.merge_transforms()
        return merged.base_dist, merged.bijection

    def encode(variables: Variables, x: Array, cond: Any = None) -> Encoding:
        base, bijection = parts(variables)

        def one(x: Array, cond: Any) -> Encoding:
            log_det, levels = jnp.zeros(()), ()
            if bijection is not None:
                x, log_det, levels = _traced(bijection, x, cond, inverse=True)
            # The condition is a base's too only where it has one.
            given = cond if base.cond_shape is not None else None
            prior = base.log_prob(x, given)
            return Encoding((x,) if levels else (), log_det, levels, prior)

        return jax.vmap(one, (0, None if cond is None else 0))(x, cond)

    def decode(variables: Variables, z: Any, cond: Any = None) -> Decoding:
        base, bijection = parts(variables)
        if bijection is None or not isinstance(base, normal):
            raise ValueError(
                f"the base of this teacher is {type(base).__name__}, not standard "
                "normal: its latents are none that a student shares; take "
                "method='kl' or 'lkd'"
            )

        def one(z: Array, cond: Any) -> Decoding:
            x, log_det = bijection.transform_and_log_det(z, cond)
            return Decoding(x, log_det, ())

        return jax.vmap(one, (0, None if cond is None else 0))(z[0], cond)

    return ExternalFlow(encode=encode, decode=decode), variables


def _traced(
    bijection: Any, x: Array, cond: Any, *, inverse: bool
) -> tuple[Array, Array, tuple[Array, ...]]:
    """One row through a bijection: result, log-determinant, what each layer made."""
    import equinox as eqx
    from flowjax import bijections

    if isinstance(bijection, bijections.Invert):
        return _traced(bijection.bijection, x, cond, inverse=not inverse)
    if isinstance(bijection, bijections.Chain):
        inner = bijection.bijections
        log_det, levels = jnp.zeros(()), ()
        for link in reversed(inner) if inverse else inner:
            x, change, found = _traced(link, x, cond, inverse=inverse)
            log_det, levels = log_det + change, levels + found
        return x, log_det, levels
    if not isinstance(bijection, bijections.Scan):
        inverted, mapped = (
            bijection.inverse_and_log_det,
            bijection.transform_and_log_det,
        )
        x, log_det = (inverted if inverse else mapped)(x, cond)
        return x, log_det, (x,)
    arrays, static = eqx.partition(bijection.bijection, eqx.is_array)

    def body(x: Array, arrays: Any) -> tuple[Array, tuple[Array, Array]]:
        link = eqx.combine(arrays, static)
        x, change, _ = _traced(link, x, cond, inverse=inverse)
        return x, (x, change)

    x, (made, changes) = jax.lax.scan(body, x, arrays, reverse=inverse)
    levels = tuple(made[::-1] if inverse else made)
    return x, changes.sum(), levels
