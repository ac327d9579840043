"""What judges enlarged images: fidelity always, LPIPS where its weights can be had."""

import logging
import os
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fdnf.metrics import backbones, image, lpips
from fdnf.metrics.lpips import Metric
from fdnf.metrics.weights import MissingWeightsError, WeightsError
from fdnf.train.settings import ConfigError

PSNR, SSIM, LR_PSNR, DIVERSITY = "psnr", "ssim", "lr_psnr", "diversity"
CONVENTIONS = (
    "PSNR (dB) and SSIM are of 8-bit RGB, all pixels, no luma and no cut border. SSIM "
    "has a uniform 7x7 window and sample covariances, and is averaged over channels "
    "(scikit-image's default). LR-PSNR (dB) is that of the result's antialiased "
    "bicubic reduction, rounded to 8 bits, against the low-resolution image."
)

_log = logging.getLogger(__name__)
_psnr = jax.jit(image.psnr)


class Judge(NamedTuple):
    """Scores of enlarged images.

    Attributes:
        metric: the perceptual distance, None without weights.
        notes: what tables say of it.
    """

    metric: Metric | None
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str | None:
        """What the distance may be called: "lpips_alex", or another."""
        return self.metric and self.metric.name

    def fidelity(
        self, sr: np.ndarray, hr: np.ndarray, lr: np.ndarray
    ) -> dict[str, float]:
        """Scores of one image.

        Args:
            sr: the result, uint8 `[height, width, 3]`.
            hr: what it should be, likewise.
            lr: what it was made of, uint8 `[height / scale, width / scale, 3]`.

        Returns:
            PSNR and LR-PSNR in dB, inf for equal images; SSIM; and the perceptual
            distance under its name, but for images that are too small for it.
        """
        x, y = floats(sr[None]), floats(hr[None])
        found = {
            PSNR: float(_psnr(x, y)[0]),
            SSIM: float(image.ssim_uniform7(x, y)[0]),
            LR_PSNR: float(image.lr_psnr(sr, lr)),
        }
        if self.metric is not None and self._sees(sr):
            found[self.metric.name] = float(self.metric(x, y)[0])
        return found

    def diversity(self, samples: np.ndarray) -> float | None:
        """Mean distance of two of the samples, None where it cannot be told.

        Args:
            samples: uint8 `[n, height, width, 3]`, of one low-resolution image.
        """
        metric = self.metric
        if metric is None or len(samples) < 2 or not self._sees(samples[0]):
            return None
        x = floats(samples)
        return float(lpips.diversity(metric.params, x, net=metric.net))

    def _sees(self, picture: np.ndarray) -> bool:
        assert self.metric is not None
        return min(picture.shape[:2]) >= backbones.SMALLEST[self.metric.net]


def of(evaluation: Any) -> Judge:
    """The judge that the `eval` section asks for.

    Args:
        evaluation: read are `lpips`, the network, and `weights`, the path of its
            weights, empty for those of the installed package.

    Raises:
        ConfigError: for an unknown network, or a file that holds no such weights.
    """
    path = os.path.expandvars(os.path.expanduser(evaluation.weights))
    try:
        metric = lpips.named(evaluation.lpips, path or None)
    except MissingWeightsError as error:
        _log.warning("no perceptual distance: %s", error)
        return Judge(None, (f"LPIPS and diversity are not taken: {error}",))
    except (WeightsError, ValueError) as error:
        raise ConfigError(f"eval.lpips, eval.weights: {error}") from error
    note = (
        f"LPIPS is {metric.name}, weights of sha256 {metric.sha256[:8]}, of the whole "
        "image."
    )
    return Judge(metric, (note,))


def floats(pixels: np.ndarray) -> jax.Array:
    """8-bit values in [0, 1].

    Raises:
        ValueError: for other types than uint8.
    """
    if pixels.dtype != np.uint8:
        raise ValueError(f"images of {pixels.dtype}: expected uint8, 0 to 255")
    return jnp.asarray(pixels, jnp.float32) / 255.0
