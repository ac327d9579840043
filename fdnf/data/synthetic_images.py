"""Images whose exact probability is known: noisy templates, for tests."""

from typing import NamedTuple

import numpy as np

from fdnf.data import images
from fdnf.data.images import Images
from fdnf.data.tabular import DataError


class Templates(NamedTuple):
    """A mixture: choose a template, then draw each value by itself.

    `p(x) = sum_k w_k prod_i Binomial(x_i; levels - 1, m_ki)`.

    Attributes:
        weight: `w`, float64 `[classes]`, sums to 1.
        mean: `m`, float64 `[classes, height, width, channels]`, between 0 and 1: the
            template, a smooth picture.
        levels: Values are whole numbers from 0 to `levels - 1`.
    """

    weight: np.ndarray
    mean: np.ndarray
    levels: int

    def sample(
        self, rng: np.random.Generator, rows: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draws images, uint8, and the index of each one's template, int32."""
        labels = rng.choice(len(self.weight), rows, p=self.weight).astype(np.int32)
        pixels = rng.binomial(self.levels - 1, self.mean[labels]).astype(np.uint8)
        return pixels, labels

    def log_prob(self, x: np.ndarray) -> np.ndarray:
        """Log-probability in nats, float64 `[images]`, of images `[images, ...]`.

        Raises:
            DataError: If a value is not from 0 to `levels - 1`.
        """
        x = np.asarray(x).astype(np.int64).reshape(len(x), -1)
        trials = self.levels - 1
        if x.min() < 0 or x.max() > trials:
            raise DataError(
                f"Values from {x.min()} to {x.max()}; {self.levels} levels are 0 to"
                f" {trials}."
            )
        log_factorial = np.cumsum(np.log([1, *range(1, self.levels)]))
        ways = log_factorial[trials] - log_factorial[x] - log_factorial[trials - x]
        mean = self.mean.reshape(len(self.weight), -1)
        given = x @ np.log(mean).T + (trials - x) @ np.log1p(-mean).T
        return ways.sum(axis=1) + np.logaddexp.reduce(
            given + np.log(self.weight), axis=1
        )


def templates(
    event: tuple[int, ...], classes: int = 4, levels: int = 256, seed: int = 0
) -> Templates:
    """The distribution that `synthetic_images` draws from.

    Args:
        event: Height, width and channels.
        classes: Number of templates.
        levels: Number of values a pixel can have.
        seed: Of the templates; the same arguments give the same distribution.

    Returns:
        The distribution. Channels of a template are alike but not equal.
    """
    height, width, channels = event
    rng = np.random.Generator(np.random.PCG64([seed, *event, classes, levels]))
    # Waves of at most one and a half periods, some shared by the channels.
    rows = np.linspace(0, 1, height)[:, None, None, None]
    columns = np.linspace(0, 1, width)[:, None, None]
    waves = (classes, 1, 1, channels + 1, 3)
    down, right = rng.uniform(-1.5, 1.5, (2, *waves))
    phase = rng.uniform(0, 2 * np.pi, waves)
    fields = np.cos(2 * np.pi * (down * rows + right * columns) + phase).sum(axis=-1)
    logits = fields[..., :1] + 0.5 * fields[..., 1:]
    weight = rng.uniform(1, 2, classes)
    return Templates(weight / weight.sum(), 1 / (1 + np.exp(-logits)), levels)


def synthetic_images(
    data_dir: str | None = None,
    rows: int | None = None,
    size: int = 8,
    channels: int = 1,
    classes: int = 4,
    levels: int = 256,
    seed: int = 0,
) -> Images:
    """Images from `templates((size, size, channels), classes, levels, seed)`.

    Args:
        data_dir: Not used.
        rows: Training images, 2,000 by default; val and test have a quarter as many.
        size: Height and width.
        channels: Channels.
        classes: Templates, whose indices are the labels.
        levels: Number of values a pixel can have.
        seed: Of the templates and of the images.

    Returns:
        The data set.

    Raises:
        DataError: If a number is below 1, or `levels` not between 2 and 256.
    """
    del data_dir
    rows = 2_000 if rows is None else rows
    if min(rows, size, channels, classes) < 1:
        raise DataError(
            "synthetic_images: rows, size, channels and classes must be at least 1,"
            f" got rows={rows}, size={size}, channels={channels}, classes={classes}."
        )
    if not 2 <= levels <= 256:
        raise DataError(f"synthetic_images: levels={levels}; expected 2 to 256.")
    truth = templates((size, size, channels), classes, levels, seed)
    rng = np.random.Generator(np.random.PCG64([seed, size, channels, 1]))
    train, val, test = (
        truth.sample(rng, count) for count in (rows, -(-rows // 4), -(-rows // 4))
    )
    source = f"synthetic images, seed {seed}: exact probability known"
    return images.validate(
        Images(
            "synthetic_images",
            *(train[0], val[0], test[0]),
            source=source,
            labels=(train[1], val[1], test[1]),
            levels=levels,
        )
    )


def log_prob(
    x: np.ndarray, seed: int = 0, classes: int = 4, levels: int = 256
) -> np.ndarray:
    """Exact log-probability of synthetic images.

    Args:
        x: Images `[images, height, width, channels]`.
        seed: The seed that `synthetic_images` was given.
        classes: The same.
        levels: The same.

    Returns:
        Nats, float64 `[images]`. No model's mean over many images is higher, beyond
        chance: in bits per dimension, none is lower than `-nats / (dim ln 2)`.
    """
    return templates(x.shape[1:], classes, levels, seed).log_prob(x)
