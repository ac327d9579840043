"""A small classifier of the data set at hand, whose features judge its samples.

For digits and clothes, features of a network that was trained on photographs say
little. This one is trained on the training split alone, with its labels; the features
are its last hidden layer. Its checksum is part of the extractor's id: numbers over two
classifiers do not compare.
"""

import hashlib
import json
import os
import pathlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from flax import traverse_util
from jaxtyping import Array, Float

from fdnf import files
from fdnf.data.images import Images
from fdnf.metrics import weights
from fdnf.metrics.extractors import Extractor

FEATURES = 128
LEARNING_RATE = 2e-3
# Evaluations on the validation split in one training, and how many in a row may pass
# without a better one.
EVALUATIONS = 12
PATIENCE = 4
BATCH_SIZE = 128
EVALUATION_BATCH_SIZE = 500


class ClassifierError(ValueError):
    """A classifier cannot be trained on these data, or a stored one is not theirs."""


class Network(nn.Module):
    """Convolutions that halve the image down to 4 to 7 pixels, then two dense layers.

    Attributes:
        classes: number of outputs.
        features: width of the last hidden layer.
    """

    classes: int
    features: int = FEATURES

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch height width channels"]
    ) -> tuple[Float[Array, "batch classes"], Float[Array, "batch features"]]:
        """Logits, and the features that they are a linear function of."""
        halvings = max(1, int(np.log2(min(x.shape[1:3]) / 4)))
        strides = (1, 2) if halvings == 1 else (2,) * halvings
        x = 2 * x - 1
        for index, stride in enumerate(strides):
            width = min(32 << index, 128)
            x = nn.relu(nn.Conv(width, (3, 3), strides=(stride, stride))(x))
        x = nn.relu(nn.Dense(self.features)(x.reshape(len(x), -1)))
        return nn.Dense(self.classes)(x), x


class Classifier(NamedTuple):
    """A trained classifier.

    Attributes:
        data: name of the data set.
        data_sha256: of the training images and labels.
        levels: the images have values 0 to levels - 1.
        classes: number of classes.
        accuracy: share of the test split that is classified rightly, in [0, 1].
        params: of `Network(classes)`.
    """

    data: str
    data_sha256: str
    levels: int
    classes: int
    accuracy: float
    params: Any

    @property
    def sha256(self) -> str:
        """Checksum of the parameters: names, shapes and values."""
        digest = hashlib.sha256()
        for name, value in sorted(_flat(self.params).items()):
            digest.update(f"{name}{value.shape}".encode())
            digest.update(value.astype("<f4").tobytes())
        return digest.hexdigest()


