"""Weights of an Inception by a rule, so that no file of them has to be kept.

Numpy alone: the script that makes the golden values runs this beside PyTorch.
"""

import zlib

import numpy as np


def tensor(name, shape):
    """A tensor of PyTorch's state dict, drawn from a generator seeded by its name.

    RandomState's streams are frozen, unlike those of numpy's newer generators.
    """
    rng = np.random.RandomState(zlib.crc32(name.encode()))
    part = name.rsplit(".", 1)[-1]
    if part == "num_batches_tracked":
        return np.zeros(shape, np.int64)
    if part == "running_var" or (part == "weight" and len(shape) == 1):
        return rng.uniform(0.5, 1.5, shape).astype(np.float32)
    # He's scale keeps activations of one size through the depth.
    scale = (2 / np.prod(shape[1:])) ** 0.5 if part == "weight" else 0.1
    return (scale * rng.standard_normal(shape)).astype(np.float32)


def pictures(count, height, width, channels=3):
    """Smooth coloured noise, uint8."""
    rng = np.random.RandomState(5)
    coarse = rng.randint(0, 256, (count, 4, 4, channels)).repeat(8, 1).repeat(8, 2)
    noise = rng.randint(0, 64, (count, 32, 32, channels))
    tiles = -(-height // 32), -(-width // 32)
    large = np.tile((coarse * 3 + noise * 4) // 4, (1, *tiles, 1))
    return large[:, :height, :width].clip(0, 255).astype(np.uint8)
