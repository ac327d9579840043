"""One small flow of every kind, with and without a condition, for tests over all."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdnf.flows import build, surgery
from fdnf.flows.affine import Affine
from fdnf.flows.base import FlowModule
from fdnf.flows.continuous import ContinuousFlow
from fdnf.flows.glow import Glow, TabularGlow
from fdnf.flows.iresnet import IResNet, MultiScaleIResNet
from fdnf.flows.maf import IAF, MAF
from fdnf.flows.mintnet import MintNet
from fdnf.flows.nice import NICE
from fdnf.flows.pixelcnn import PixelCNN, PixelIAF
from fdnf.flows.realnvp import MultiScaleRealNVP, RealNVP
from fdnf.flows.srflow import SRFlow
from fdnf.flows.tarflow import TarFlow, TarIAF
from fdnf.flows.waveglow import WaveGlow
from fdnf.flows.wavenet import GaussianWaveNet, WaveIAF
from tests.flows.tiny_srflow import LEAST

ROWS = 3


class Kind(NamedTuple):
    """A flow, the shape of its data, and that of one row's condition if it has one."""

    name: str
    flow: FlowModule
    event: tuple[int, ...]
    cond: tuple[int, ...] | None = None

    def data(self, rows=ROWS, shape=None, seed=1):
        draw = np.random.default_rng(seed).normal(size=(rows, *(shape or self.event)))
        return jnp.asarray(draw, jnp.float32)

    def context(self, rows=ROWS, seed=2):
        if self.cond is None:
            return None
        return self.data(rows, self.cond, seed)

    def shapes(self):
        """Variables as shapes, without a compilation."""
        return jax.eval_shape(
            self.flow.init, jax.random.key(0), self.data(), self.context()
        )

    def latents(self, rows=ROWS):
        return self.flow.draw(jax.random.key(3), (rows, *self.event))


SPLINE = {"name": "spline", "bins": 3}
WAVE = WaveGlow(3, 1, 2, 8, layers=1, channels=4, hop=4, upsampler_taps=8)
SERIAL = dict(steps=1, layers=1, cycles=1, channels=2, front=2, hop=4, upsampler_taps=4)

