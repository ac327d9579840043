"""Low-resolution images of any size to high-resolution ones, by trained models.

A program is compiled for each size of image. Teacher and students given one key, image
and temperature share their noise.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fdnf.evaluation.models import sampler
from fdnf.evaluation.models.sampler import Decoded
from fdnf.ops import rows
from fdnf.train.preprocess import SuperResolution
from fdnf.train.teachers import Trained


class Upscaler(NamedTuple):
    """A model, its variables, and what was done to the images it was trained on.

    Attributes:
        flow: a flow or a student; hashable.
        variables: of one run.
        preprocess: of its data.
        multiple: of which the sides of low-resolution images have to be multiples;
            others are continued by their mirror image, below and on the right, and the
            result is cut.
    """

    flow: Any
    variables: Any
    preprocess: SuperResolution
    multiple: int

    @property
    def draws(self) -> bool:
        """Whether there is noise, and thus more than one result for an image."""
        scale = self.preprocess.scale
        side = scale * self.multiple
        return bool(self.flow.latent_shapes((side, side, 3)))

    def __call__(self, lr: np.ndarray, key: jax.Array, temperature: float) -> Decoded:
        """Enlarges images of one size.

        Args:
            lr: uint8 `[n, height, width, 3]`.
            key: of the noise.
            temperature: standard deviation of the noise.

        Returns:
            uint8 images of `scale` times the height and width, and how far each went
            beyond what is an image.
        """
        arguments = self.arguments(lr, key, temperature)
        images, reach = upscale(self.flow, self.preprocess, *arguments)
        height, width = (self.preprocess.scale * side for side in lr.shape[1:3])
        return Decoded(np.asarray(images)[:, :height, :width], np.asarray(reach))

    def arguments(self, lr: np.ndarray, key: jax.Array, temperature: float) -> Any:
        """What `upscale` takes after the model: variables, padded images, key, number.

        Raises:
            ValueError: if `lr` is no batch of uint8 images.
        """
        if lr.ndim != 4 or lr.dtype != np.uint8:
            raise ValueError(
                f"low-resolution images of shape {lr.shape} and type {lr.dtype}: "
                "expected uint8 [n, height, width, 3]"
            )
        pad = [(0, -side % self.multiple) for side in lr.shape[1:3]]
        padded = np.pad(lr, ((0, 0), *pad, (0, 0)), mode="reflect")
        return self.variables, jnp.asarray(padded), key, jnp.float32(temperature)


def of(trained: Trained, run: int = 0, *, fold: bool = True) -> Upscaler:
    """The upscaler of one run of a model.

    Args:
        trained: the model, trained on images and their low-resolution versions.
        run: which of its runs.
        fold: whether an SRFlow is made ready for sampling, which changes its
            results by rounding only.

    Raises:
        ValueError: if it was trained on other data.
    """
    preprocess = trained.preprocess
    if not isinstance(preprocess, SuperResolution):
        raise ValueError(
            f"{type(trained.flow).__name__} was trained on {preprocess}: expected a "
            "model of images given low-resolution ones"
        )
    model = sampler.of(trained, run, fold=fold)
    times = getattr(model.flow, "multiple", 1)
    multiple = max(1, times // preprocess.scale)
    return Upscaler(model.flow, model.variables, preprocess, multiple)


@functools.partial(jax.jit, static_argnames=("flow", "preprocess"))
def upscale(flow, preprocess, variables, lr, key, temperature):
    """Noise, decoding and rounding: uint8 images and largest |x|, compiled.

    A value that is not a number becomes black, and its image's reach is nan.
    """
    count, height, width, channels = lr.shape
    shape = (count, preprocess.scale * height, preprocess.scale * width, channels)
    z = flow.apply(variables, key, shape, temperature, method="draw")
    cond = preprocess.condition(lr, lr)
    x = flow.apply(variables, z, cond, method="decode").x
    reach = rows.largest(x)
    return preprocess.to_pixels(jnp.where(jnp.isnan(x), 0.0, x)), reach
