"""LJSpeech: 13,100 clips of one reader, 24 hours (Ito and Johnson, 2017)."""

import numpy as np
import tensorflow_datasets as tfds

from fdnf.data import wav
from fdnf.data.builders import encoded
from fdnf.data.tabular import DataError


class LjspeechWav(encoded.Encoded):
    """LJSpeech 1.1; size and checksum are those that TFDS registers."""

    VERSION = tfds.core.Version("1.0.0")
    TITLE = "LJSpeech"
    WITHOUT = (
        "A directory ljspeech/ of some of its WAV files in the data directory would do;"
        " data.name='synthetic_speech' needs no files."
    )
    ARCHIVES = {
        "train": encoded.Archive(
            "LJSpeech-1.1.tar.bz2",
            ("https://data.keithito.com/data/speech/LJSpeech-1.1.tar.bz2",),
            folder="wavs",
            first="LJ001-0001.wav",
            suffix=".wav",
            count=13_100,
            size=2_748_572_632,
            sha256="be1a30453f28eb8dd26af4101ae40cbf2c50413b1bb21936cbcdc6fae3de8aa5",
        ),
    }

    @classmethod
    def features(cls) -> dict[str, tfds.features.FeatureConnector]:
        """The file's bytes and the number of samples in it."""
        file = tfds.features.Tensor(
            shape=(None,), dtype=np.uint8, encoding=tfds.features.Encoding.BYTES
        )
        return {"file": file, "length": tfds.features.Scalar(np.int64)}

    def example(self, content: bytes) -> dict:
        """The clip's file and length.

        Raises:
            ValueError: If it is not a WAV file of the published form.
        """
        samples, rate = wav.decode(content, "it")
        if rate != wav.LJSPEECH_RATE:
            raise DataError(f"it has {rate} samples a second")
        return {"file": np.frombuffer(content, np.uint8), "length": len(samples)}
