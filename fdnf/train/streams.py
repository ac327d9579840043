"""Every use that training makes of randomness, each with a number of its own.

A run has one key, `jax.random.key(seed)`. What is drawn is drawn from a key that a path
of the numbers below leads to. `split(key, n)[i]` equals `fold_in(key, i)`, and the
latents of a flow split the key that they are given: a key whose children have numbers
here is never split, and never handed to what may split it.

    Run      the run's key
      INIT     weights, see `initial`
      TRAIN    then the step's number
        Step     BATCH, or NOISE and WHOLE
          Batch    ROWS, GENERATED, ORDER
          Noise    PREPROCESS, LATENTS, ENCODINGS, PARTS and a part's number
            Preprocess  of PREPROCESS itself the dequantisation noise; FLIP, WINDOW
      FIRST    the batch from which statistics are taken; as `Noise.PREPROCESS`
      POOL     a teacher's samples, then the number of their batch
        Pool     LATENTS, LABELS
      MEASURE  the loss on held-out rows, then the number of their batch
        Measure  PREPROCESS as above, NOISE as `Noise`

Densities (`density.make_log_prob`) are measured with the key of a seed of their own:
then the number of the batch, 0, and that of the draw.
"""

import enum

import jax
from jaxtyping import Array


class Run(enum.IntEnum):
    """Children of a run's key."""

    INIT = 0
    TRAIN = 1
    FIRST = 2
    # Far from the numbers of batches, which `density.make_log_prob` folds into the key
    # of a seed that may be a run's.
    POOL = 1 << 20
    MEASURE = (1 << 20) + 1


class Step(enum.IntEnum):
    """Children of a step's key."""

    BATCH = 0
    NOISE = 1
    # The child of NOISE from which all devices draw alike, each to take its share.
    WHOLE = 0


class Batch(enum.IntEnum):
    """Children of `Step.BATCH`: which rows are drawn."""

    ROWS = 0
    GENERATED = 1
    ORDER = 2


class Noise(enum.IntEnum):
    """Children of a step's noise: the key that an objective is given."""

    PREPROCESS = 1
    LATENTS = 2
    ENCODINGS = 3
    PARTS = 4


class Preprocess(enum.IntEnum):
    """Children of the key of preprocessing; dequantisation draws from that itself."""

    FLIP = 1
    WINDOW = 2


class Pool(enum.IntEnum):
    """Children of the key of a batch of a teacher's samples."""

    LATENTS = 0
    LABELS = 1


class Measure(enum.IntEnum):
    """Children of the key of a held-out batch."""

    PREPROCESS = 0
    NOISE = 1


def fold(key: Array, *path: int | Array) -> Array:
    """The key that a path of numbers leads to, one below the other.

    Args:
      key: where the path starts.
      path: members of the enumerations here, and counts (steps, batches, parts).
    """
    for number in path:
        key = jax.random.fold_in(key, number)
    return key
