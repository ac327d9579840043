"""A model of super-resolution whose images are known, and tiny test images."""

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from configs import common
from fdnf.data.super_resolution import Benchmark, Pairs
from fdnf.evaluation.scorers.fidelity import Judge
from fdnf.metrics import backbones, lpips
from fdnf.ops import resize
from fdnf.students.base import Student
from fdnf.train import preprocess
from fdnf.train.preprocess import SuperResolution
from fdnf.train.teachers import Trained

SCALE = 4


class Noisy(Student):
    """Pixels repeated, plus `gain` times the noise; low resolution has even sides."""

    multiple = 2 * SCALE

    def latent_shapes(self, event):
        if any(side % (2 * SCALE) for side in event[:2]):
            raise ValueError(f"{event}: expected even low-resolution sides")
        return (tuple(event),)

    @nn.compact
    def __call__(self, z, cond=None):
        gain = self.param("gain", nn.initializers.ones, ())
        return cond.repeat(SCALE, axis=1).repeat(SCALE, axis=2) + gain * z[0]


class Plain(Noisy):
    """Pixels repeated, and no noise to draw."""

    def latent_shapes(self, event):
        return ()

    @nn.compact
    def __call__(self, z, cond=None):
        gain = self.param("gain", nn.initializers.ones, ())
        return gain * cond.repeat(SCALE, axis=1).repeat(SCALE, axis=2)


def trained(*gains, seed=0, flow=None, scale=SCALE):
    """A workdir's worth of runs, one gain a run."""
    config = common.super_resolution()
    config.seed = seed
    config.eval.update(samples=3, sample_crop=16, strips=2, time_repeats=1, images=0)
    variables = {"params": {"gain": np.array(gains, np.float32)}, "constants": {}}
    return of(flow or Noisy(), variables, config, scale)


def of(flow, variables, config=None, scale=SCALE):
    prepared = SuperResolution(scale, 16)
    meta = {"event": (16, 16, 3), "preprocess": preprocess.describe(prepared)}
    return Trained(flow, variables, config or common.super_resolution(), dict(meta))


def data():
    """One benchmark of 16x24 pixels, and another that has an odd low resolution."""
    sizes = {"even": ((16, 24), (24, 16), (16, 24)), "odd": ((20, 24),)}
    rng = np.random.default_rng(0)
    benchmarks = []
    for name, shapes in sizes.items():
        hr = [
            resize.upscale_uint8(rng.integers(0, 256, (h // 4, w // 4, 3), np.uint8), 4)
            for h, w in shapes
        ]
        lr = [resize.downscale_uint8(image, SCALE) for image in hr]
        names = tuple(f"{name}_{i}" for i in range(len(hr)))
        benchmarks.append(Benchmark(name, names, tuple(hr), tuple(lr)))
    tiles = np.zeros((1, 16, 16, 3), np.uint8)
    return Pairs(
        "tiny",
        *(tiles, tiles[:, ::4, ::4], tiles, tiles[:, ::4, ::4]),
        test=tuple(benchmarks),
        source="smooth noise",
        scale=SCALE,
    )


def metric():
    """VGG16's layers with two filters each, of random weights."""
    rng = np.random.default_rng(1)
    layers, inputs = [], 3
    for _ in range(13):
        kernel = rng.standard_normal((3, 3, inputs, 2), np.float32) / 3
        layers.append(backbones.Convolution(kernel, np.full(2, 0.1, np.float32)))
        inputs = 2
    heads = tuple(np.ones(2, np.float32) for _ in range(5))
    params = lpips.Params(tuple(layers), heads)
    return lpips.Metric("pdist_vgg16@00000000", "vgg16", "0" * 64, params)


def judge():
    return Judge(metric(), ("judged by random weights",))


def to_pixels(x):
    return np.asarray(jnp.clip(jnp.round(255 * x), 0, 255)).astype(np.uint8)
