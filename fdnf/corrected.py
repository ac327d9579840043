"""Exact samples of a teacher at the speed of its student.

The student proposes x = S(z) and knows the density of its own samples from the noise
that made them; the teacher weighs them by its density, one pass of an autoregressive
one: log w = log p_T(x) - log q(x). Two ways make samples of p_T of weighed proposals of
q, and a third needs no weights:

  metropolis  independence Metropolis-Hastings: each row is the end of a chain of its
              own, which starts at its first proposal and moves from x to the next, y,
              with probability min(1, w(y) / w(x)). Rows are independent, and no two are
              alike.
  resampling  of m proposals a row, rows are drawn in proportion to w, systematically:
              a proposal is taken twice only if it counts for more than a row.
  defects     each x is moved until it is the teacher's own sample of its z, by a few
              rounds of student and teacher, see `flows.decode_through`. It asks how
              near S(z) is to the teacher's sample of the same z, not how wide weights
              are, which in many dimensions are too wide of any student.

How many proposals a row the weights ask for is found from themselves, see
`metrics.proposals`; what is left is told with the result, and where weights are too
wide for either, `CorrectionWarning` says so and what to do.

References: Liu (1996), "Metropolized independent sampling with comparisons to rejection
sampling and importance sampling"; Rubin (1987) for the resampling.
"""

import math
import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from fdnf.flows import refined, weighed
from fdnf.metrics import importance, proposals
from fdnf.metrics.importance import Importance
from fdnf.types import Flow, Given, Judge, Variables

METHODS = ("metropolis", "resampling", "defects")
# Proposals by whose weights the number of proposals a row is chosen.
PILOT = 4096
# Conditions, of those that are asked for, whose weights are looked at for that.
CONDITIONS = 32
# Total variation that may be left, or share of rows that stand in for others.
TOLERANCE = 0.01
# Most proposals a row, unless more are asked for.
MOST = 256
# Least effective size of what a row is drawn from by resampling, whose bias is about
# one over it.
POOL = 100
# Proposals whose weights are kept and looked at.
KEPT = 2**20
# Bytes of proposals that resampling holds at once.
_HELD = 2**28
# Weights below which nothing is said of how wide they are.
FEWEST = 21
_PILOT_STREAM, _ROWS_STREAM = 0, 1


class CorrectionWarning(UserWarning):
    """Weights by which samples cannot be trusted to be those of the teacher."""


class Corrected(NamedTuple):
    """Samples of the teacher, and how far to trust that.

    Attributes:
      x: `[n, *event]`, the samples, as the flows see data.
      log_weights: float32, log p_T - log q of proposals, in nats, those of the pilot
        first, at most `KEPT`; -inf of one without a density under the teacher.
      importance: what these weights say, see `metrics.importance`; of a judge's with
        conditions those of the pilot, each beside those of its condition.
      method: one of `METHODS`.
      steps: proposals a row.
      proposals: all that were made.
      rounds: passes of both flows a row, the mean: steps, or those of `defects`.
      acceptance: share of proposals that chains moved to, in the latter half of their
        steps; of resampling the share of proposals that were taken; of defects that
        of rows which the rounds solved, where the teacher decoded the others.
      distance: of the chains' ends from the teacher in total variation, computed from
        the measured weights, see `proposals.distance`; of resampling the bias of a
        probability, about one over the effective size of the smallest pool; 0 of
        defects, whose latents are right to the root of the float's precision.
      uncorrected: total variation of the student from its teacher, by these weights:
        the share of its samples that are wrong as they are.
      repeated: share of rows that are the same as one before; chains have none.
      lost: proposals without a weight: not finite, or without a density.
      told: what there is to say against these samples; empty if nothing.
    """

    x: np.ndarray
    log_weights: np.ndarray
    importance: Importance
    method: str
    steps: int
    proposals: int
    rounds: float
    acceptance: float
    distance: float
    uncorrected: float
    repeated: float
    lost: int
    told: tuple[str, ...]

    @property
    def ess(self) -> float:
        """Effective sample size of the kept proposals, if weights stay with them."""
        return self.importance.ess

    @property
    def ess_share(self) -> float:
        """The same for each proposal, in [0, 1]."""
        return self.importance.ess_share

    @property
    def khat(self) -> float:
        """Pareto shape of the largest weights: from 0.7 on they cannot be trusted."""
        return self.importance.khat


