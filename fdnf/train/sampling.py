"""Batches drawn on the device, inside the training step."""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array

from fdnf.train import shares
from fdnf.train.settings import ConfigError
from fdnf.train.shares import Share
from fdnf.train.streams import Batch, fold

Data = Mapping[str, Array]
Sampler = Callable[[Array, Data, Array | int], dict[str, Array]]
"""(key, data on this device, index of the device) -> batch for this device.

The devices' batches together are the same whatever their number.
"""


def uniform(
    rows: int, batch_size: int, devices: int, generated: float = 0.0
) -> Sampler:
    """Rows drawn uniformly with replacement, or all of them if they are too few.

    Args:
      rows: number of training rows.
      batch_size: rows a step, over all devices.
      devices: number of devices, those of all processes.
      generated: share of each batch drawn from `data["generated"]`, samples of a
        teacher, instead of `data["train"]`.

    Returns:
      A function of (key, data, device index) to `{"x": [batch_size / devices, ...]}`,
      and what the data have `"beside"` those rows, labels or images
      (`"generated_labels"`, for the teacher's samples).
      When `rows` <= `batch_size`, one batch is the whole training set, shared out
      evenly; up to devices - 1 rows then sit a step out.

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
    own = (rows if whole else batch_size) // devices
    from_teacher = round(generated * own * devices)

    def sample(key: Array, data: Data, index: Array | int) -> dict[str, Array]:
        share = Share(index, devices)
        train = {"x": data["train"]}
        if "beside" in data:
            train["beside"] = data["beside"]
        if whole and not from_teacher:
            if devices == 1:
                return train

            # As they are stored; if some have to sit out, those are drawn anew.
            def order(_: int) -> Array:
                if rows % devices:
                    return jax.random.permutation(fold(key, Batch.ORDER), rows)
                return jnp.arange(rows)

            return _rows(train, shares.draw(share, own, order))
        count = len(data["generated"]) if from_teacher else 0

        def draw(size: int) -> Array:
            """Rows of both sets, those of the teacher's counted on from the others."""
            shape = (size - from_teacher,)
            picked = jax.random.randint(fold(key, Batch.ROWS), shape, 0, rows)
            if not from_teacher:
                return picked
            more = fold(key, Batch.GENERATED)
            shape = (from_teacher,)
            taken = rows + jax.random.randint(more, shape, 0, count)
            return jnp.concatenate([picked, taken])

        picked = shares.draw(share, own, draw)
        if not from_teacher:
            return _rows(train, picked)
        pool = {"x": data["generated"]}
        if "beside" in data:
            pool["beside"] = data["generated_labels"]
        first = _rows(train, jnp.minimum(picked, rows - 1))
        second = _rows(pool, jnp.maximum(picked - rows, 0))
        return {k: _choose(picked < rows, v, second[k]) for k, v in first.items()}

    return sample


def _choose(mask: Array, a: Array, b: Array) -> Array:
    return jnp.where(mask.reshape(-1, *(1,) * (a.ndim - 1)), a, b)


def _rows(arrays: dict[str, Array], picked: Array) -> dict[str, Array]:
    return {name: array[picked] for name, array in arrays.items()}
