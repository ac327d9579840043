"""How unlike the samples of one condition are to each other.

A sampler that has forgotten its noise gives one answer, and 0 here, however good the
answer. More is not better by itself: it is read beside a measure of quality.
"""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fdnf.metrics import lpips, ranges
from fdnf.types import Scalar


def lpips_diversity(
    params: lpips.Params,
    samples: Float[Array, "count height width 3"],
    *,
    net: str = "alexnet",
) -> Scalar:
    """Mean LPIPS between two different samples of one low-resolution image.

    The published figure takes 8 samples at one temperature, all 56 ordered pairs of
    them, and the mean over images; the distance being symmetric, 28 pairs do.

    Args:
      params: weights, of `lpips.load`.
      samples: images in [0, 1] of one condition.
      net: "alexnet" (published) or "vgg16"; static.

    Returns:
      At least 0.

    Raises:
      ValueError: for fewer than two samples, or as `lpips.lpips`.

    Reference: Baranchuk et al. (2021), section 3.1.
    """
    if len(samples) < 2:
        raise ValueError(f"diversity of {len(samples)} samples: expected at least 2")
    return _mean_over_pairs(params, ranges.checked(samples), net)


@functools.partial(jax.jit, static_argnames="net")
def _mean_over_pairs(params: lpips.Params, samples: Array, net: str) -> Scalar:
    count = len(samples)
    # Each sample goes through the network once, alone: features are many.
    found = jax.lax.map(lambda x: lpips.features(params, x[None], net), samples)
    pairs = jnp.asarray(np.array(list(itertools.combinations(range(count), 2))))

    def distance(pair):
        u, v = (tuple(part[i] for part in found) for i in pair)
        return lpips.compare(params.heads, u, v)[0]

    return jnp.mean(jax.lax.map(distance, pairs))
