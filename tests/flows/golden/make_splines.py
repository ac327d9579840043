"""Makes the golden values of two small spline flows from nflows.

Run by hand, once, in an environment with PyTorch, which fdnf itself never imports:

    pip install torch nflows==0.14
    python tests/flows/golden/make_splines.py

The values in the repository were made with nflows 0.14, torch 2.13.0+cpu and numpy
2.4.6. Weights and rows are rounded to float16 and stored as such; everything is
computed in float64.

`maf` has 2 masked autoregressive blocks, each followed by a reversal; `coupling` has 4
couplings over alternating columns. All are splines of 8 bins on [-3, 3] with networks
of two hidden ReLU layers of 12 on rows of 5. Of each flow the file has

    <flow>/weight/<name>   nflows' own parameters
    <flow>/z               [row, column], latents of the rows `x`
    <flow>/log_prob        [row]
    <flow>/inverse         [row, column], data of the latents `x`
"""

import pathlib

import numpy as np
import torch
from nflows.distributions.normal import StandardNormal
from nflows.flows.base import Flow
from nflows.nn.nets import MLP
from nflows.transforms.autoregressive import (
    MaskedPiecewiseRationalQuadraticAutoregressiveTransform,
)
from nflows.transforms.base import CompositeTransform
from nflows.transforms.coupling import PiecewiseRationalQuadraticCouplingTransform
from nflows.transforms.permutations import ReversePermutation

HERE = pathlib.Path(__file__).parent
DIM, HIDDEN, ROWS = 5, 12, 32
SPLINE = {"num_bins": 8, "tails": "linear", "tail_bound": 3.0}


class Net(MLP):
    def forward(self, x, context=None):
        return super().forward(x)


def maf():
    parts = []
    for _ in range(2):
        block = MaskedPiecewiseRationalQuadraticAutoregressiveTransform(
            DIM, HIDDEN, num_blocks=1, use_residual_blocks=False, **SPLINE
        )
        parts += [block, ReversePermutation(DIM)]
    return parts


def coupling():
    parts = []
    for i in range(4):
        # The columns that are transformed: the odd ones first.
        mask = torch.tensor([1 if k % 2 == (i + 1) % 2 else -1 for k in range(DIM)])

        def net(inputs, outputs):
            return Net((inputs,), (outputs,), [HIDDEN, HIDDEN])

        parts.append(PiecewiseRationalQuadraticCouplingTransform(mask, net, **SPLINE))
    return parts


def golden(name, parts, x):
    model = Flow(CompositeTransform(parts), StandardNormal([DIM]))
    with torch.no_grad():
        for _, p in model.named_parameters():
            # Far from the identity, and not so far that float32 says nothing.
            fan_in = p.shape[1] if p.ndim == 2 else 1
            size = 0.8 / fan_in**0.5 if p.ndim == 2 else 0.4
            p.copy_((size * torch.randn_like(p)).half().to(p.dtype))
    weights = {
        f"{name}/weight/{key}": p.detach().numpy().astype(np.float16)
        for key, p in model.named_parameters()
    }
    model = model.double()
    with torch.no_grad():
        z, log_prob = model.transform_to_noise(x), model.log_prob(x)
        inverse, _ = model._transform.inverse(x)
        there, _ = model._transform(inverse)
    np.testing.assert_allclose(there, x, rtol=1e-7, atol=1e-7)
    return {
        **weights,
        f"{name}/z": z.numpy(),
        f"{name}/log_prob": log_prob.numpy(),
        f"{name}/inverse": inverse.numpy(),
    }


def main():
    rng = np.random.default_rng(0)
    x = (1.5 * rng.normal(size=(ROWS, DIM))).astype(np.float16)
    given = torch.from_numpy(x.astype(np.float64))
    found = {"x": x}
    for seed, (name, make) in enumerate({"maf": maf, "coupling": coupling}.items()):
        torch.manual_seed(seed)
        found |= golden(name, make(), given)
    np.savez_compressed(HERE / "nflows_splines.npz", **found)


if __name__ == "__main__":
    main()
