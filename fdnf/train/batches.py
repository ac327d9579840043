"""Batches drawn on the device, inside the training step: random numbers, shares, rows.

Every use that training makes of randomness has a number of its own. A run has one key,
`jax.random.key(seed)`. What is drawn is drawn from a key that a path of the numbers
below leads to. `split(key, n)[i]` equals `fold_in(key, i)`, and the latents of a flow
split the key that they are given: a key whose children have numbers here is never
split, and never handed to what may split it.

    Run      the run's key
      INIT     weights, see `models`
      TRAIN    then the step's number
        Step     BATCH, or NOISE and WHOLE
          Draw     ROWS, GENERATED, ORDER, COIN
          Noise    PREPROCESS, LATENTS, ENCODINGS, PARTS and a part's number, PROBES
                   and the number of the device, TIMES
            Augment  of PREPROCESS itself the dequantisation noise; FLIP, WINDOW
      FIRST    the batch from which statistics are taken; as `Noise.PREPROCESS`
      POOL     a teacher's samples, then the number of their batch
        Pool     LATENTS, LABELS, COIN
      MEASURE  the loss on held-out rows, then the number of their batch
        Measure  PREPROCESS as above, NOISE as `Noise`

Densities (`validation.make_log_prob`) are measured with the key of a seed of their own:
then the number of the batch, 0, and that of the draw.

Random rows (noise, latents, picked examples) are drawn for the whole batch from one
key, and each device takes its share of them: 1, 2 and 4 devices see the same batch.
"""

import enum
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from fdnf.train import weights
from fdnf.train.rules import ConfigError


class Run(enum.IntEnum):
    """Children of a run's key."""

    INIT = 0
    TRAIN = 1
    FIRST = 2
    # Far from the numbers of batches: `validation.make_log_prob` folds these into the
    # key of a seed that may be a run's.
    POOL = 1 << 20
    MEASURE = (1 << 20) + 1
    CONDITIONS = (1 << 20) + 2


class Step(enum.IntEnum):
    """Children of a step's key."""

    BATCH = 0
    NOISE = 1
    # The child of NOISE from which all devices draw alike, each to take its share.
    WHOLE = 0


class Draw(enum.IntEnum):
    """Children of `Step.BATCH`: which rows are drawn."""

    ROWS = 0
    GENERATED = 1
    ORDER = 2
    COIN = 3


class Noise(enum.IntEnum):
    """Children of a step's noise: the key that an objective is given."""

    PREPROCESS = 1
    LATENTS = 2
    ENCODINGS = 3
    PARTS = 4
    PROBES = 5
    TIMES = 6


class Augment(enum.IntEnum):
    """Children of the key of preprocessing; dequantisation draws from that itself."""

    FLIP = 1
    WINDOW = 2


class Pool(enum.IntEnum):
    """Children of the key of a batch of a teacher's samples."""

    LATENTS = 0
    LABELS = 1
    COIN = 2


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


class Moment(NamedTuple):
    """Where in a training a loss is taken.

    Attributes:
      key: of what it draws, see `Noise`.
      step: steps taken so far; may be traced.
      weights: of the loss's terms, `[3]`, numbers that may differ from one run of a
        program to the next; None for those of the config.
      share: which rows of the batch these are.
    """

    key: Array
    step: Any = 0
    weights: Any = None
    share: Share = WHOLE


