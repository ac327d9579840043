"""Affine Gaussian flows as teacher and students, with what is known of them."""

import math

import jax.numpy as jnp
import numpy as np

from configs import common
from fdnf import types
from fdnf.data.tabular import Tabular
from fdnf.evaluation.core.transfer_records import Estimate, Record, Scores
from fdnf.evaluation.models.sampler import AS_IT_IS, Sampler
from fdnf.flows.affine import Affine
from fdnf.metrics.c2st import C2ST
from fdnf.metrics.two_sample import KolmogorovSmirnov, MeanDifference
from fdnf.train.teachers import Trained

DIM = 3


def variables(mean, std):
    """Of N(mean, std^2) in each dimension."""
    mu, scale = np.broadcast_to(mean, DIM), np.broadcast_to(std, DIM)
    return {
        "params": {
            "mu": jnp.asarray(mu, jnp.float32),
            "R": jnp.asarray(np.diag(scale), jnp.float32),
        }
    }


def model(mean=0.0, std=1.0):
    return Sampler(Affine(), variables(mean, std), AS_IT_IS, 700)


def generator(mean=0.0, std=1.0):
    """The same samples from a student without a density."""

    def decode(variables, z):
        (z,) = z
        params = variables["params"]
        x = params["mu"] + z @ params["R"].T
        return types.Decoding(x, None, ())

    flow = types.ExternalFlow(decode=decode)
    return Sampler(flow, variables(mean, std), AS_IT_IS, 700)


def divergence(first, second):
    """KL(first, second) of pairs (mean, std), in nats."""
    (m, s), (n, t) = first, second
    return DIM * (math.log(t / s) + (s**2 + (m - n) ** 2) / (2 * t**2) - 0.5)


def trained(runs, method, seed=0):
    """A workdir's worth of runs, one list of (mean, std) a run."""
    config = common.tabular()
    config.seed, config.runs = seed, len(runs)
    config.loss.method = method
    config.eval.update(samples=400, batch_size=200, time_batch=20)
    config.model.name = "affine"
    stacked = [variables(*run)["params"] for run in runs]
    params = {k: np.stack([run[k] for run in stacked]) for k in stacked[0]}
    both = {"params": params, "constants": {}}
    return Trained(Affine(), both, config, {"event": (DIM,), "preprocess": {}})


def data(rows=600, seed=0):
    x = np.random.default_rng(seed).standard_normal((rows, DIM)).astype(np.float32)
    thirds = np.array_split(x, 3)
    return Tabular("gaussian", *thirds, source="rows of a standard normal")


def record(method="kl", seed=0, **fields):
    """One run by hand; its numbers have short decimals."""
    scores = {
        "rows": 100,
        "exploded_percent": 0.0,
        "teacher_log_prob": Estimate(-1.0, 0.1, -0.9, 100, 0),
        "ks": KolmogorovSmirnov(0.2, 1e-6),
        "shift": MeanDifference(-1.5, -2.0, -1.0, 1e-5),
        "reverse_kl": Estimate(0.5, 0.05, 0.4, 100, 0),
        "forward_kl": Estimate(0.25, math.nan, math.inf, 1, 99),
        "judged": 50,
        "c2st_teacher": C2ST(0.75, 0.01, 1e-9, 100),
        "sliced_wasserstein": 0.125,
    }
    made = Scores(**(scores | fields))
    return Record("gaussian", method, seed, "rows of a normal", made)