def corrected_sample(
    student: Flow,
    teacher: Flow,
    student_variables: Variables,
    teacher_variables: Variables,
    key: Any,
    n: int,
    cond: Given | None = None,
    *,
    event: tuple[int, ...],
    method: str = "metropolis",
    steps: int | None = None,
    batch: int = 4096,
    tolerance: float = TOLERANCE,
) -> Corrected:
    """Draws samples of a teacher that its student proposes.

    Args:
      student: any flow by the protocol that samples fast. Only its `decode` is used,
        which has to give `log_det`, and a standard normal prior.
      teacher: any flow on the same data, or a `types.Judge`, whose density need not be
        normalised. Only its `encode` is used.
      student_variables: of one run.
      teacher_variables: likewise.
      key: randomness, or a seed. The same for the same `batch`.
      n: how many rows.
      cond: condition of each row, `[n, ...]`, for both; or of all, `[1, ...]`.
      event: shape of a row.
      method: see the head of this file. "resampling" takes fewer proposals and repeats
        rows where weights are wide; where conditions differ it draws each row from
        proposals of its own condition alone.
      steps: proposals a row. None for as few as leave the chains within `tolerance` of
        the teacher, or as few rows repeated, at most `MOST`, by the weights of `PILOT`
        proposals that are made for that; with conditions the mean over these. Of
        defects the most rounds of a row, None for `refined.ROUNDS`.
      batch: rows at once, of one compiled program.
      tolerance: total variation, or share of repeated rows, in (0, 1).

    Returns:
      See `Corrected`. Not for use within `jit`: it looks at the weights.

    Raises:
      ValueError: for a student without a density, no proposal that has a density under
        the teacher, and numbers or conditions that cannot be; of defects for a judge.

    Warns:
      CorrectionWarning: where the samples are not to be trusted, and the way out.
    """
    _check(method, n, steps, batch, tolerance)
    key = jax.random.key(key) if isinstance(key, int | np.integer) else key
    rows = min(batch, 1 << (n - 1).bit_length())
    placed, taught = jax.device_put((student_variables, teacher_variables))
    pair = _Pair(student, teacher, placed, taught, tuple(event), rows)
    beside = _conditions(cond, n)
    seen = _Seen()
    if method == "defects":
        return _solved(pair, key, beside, n, steps or refined.ROUNDS)
    smallest = proposals.smallest(beside, n, pair.rows)
    # What a judge's weights are multiples of may depend on the condition.
    apart = isinstance(teacher, Judge) and beside is not None
    pilot = None
    if steps is None or apart:
        pilot = _pilot(pair._replace(rows=min(batch, PILOT)), key, beside, seen)
        own = _importance(pilot if apart else seen.all()).ess_share * smallest
        least = min(MOST, math.ceil(POOL / own))
        steps = steps or proposals.enough(pilot, method, tolerance, MOST, least)
    if method == "resampling":
        room = _HELD // (4 * steps * math.prod(pair.event))
        pair = pair._replace(rows=max(1, min(pair.rows, room)))
        smallest = proposals.smallest(beside, n, pair.rows)
    made = _metropolis if method == "metropolis" else _resampled
    found = [
        made(pair, _fold(key, _ROWS_STREAM, i), near, steps, here, seen)
        for i, near, here in proposals.batches(beside, n, pair.rows)
    ]
    x = np.concatenate([each.x for each in found])
    measured = seen.all()
    about = _importance(pilot if apart and pilot is not None else measured)
    # Under a condition chains are as far as its own weights say.
    known = measured if pilot is None or beside is None else pilot
    distances = proposals.distances(known, steps if method == "metropolis" else 1)
    pool = max(1.0, about.ess_share * steps * smallest)
    result = Corrected(
        x,
        measured,
        about,
        method,
        steps,
        seen.count,
        float(steps),
        float(np.mean([each.acceptance for each in found])),
        distances[-1] if method == "metropolis" else 1.0 / pool,
        distances[0],
        sum(each.repeats for each in found) / n,
        seen.lost,
        (),
    )
    doubts = tuple(_doubts(result, tolerance, not isinstance(teacher, Judge)))
    result = result._replace(told=doubts)
    if doubts:
        warnings.warn(_warning(result), CorrectionWarning, stacklevel=2)
    return result


