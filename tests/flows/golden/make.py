"""Makes the golden values of a small Glow from normflows.

Run by hand, once, in an environment with PyTorch, which fdnf itself never imports:

    pip install torch normflows==1.7.3
    python tests/flows/golden/make.py

The values in the repository were made with normflows 1.7.3, torch 2.13.0+cpu and
numpy 2.4.6. Weights and images are rounded to float16 and stored as such; everything
is computed in float64.

Two flows, each of 2 levels and 2 steps with 8 hidden channels on images of 8 x 8 x 3:
`full` has full matrices as 1x1 convolutions and standard normal latents, `plu` the PLU
form and a learned Gaussian per channel for every latent. Of each the file has

    <flow>/weight/<name>   normflows' own parameters and buffers
    <flow>/log_dets        [level, step, (actnorm, convolution, coupling), image]
    <flow>/latent_<i>      [image, channels, height, width], split off first, top last
    <flow>/log_prob        [image]
    <flow>/bits_per_dim    of the images as 256 grey levels

with levels, steps and layers in the order from data to latent, which is the reverse
of normflows' own, and `x`, the images, [image, height, width, channels].
"""

import math
import pathlib

import normflows as nf
import numpy as np
import torch

HERE = pathlib.Path(__file__).parent
LEVELS, STEPS, HIDDEN, BATCH = 2, 2, 8, 4
SIDE, CHANNELS = 8, 3
# The top first, as normflows counts.
SHAPES = [(24, 2, 2), (6, 4, 4)]
DIM = CHANNELS * SIDE**2


def build(plu):
    flows, merges = [], []
    for i in range(LEVELS):
        channels = CHANNELS * 2 ** (LEVELS + 1 - i)
        steps = [
            nf.flows.GlowBlock(
                channels, HIDDEN, scale_map="sigmoid", init_zeros=False, use_lu=plu
            )
            for _ in range(STEPS)
        ]
        flows.append([*steps, nf.flows.Squeeze()])
        if i > 0:
            merges.append(nf.flows.Merge())
    base = nf.distributions.GlowBase if plu else nf.distributions.DiagGaussian
    priors = [base(shape) for shape in SHAPES]
    return nf.MultiscaleFlow(priors, flows, merges, class_cond=False)


def perturb(model, learned_priors):
    """Moves the parameters far from their start and rounds them to float16."""
    with torch.no_grad():
        for name, p in model.named_parameters():
            is_prior = name.startswith("q0.")
            if is_prior and not learned_priors:
                continue
            # 1x1 convolutions less, lest they become singular.
            scale = 0.1 if name.endswith((".W", ".L", ".U")) else 0.25
            p += scale * torch.randn_like(p)
        for p in model.parameters():
            p.copy_(p.half().to(p.dtype))
    for module in model.modules():
        # Otherwise the first batch would set the statistics.
        if isinstance(module, nf.flows.ActNorm):
            module.data_dep_init_done = torch.tensor(1.0)


def layers_of(block):
    """Activation norm, convolution, coupling: from data to latent."""
    return list(reversed(block.flows))


def golden(name, plu, x):
    torch.manual_seed(1 if plu else 0)
    model = build(plu)
    perturb(model, learned_priors=plu)
    weights = {
        f"{name}/weight/{key}": value.numpy().astype(np.float16)
        for key, value in model.state_dict().items()
        if not key.endswith("data_dep_init_done")
    }
    model = model.double()
    with torch.no_grad():
        h, log_dets = x, []
        for i in reversed(range(LEVELS)):
            squeeze = model.flows[i][-1]
            h, _ = squeeze.inverse(h)
            for block in reversed(model.flows[i][:-1]):
                for layer in layers_of(block):
                    h, log_det = layer.inverse(h)
                    log_dets.append(log_det.expand(BATCH).numpy())
            if i > 0:
                (h, _), _ = model.merges[i - 1].inverse(h)
        z, total = model.inverse_and_log_det(x)
        log_prob = model.log_prob(x, None)
        nll = model.forward_kld(x)
    log_dets = np.reshape(log_dets, (LEVELS, STEPS, 3, BATCH))
    np.testing.assert_allclose(log_dets.sum(axis=(0, 1, 2)), total, rtol=1e-12)
    latents = {
        f"{name}/latent_{i}": part.numpy().astype(np.float32)
        for i, part in enumerate(reversed(z))
    }
    return {
        **weights,
        **latents,
        f"{name}/log_dets": log_dets,
        f"{name}/log_prob": log_prob.numpy(),
        f"{name}/bits_per_dim": float(nll) / (DIM * math.log(2)) + 8,
    }


def main():
    rng = np.random.default_rng(0)
    images = rng.uniform(-0.5, 0.5, size=(BATCH, SIDE, SIDE, CHANNELS))
    images = images.astype(np.float16)
    x = torch.from_numpy(images.astype(np.float64)).permute(0, 3, 1, 2).contiguous()
    found = {"x": images}
    for name, plu in (("full", False), ("plu", True)):
        found |= golden(name, plu, x)
    np.savez_compressed(HERE / "normflows_glow.npz", **found)


if __name__ == "__main__":
    main()
