"""What a flow decodes between the latents of real images.

One seed gives teacher and students the same pairs, the same alphas and, where their
latents have one shape, the same noise. A conditional flow is given the labels' one-hot
vectors mixed with the weights of the latents, or their squares for four points.
"""

import math
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

from fdnf.evaluation.models.sampler import Decoded, Sampler, Temperature
from fdnf.ops import interpolate


def pairs(
    sampler: Sampler,
    images: np.ndarray,
    labels: np.ndarray | None = None,
    *,
    temperature: Temperature,
    seed: int,
) -> Iterator[Decoded]:
    """Decoded interpolations between random pairs of images, batch by batch.

    Of each image only the top latent is kept, the last part of `encode(x).z`. Those of
    a pair are mixed by eq. 16 with alpha ~ U(0, 1); the parts split off are drawn
    afresh at `temperature`, which does not touch the top.

    Args:
        sampler: the flow.
        images: uint8 [n, height, width, channels]; each is used once, in random
            order, one left out where n is odd.
        labels: of the images, for a conditional flow.
        temperature: standard deviation of the parts split off.
        seed: of the order, the alphas and all noise.

    Yields:
        At most `sampler.batch_size` images; n // 2 in all.

    Raises:
        ValueError: fewer than two images, or no labels for a conditional flow.

    Reference: Walton et al. (2023), section 4.4, and the released evaluation.
    """
    if len(images) < 2:
        raise ValueError(f"{len(images)} images: expected at least a pair")
    given = sampler.condition(labels)
    order = np.random.default_rng(seed).permutation(len(images))
    order = order[: len(images) // 2 * 2]
    key, size = jax.random.key(seed), sampler.batch_size
    for i, start in enumerate(range(0, len(order), 2 * size)):
        picked = order[start : start + 2 * size]
        noise, mix, draw = jax.random.split(jax.random.fold_in(key, i), 3)
        cond = None if given is None else given[picked]
        top = jnp.asarray(sampler.encode(images[picked], noise, cond)[-1])
        count = len(picked) // 2
        alpha = jax.random.uniform(mix, (size,))[:count]
        mixed = interpolate.norm_corrected(top[0::2], top[1::2], alpha)
        drawn = sampler.draw(draw, (size, *images.shape[1:]), temperature)
        fresh = tuple(part[:count] for part in drawn[:-1])
        if cond is not None:
            cond = _mixed(cond[0::2], cond[1::2], alpha)
        yield sampler.decode((*fresh, np.asarray(mixed)), cond)


def strips(
    sampler: Sampler,
    images: np.ndarray,
    labels: np.ndarray | None = None,
    *,
    steps: int = 8,
    temperature: Temperature | None = None,
    seed: int = 0,
) -> np.ndarray:
    """Lines of `steps` images, each from one image of a pair to the other.

    Args:
        sampler: the flow.
        images: uint8 [2 n, height, width, channels]; images 0 and 1 are a pair.
        labels: of the images, for a conditional flow.
        steps: images of a line, both ends included.
        temperature: None mixes every latent by eq. 16, so that the ends are the
            images themselves. A number mixes the top only, as `pairs` does, and draws
            the other parts once for the whole line.
        seed: of the noise.

    Returns:
        uint8 [n * steps, height, width, channels], line by line.

    Raises:
        ValueError: an odd number of images, or fewer than two steps.
    """
    if len(images) % 2 or not len(images) or steps < 2:
        raise ValueError(
            f"{len(images)} images and {steps} steps: expected an even number of "
            "images and at least two steps"
        )
    count = len(images) // 2
    noise, draw = jax.random.split(jax.random.key(seed))
    cond = sampler.condition(labels)
    z = sampler.encode(images, noise, cond)
    alpha = jnp.tile(jnp.linspace(0.0, 1.0, steps), count)

    def ends(part: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return part[0::2].repeat(steps, axis=0), part[1::2].repeat(steps, axis=0)

    def line(part: np.ndarray) -> np.ndarray:
        first, last = ends(part)
        mixed = interpolate.norm_corrected(jnp.asarray(first), jnp.asarray(last), alpha)
        return np.asarray(mixed)

    mixed = None if cond is None else _mixed(*ends(cond), alpha)
    if temperature is None:
        return sampler.decode(tuple(line(part) for part in z), mixed).images
    drawn = sampler.draw(draw, (count, *images.shape[1:]), temperature)
    fresh = tuple(part.repeat(steps, axis=0) for part in drawn[:-1])
    return sampler.decode((*fresh, line(z[-1])), mixed).images


def manifold(
    sampler: Sampler,
    images: np.ndarray,
    labels: np.ndarray | None = None,
    *,
    size: int = 8,
    turn: float = 0.25,
    seed: int = 0,
) -> np.ndarray:
    """A square lattice over the manifold through the latents of four images.

    phi grows downwards and phi' to the right. Over a quarter turn the four images are
    the corners of the square; over a full turn its ends meet.

    Args:
        sampler: the flow.
        images: uint8 [4, height, width, channels].
        labels: of the images, for a conditional flow.
        size: images a side.
        turn: how far each angle goes, as a part of the full turn.
        seed: of the dequantisation.

    Returns:
        uint8 [size * size, height, width, channels], line by line.

    Raises:
        ValueError: not four images.

    Reference: Dinh et al. (2017), Density estimation using Real NVP.
    """
    if len(images) != 4:
        raise ValueError(f"{len(images)} images: expected four, the corners")
    # The end of a full turn is its beginning and would be drawn twice.
    angles = np.linspace(0, 2 * math.pi * turn, size, endpoint=turn < 1)
    phi, phi_prime = (
        jnp.asarray(angle.ravel(), jnp.float32)
        for angle in np.meshgrid(angles, angles, indexing="ij")
    )

    def lattice(part: np.ndarray) -> np.ndarray:
        corners = [jnp.asarray(part[i : i + 1].repeat(size**2, 0)) for i in range(4)]
        return np.asarray(interpolate.four_point(corners, phi, phi_prime))

    cond = sampler.condition(labels)
    z = sampler.encode(images, jax.random.key(seed), cond)
    mixed = None
    if cond is not None:
        corners = np.eye(4, dtype=np.float32)
        mixed = lattice(corners) ** 2 @ cond
    return sampler.decode(tuple(lattice(part) for part in z), mixed).images


def _mixed(first: np.ndarray, last: np.ndarray, alpha: jax.Array) -> np.ndarray:
    straight = interpolate.linear(jnp.asarray(first), jnp.asarray(last), alpha)
    return np.asarray(straight)