KINDS = [
    Kind("affine", Affine(), (4,)),
    Kind("continuous", ContinuousFlow((8,), steps=1), (4,)),
    Kind("continuous_cond", ContinuousFlow((8,), steps=1, embedding=(3,)), (4,), (2,)),
    Kind("maf", MAF(2, (8,)), (4,)),
    Kind("maf_cond", MAF(2, (8,), unroll=1), (4,), (2,)),
    Kind("maf_embedding", MAF(2, (8,), unroll=1, embedding=(4, 3)), (4,), (2,)),
    Kind("iaf", IAF(2, (8,), unroll=1), (4,)),
    Kind("iaf_cond", IAF(2, (8,)), (4,), (2,)),
    Kind("iresnet", IResNet(2, (8,)), (4,)),
    Kind("iresnet_cond", IResNet(2, (8,), embedding=(3,)), (4,), (2,)),
    Kind("iresnet_images_cond", MultiScaleIResNet(1, 1, 4), (4, 4, 2), (3,)),
    Kind("tabular_glow", TabularGlow(2, 8, 1, unroll=1), (4,)),
    Kind("tabular_glow_cond", TabularGlow(2, 8, 1), (5,), (2,)),
    Kind("realnvp", RealNVP(2, (8,)), (4,)),
    Kind(
        "realnvp_spline",
        RealNVP(
            3,
            (8, 8),
            transformer=SPLINE,
            partition="half",
            mixing="reverse",
            conditioner="residual",
            unroll=1,
            embedding=(4, 3),
        ),
        (5,),
        (2,),
    ),
    Kind(
        "realnvp_lu",
        RealNVP(2, (8,), transformer=SPLINE, mixing="lu", unroll=1),
        (4,),
        (2,),
    ),
    Kind("realnvp_cond", RealNVP(2, (8,), unroll=1), (4,), (2,)),
    Kind("nice", NICE(3, (8,)), (4,)),
    Kind("nice_image", NICE(3, (8,)), (2, 3, 2)),
    Kind("nice_cond", NICE(3, (8,)), (4,), (2,)),
    Kind("glow", Glow(2, 1, 4), (4, 8, 2)),
    Kind("glow_full", Glow(1, 2, 4, plu=False, learn_top=True), (4, 4, 2)),
    Kind("glow_cond", Glow(2, 1, 4), (4, 4, 2), (3,)),
    Kind(
        "glow_embedding",
        Glow(2, 1, 4, transformer=SPLINE, embedding=(4,)),
        (4, 4, 2),
        (3,),
    ),
    Kind("glow_image_cond", Glow(1, 1, 4), (4, 4, 2), (2, 2, 3)),
    Kind("multiscale", MultiScaleRealNVP(2, 1, 4, 1), (4, 4, 2)),
    Kind("multiscale_image_cond", MultiScaleRealNVP(1, 1, 4, 1), (4, 4, 2), (4, 4, 3)),
    Kind("pixelcnn", PixelCNN(2, 2, 1, 1), (4, 3, 2)),
    Kind("pixelcnn_cond", PixelCNN(1, 2, 1, 2), (4, 4, 2), (3,)),
    Kind("pixel_iaf", PixelIAF(2, 2, 1, 1), (3, 3, 2)),
    Kind("pixel_iaf_cond", PixelIAF(1, 2, 1, 1), (3, 3, 2), (3,)),
    Kind("mintnet", MintNet(2, 1, 4), (4, 4, 2)),
    Kind("srflow", SRFlow(**LEAST), (8, 8, 3), (2, 2, 3)),
    Kind("tarflow", TarFlow(2, 1, 4, 2, 2, unroll=1), (4, 2, 2)),
    Kind("tarflow_cond", TarFlow(2, 1, 4, 2, 3, unroll=1), (6,), (2,)),
    Kind("tarflow_iaf", TarIAF(2, 1, 4, 2, 2, unroll=1), (4,)),
    Kind("waveglow", WAVE, (32, 1)),
    Kind("waveglow_cond", WAVE, (32, 1), (8, 5)),
    Kind("wavenet", GaussianWaveNet(**SERIAL), (6, 1)),
    Kind("wavenet_cond", GaussianWaveNet(**SERIAL), (6, 1), (2, 5)),
    Kind("wavenet_iaf", WaveIAF(**SERIAL), (6, 1)),
]


# Of each class the last, which has a condition where one of its class has.
ONE_EACH = list({type(kind.flow): kind for kind in KINDS}.values())


def _over(kinds):
    """Parametrizes a test: one of each class in CI, and by `-m slow` the others."""
    return pytest.mark.parametrize(
        "kind",
        [
            pytest.param(
                kind, id=kind.name, marks=[pytest.mark.slow] * (kind not in ONE_EACH)
            )
            for kind in kinds
        ],
    )


over_kinds = _over(KINDS)
over_conditioned = _over([kind for kind in KINDS if kind.cond is not None])


def folded():
    """A Glow whose layers are folded, and its variables."""
    kind = next(kind for kind in KINDS if kind.name == "glow_cond")
    rng = np.random.default_rng(0)
    variables = jax.tree.map(
        lambda leaf: (
            np.ones(leaf.shape, bool)
            if leaf.dtype == bool
            else 0.2 * rng.normal(size=leaf.shape).astype(np.float32)
        ),
        kind.shapes(),
    )
    for level in variables["constants"].values():
        drawn = level["parts_1"]["step"]["parts_1"]
        drawn["permutation"] = np.broadcast_to(
            np.eye(drawn["permutation"].shape[-1], dtype=bool),
            drawn["permutation"].shape,
        )
    flow, variables = surgery.fold(kind.flow, variables)
    return kind._replace(name="glow_folded", flow=flow), variables


assert {type(kind.flow) for kind in KINDS} == set(build.FLOWS.values())