class _Pair(NamedTuple):
    """A student and its teacher, and the shape of one batch of proposals."""

    student: Flow
    teacher: Flow
    student_variables: Variables
    teacher_variables: Variables
    event: tuple[int, ...]
    rows: int

    @property
    def start(self) -> tuple[Array, Array]:
        """Chains that stand nowhere."""
        x = jnp.zeros((self.rows, *self.event), jnp.float32)
        return x, jnp.full(self.rows, -jnp.inf, jnp.float32)

    def moved(self, key: Array, x: Array, log_w: Array, cond: Any) -> Any:
        """See `weighed.moved`; of chains at their start, x are the proposals."""
        return weighed.moved(*self[:4], key, x, log_w, cond)


class _Batch(NamedTuple):
    """Rows of a batch, its share of accepted proposals, and its repeated rows."""

    x: np.ndarray
    acceptance: float
    repeats: int


def _nowhere(rows: int, of: int, steps: int) -> str:
    return (
        f"{rows} of {of} rows had no proposal with a density under the teacher in "
        f"{steps} steps: give more steps, or a student closer to its teacher"
    )


class _Seen:
    """The weights of proposals, as many as are kept, and how many there were."""

    def __init__(self) -> None:
        self._parts: list[np.ndarray] = []
        self.count = self.lost = 0

    def add(self, log_weights: Any) -> None:
        part = np.asarray(log_weights, np.float32)
        free = max(KEPT - self.count, 0)
        self.count += len(part)
        self.lost += int(np.isneginf(part).sum())
        if free:
            self._parts.append(part[:free])

    def all(self) -> np.ndarray:
        found = np.concatenate(self._parts)
        if np.isneginf(found).all():
            raise ValueError(
                f"none of {len(found)} proposals has a density under the teacher: are "
                "both flows of the same data, and their variables trained?"
            )
        return found


def _pilot(
    pair: _Pair, key: Array, beside: np.ndarray | None, seen: _Seen
) -> np.ndarray:
    """Log w of `PILOT` proposals, or of twice as many, of some conditions each."""
    groups, count, cond = 1, PILOT, None
    if beside is not None:
        spread = np.linspace(0, len(beside) - 1, CONDITIONS).astype(int)
        some = np.unique(beside[spread], axis=0)
        groups, count = len(some), 2 * PILOT // len(some)
        cond = some.repeat(count, axis=0)
    found = []
    for i, near, here in proposals.batches(cond, groups * count, pair.rows):
        log_w = pair.moved(_fold(key, _PILOT_STREAM, i), *pair.start, near)[2]
        found.append(np.asarray(log_w)[:here])
        seen.add(found[-1])
    return np.concatenate(found).reshape(groups, count)


def _importance(log_weights: np.ndarray) -> Importance:
    """Of weights; of several conditions each by its own mean."""
    if log_weights.ndim == 1:
        return importance.of(log_weights)
    mean = np.logaddexp.reduce(log_weights.astype(np.float64), axis=1, keepdims=True)
    return importance.of(np.ravel(log_weights - np.where(mean > -np.inf, mean, 0.0)))


