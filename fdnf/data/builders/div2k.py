"""DIV2K and Flickr2K: photographs of about two megapixels.

Agustsson and Timofte (2017), 900 of them; Lim et al. (2017), 2,650.
"""

from io import BytesIO

import tensorflow_datasets as tfds

from fdnf.data.builders import encoded

BASE = "https://data.vision.ee.ethz.ch/cvl/DIV2K"


class Pictures(encoded.Encoded):
    """A builder of high-resolution images, PNG files."""

    WITHOUT = (
        "data.name='photographs' is super-resolution on images that installed packages"
        " carry."
    )

    @classmethod
    def features(cls) -> dict[str, tfds.features.FeatureConnector]:
        """The image, whose bytes stay as they are."""
        shape = (None, None, 3)
        return {"image": tfds.features.Image(shape=shape, encoding_format="png")}

    def example(self, content: bytes) -> dict:
        """The image's file.

        Raises:
            ValueError: If it does not begin as a PNG file does.
        """
        if not content.startswith(b"\x89PNG\r\n\x1a\n"):
            raise ValueError("it is no PNG file")
        # TFDS writes files as they are, and would encode arrays with TensorFlow.
        return {"image": BytesIO(content)}


class Div2kHr(Pictures):
    """DIV2K in high resolution; sizes and checksums are those that TFDS registers."""

    VERSION = tfds.core.Version("1.0.0")
    TITLE = "DIV2K"
    ARCHIVES = {
        "train": encoded.Archive(
            "DIV2K_train_HR.zip",
            (f"{BASE}/DIV2K_train_HR.zip",),
            folder="DIV2K_train_HR",
            first="0001.png",
            suffix=".png",
            count=800,
            size=3_530_603_713,
            sha256="9d0b9c463f6e35b6c62cc6a930ee2224f670b34c1df841a57670f9acf0f6c335",
        ),
        "validation": encoded.Archive(
            "DIV2K_valid_HR.zip",
            (f"{BASE}/DIV2K_valid_HR.zip",),
            folder="DIV2K_valid_HR",
            first="0801.png",
            suffix=".png",
            count=100,
            size=448_993_893,
            sha256="20dd31fd84d777bc1cf5d6b7654a3f569c0aec74458ae094122ad1d0489900fc",
        ),
    }


class Flickr2kHr(Pictures):
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
