"""Tiny image sets in the forms the real ones come in."""

import gzip
import io
import struct

import numpy as np
from PIL import Image

from fdnf.data import mnist


def encode(pixels, form="PNG", **options):
    """One image, uint8 [height, width, 1 or 3], as a file's bytes."""
    file = io.BytesIO()
    Image.fromarray(pixels.squeeze()).save(file, form, **options)
    return file.getvalue()


def random(rng, count, *event):
    return rng.integers(0, 256, (count, *event), dtype=np.uint8)


def pack(streams, prefix=""):
    """Arrays of an .npz file that holds encoded images end to end."""
    return {
        f"{prefix}jpeg_bytes": np.frombuffer(b"".join(streams), np.uint8),
        f"{prefix}offsets": np.cumsum([0, *map(len, streams)]),
    }


def write_idx(path, array, magic=None):
    magic = magic or bytes([0, 0, 8, array.ndim])
    sizes = struct.pack(f">{array.ndim}I", *array.shape)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(magic + sizes + array.tobytes(), mtime=0))
    return path


def write_idx_set(directory, train, test):
    """Images [n, 28, 28] and labels of train and test, as MNIST's four files."""
    for name, array in zip(mnist.FILES, (*train, *test), strict=True):
        write_idx(directory / name, array)
    return directory
