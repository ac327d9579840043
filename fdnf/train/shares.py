"""Which rows of a batch a device works on, such that their number does not matter.

Random rows (noise, latents, picked examples) are drawn for the whole batch from one
key, and each device takes its share of them: 1, 2 and 4 devices see the same batch.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax


class Share(NamedTuple):
    """One device's share of every batch.

    Attributes:
      index: of the device, among all of all processes; may be traced.
      count: number of devices.
      axis: the name by which they are mapped over, None outside.
    """

    index: Any = 0
    count: int = 1
    axis: str | None = None


WHOLE = Share()


def draw(share: Share, rows: int, function: Callable[[int], Any]) -> Any:
    """This device's rows of what is drawn for all.

    Args:
      share: of this device.
      rows: number of its rows.
      function: of the number of all rows to a tree of arrays with that leading axis;
        the same on every device.
    """
    if share.count == 1:
        return function(rows)

    def take(leaf: Any) -> Any:
        return jax.lax.dynamic_slice_in_dim(leaf, share.index * rows, rows)

    return jax.tree.map(take, function(rows * share.count))


def mean(share: Share, value: Any) -> Any:
    """Mean over the devices of a number that each has for its own rows.

    For what is needed before the step's own reduction. Where an objective wants
    several, take them in one call or one after another: XLA's CPU backend does not
    survive collectives that may run at the same time (jax 0.10).
    """
    return value if share.axis is None else jax.lax.pmean(value, share.axis)
