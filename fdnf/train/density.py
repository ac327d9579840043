"""Log densities of whole data sets, each row once, on all devices."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fdnf.data import readers
from fdnf.train import distributed, models
from fdnf.train.keys import BOUNDS
from fdnf.train.preprocess import Preprocess
from fdnf.train.preprocessing import Prepared
from fdnf.train.settings import ConfigError
from fdnf.train.shares import Share
from fdnf.train.side_by_side import over_runs
from fdnf.train.step import AXIS
from fdnf.train.streams import fold


def make_log_prob(
    flow: models.Model,
    batch_size: int,
    preprocess: Prepared | None = None,
    *,
    draws: int = 1,
    bound: str = "uniform",
    seed: int = 0,
    everyone: bool = False,
) -> Callable:
    """Log densities of a whole array, each row once.

    Of vectors they are exact. Of images, whose grey levels are discrete, they are
    lower bounds on the log-probability, exact but for the noise that was drawn:
    "uniform" averages log p(x + u) over the draws of u, "importance" takes the log of
    the average p(x + u), which is tighter the more draws there are.

    Args:
      flow: the model.
      batch_size: rows a call, over all devices.
      preprocess: from stored rows to the flow's data.
      draws: of noise per image.
      bound: see above.
      seed: of the noise; the same noise for every run, on any number of devices.
      everyone: whether all processes call this together, each for its share of the
        rows; otherwise the devices of this process do it all.

    Returns:
      `(params, constants, rows [n, ...], beside [n, ...] or None) -> float32 [runs,
      n]`, in nats, of the data as they are stored (grey levels are one apart);
      `beside` is what the preprocessing makes a condition of. The last batch is
      padded, and the padding dropped.
    """
    if bound not in BOUNDS:
        raise ConfigError(f"eval.bound={bound!r}; known: {BOUNDS}")
    given = preprocess or Preprocess()
    here = jax.local_device_count()
    devices = jax.device_count() if everyone else here
    draws = draws if given.levels else 1

    def log_prob(params, constants, x, beside, batch):
        key = fold(jax.random.key(seed), batch, 0)
        share = Share(jax.lax.axis_index(AXIS), devices)
        cond = given.condition(x, beside)

        def one(run):
            variables = {"params": run[0], "constants": run[1]}

            def draw(i):
                y, log_det = given.encode(fold(key, i), x, share)
                found: Any = flow.apply(variables, y, cond, method="log_prob")
                return found + log_det

            if draws == 1:
                return draw(0)
            values = jax.lax.map(draw, jnp.arange(draws))
            if bound == "uniform":
                return jnp.mean(values, axis=0)
            return jax.nn.logsumexp(values, axis=0) - jnp.log(draws)

        return over_runs(one, (params, constants))

    mapped = jax.pmap(
        log_prob,
        axis_name=AXIS,
        in_axes=(None, None, 0, 0, None),
        out_axes=1,
        devices=None if everyone else jax.local_devices(),
    )

    def whole(
        params: Any, constants: Any, rows: np.ndarray, beside: np.ndarray | None = None
    ) -> np.ndarray:
        if given.classes and beside is None:
            raise ValueError("the flow is conditional: log_prob needs the labels")
        known = np.zeros(len(rows), np.int32) if beside is None else beside
        out = []
        first = distributed.index() * here if everyone else 0
        own = slice(first, first + here)
        pairs = zip(
            readers.padded_batches(rows, batch_size, devices),
            readers.padded_batches(known, batch_size, devices),
            strict=True,
        )
        for i, ((batch, mask), (near, _)) in enumerate(pairs):
            batch = batch.reshape(devices, -1, *batch.shape[1:])[own]
            near = near.reshape(devices, -1, *near.shape[1:])[own]
            values = np.asarray(mapped(params, constants, batch, near, i))
            values = values.reshape(values.shape[0], -1)
            if everyone:
                values = distributed.concatenate(values, axis=1)
            out.append(values[:, mask])
        return np.concatenate(out, axis=1)

    return whole
