"""Affine Gaussian flows as teacher and students, with what is known of them."""

import math

import jax.numpy as jnp
import numpy as np

from configs import common
from fdnf import types
from fdnf.data.tabular import Tabular
from fdnf.evaluation.models.sampler import AS_IT_IS, Sampler
from fdnf.flows.affine import Affine
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
    config.eval.update(samples=400, batch_size=200, time_batch=20, time_batches=())
    config.model.name = "affine"
    stacked = [variables(*run)["params"] for run in runs]
    params = {k: np.stack([run[k] for run in stacked]) for k in stacked[0]}
    both = {"params": params, "constants": {}}
    return Trained(Affine(), both, config, {"event": (DIM,), "preprocess": {}})


def data(rows=600, seed=0):
    x = np.random.default_rng(seed).standard_normal((rows, DIM)).astype(np.float32)
    thirds = np.array_split(x, 3)
    return Tabular("gaussian", *thirds, source="rows of a standard normal")