def train(images: Images, *, seed: int = 0, steps: int = 1200) -> Classifier:
    """Trains on the training split until the validation split no longer gains.

    Adam on the cross entropy, with a cosine schedule; the parameters kept are those
    with the best validation accuracy.

    Args:
        images: a data set with labels.
        seed: of initialisation and batches.
        steps: at most.

    Returns:
        The classifier, with its accuracy on the test split.

    Raises:
        ClassifierError: the data have no labels.
    """
    if images.labels is None:
        raise ClassifierError(
            f"the data set '{images.name}' has no labels to train a classifier on: use"
            " another extractor, such as vgg16"
        )
    network = Network(images.classes)
    optimiser = optax.adamw(optax.cosine_decay_schedule(LEARNING_RATE, steps))
    scale = images.levels - 1

    @jax.jit
    def step(params: Any, state: Any, x: Array, labels: Array) -> tuple[Any, Any]:
        def loss(params: Any) -> Array:
            logits, _ = network.apply(params, x.astype(jnp.float32) / scale)
            return optax.softmax_cross_entropy_with_integer_labels(
                logits, labels
            ).mean()

        updates, state = optimiser.update(jax.grad(loss)(params), state, params)
        return optax.apply_updates(params, updates), state

    @jax.jit
    def predict(params: Any, x: Array) -> Array:
        logits, _ = network.apply(params, x.astype(jnp.float32) / scale)
        return logits.argmax(axis=-1)

    blank = jnp.zeros((1, *images.event), jnp.float32)
    params = network.init(jax.random.key(seed), blank)
    state = optimiser.init(params)
    batches = _batches(len(images.train), np.random.default_rng(seed))
    best, best_accuracy, since = params, -1.0, 0
    for done in range(1, steps + 1):
        rows = next(batches)
        params, state = step(params, state, images.train[rows], images.labels[0][rows])
        if done % max(1, steps // EVALUATIONS) and done != steps:
            continue
        accuracy = _accuracy(predict, params, images.val, images.labels[1])
        since += 1
        if accuracy > best_accuracy:
            best, best_accuracy, since = params, accuracy, 0
        if since >= PATIENCE:
            break
    return Classifier(
        images.name,
        _fingerprint(images),
        images.levels,
        images.classes,
        _accuracy(predict, best, images.test, images.labels[2]),
        jax.tree.map(np.asarray, best),
    )


def extractor(classifier: Classifier, batch_size: int = 256) -> Extractor:
    """The classifier's last hidden layer as a feature extractor.

    Args:
        classifier: a trained one.
        batch_size: images at once.

    Returns:
        The extractor `clf_<data>@<sha8 of the parameters>`, with 128 features.
    """
    network = Network(classifier.classes)

    def features(params: Any, x: Array) -> Array:
        logits_and_features: Any = network.apply(params, x)
        return logits_and_features[1]

    sha256 = classifier.sha256
    return Extractor(
        f"clf_{classifier.data}@{sha256[:8]}",
        sha256,
        network.features,
        features,
        classifier.params,
        classifier.levels,
        batch_size,
    )


def load_or_train(
    path: str | os.PathLike[str], images: Images, *, seed: int = 0, steps: int = 1200
) -> Classifier:
    """Reads the classifier of these data, or trains and keeps it.

    Args:
        path: an .npz file, made with its directory if it is absent.
        images: the data set.
        seed: as in `train`, where it comes to that.
        steps: likewise.

    Returns:
        The classifier.

    Raises:
        ClassifierError: the file holds a classifier of other data or is damaged, or
            the data have no labels.
    """
    path = pathlib.Path(path)
    if not path.exists():
        made = train(images, seed=seed, steps=steps)
        save(path, made)
        return made
    found = load(path)
    if (found.data_sha256, found.levels) != (_fingerprint(images), images.levels):
        raise ClassifierError(
            f"{path} is a classifier of '{found.data}', trained on other images than"
            f" those of '{images.name}' here: remove it, or give another path"
        )
    return found


def save(path: str | os.PathLike[str], classifier: Classifier) -> None:
    """Writes an .npz file, whole or not at all."""
    path = pathlib.Path(path)
    about = classifier._asdict() | {"sha256": classifier.sha256}
    del about["params"]
    arrays: dict[str, Any] = {"about": np.array(json.dumps(about))}
    with files.replacing(path) as file:
        np.savez(file, **arrays, **_flat(classifier.params))


def load(path: str | os.PathLike[str]) -> Classifier:
    """Reads what `save` wrote.

    Raises:
        ClassifierError: the file is damaged, or not a classifier's.
        MissingWeightsError: there is no such file.
    """
    try:
        arrays = weights.read(path).arrays
        about = json.loads(str(arrays.pop("about")))
        checksum = about.pop("sha256")
        params = traverse_util.unflatten_dict(arrays, sep="/")
        found = Classifier(**about, params=params)
    except (weights.WeightsError, KeyError, TypeError, ValueError) as error:
        raise ClassifierError(
            f"{path} is no readable classifier ({error}): remove it to train another"
        ) from None
    if found.sha256 != checksum:
        raise ClassifierError(
            f"{path} is damaged: its parameters have sha256 {found.sha256[:8]}..., and"
            f" {checksum[:8]}... was written; remove it to train another"
        )
    return found


def _flat(params: Any) -> dict[str, Any]:
    flat = traverse_util.flatten_dict(params, sep="/")
    return {str(name): np.asarray(value) for name, value in flat.items()}


def _batches(count: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Indices of batches without end, each image once in an epoch."""
    size = min(BATCH_SIZE, count)
    while True:
        order = rng.permutation(count)
        yield from (order[i : i + size] for i in range(0, count - size + 1, size))


def _accuracy(
    predict: Callable[[Any, Any], Array], params: Any, x: np.ndarray, labels: np.ndarray
) -> float:
    right = 0
    for start in range(0, len(x), EVALUATION_BATCH_SIZE):
        batch = x[start : start + EVALUATION_BATCH_SIZE]
        padding = ((0, EVALUATION_BATCH_SIZE - len(batch)), *[(0, 0)] * 3)
        found = np.asarray(predict(params, np.pad(batch, padding)))[: len(batch)]
        right += int((found == labels[start : start + len(batch)]).sum())
    return right / len(x)


def _fingerprint(images: Images) -> str:
    digest = hashlib.sha256(str(images.train.shape).encode())
    digest.update(images.train.tobytes())
    if images.labels is not None:
        digest.update(images.labels[0].astype("<i4").tobytes())
    return digest.hexdigest()