def _metropolis(
    pair: _Pair, key: Array, cond: Any, steps: int, here: int, seen: _Seen
) -> _Batch:
    (x, log_w), moves, weights = pair.start, [], []
    for step in range(steps):
        x, log_w, proposals, accepted = pair.moved(_fold(key, step), x, log_w, cond)
        weights.append(proposals)
        moves.append(accepted)
    for each in weights:  # Not within the loop, which would wait for each.
        seen.add(np.asarray(each)[:here])
    if nowhere := int(np.isneginf(np.asarray(log_w)[:here]).sum()):
        raise ValueError(_nowhere(nowhere, here, steps))
    late = moves[steps // 2 :] if steps > 1 else moves
    # On the host, where another number of steps compiles nothing.
    share = float(np.mean([np.asarray(each)[:here] for each in late]))
    return _Batch(np.asarray(x)[:here], share, 0)


def _resampled(
    pair: _Pair, key: Array, cond: Any, steps: int, here: int, seen: _Seen
) -> _Batch:
    drawn = [
        pair.moved(_fold(key, step), *pair.start, cond)[:2] for step in range(steps)
    ]
    # [rows, steps, ...], so that proposals of a row lie beside each other.
    x = np.stack([np.asarray(x)[:here] for x, _ in drawn], axis=1)
    log_w = np.stack([np.asarray(log_w)[:here] for _, log_w in drawn], axis=1)
    seen.add(log_w.reshape(-1))
    groups = np.zeros(here, np.int32) if cond is None else proposals.groups(cond[:here])
    numbers = np.asarray(jax.random.key_data(_fold(key, steps))).reshape(-1)
    rng = np.random.default_rng([int(n) for n in numbers])
    taken = np.zeros(here, np.int64)
    for group in range(groups.max() + 1):
        members = np.flatnonzero(groups == group)
        own = log_w[members].reshape(-1)
        if np.isneginf(own).all():
            raise ValueError(_nowhere(len(members), here, steps))
        picked = proposals.systematic(own, len(members), rng)
        taken[members] = members[picked // steps] * steps + picked % steps
    kept = len(np.unique(taken))
    flat = x.reshape(here * steps, *x.shape[2:])
    return _Batch(flat[taken], kept / (here * steps), here - kept)


def _solved(
    pair: _Pair, key: Array, cond: np.ndarray | None, n: int, most: int
) -> Corrected:
    """Of each latent the teacher's own sample."""
    if isinstance(pair.teacher, Judge):
        raise ValueError(
            "method='defects' asks a teacher for latents, and a Judge has none: "
            "method='metropolis' needs its density alone"
        )
    z = weighed.latents(pair.student, pair.student_variables, key, (n, *pair.event))
    found = refined.decode_through(*pair[:4], z, cond, rounds=most, batch=pair.rows)
    if np.isnan(found.log_weight).all():
        raise ValueError(weighed.NO_DENSITY.format(type(pair.student).__name__))
    seen = _Seen()
    seen.add(np.where(np.isfinite(found.log_weight), found.log_weight, -np.inf))
    measured = seen.all()
    apart = proposals.distance(measured, 1)
    rounds, solved = float(found.rounds.mean()), 1.0 - float(found.direct.mean())
    told = (importance.of(measured), "defects", 1, n, rounds, solved)
    return Corrected._make((found.x, measured, *told, 0.0, apart, 0.0, seen.lost, ()))


def _doubts(found: Corrected, tolerance: float, whole: bool) -> Iterator[str]:
    """What there is to say against samples, a clause each.

    `whole` says that the mean weight is the mass of the teacher that was found.
    """
    about = found.importance
    if about.rows >= FEWEST and not about.reliable:
        yield (
            f"the weights are too wide: Pareto k-hat {about.khat:.2f} (from 0.7 on no "
            f"number of proposals is enough), ESS {about.ess:.0f} of {about.rows} "
            f"({100 * about.ess_share:.2g} %)"
        )
    missed = -math.expm1(min(about.log_mean, 0.0))
    if whole and missed > max(4.0 * about.log_mean_error, tolerance):
        yield (
            f"about {100 * missed:.2g} % of the teacher's mass is where the student "
            "draws nothing"
        )
    if found.distance > 1.5 * tolerance and found.method == "metropolis":
        yield (
            f"after {found.steps} proposals a row the chains are {found.distance:.2g} "
            f"from the teacher in total variation (asked for: {tolerance:g})"
        )
    if found.repeated > 1.5 * tolerance:
        yield f"{100 * found.repeated:.2g} % of the rows repeat others"


def _warning(found: Corrected) -> str:
    besides = ", or method='metropolis'" if found.method == "resampling" else ""
    other = f"more of them, steps={4 * found.steps}{besides}"
    return (
        f"corrected samples are not to be trusted: {'; '.join(found.told)}. Train the "
        "student closer to its teacher (reverse KL, then samples of the teacher, whose "
        f"tails it has to cover), make {other}, sample the teacher itself, or, of one "
        "with latents that its student was taught, method='defects'"
    )


def _check(
    method: str, n: int, steps: int | None, batch: int, tolerance: float
) -> None:
    if method not in METHODS:
        raise ValueError(f"method={method!r}; known: {', '.join(METHODS)}")
    counts = {"n": n, "batch": batch, "steps": 1 if steps is None else steps}
    for name, value in counts.items():
        whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
        if not whole or value < 1:
            raise ValueError(f"{name}={value!r}: expected a whole number, at least 1")
    if not 0.0 < tolerance < 1.0:
        raise ValueError(f"tolerance={tolerance}: expected a share in (0, 1)")


def _conditions(cond: Given | None, n: int) -> np.ndarray | None:
    if cond is None:
        return None
    beside = np.asarray(cond)
    if beside.ndim < 2 or len(beside) not in (1, n):
        raise ValueError(
            f"a condition of shape {beside.shape} for {n} rows: expected one a row, "
            f"[{n}, ...], or one for all, [1, ...]"
        )
    return np.broadcast_to(beside, (n, *beside.shape[1:]))


def _fold(key: Array, *numbers: int) -> Array:
    for number in numbers:
        key = jax.random.fold_in(key, number)
    return key
