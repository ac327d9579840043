"""The form every image data set has, and the checks it passes before training."""

import hashlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fdnf.data import cache, tabular
from fdnf.data.tabular import SPLITS, DataError

# A change to how pixels are decoded, cut or split needs a new one: caches carry it.
RECIPE = "v1"
# More than any set has; a number beyond is a mark of something else.
CLASSES = 2**16
Labels = tuple[np.ndarray, np.ndarray, np.ndarray]
STORED = (
    " Images stay whole numbers here; scaling and noise belong to training. Grey ones"
    " have one channel, [..., None]."
)


class Images(NamedTuple):
    """A data set of images in three splits.

    Attributes:
        name: The data set's name, as configs spell it.
        train: Training images, uint8 `[images, height, width, channels]`.
        val: Validation images, of the same form.
        test: Test images, of the same form.
        source: One line: what the images are, whole or subset, and which published
            figures they may be compared with.
        labels: Class numbers of the three splits, int32 `[images]` each, from 0; None
            if the set has none.
        levels: Values are whole numbers from 0 to `levels - 1`.
    """

    name: str
    train: np.ndarray
    val: np.ndarray
    test: np.ndarray
    source: str
    labels: Labels | None = None
    levels: int = 256

    @property
    def event(self) -> tuple[int, ...]:
        """Shape of one image: height, width, channels."""
        return self.train.shape[1:]

    @property
    def dim(self) -> int:
        """Number of values in one image."""
        return int(np.prod(self.event))

    @property
    def classes(self) -> int:
        """Number of classes: one more than the largest label; 0 without labels."""
        if self.labels is None:
            return 0
        return 1 + max(int(part.max()) for part in self.labels)


def validate(images: Images) -> Images:
    """Checks that the splits are uint8 images of one shape, in range, with labels.

    Args:
        images: The data set to check.

    Returns:
        The same data set, unchanged.

    Raises:
        DataError: At the first fault, naming the split and, for a value out of range,
            its image.
    """
    if not 2 <= images.levels <= 256:
        raise DataError(
            f"Data set '{images.name}': levels is {images.levels}; uint8 values have"
            " from 2 to 256."
        )
    if images.labels is not None and len(images.labels) != len(SPLITS):
        raise DataError(
            f"Data set '{images.name}': labels for {len(images.labels)} splits;"
            f" give one array each for {', '.join(SPLITS)}, or None."
        )
    for index, split in enumerate(SPLITS):
        where = f"Data set '{images.name}', split '{split}'"
        pixels = getattr(images, split)
        tabular.check_array(
            pixels, np.uint8, "[images, height, width, channels]", where, STORED
        )
        if pixels.shape[1:] != images.event:
            raise DataError(
                f"{where}: images are {pixels.shape[1:]}, but those of 'train' are"
                f" {images.event}; crop or resize them to one shape."
            )
        if pixels.max() >= images.levels:
            worst = int(pixels.reshape(len(pixels), -1).max(axis=1).argmax())
            raise DataError(
                f"{where}: image {worst} has the value {pixels[worst].max()}, but"
                f" levels={images.levels} allows 0 to {images.levels - 1}."
            )
        if images.labels is not None:
            _check_labels(images.labels[index], len(pixels), where)
    return images


def limit(images: Images, rows: int | None) -> Images:
    """Keeps the first `rows` training images, for experiments on little data.

    Args:
        images: The data set.
        rows: Number of training images to keep, or None for all of them.

    Returns:
        The data set with a shorter training split that says so in its source.

    Raises:
        DataError: If `rows` is not between 1 and the number there are.
    """
    kept = tabular.limit(images, rows, "images")
    if images.labels is None or kept is images:
        return kept
    return kept._replace(labels=(images.labels[0][:rows].copy(), *images.labels[1:]))


def hold_out(
    pixels: np.ndarray, labels: np.ndarray, part: float = 0.1
) -> tuple[np.ndarray, np.ndarray]:
    """Chooses the validation images of a set that was published without.

    The order is that of a keyed hash of each image, which is as good as a permutation
    from a fixed seed and does not depend on the order of the copy at hand: archives,
    TFDS and other copies of the same images give the same splits.

    Args:
        pixels: Images, uint8 `[images, ...]`.
        labels: Their classes `[images]`, which tell equal images apart.
        part: The share of images to hold out, from the end of that order.

    Returns:
        Indices of the images to train on and of those held out, both in that order.

    Raises:
        DataError: If there are too few images to hold any out.
    """
    count = int(part * len(pixels))
    if count == 0:
        raise DataError(f"{len(pixels)} images are too few to hold out {part:.0%}.")
    digests = b"".join(
        hashlib.blake2b(image.tobytes(), digest_size=8, key=b"fdnf").digest()
        for image in pixels
    )
    order = np.lexsort((labels, np.frombuffer(digests, ">u8")))
    return order[:-count], order[-count:]


def with_held_out(
    train: tuple[np.ndarray, np.ndarray], test: tuple[np.ndarray, np.ndarray]
) -> tuple[cache.Splits, Labels]:
    """Splits a published training set in two by `hold_out`.

    Args:
        train: Images and labels of the published training split.
        test: The same of the test split.

    Returns:
        Images of train, val and test, and their labels.
    """
    kept, held = hold_out(*train)
    pixels = (train[0][kept], train[0][held], test[0])
    return pixels, (train[1][kept], train[1][held], test[1])


def source_line(title: str, pixels: cache.Splits, counts: tuple[int, int]) -> str:
    """What a set with val held out of train is comparable with.

    Args:
        title: Its name in the literature.
        pixels: Images of train, val and test.
        counts: Training and test images of the published set.
    """
    found = (len(pixels[0]) + len(pixels[1]), len(pixels[2]))
    if found != counts:
        return (
            f"{title}, subset: {found[0]:,} training and {found[1]:,} test images of"
            f" {counts[0]:,} and {counts[1]:,}; not comparable with published figures"
        )
    return (
        f"{title}, full, {len(pixels[1]):,} of the training images held out as val;"
        " test compares with published figures"
    )


def kept(
    key: str, make: Callable[[], tuple[cache.Splits, Labels | None]], labelled: bool
) -> tuple[cache.Splits, Labels | None]:
    """Reads decoded images back, or makes them and keeps them.

    Args:
        key: What identifies the source; the recipe's version is added.
        make: Decodes: images of train, val and test, and their labels.
        labelled: Whether the set has labels.

    Returns:
        What `make` returns or returned the first time, labels as int32.
    """
    key = f"{key}-{RECIPE}"
    pixels = cache.load(key)
    labels = cache.load(f"{key}-labels") if labelled else None
    if pixels is None or (labelled and labels is None):
        pixels, labels = make()
        if labels is not None:
            first, second, third = (np.asarray(part, np.int32) for part in labels)
            labels = (first, second, third)
            cache.save(f"{key}-labels", labels)
        cache.save(key, pixels)
    return pixels, labels


def _check_labels(labels: Any, count: int, where: str) -> None:
    tabular.check_array(labels, np.int32, "[images]", f"{where}, labels")
    if labels.shape != (count,):
        raise DataError(
            f"{where}: labels have shape {labels.shape} for {count} images; give one"
            " label an image."
        )
    if labels.min() < 0:
        raise DataError(f"{where}: a label is {labels.min()}; classes count from 0.")
    if labels.max() >= CLASSES:
        raise DataError(
            f"{where}: a label is {labels.max():,}, which would make as many classes;"
            f" number them from 0, below {CLASSES:,}."
        )
