"""Flickr2K: 2,650 photographs of about two megapixels (Lim et al., 2017)."""

import tensorflow_datasets as tfds

from fdnf.data.builders import div2k, encoded


class Flickr2kHr(div2k.Pictures):
    """Flickr2K in high resolution.

    The archive's checksum is published nowhere: the first copy is trusted, its SHA-256
    is kept beside it, and the images are counted.
    """

    VERSION = tfds.core.Version("1.0.0")
    TITLE = "Flickr2K"
    ARCHIVES = {
        "train": encoded.Archive(
            "Flickr2K.tar",
            ("https://cv.snu.ac.kr/research/EDSR/Flickr2K.tar",),
            folder="Flickr2K_HR",
            first="000001.png",
            suffix=".png",
            count=2_650,
        ),
    }
