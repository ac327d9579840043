"""Flow to flow: likelihood, latent, intermediate and synthesized distillation.

Each loss is a jitted pure function of two hashable flows and their variables. The
teacher's results pass through `stop_gradient`. Latents are the caller's to draw: the
same `z` goes to both flows.

    loss, aux = ilkd(student, teacher, student_variables, teacher_variables, x)
    jax.value_and_grad(ilkd, argnums=2, has_aux=True)(student, teacher, ...)

The last is for flows whose variables are all parameters; of others, such as a Glow in
PLU form, `ops.trees.split_variables` tells what to differentiate.

Reference: Walton et al. (2023), "Distilling Normalizing Flows", section 3.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import core
from jaxtyping import Array, PRNGKeyArray

from fdnf.losses import levels
from fdnf.losses.levels import Heads, Pairs
from fdnf.ops import entering
from fdnf.ops import rows as of_rows
from fdnf.types import Aux, Encoding, ExternalFlow, Flow, Given, Scalar, Variables

# Three numbers, or an array [3], in the order of TERMS; traced ones are welcome.
Weights = Any

TERMS = ("nll", "latents", "samples")
UNITS = ("nats", "bits_per_dim")

_STATIC = ("student", "teacher", "distance", "reduction")
_LATENT = (*_STATIC, "parts")


@functools.partial(jax.jit, static_argnames=("student", "units"))
def nll(
    student: Flow,
    student_variables: Variables,
    x: Given,
    cond: Given | None = None,
    *,
    units: str = "nats",
    key: PRNGKeyArray | None = None,
) -> tuple[Scalar, Aux]:
    """Negative log-likelihood, -mean log p_s(x).

    Args:
      student: the flow; static.
      student_variables: its variables.
      x: data.
      cond: context.
      units: "nats" per row, or "bits_per_dim" of the data as the flow sees them, whose
        scale does not depend on their size.
      key: of a flow that estimates its log-determinant; others leave it alone.

    Returns:
      The loss, and Aux with the term "nll" and the student's Encoding.

    Reference: Walton et al. (2023), eq. 4, as the expectation that it stands for.
    """
    encoding = _encoded(student, student_variables, x, cond, key)
    loss = _negative_mean(encoding, units)
    return loss, Aux({"nll": loss}, (), encoding, None)


def _negative_mean(encoding: Encoding, units: str) -> Scalar:
    if units not in UNITS:
        raise ValueError(f"unknown units {units!r}; known: {UNITS}")
    loss = -jnp.mean(encoding.log_prob)
    if units == "nats":
        return loss
    dim = sum(math.prod(part.shape[1:]) for part in encoding.z)
    return loss / (dim * math.log(2))


def _encoded(flow, variables, x, cond, key=None) -> Encoding:
    x, cond = entering.real(x), entering.maybe(cond)
    key = {} if key is None else {"rngs": {"probes": key}}
    return flow.apply(variables, x, cond, method="encode", **key)


def _encode_both(
    student, teacher, student_variables, teacher_variables, x, cond, key=None, every=1
) -> tuple[Encoding, Encoding]:
    taught = _encoded(student, student_variables, x, cond, key)
    rows = taught.log_det.shape[0]
    some = functools.partial(_every, every, rows)
    teaching = _encoded(teacher, teacher_variables, *some((x, cond)))
    # What stands in for a teacher may have said something of all rows.
    return taught, jax.lax.stop_gradient(some(teaching))


def _every(count: int, rows: int, tree: Any) -> Any:
    """Every `count`-th row of what has so many; the rest as it is."""
    if count == 1:
        return tree
    return jax.tree.map(lambda leaf: leaf[::count] if len(leaf) == rows else leaf, tree)


@functools.partial(jax.jit, static_argnames=_LATENT)
def lkd(
    student: Flow,
    teacher: Flow,
    student_variables: Variables,
    teacher_variables: Variables,
    x: Given,
    cond: Given | None = None,
    *,
    distance: str = "l1",
    reduction: str = "mean",
    parts: str = "passed",
    heads: Heads | None = None,
) -> tuple[Scalar, Aux]:
    """Latent knowledge distillation (Walton et al., eq. 12): d(t(x), s(x)).

    Args:
      student: flow to train; static.
      teacher: flow to imitate; static.
      student_variables: its variables.
      teacher_variables: its variables; held fixed.
      x: data.
      cond: context, for both.
      distance: "l1", "l2" or "cosine", see `levels.rowwise`.
      reduction: over the event, "mean" or "sum".
      parts: which latents of a multi-scale flow, see `Encoding.latents`.
      heads: what the student's activations pass before they are compared, and their
        units, see `levels.identity`. A gradient by them trains them.

    Returns:
      The loss, and Aux with the term "lkd" and both Encodings.
    """
    flows = (student, teacher, student_variables, teacher_variables)
    taught, teaching = _encode_both(*flows, x, cond)
    given = levels.compared(taught, teaching, latents="final", parts=parts)
    (loss,) = levels.gaps(given, heads, distance=distance, reduction=reduction)
    return loss, Aux({"lkd": loss}, (loss,), taught, teaching)


@functools.partial(jax.jit, static_argnames=(*_LATENT, "pairs", "over_levels"))
def ilkd(
    student: Flow,
    teacher: Flow,
    student_variables: Variables,
    teacher_variables: Variables,
    x: Given,
    cond: Given | None = None,
    *,
    distance: str = "l1",
    reduction: str = "mean",
    pairs: str | Pairs = "index",
    over_levels: str = "mean",
    parts: str = "passed",
    heads: Heads | None = None,
) -> tuple[Scalar, Aux]:
    """Intermediate latent distillation (Walton et al., eq. 13): d over levels.

    Args: as `lkd`, and
      pairs: which levels are compared, see `levels.pairs_of`.
      over_levels: "mean" over the pairs, as the released code, or "sum", as printed.
      parts: what of each level of a multi-scale flow, see `Encoding.part`.

    Returns:
      The loss, and Aux with the term "ilkd", one scalar per pair, both Encodings.
    """
    flows = (student, teacher, student_variables, teacher_variables)
    taught, teaching = _encode_both(*flows, x, cond)
    given = levels.compared(taught, teaching, pairs=pairs, parts=parts)
    gaps = levels.gaps(given, heads, distance=distance, reduction=reduction)
    loss = levels.over_levels(gaps, over_levels)
    return loss, Aux({"ilkd": loss}, gaps, taught, teaching)


@functools.partial(jax.jit, static_argnames=(*_STATIC, "limit", "screen_student"))
def skd(
    student: Flow,
    teacher: Flow,
    student_variables: Variables,
    teacher_variables: Variables,
    z: Given,
    cond: Given | None = None,
    *,
    distance: str = "l1",
    reduction: str = "mean",
    limit: float | None = None,
    screen_student: bool = True,
) -> tuple[Scalar, Aux]:
    """Synthesized distillation (Walton et al., eq. 14): d(t^-1(z), s^-1(z)).

    Rows whose sample is not finite, or leaves [-limit, limit], count as 0 in the mean,
    which is over all rows: then the mean over devices, or over parts of a batch, is
    that of the whole. Masking the loss alone would not keep their gradient out (0 * inf
    is NaN), so such rows are also replaced on the way in, by z = 0. The teacher's
    samples decide first; the student's then need one more decode without gradient,
    which `screen_student=False` saves where the student's scales are bounded.

    Args: as `lkd`, and
      z: latents, the same for both: every part's noise is shared.
      limit: largest |x| of a sample that counts; None for any finite one.
      screen_student: see above.

    Returns:
      The loss (0 if all rows are rejected), and Aux with the terms "skd" and
      "rejected" (share of rows) and both Decodings.
    """
    z, cond = entering.reals(z), entering.maybe(cond)
    teaching = teacher.apply(teacher_variables, z, cond, method="decode")
    teaching = jax.lax.stop_gradient(teaching)
    bad = of_rows.exploded(teaching.x, limit)
    if screen_student:
        fixed = jax.lax.stop_gradient(student_variables)
        kept = of_rows.zeroed(bad, z)
        trial = student.apply(fixed, kept, cond, method="decode")
        bad |= of_rows.exploded(trial.x, limit)
    kept = of_rows.zeroed(bad, z)
    taught = student.apply(student_variables, kept, cond, method="decode")
    target = jnp.where(of_rows.beside(bad, taught.x), taught.x, teaching.x)
    target = jax.lax.stop_gradient(target)
    rows = levels.rowwise(taught.x, target, distance, reduction)
    loss = jnp.mean(jnp.where(bad, 0.0, rows))
    terms = {"skd": loss, "rejected": jnp.mean(bad.astype(loss.dtype))}
    return loss, Aux(terms, (), taught, teaching)


def terms_of(weights: Weights) -> tuple[str, ...]:
    """The terms of `combined` that weights turn on: those whose weight is not 0.

    A traced weight, whose value is not known, counts as not 0.

    Raises:
      ValueError: unless there are three weights.
    """
    if not isinstance(weights, (tuple, list, core.Tracer)):
        weights = np.asarray(weights)
    if len(weights) != len(TERMS):
        raise ValueError(f"{len(weights)} weights: expected one each of {TERMS}")
    return tuple(
        name
        for name, weight in zip(TERMS, weights, strict=True)
        if isinstance(weight, core.Tracer) or float(weight)
    )


def _jitted(function: Callable) -> Callable:
    """Compiles `combined`: its weights are traced, the terms they turn on static."""
    static = (
        *_LATENT,
        *("terms", "latents", "sample_distance", "pairs", "over_levels", "units"),
        *("limit", "screen_student", "every"),
    )
    compiled = jax.jit(function, static_argnames=static)

    @functools.wraps(function)
    def call(*args, weights: Weights = (0.9, 0.1, 0.0), terms=None, **settings):
        terms = terms_of(weights) if terms is None else tuple(terms)
        return compiled(*args, weights=weights, terms=terms, **settings)

    return call


@_jitted
def combined(
    student: Flow,
    teacher: Flow,
    student_variables: Variables,
    teacher_variables: Variables,
    x: Given,
    z: Given | None = None,
    cond: Given | None = None,
    z_cond: Given | None = None,
    *,
    weights: Weights = (0.9, 0.1, 0.0),
    terms: tuple[str, ...] | None = None,
    latents: str = "levels",
    distance: str = "l1",
    sample_distance: str | None = None,
    reduction: str = "mean",
    pairs: str | Pairs = "index",
    over_levels: str = "mean",
    parts: str = "passed",
    units: str = "nats",
    limit: float | None = None,
    screen_student: bool = True,
    heads: Heads | None = None,
    every: int = 1,
    key: PRNGKeyArray | None = None,
) -> tuple[Scalar, Aux]:
    """Flow distillation (Walton et al., eq. 15, its first sign put right).

    L = -w0 mean log p_s(x) + w1 L_(I)LKD + w2 L_SKD. The paper prints +w0 log p_s,
    which would be minimised by making the data unlikely.

    Args: as `ilkd` and `skd`, and
      cond, z_cond: contexts of x and, where it is another one, of z.
      weights: (w0, w1, w2), numbers or traced values: one compiled program serves all
        weights of equal terms, under `vmap` too. See `presets`.
      terms: which of "nll", "latents" and "samples" are computed; the others are left
        out, whatever their weights. By default those whose weight is not the number 0;
        a traced weight counts as not 0. "samples" need `z`.
      latents: "levels" compares all paired levels (ILKD), "final" the latents (LKD).
      sample_distance: of SKD, where it is not `distance`.
      parts: of the levels, or of the latents, of a multi-scale flow.
      heads: as of `lkd`; of as many levels as are compared.
      every: of the rows, every so manieth has its latents compared, the first among
        them, and the teacher is asked about these alone; 4 is a quarter. Of batches
        drawn at random the mean is the same. The likelihood is of all rows.
      units, key: of the likelihood, see `nll`.

    Returns:
      The loss, and Aux with the terms present, each without its weight, and as
      `student` and `teacher` the pairs (Encoding, Decoding or None); the teacher's
      Encoding is of the rows that are compared.
    """
    if terms is None or not set(terms) <= set(TERMS):
        raise ValueError(f"unknown terms {terms}; known: {TERMS}")
    if latents not in levels.LATENTS:
        raise ValueError(f"unknown latents {latents!r}; known: {levels.LATENTS}")
    flows = (student, teacher, student_variables, teacher_variables)
    w_nll, w_latent, w_skd = weights
    loss = jnp.zeros((), jnp.float32)
    found: dict[str, Array] = {}
    gaps: tuple[Array, ...] = ()
    taught: Any = None
    teaching = drawn = target = None
    if "latents" in terms:
        taught, teaching = _encode_both(*flows, x, cond, key, every)
        some = _every(every, taught.log_det.shape[0], taught)
        given = levels.compared(
            some, teaching, latents=latents, pairs=pairs, parts=parts
        )
        gaps = levels.gaps(given, heads, distance=distance, reduction=reduction)
    elif "nll" in terms:
        taught = _encoded(student, student_variables, x, cond, key)
    if "nll" in terms:
        found["nll"] = _negative_mean(taught, units)
        loss += w_nll * found["nll"]
    if "latents" in terms:
        name = "ilkd" if latents == "levels" else "lkd"
        found[name] = levels.over_levels(gaps, over_levels)
        loss += w_latent * found[name]
    if "samples" in terms:
        if z is None:
            raise ValueError(f"terms {terms} ask for SKD, which needs latents z")
        term, aux = skd(
            *flows,
            z,
            cond if z_cond is None else z_cond,
            distance=sample_distance or distance,
            reduction=reduction,
            limit=limit,
            screen_student=screen_student,
        )
        found.update(aux.terms)
        drawn, target = aux.student, aux.teacher
        loss += w_skd * term
    return loss, Aux(found, gaps, (taught, drawn), (teaching, target))


@functools.lru_cache(maxsize=64)
def mean_of(teacher: Flow) -> ExternalFlow:
    """Several teachers of one kind as one, whose levels and latents are their mean.

    Its variables are theirs with a leading axis, and it can only be asked to encode:
    the same latent is another sample of each. Its densities are the mean of theirs in
    nats. Means say something where the teachers' maps are alike, as those of one order
    of the columns are.

    Args:
      teacher: what each of them is.
    """

    def encode(variables: Variables, x: Array, cond: Array | None = None) -> Encoding:
        # One after another: XLA's batched products are slow on CPU.
        found = jax.lax.map(
            lambda each: teacher.apply(each, x, cond, method="encode"), variables
        )
        return jax.tree.map(lambda leaf: jnp.mean(leaf, axis=0), found)

    return ExternalFlow(encode=encode)
