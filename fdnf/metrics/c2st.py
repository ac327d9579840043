"""Classifier two-sample test: can a network tell two samples apart?"""

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float
from scipy import special

from fdnf.metrics import rows as rows_of

LEARNING_RATE = 3e-3
WEIGHT_DECAY = 1e-2
# Rows of a batch, fewer where an epoch would have less than so many batches.
BATCH_SIZE, LEAST_BATCHES = 256, 16
# Share of the rows to learn from that choose the epoch instead.
VALIDATION = 0.1
# Features beyond this many standard deviations are cut there.
CUT = 8.0
# Interquartile range of a standard normal.
NORMAL_RANGE = 1.349

X = Float[np.ndarray | jax.Array, "n features"]
Y = Float[np.ndarray | jax.Array, "m features"]


class UntrainableError(RuntimeError):
    """The classifier's loss stopped being finite."""


class C2ST(NamedTuple):
    """How well two samples can be told apart.

    Attributes:
        accuracy: share of held-out rows whose sample was named rightly; 0.5 cannot
            tell, 1 always can. Lower is better of samples that imitate others.
        standard_error: of the accuracy, sqrt(a (1 - a) / rows).
        p_value: of an accuracy as high or higher if no classifier could tell, by the
            binomial distribution; one-sided.
        rows: held-out rows of both samples together, each judged once.
        auc: how often the logit of a held-out row of the second sample is above that
            of a row of the first, by the network that saw neither; 0.5 cannot tell, 1
            always can. It uses the order of the logits and no threshold.
        auc_error: standard error of it, over the rows.
    """

    accuracy: float
    standard_error: float
    p_value: float
    rows: int
    auc: float
    auc_error: float


class Classifier(nn.Module):
    """Logit that a row is of the second sample.

    Attributes:
        hidden: widths of the layers.
    """

    hidden: tuple[int, ...]

    @nn.compact
    def __call__(self, x: Float[Array, "batch features"]) -> Float[Array, " batch"]:
        """One logit a row."""
        for width in self.hidden:
            x = nn.relu(nn.Dense(width)(x))
        return nn.Dense(1)(x)[:, 0]


