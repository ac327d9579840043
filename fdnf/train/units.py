"""A trained flow in the user's units: densities and samples of arrays in memory.

Samples are a flow's own, or those of its teacher, see `corrected`.

Vectors are taken and given as they were before any transform of their columns, and
conditions likewise; images are grey levels, and their conditions labels.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from fdnf import corrected as correction
from fdnf.corrected import Corrected
from fdnf.flows.base import FlowModule
from fdnf.students.base import Student
from fdnf.train.batches import Prepared, fold

# Rows at once, of vectors and of images.
ROWS, IMAGES = 4096, 64


def log_prob(
    flow: Any,
    variables: Any,
    prepared: Prepared,
    event: tuple[int, ...],
    x: Any,
    cond: Any = None,
    *,
    batch_size: int | None = None,
    draws: int = 1,
    seed: int = 0,
) -> np.ndarray:
    """Log density of each row, in nats, computed in the precision of the weights.

    Of whole numbers (integer columns, grey levels) it is that of x + u, u uniform in
    [0, 1), of which the mean over `draws` draws is taken: a lower bound on the
    log-probability of x, in expectation. The noise is that of `seed`.

    Args:
      flow: the model.
      variables: its variables, of one run.
      prepared: what was done to its data.
      event: shape of a row.
      x: `[rows, *event]`, in the user's units.
      cond: conditions `[rows, ...]` in the user's units, or one row for all.
      batch_size: rows at once. Fewer rows are filled up to a power of two, so that few
        programs are compiled, whatever comes.
      draws: of the noise of whole numbers.
      seed: of that noise.

    Returns:
      float64 `[rows]`; -inf of a row where the columns leave no density, such as one
      outside of its box.

    Raises:
      ValueError: for rows or conditions other than those of the flow, and values that
        are not finite.
    """
    if not isinstance(flow, FlowModule):
        raise ValueError(
            f"{type(flow).__name__}, a feed-forward student, has no density: take a "
            "flow"
        )
    if draws < 1:
        raise ValueError(f"draws={draws}: expected at least 1")
    stored, outside = prepared.stored(x)
    _check_event(stored.shape, event)
    beside = _beside(prepared, event, cond, len(stored))
    draws = draws if prepared.noisy else 1
    found = np.zeros(len(stored))
    for i, start, stop, size in _cuts(len(stored), batch_size, event):
        batch = _filled(stored[start:stop], size)
        near = None if beside is None else _filled(beside[start:stop], size)
        for draw in range(draws):
            key = fold(jax.random.key(seed), i, draw)
            values = _log_prob(flow, prepared, variables, key, batch, near)
            found[start:stop] += np.asarray(values, np.float64)[: stop - start] / draws
    return np.where(outside, -np.inf, found)


def sample(
    flow: Any,
    variables: Any,
    prepared: Prepared,
    event: tuple[int, ...],
    key: Array | int,
    n: int,
    cond: Any = None,
    *,
    temperature: Any = 1.0,
    batch_size: int | None = None,
) -> np.ndarray:
    """Draws rows in the user's units, see `log_prob`.

    Args:
      flow: the model, as the next two of `log_prob`.
      variables: likewise.
      prepared: likewise.
      event: shape of a row.
      key: randomness, or a seed.
      n: how many rows.
      cond: conditions `[n, ...]` in the user's units, or one row for all.
      temperature: standard deviation of the latents, or one for each.
      batch_size: rows at once, as of `log_prob`.

    Returns:
      `[n, *event]`.

    Raises:
      ValueError: for a number of rows or a condition that cannot be.
    """
    beside = _asked(prepared, event, cond, n)
    key = jax.random.key(key) if isinstance(key, int | np.integer) else key
    found = []
    for i, start, stop, size in _cuts(int(n), batch_size, event):
        near = None if beside is None else _filled(beside[start:stop], size)
        drawn = _sample(
            *(flow, prepared, (size, *event), temperature),
            *(variables, fold(key, i), near),
        )
        found.append(prepared.given_back(drawn)[: stop - start])
    return np.concatenate(found)


def corrected(
    flow: Any,
    variables: Any,
    teacher: tuple[Any, Any],
    prepared: Prepared,
    event: tuple[int, ...],
    key: Array | int,
    n: int,
    cond: Any = None,
    *,
    batch_size: int | None = None,
    **options: Any,
) -> Corrected:
    """Draws rows of a teacher that its student proposes, see `fdnf.corrected_sample`.

    Both have the same columns before them, so that the weights are those of what they
    see.

    Args:
      flow: the student, as the next of `log_prob`.
      variables: likewise.
      teacher: the flow and its variables, of one run.
      prepared: what was done to the data of both.
      event: shape of a row.
      key: randomness, or a seed.
      n: how many rows.
      cond: conditions `[n, ...]` in the user's units, or one row for all.
      batch_size: rows at once, as of `log_prob`.
      **options: further arguments of `fdnf.corrected_sample`.

    Returns:
      What that returns, `x` in the user's units.

    Raises:
      ValueError: for a student or teacher without a density, and as `sample`.
    """
    if not isinstance(flow, FlowModule):
        raise ValueError(
            f"{type(flow).__name__}, a feed-forward student, has no density of its "
            "samples, by which a teacher could weigh them: distil a flow, such as IAF"
        )
    if isinstance(teacher[0], Student):
        raise ValueError(
            f"{type(teacher[0]).__name__}, a feed-forward student, has no density to "
            "weigh samples by: name a teacher that is a flow"
        )
    beside = _asked(prepared, event, cond, n)
    near = None
    if beside is not None:
        near = np.asarray(prepared.condition(None, jnp.asarray(beside)))
    most = ROWS if len(event) == 1 else IMAGES
    found = correction.corrected_sample(
        *(flow, teacher[0], variables, teacher[1], key, int(n), near),
        event=tuple(event),
        batch=most if batch_size is None else batch_size,
        **options,
    )
    return found._replace(x=prepared.given_back(jnp.asarray(found.x)))


def _asked(prepared: Prepared, event: tuple[int, ...], cond: Any, n: Any) -> Any:
    """The conditions of `n` rows that are to be drawn."""
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1:
        raise ValueError(f"n={n!r}: expected how many rows, at least 1")
    if prepared.windows:
        prepared.stored(None)
    return _beside(prepared, event, cond, int(n))


def _check_event(shape: tuple[int, ...], event: tuple[int, ...]) -> None:
    if shape[1:] != tuple(event):
        alone = "; give one row as a batch of one, x[None]" if shape == event else ""
        raise ValueError(
            f"rows of shape {shape}: expected (rows, "
            f"{', '.join(map(str, event))}), as the flow was trained on{alone}"
        )


def _beside(
    prepared: Prepared, event: tuple[int, ...], cond: Any, rows: int
) -> np.ndarray | None:
    """The conditions of `rows` rows, as data sets store them."""
    shape = prepared.condition_shape(event)
    if shape is None:
        if cond is not None:
            raise ValueError(
                f"a condition of shape {np.shape(cond)}, but the flow was trained "
                "without: leave cond out"
            )
        return None
    if cond is None:
        raise ValueError(
            "the flow was trained with a condition: give cond, one row for each row or "
            "one for all"
        )
    beside = prepared.stored_condition(cond)
    if len(beside) not in (1, rows):
        raise ValueError(
            f"{len(beside)} conditions for {rows} rows: expected as many, or one for "
            "all"
        )
    return np.broadcast_to(beside, (rows, *beside.shape[1:]))


def _cuts(rows: int, batch_size: int | None, event: tuple[int, ...]):
    """Number, start, end and filled-up size of each batch."""
    most = ROWS if len(event) == 1 else IMAGES
    most = most if batch_size is None else batch_size
    if most < 1:
        raise ValueError(f"batch_size={batch_size}: expected at least 1")
    size = min(most, 1 << max(rows - 1, 0).bit_length())
    for i, start in enumerate(range(0, rows, size)):
        yield i, start, min(start + size, rows), size


def _filled(rows: np.ndarray, size: int) -> np.ndarray:
    """The rows, and the last again as often as it takes."""
    fill = size - len(rows)
    return np.concatenate([rows, rows[-1:].repeat(fill, 0)]) if fill else rows


@functools.partial(jax.jit, static_argnames=("flow", "prepared"))
def _log_prob(flow, prepared, variables, key, stored, beside):
    y, log_det = prepared.encode(key, stored)
    cond = prepared.condition(stored, beside)
    return flow.apply(variables, y, cond, method="log_prob") + log_det


@functools.partial(
    jax.jit, static_argnames=("flow", "prepared", "shape", "temperature")
)
def _sample(flow, prepared, shape, temperature, variables, key, beside):
    cond = prepared.condition(None, beside)
    return flow.apply(variables, key, shape, temperature, cond, method="sample")
