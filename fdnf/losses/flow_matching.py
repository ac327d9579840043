"""Flow matching: a velocity is fitted to straight paths from latents to data.

Nothing is solved and no density is taken: the loss asks a continuous flow for its
velocity at a point in time, which is what makes it a regression.

References: Lipman et al. (2023), "Flow matching for generative modeling", section 4;
Liu et al. (2023), "Flow straight and fast", section 2.
"""

import functools

import jax
import jax.numpy as jnp

from fdnf.ops import entering
from fdnf.types import Aux, Flow, Given, Scalar, Variables


@functools.partial(jax.jit, static_argnames=("flow",))
def flow_matching(
    flow: Flow,
    variables: Variables,
    x: Given,
    z: Given,
    t: Given,
    cond: Given | None = None,
) -> tuple[Scalar, Aux]:
    """E |v(x_t, t) - (x - z)|^2 / dim, x_t = (1 - t) z + t x (Lipman et al., eq. 23).

    Pairs of x and z are the caller's. Drawn independently, the minimum over all v is
    E[x - z | x_t], whose flow takes N(0, I) to the data's distribution; the loss there
    is not 0, but the mean variance of x - z given x_t. (Lipman et al. leave a spread
    sigma_min at the data; here it is 0, as Liu et al. have it.)

    Args:
      flow: flow to train; static. Only its `velocity` is used.
      variables: its variables.
      x: data `[batch, dim]`.
      z: draws from the prior, a tuple of one array like `x`.
      t: `[batch]`, times from 0 (latents) to 1 (data), uniform for the loss above.
      cond: context, a row for each of `x`.

    Returns:
      The loss, a mean over rows and dimensions, in squared units of the data; and Aux
      with the term "flow_matching", neither Encoding nor Decoding.

    Raises:
      ValueError: for latents or times of other shapes than those of the data.
    """
    x, t = entering.real(x), entering.real(t, "times")
    (latent, *others), cond = entering.reals(z), entering.maybe(cond)
    if others or latent.shape != x.shape or t.shape != x.shape[:1]:
        raise ValueError(
            f"flow_matching of data of shape {x.shape}, latents of shapes "
            f"{[part.shape for part in (latent, *others)]} and times of shape "
            f"{t.shape}: expected one latent like the data, and a time for each row"
        )
    share = t.reshape(-1, *[1] * (x.ndim - 1))
    between = (1 - share) * latent + share * x
    found = flow.apply(variables, between, t, cond, method="velocity")
    loss = jnp.mean((found - (x - latent)) ** 2)
    return loss, Aux({"flow_matching": loss}, (), None, None)
