"""Batches drawn on the device, inside the training step."""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array

from fdnf.train.settings import ConfigError

Data = Mapping[str, Array]
Sampler = Callable[[Array, Data, Array], dict[str, Array]]
"""(key, data on this device, index of the device) -> batch for this device."""


def uniform(
    rows: int, batch_size: int, devices: int, generated: float = 0.0
) -> Sampler:
    """Rows drawn uniformly with replacement, or all of them if they are too few.

    Args:
      rows: number of training rows.
      batch_size: rows a step, over all devices.
      devices: number of devices.
      generated: share of each batch drawn from `data["generated"]`, samples of a
        teacher, instead of `data["train"]`.

    Returns:
      A function of (key, data, device index) to `{"x": [batch_size / devices, ...]}`,
      and `"labels"` of those rows if the data have them (`"generated_labels"`, those
      of the teacher's samples).
      When `rows` <= `batch_size`, one batch is the whole training set, in an order
      drawn anew each step, shared out evenly; up to devices - 1 rows then sit a step
      out.

    Raises:
      ConfigError: if the batch does not divide among the devices.
    """
    if batch_size % devices:
        raise ConfigError(
            f"train.batch_size={batch_size} does not divide among {devices} devices"
        )
    if not 0.0 <= generated <= 1.0:
        raise ConfigError(f"teacher.share={generated}: expected a share in [0, 1]")
    # Fewer rows than devices cannot be shared out, and are drawn from.
    whole = devices <= rows <= batch_size
    share = (rows if whole else batch_size) // devices
    from_teacher = round(generated * share)

    def sample(key: Array, data: Data, index: Array) -> dict[str, Array]:
        train = {"x": data["train"]}
        if "labels" in data:
            train["labels"] = data["labels"]
        if whole and not from_teacher:
            # The same order on every device, of which each takes its part.
            order = jax.random.permutation(key, rows) if devices > 1 else None
            if order is None:
                return train
            part = jax.lax.dynamic_slice_in_dim(order, index * share, share)
            return _rows(train, part)
        key = jax.random.fold_in(key, index)
        drawn = _rows(train, jax.random.randint(key, (share - from_teacher,), 0, rows))
        if from_teacher:
            pool = {"x": data["generated"]}
            if "labels" in data:
                pool["labels"] = data["generated_labels"]
            key = jax.random.fold_in(key, 1)
            count = pool["x"].shape[0]
            more = _rows(pool, jax.random.randint(key, (from_teacher,), 0, count))
            drawn = {k: jnp.concatenate([v, more[k]]) for k, v in drawn.items()}
        return drawn

    return sample


def _rows(arrays: dict[str, Array], picked: Array) -> dict[str, Array]:
    return {name: array[picked] for name, array in arrays.items()}