class Prepared:
    """What is done to a batch; its kinds are hashable, so programs can close over them.

    Attributes:
      levels: grey levels of images, 0 for what is none.
      classes: of labels given as a one-hot condition, 0 for none.
      windows: whether rows are parts of what models take, of no size in particular.
      noisy: whether `encode` adds noise, so that densities are bounds.
      fixed: whether `train` makes the same of the same rows each time.
      alone: whether a condition is made of the rows, with nothing beside them.
    """

    levels: int
    classes: int
    windows = False
    alone = False

    @property
    def noisy(self) -> bool:
        """That of images, whose grey levels are whole numbers."""
        return bool(self.levels)

    @property
    def fixed(self) -> bool:
        """Without noise, windows and mirrored rows, which images alone have."""
        return not (self.noisy or self.windows)

    @property
    def plain(self) -> Any:
        """The same without augmentation: that of held-out data, and of teachers."""
        return self

    @property
    def shared(self) -> Any:
        """What a teacher and its student must have in common."""
        return self.plain

    @property
    def made(self) -> Any:
        """What is done to rows that are as the flow made them: nothing but to beside.

        Raises:
          ValueError: of data whose teachers' samples are not kept.
        """
        raise ValueError(f"samples of {type(self).__name__} are not kept")

    def differences(self, other: "Prepared") -> str:
        """In words, how what a student sees (self) is not what its teacher saw."""
        return f"the teacher saw {other.shared}, the student sees {self.shared}"

    def beside(self, data: Any, split: int) -> np.ndarray | None:
        """What is stored beside the rows of a split (0: training, 1: validation)."""
        return None

    def condition(self, x: Array | None, beside: Array | None) -> Array | None:
        """That of stored rows `x`, given what is `beside` them; None for none."""
        raise NotImplementedError

    def condition_shape(self, event: tuple[int, ...]) -> tuple[int, ...] | None:
        """Shape of one row's condition, for data of shape `event`."""
        raise NotImplementedError

    def train(
        self, key: Array, batch: dict[str, Array], share: Share = WHOLE
    ) -> dict[str, Array]:
        """A drawn batch, or a device's share of it, as the objective takes it.

        Args:
          key: of augmentation and noise.
          batch: stored rows `x`, and what is `beside` them, if anything.
          share: which rows of the whole batch these are.

        Returns:
          The flow's data `x`, and their condition `cond`, if they have one.
        """
        raise NotImplementedError

    def encode(self, key: Array, x: Array, share: Share = WHOLE) -> tuple[Array, Array]:
        """Stored rows to the flow's data.

        Args:
          key: of the noise of the whole batch.
          x: `[rows, ...]`, this device's rows of it.
          share: which they are.

        Returns:
          The data, and log |det| in nats, `[rows]`, from what densities are of to it.
        """
        raise NotImplementedError

    def to_stored(self, y: Array) -> Array:
        """The flow's data to what data sets store."""
        raise NotImplementedError

    def to_pixels(self, y: Array) -> Array:
        """The flow's data to grey levels 0 .. levels - 1; as stored without levels."""
        return self.to_stored(y)

    def reach(self, train: np.ndarray) -> float:
        """Largest |x| that the flow's training data can take, but for noise."""
        return 1.0

    def stored(self, x: Any) -> tuple[np.ndarray, np.ndarray]:
        """Rows in the user's units as data sets store them, see `units`.

        Args:
          x: `[rows, *event]`.

        Returns:
          The stored rows, and `[rows]`, True for those that have no density.

        Raises:
          ValueError: for rows that are none of these data.
        """
        raise ValueError(
            "arrays in memory are taken of vectors and images; of super-resolution and "
            "speech use --mode=eval and --mode=sample"
        )

    def stored_condition(self, cond: Any) -> np.ndarray:
        """Conditions in the user's units as they are stored `beside` rows.

        Returns:
          `[rows, ...]`, of one row where it is to hold for all.

        Raises:
          ValueError: for what is no condition of these data.
        """
        raise ValueError(f"conditions of {type(self).__name__} are not taken in memory")

    def given_back(self, y: Array) -> np.ndarray:
        """The flow's data in the user's units, on the host."""
        return np.asarray(self.to_stored(y))

    def restored(self, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The flow's data as data sets store them, where `to_stored` is not that.

        Returns:
          The rows that can be stored, and `[rows]`, which of those given they are.
        """
        return y, np.ones(len(y), bool)


Arrays = Mapping[str, Array]
"""By name, of one leading axis: the rows of a batch, or all of a data set."""
Objective = Callable[[Any, Any, Arrays, Moment], tuple[Array, dict[str, Array]]]
"""(variables, the teacher's variables, batch, moment) -> (loss, scalars)."""
DrawBatch = Callable[[Array, Arrays, Array | int], dict[str, Array]]
"""(key, data on this device, index of the device) -> batch for this device.

The devices' batches together are the same whatever their number.
"""


ROW = "row"
"""The number of each row, by which what a teacher said of it before is found."""


def weighted(key: Array, coin: Array, size: int, rows: int, data: Arrays) -> Array:
    """Numbers of rows drawn with replacement, in proportion to weights if there are.

    Args:
      key: of the rows.
      coin: key of whether each stays.
      size: how many are drawn.
      rows: of how many.
      data: what `weights.alias` made of theirs; without it all are as likely.
    """
    picked = jax.random.randint(key, (size,), 0, rows)
    if weights.KEEP not in data:
        return picked
    stays = jax.random.uniform(coin, (size,)) < data[weights.KEEP][picked]
    return jnp.where(stays, picked, data[weights.ALIAS][picked])


def uniform(
    rows: int,
    batch_size: int,
    devices: int,
    generated: float = 0.0,
    *,
    weighed: bool = False,
) -> DrawBatch:
    """Rows drawn uniformly with replacement, or all of them if they are too few.

    Rows with weights are drawn in proportion to them instead. So whatever loss is
    taken of a batch has the mean that it would have if every row stood in the data as
    often as its weight says; no loss knows of weights, nor do the statistics from
    which layers start. Multiplying losses by weights w would have the same mean, a
    larger variance of the gradient g (E w g^2 becomes E w^2 g^2, over rows), and
    single rows of large weight, whose gradients clipping cuts.

    Args:
      rows: number of training rows.
      batch_size: rows a step, over all devices.
      devices: number of devices, those of all processes.
      generated: share of each batch drawn from `data["generated"]`, samples of a
        teacher, instead of `data["train"]`.
      weighed: whether rows have weights: `data` then have what
        `weights.alias` made of them.

    Returns:
      A function of (key, data, device index) to `{"x": [batch_size / devices, ...]}`,
      and what the data have `"beside"` those rows, labels, conditions or images, and
      as their number, `ROW` (`"generated_beside"`, for the teacher's samples).
      Without weights, when `rows` <= `batch_size`, one batch is the whole training
      set, shared out evenly; up to devices - 1 rows then sit a step out.

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
    whole = devices <= rows <= batch_size and not weighed
    own = (rows if whole else batch_size) // devices
    from_teacher = round(generated * own * devices)

    def sample(key: Array, data: Arrays, index: Array | int) -> dict[str, Array]:
        share = Share(index, devices)
        train = {"x": data["train"]}
        train |= {key: data[key] for key in ("beside", ROW) if key in data}
        if whole and not from_teacher:
            if devices == 1:
                return train

            # As they are stored; if some have to sit out, those are drawn anew.
            def order(_: int) -> Array:
                if rows % devices:
                    return jax.random.permutation(fold(key, Draw.ORDER), rows)
                return jnp.arange(rows)

            return _rows(train, draw(share, own, order))
        count = len(data["generated"]) if from_teacher else 0

        def pick(size: int) -> Array:
            """Rows of both sets, those of the teacher's counted on from the others."""
            keys = fold(key, Draw.ROWS), fold(key, Draw.COIN)
            picked = weighted(*keys, size - from_teacher, rows, data)
            if not from_teacher:
                return picked
            more = fold(key, Draw.GENERATED)
            shape = (from_teacher,)
            taken = rows + jax.random.randint(more, shape, 0, count)
            return jnp.concatenate([picked, taken])

        picked = draw(share, own, pick)
        if not from_teacher:
            return _rows(train, picked)
        pool = {"x": data["generated"]}
        near = ("beside", ROW)
        pool |= {key: data[f"generated_{key}"] for key in near if key in data}
        first = _rows(train, jnp.minimum(picked, rows - 1))
        second = _rows(pool, jnp.maximum(picked - rows, 0))
        return {k: _choose(picked < rows, v, second[k]) for k, v in first.items()}

    return sample


def _choose(mask: Array, a: Array, b: Array) -> Array:
    return jnp.where(mask.reshape(-1, *(1,) * (a.ndim - 1)), a, b)


def _rows(arrays: dict[str, Array], picked: Array) -> dict[str, Array]:
    return {name: array[picked] for name, array in arrays.items()}
