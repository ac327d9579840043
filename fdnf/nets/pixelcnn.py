"""The weights of a causal U-Net, as a Flax module."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fdnf.nets import causal_unet
from fdnf.nets.causal_unet import Blocks, Halving, Layer, Stage, Stream, Weights
from fdnf.types import Context

Images = Float[Array, "batch height width channels"]
BiasInit = Callable[[Array], Array]
Shape = tuple[int, ...]


class CausalUNet(nn.Module):
    """PixelCNN++'s network: outputs of a pixel see only the pixels before it.

    Gated residual blocks with concatenated ELUs in a vertical and a horizontal stream,
    shortcuts between the way down in resolution and the way up. Windows are 2 x 3 in
    the vertical stream and 2 x 2 in the horizontal one, so boundaries need no masks.
    Weight normalisation and dropout of the original are left out.

    Args:
      features: channels of each stream.
      blocks: gated blocks of each stage on the way down, and on the way up one more
        but for the coarsest.
      stages: resolutions, each half of the one before (rounded up); 1 for none but
        the image's own.

    Context is one vector an image, which enters every block before its gate.

    Reference: Salimans et al. (2017), section 2.4; van den Oord et al. (2016),
    Conditional image generation with PixelCNN decoders, section 2.2 and 2.3.
    """

    features: int = 32
    blocks: int = 3
    stages: int = 3

    @nn.compact
    def weights(
        self,
        x: Images,
        outputs: int,
        cond: Context | None = None,
        bias_init: BiasInit | None = None,
    ) -> Weights:
        """The network's weights, made on the first call.

        Args:
          x: used for its channels; in `init` also for `bias_init`.
          outputs: numbers per pixel.
          cond: context; makes biases one row an image.
          bias_init: in `init`, outputs of the network without its last bias -> the
            last bias `[outputs]`.

        Raises:
          ValueError: for sizes below 1, or a context that is no vector.
        """
        self._check(cond)
        channels, n = x.shape[-1] + 1, self.features
        above = _one_by_one(self._layers("above", 1, (2, 3, channels, n)))
        vertical = Stream(tuple(above), self._stages("vertical", 3, cond))
        above = _one_by_one(self._layers("before_above", 1, (1, 3, channels, n)))
        left = _one_by_one(self._layers("before_left", 1, (2, 1, channels, n)))
        first = (*above, *left)
        horizontal = Stream(first, self._stages("horizontal", 2, cond))
        (last,) = _one_by_one(self._layers("output", 1, (1, 1, n, outputs), 0.01))
        if bias_init is not None and self.is_initializing():
            bias = bias_init(
                causal_unet.evaluate(Weights(vertical, horizontal, last), x)
            )
            self.put_variable("params", "output_bias", bias[None])
            last = Layer(last.kernel, bias[None])
        return Weights(vertical, horizontal, last)

    def __call__(
        self, x: Images, outputs: int, cond: Context | None = None
    ) -> Float[Array, "batch height width outputs"]:
        """All outputs in one pass."""
        return causal_unet.evaluate(self.weights(x, outputs, cond), x)

    def _check(self, cond: Context | None) -> None:
        if min(self.features, self.blocks, self.stages) < 1:
            raise ValueError(
                f"features={self.features}, blocks={self.blocks}, stages={self.stages}:"
                " expected at least 1 of each"
            )
        if cond is not None and cond.ndim != 2:
            raise ValueError(
                f"condition of shape {cond.shape}: expected one vector an image, such "
                "as its class as a one-hot vector"
            )

    def _kernel(self, name: str, count: int, shape: Shape, scale: float = 1.0) -> Array:
        start = nn.initializers.variance_scaling(
            scale, "fan_in", "truncated_normal", batch_axis=(0,)
        )
        return self.param(f"{name}_kernel", start, (count, *shape), jnp.float32)

    def _layers(self, name: str, count: int, shape: Shape, scale: float = 1.0) -> Layer:
        """Stacked layers of equal shape; one parameter, so that init compiles fast."""
        kernel = self._kernel(name, count, shape, scale)
        zeros = nn.initializers.zeros
        bias = self.param(f"{name}_bias", zeros, (count, shape[-1]), jnp.float32)
        return Layer(kernel, bias[:, None])

    def _stages(
        self, name: str, columns: int, cond: Context | None
    ) -> tuple[Stage, ...]:
        n, horizontal = self.features, columns == 2
        ups = [self.blocks + (s < self.stages - 1) for s in range(self.stages)]
        # Stage after stage, the way down and the way up.
        sizes = [size for up in ups for size in (self.blocks, up)]
        inner = self._layers(f"{name}_inner", sum(sizes), (2, columns, 2 * n, n))
        # The gates start nearly shut, so that a deep stack starts as its shortcuts.
        shape = (2, columns, 2 * n, 2 * n)
        outer = self._layers(f"{name}_outer", sum(sizes), shape, 0.01)
        if cond is not None:
            shape = (cond.shape[-1], 2 * n)
            context = self._kernel(f"{name}_context", sum(sizes), shape, 0.01)
            added = jnp.einsum("bi,kio->kbo", cond, context, precision="highest")
            outer = Layer(outer.kernel, outer.bias + added)
        blocks = Blocks(inner, outer, None, None)
        if horizontal:
            kernel = self._kernel(f"{name}_vertical", sum(sizes), (2 * n, n))
            blocks = blocks._replace(vertical=kernel)
        parts = _cut(blocks, sizes)
        skips = _cut(self._kernel(f"{name}_skip", sum(ups), (2 * n, n)), ups)
        halvings: list[Halving | None] = [None] * self.stages
        if self.stages > 1:
            count = self.stages - 1
            shrink = self._layers(f"{name}_shrink", count, (2, columns, n, n))
            # A pixel of twice the resolution sees one of the four taps.
            grow = self._layers(f"{name}_grow", count, (2, 2, n, n), 4.0)
            pairs = zip(_one_by_one(shrink), _one_by_one(grow), strict=True)
            halvings[:-1] = [Halving(*pair) for pair in pairs]
        return tuple(
            Stage(down, up._replace(skip=skip), halving)
            for down, up, skip, halving in zip(
                parts[::2], parts[1::2], skips, halvings, strict=True
            )
        )


def _cut(stacked: Any, sizes: list[int]) -> list[Any]:
    """Along the first axis; the gradient is one concatenation, no sum of pads."""
    leaves, tree = jax.tree.flatten(stacked)
    cut = [jnp.split(leaf, np.cumsum(sizes)[:-1]) for leaf in leaves]
    return [tree.unflatten(parts) for parts in zip(*cut, strict=True)]


def _one_by_one(layers: Layer) -> list[Layer]:
    cut = _cut(layers, [1] * len(layers.kernel))
    return [jax.tree.map(lambda leaf: leaf[0], layer) for layer in cut]
