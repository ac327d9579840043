"""PixelCNN++ with Gaussian conditionals as a flow, and its inverse."""

from typing import Any, ClassVar

from fdnf.bijectors.base import Bijector
from fdnf.bijectors.combinators import Chain, Invert, Reverse
from fdnf.bijectors.pixel_affine import PixelAffine
from fdnf.flows.base import StackFlow
from fdnf.nets.pixelcnn import CausalUNet
from fdnf.ops.entering import Made

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
        net = first.get("bijector", first)["net"]
        cond = net.get("vertical_context_kernel")
        # Beside the channels there is one that tells the image from its border.
        channels = net["above_kernel"].shape[-2] - 1
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
    sigma(z_{<t}).

    Reference: Huang et al. (2019), section 4.1.2; Kingma et al. (2016).
    """

    def _affine(self) -> Bijector:
        return Invert(super()._affine())
