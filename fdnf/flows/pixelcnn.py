"""PixelCNN++ with Gaussian conditionals as a flow, and its inverse."""

from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from fdnf.bijectors.base import Bijector
from fdnf.bijectors.combinators import Chain, Invert, Reverse
from fdnf.bijectors.pixel_affine import PixelAffine
from fdnf.bijectors.pixel_passes import PixelPasses
from fdnf.flows.base import Latents, StackFlow
from fdnf.nets.pixelcnn import CausalUNet
from fdnf.ops.entering import Made
from fdnf.types import Context, Variables

# Of height and of width: the last pixel becomes the first.
_TURN = (Reverse(1), Reverse(2))


class PixelCNN(StackFlow):
    """Gaussian sub-pixels given those before them; densities in one pass.

        variables = flow.init(key, x)  # x [batch, height, width, channels]: data
        flow.apply(variables, x, method="log_prob")  # nats, [batch]
        flow.apply(variables, x, method="encode")  # .z .levels .log_det
        flow.apply(variables, z, method="decode")  # .x .log_det; a tuple z
        flow.apply(variables, key, (n, height, width, channels), method="sample")

    `fdnf.fit(flow, x)` trains one. A condition, one row for each of x, follows x.

    Args:
      steps: how many in a row; every other one takes the pixels in reverse order, and
        that is undone in levels and latents. One is the model of the literature.
      features: channels of the network's streams.
      blocks: gated blocks of a stage.
      stages: resolutions of the network, each half of the one before.
      bound: largest |log-scale|.
      inverse: method of the sequential direction, see `pixel_affine.solve`.
      tolerance: of the iterative method, and of gradients through the sequential
        direction.

    Reference: Salimans et al. (2017); Huang et al. (2019), section 4.1.2.
    """

    takes_statistics: ClassVar[bool] = True

    steps: int = 1
    features: int = 32
    blocks: int = 3
    stages: int = 3
    bound: float = 5.0
    inverse: str = "auto"
    tolerance: float = 1e-6

    event_axes = ("height", "width", "channels")

    def _made_with(self, params: Any) -> Made | None:
        first = params["stack"]["parts_0"]
        first = first.get("bijector", first)
        # One that refines a guess sees it beside the noise.
        net, seen = (first["net"], 1) if "net" in first else (first["nets_0"], 2)
        cond = net.get("vertical_context_kernel")
        # Beside the channels there is one that tells the image from its border.
        channels = (net["above_kernel"].shape[-2] - 1) // seen
        return Made((None, None, channels), None if cond is None else (cond.shape[-2],))

    def _affine(self) -> Bijector:
        net = CausalUNet(self.features, self.blocks, self.stages)
        return PixelAffine(net, self.bound, self.inverse, self.tolerance)

    def _stack(self) -> Chain:
        if self.steps < 1:
            raise ValueError(f"steps={self.steps}: expected at least 1")
        straight = [self._affine() for _ in range(self.steps)]
        return Chain(
            tuple(
                Chain((*_TURN, part, *_TURN)) if i % 2 else part
                for i, part in enumerate(straight)
            )
        )


class PixelIAF(PixelCNN):
    """The same network the other way round: samples in one pass.

        variables = flow.init(key, x)  # x [batch, height, width, channels]: data
        flow.apply(variables, x, method="log_prob")  # nats, [batch]
        flow.apply(variables, x, method="encode")  # .z .levels .log_det
        flow.apply(variables, z, method="decode")  # .x .log_det; a tuple z
        flow.apply(variables, key, (n, height, width, channels), method="sample")

    `fdnf.fit(flow, x)` trains one. A condition, one row for each of x, follows x.

    PixelCNN with each step inverted, and nothing more: x_t = (z_t - m(z_{<t})) /
    sigma(z_{<t}). With several passes each network but the first also sees what the one
    before it made of z, see `PixelPasses`; densities then take up to as many rounds of
    all passes as there are pixels.

    Args:
      passes: networks in a row that each step samples by; 1 is the model of the
        literature.
      inherits: whether a student of several passes starts with the network of its
        teacher in each of them.

    Reference: Huang et al. (2019), section 4.1.2; Kingma et al. (2016).
    """

    passes: int = 1
    inherits: bool = True

    def _affine(self) -> Bijector:
        if self.passes == 1:
            return Invert(super()._affine())
        settings = self.features, self.blocks, self.stages, self.passes
        return Invert(PixelPasses(*settings, self.bound, self.tolerance))

    def _decode(self, z: Latents, cond: Context | None):
        """As of any stack, with the images of the passes before the last."""
        if self.passes == 1:
            return super()._decode(z, cond)
        u, log_det, levels = z[0], jnp.zeros(len(z[0]), z[0].dtype), []
        for part in reversed(self.stack.parts[1:]):
            levels.insert(0, u)
            u, change = part.inverse(u, cond)
            log_det += change
        # Of the step beside the data: what others sample by passes is not the image.
        images, change = self.stack.parts[0].bijector.forward_by_passes(u, cond)
        return images[-1], log_det + change, (u, *levels), images[:-1]

    def inherit(self, variables: Variables, teacher: Variables) -> Variables:
        """The student's variables with its teacher's network in every pass.

        As it starts, the student then makes `passes` rounds of Jacobi's iteration for
        the teacher's inverse. A student of one pass is told the noise in place of the
        image, of which that network makes nothing of use: it inherits nothing.

        Args:
          variables: the student's own, as `init` made them; not changed.
          teacher: variables of a `PixelCNN` with the student's attributes.

        Raises:
          ValueError: for a teacher of other steps or another network.
        """
        if self.passes == 1 or not self.inherits:
            return variables
        own = variables["params"]["stack"]
        known = isinstance(teacher, Mapping) and teacher.get("params")
        theirs = known.get("stack", {}) if known else {}
        stack = {name: _passes(own[name], theirs.get(name, {})) for name in own}
        shapes = [jax.tree.map(jnp.shape, tree) for tree in (own, stack)]
        if theirs.keys() != own.keys() or shapes[0] != shapes[1]:
            raise ValueError(
                f"the teacher's network does not fit a student with steps={self.steps},"
                f" features={self.features}, blocks={self.blocks}, stages={self.stages}"
                ": give both the same model.args but for passes, or set inherits=False"
            )
        return {**variables, "params": {**variables["params"], "stack": stack}}


def _passes(own: Any, teacher: Any) -> Any:
    """A step's parameters, with those of the teacher's network in every pass."""
    if "bijector" in own:
        net = _widened(teacher.get("net", {}))
        return {"bijector": {name: net for name in own["bijector"]}}
    # A step of the reverse order stands between turns.
    return {name: _passes(part, teacher.get(name, {})) for name, part in own.items()}


def _widened(net: Any) -> Any:
    """The network that sees noise behind the image, and makes nothing of it."""
    widened = dict(net)
    for name in ("above_kernel", "before_above_kernel", "before_left_kernel"):
        if name in net:
            # The last channel tells the image from its border.
            image, ones = net[name][..., :-1, :], net[name][..., -1:, :]
            parts = [image, jnp.zeros_like(image), ones]
            widened[name] = jnp.concatenate(parts, axis=-2)
    return widened