def c2st(
    x: X,
    y: Y,
    *,
    folds: int = 5,
    hidden: Sequence[int] = (64, 64),
    epochs: int = 20,
    seed: int = 0,
) -> C2ST:
    """Accuracy of a small network that learns which sample a row is of.

    Each fold is held out once, and the network learns from the others. Features are
    standardised by the median and the interquartile range of both samples together,
    which a few far rows do not move, and are cut at 8 standard deviations. Of the
    epochs the one counts whose loss on a tenth of the rows kept from learning is
    least. Rows must be independent: two flows that decode the same latents give pairs
    of rows that hide from the classifier.

    The accuracy is a lower bound of what the best classifier would reach, so compare
    it between samples of the same numbers of rows only. As all folds share most of
    what they learn from, its standard error is slightly too small.

    Args:
        x: first sample.
        y: second sample; of the larger one as many rows are drawn as the smaller has.
        folds: parts that are held out in turn, at least 2.
        hidden: widths of the network's layers.
        epochs: passes over the rows to learn from, at most.
        seed: of folds, initial weights and batches.

    Returns:
        The accuracy with its standard error and p-value.

    Raises:
        ValueError: samples of different widths or too few rows, a row that is not
            finite, or options out of range.
        UntrainableError: the loss was not finite.

    Reference: Lopez-Paz and Oquab (2017), Revisiting classifier two-sample tests,
    section 3; Friedman (2003), On multivariate goodness-of-fit and two-sample testing.
    """
    if folds < 2 or epochs < 1:
        raise ValueError(
            f"folds={folds} and epochs={epochs}: expected at least 2 and at least 1"
        )
    first, second = rows_of.pair(x, y, 10 * folds)
    rng = np.random.default_rng(seed)
    count = min(len(first), len(second)) // folds * folds
    pooled = np.stack([rng.permutation(sample)[:count] for sample in (first, second)])
    # [folds, rows, features], the samples in turn, so that every fold is balanced.
    parts = _standardised(pooled).reshape(2, folds, count // folds, -1)
    parts = parts.swapaxes(0, 1).reshape(folds, 2 * (count // folds), -1)
    labels = np.repeat([0.0, 1.0], count // folds).astype(np.float32)
    network = Classifier(tuple(hidden))
    right, logits = 0, []
    for fold in range(folds):
        rest = np.delete(parts, fold, axis=0).reshape(-1, parts.shape[-1])
        order = rng.permutation(len(rest))
        known = np.tile(labels, folds - 1)[order]
        found, loss = _held_out(
            network,
            epochs,
            jnp.asarray(rest[order]),
            jnp.asarray(known),
            jnp.asarray(parts[fold]),
            jax.random.key(rng.integers(2**31)),
        )
        if not math.isfinite(float(loss)):
            raise UntrainableError(
                f"the classifier's loss is {float(loss)} in fold {fold}: the samples "
                "passed the checks, so try another seed or fewer epochs"
            )
        right += int(((np.asarray(found) > 0) == (labels > 0)).sum())
        logits.append(np.asarray(found, np.float64).reshape(2, -1))
    # [samples, folds, rows]
    area = auc(*np.stack(logits, axis=1))
    return C2ST(*_accuracy(right, 2 * count), 2 * count, *area)


class Area(NamedTuple):
    """Area under the curve of true against false positives.

    Attributes:
        value: P(a > b) + P(a = b) / 2 over pairs.
        standard_error: of the value, over the rows of both samples.
    """

    value: float
    standard_error: float


def auc(negatives: np.ndarray, positives: np.ndarray) -> Area:
    """How often a score of the second sample is above one of the first, by ranks.

    Scores are compared within a fold only: those of two networks need not be on one
    scale.

    Args:
        negatives: `[rows]` scores of the first sample, or `[folds, rows]`.
        positives: likewise of the second; as many folds.

    Returns:
        The area and its standard error.

    Raises:
        ValueError: another number of axes or of folds, or a score that is not a number.

    Reference: Hanley and McNeil (1982); the error, DeLong, DeLong and Clarke-Pearson
    (1988), eq. 4 of one curve.
    """
    first, second = (
        np.atleast_2d(np.asarray(s, np.float64)) for s in (negatives, positives)
    )
    if first.ndim != 2 or len(first) != len(second) or not first.size * second.size:
        raise ValueError(
            f"scores of shapes {np.shape(negatives)} and {np.shape(positives)}: "
            "expected [rows], or [folds, rows] of as many folds"
        )
    if np.isnan(first).any() or np.isnan(second).any():
        raise ValueError("scores that are not numbers: expected none")
    from scipy import stats  # Half a second, which a training need not wait for.

    m, n = first.shape[1], second.shape[1]
    ranks = stats.rankdata(np.concatenate([first, second], axis=1), axis=1)
    # Of each row of one sample, the share of the other's that it is above; ties half.
    above = (ranks[:, m:] - stats.rankdata(second, axis=1)) / m
    below = 1 - (ranks[:, :m] - stats.rankdata(first, axis=1)) / n
    variance = sum(
        placed.var(ddof=1) / placed.size for placed in (above, below) if placed.size > 1
    )
    return Area(float(above.mean()), math.sqrt(variance))


def _accuracy(right: int, rows: int) -> tuple[float, float, float]:
    """The accuracy, its standard error, and its p-value."""
    accuracy = right / rows
    error = math.sqrt(accuracy * (1 - accuracy) / rows)
    p_value = float(special.bdtrc(right - 1, rows, 0.5)) if right else 1.0
    return accuracy, error, p_value


def _standardised(pooled: np.ndarray) -> np.ndarray:
    """`[2, rows, features]` in float32, scaled by both samples together."""
    flat = pooled.reshape(-1, pooled.shape[-1])
    low, middle, high = np.quantile(flat, [0.25, 0.5, 0.75], axis=0)
    scale = (high - low) / NORMAL_RANGE
    # Half of a column may be one value, or all of it.
    scale = np.where(scale > 0, scale, flat.std(axis=0))
    scale = np.where(scale > 0, scale, 1.0)
    return np.clip((pooled - middle) / scale, -CUT, CUT).astype(np.float32)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _held_out(
    network: Classifier,
    epochs: int,
    x: Array,
    labels: Array,
    held_out: Array,
    key: Array,
) -> tuple[Array, Array]:
    """Logits of the rows held out, by the best epoch, and its validation loss."""
    chosen = max(1, int(VALIDATION * len(x)))
    choosing, learning = (x[:chosen], labels[:chosen]), (x[chosen:], labels[chosen:])
    size = min(BATCH_SIZE, max(1, len(learning[0]) // LEAST_BATCHES))
    batches = len(learning[0]) // size
    schedule = optax.cosine_decay_schedule(LEARNING_RATE, epochs * batches)
    optimiser = optax.adamw(schedule, weight_decay=WEIGHT_DECAY)

    def loss(params: Any, x: Array, labels: Array) -> Array:
        logits: Any = network.apply(params, x)
        return optax.sigmoid_binary_cross_entropy(logits, labels).mean()

    def step(carry: Any, rows: Array) -> tuple[Any, None]:
        params, state = carry
        gradient = jax.grad(loss)(params, *(part[rows] for part in learning))
        updates, state = optimiser.update(gradient, state, params)
        return (optax.apply_updates(params, updates), state), None

    def epoch(carry: Any, key: Array) -> tuple[Any, None]:
        trained, best, least = carry
        order = jax.random.permutation(key, len(learning[0]))[: batches * size]
        trained, _ = jax.lax.scan(step, trained, order.reshape(batches, size))
        value = loss(trained[0], *choosing)
        # A loss that is not a number stays, and is reported.
        better = (value < least) | jnp.isnan(value)
        best = jax.tree.map(lambda a, b: jnp.where(better, a, b), trained[0], best)
        return (trained, best, jnp.where(better, value, least)), None

    params = network.init(key, x[:1])
    start = (params, optimiser.init(params)), params, jnp.asarray(jnp.inf)
    (_, best, least), _ = jax.lax.scan(
        epoch, start, jax.random.split(jax.random.fold_in(key, 1), epochs)
    )
    logits: Any = network.apply(best, held_out)
    return logits, least
