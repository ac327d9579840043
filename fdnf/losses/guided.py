"""Guided distillation: a parallel sampler learns its teacher block by block.

A teacher of K blocks encodes x = h_0 -> h_1 -> .. -> h_K = z, one pass. A student of K
blocks decodes z = h_K -> .. -> h_0, and block k of it has one thing to learn: from h_k,
the teacher's h_{k-1}. Given the teacher's activations, all its blocks are independent
regressions, which train at once in one stacked pass and feed no errors to each other:
the term "local". "path_x" and "path_z" then look at what comes of the student's own
activations, and the two KL divergences at the densities.

    loss, aux = guided(
        student, teacher, student_variables, teacher_variables, x, z,
        weights={"local": 20.0, "path_x": 2.0, "kl": 1.0},
    )

Nothing is drawn here: z is the caller's. `flows.IAF.of(maf)` makes a student whose
blocks can be the exact inverses of the teacher's.
"""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import core
from jaxtyping import Array

from fdnf.losses import activations, density
from fdnf.losses.levels import Pairs
from fdnf.ops import entering
from fdnf.ops import rows as of_rows
from fdnf.types import Aux, Decoding, Flow, Given, Scalar, Variables

TERMS = ("local", "path_x", "path_z", "parameters", "kl", "forward_kl")
# What needs data, what needs latents, and what needs blocks of both flows.
OF_DATA = ("local", "path_x", "parameters", "forward_kl")
OF_LATENTS = ("path_z", "kl")
OF_BLOCKS = ("local", "parameters")

# By term, or an array in the order of TERMS; values may be traced.
Weights = Any


def check(
    student: Flow,
    teacher: Flow,
    *,
    terms: tuple[str, ...] = ("local",),
    units: str = "teacher",
    robust: float | None = 3.0,
) -> None:
    """Refuses flows that cannot be compared so, before anything is computed.

    Args: as of `guided`.

    Raises:
      ValueError: with what was given, what was expected, and the way out.
    """
    if not terms or not set(terms) <= set(TERMS):
        raise ValueError(f"unknown terms {terms}; known: {TERMS}")
    if units not in activations.UNITS:
        raise ValueError(f"unknown units {units!r}; known: {activations.UNITS}")
    if robust is not None and not robust > 0:
        raise ValueError(f"robust={robust}: expected a number above 0, or None")
    own, other = activations.kind_of(student), activations.kind_of(teacher)
    names = type(student).__name__, type(teacher).__name__
    measured = {"local", "path_x", "path_z"} & {*terms}
    if units == "teacher" and measured and other is None:
        raise ValueError(
            f'units="teacher": a teacher {names[1]} does not tell how far its blocks '
            'move an element; measure in units="level" or "plain"'
        )
    blockwise = [term for term in OF_BLOCKS if term in terms]
    if not blockwise:
        return
    if own is None:
        raise ValueError(
            f"{blockwise[0]}: a student {names[0]} is no stack of equal blocks; "
            f"{activations.ENDS}"
        )
    if other is None:
        if "parameters" in terms:
            raise ValueError(
                f"parameters: a teacher {names[1]} does not tell what its blocks "
                'compute; leave this term out, "local" takes its levels'
            )
        return
    if own.count != other.count:
        raise ValueError(
            f"{blockwise[0]}: the student has {own.count} blocks, the teacher "
            f"{other.count}; give it as many, as IAF.of(teacher) does, or "
            f"{activations.ENDS}"
        )
    if own.order != other.order:
        raise ValueError(
            f"{blockwise[0]}: blocks of the student ({names[0]}) are of the order "
            f"{own.order}, those of the teacher ({names[1]}) of {other.order}: none "
            "can be the other's inverse; make the student with IAF.of(teacher), or "
            f"{activations.ENDS}"
        )


def _path_x(
    student: Flow,
    variables: Variables,
    taught: activations.Taught,
    cond: Array | None,
    how: activations.Settings,
) -> tuple[activations.Found, Decoding]:
    """The student decodes the teacher's z by itself."""
    bad = taught.bad
    if how.screen:
        trial = _decoded(student, variables, taught.encoding.z, cond, bad, fixed=True)
        bad = bad | activations.far((trial.x, *trial.levels), how.limit)
    drawn = _decoded(student, variables, taught.encoding.z, cond, bad)
    clean = taught._replace(bad=bad)
    units = activations.units_of(clean, how)
    sides = of_rows.zeroed(bad, taught.sides)
    gaps = [activations.distance(drawn.x, sides[0], units[0], bad, how)]
    gaps += [
        activations.distance(drawn.levels[s], sides[t + 1], units[t + 1], bad, how)
        for s, t in activations.levels_of(drawn, taught.encoding, how)
    ]
    return activations.mean_of(gaps, bad), drawn


def _decoded(
    student: Flow,
    variables: Variables,
    z: tuple[Array, ...],
    cond: Array | None,
    bad: activations.Rows,
    fixed: bool = False,
) -> Decoding:
    if fixed:
        variables = jax.lax.stop_gradient(variables)
    z, cond = of_rows.zeroed(bad, z), activations.condition(bad, cond)
    return student.apply(variables, z, cond, method="decode")


def _own_samples(
    student: Flow,
    teacher: Flow,
    variables: Variables,
    teacher_variables: Variables,
    z: tuple[Array, ...],
    cond: Array | None,
    how: activations.Settings,
) -> tuple[Decoding, activations.Taught]:
    """The student's samples, and what the teacher says of them; gradient in both."""
    bad = activations.far(z, None)
    if how.screen:
        trial = _decoded(student, variables, z, cond, bad, fixed=True)
        bad = bad | activations.far((trial.x, *trial.levels), how.limit)
        x, given = of_rows.zeroed(bad, trial.x), activations.condition(bad, cond)
        bad = bad | activations.teach(teacher, teacher_variables, x, given, how).bad
    drawn = _decoded(student, variables, z, cond, bad)
    taught = activations.teach(
        teacher, teacher_variables, drawn.x, activations.condition(bad, cond), how
    )
    return drawn, taught._replace(bad=bad | taught.bad)


def _path_z(
    drawn: Decoding,
    taught: activations.Taught,
    z: tuple[Array, ...],
    how: activations.Settings,
) -> activations.Found:
    """The teacher encodes the student's sample: every level and z itself."""
    taught = activations.measured(taught, how)
    bad, units = taught.bad, activations.units_of(taught, how)
    own, given = of_rows.zeroed(bad, (drawn.levels, z))
    levels, back = of_rows.zeroed(bad, (taught.encoding.levels, taught.encoding.z))
    pairs = activations.levels_of(drawn, taught.encoding, how)
    gaps = [
        activations.distance(own[s], levels[t], units[t + 1], bad, how)
        for s, t in pairs
    ]
    of_latents = taught.spreads[-len(z) :] or (jnp.ones(()),) * len(z)
    for part, target, unit in zip(back, given, of_latents, strict=True):
        gaps.append(activations.distance(part, target, unit, bad, how))
    return activations.mean_of(gaps, bad)


def terms_of(weights: Weights) -> tuple[str, ...]:
    """Terms that weights turn on: those whose weight is not the number 0.

    A traced weight, whose value is not known, counts as not 0.

    Raises:
      ValueError: for unknown terms, another number of weights, or none at all.
    """
    by_term = _by_term(weights)
    found = tuple(
        term
        for term in TERMS
        if isinstance(by_term[term], core.Tracer) or float(by_term[term])
    )
    if not found:
        raise ValueError(f"weights {weights} turn on no term; known: {TERMS}")
    return found


def _by_term(weights: Weights) -> dict[str, Any]:
    if isinstance(weights, Mapping):
        unknown = sorted(set(weights) - {*TERMS})
        if unknown:
            raise ValueError(f"weights of unknown terms {unknown}; known: {TERMS}")
        return {term: weights.get(term, 0.0) for term in TERMS}
    if not isinstance(weights, (tuple, list, core.Tracer)):
        weights = np.asarray(weights)
    if len(weights) != len(TERMS):
        raise ValueError(f"{len(weights)} weights: expected one each of {TERMS}")
    return dict(zip(TERMS, weights, strict=True))


_STATIC = ("student", "teacher", "how")


@functools.partial(jax.jit, static_argnames=_STATIC)
def _all(
    student: Flow,
    teacher: Flow,
    student_variables: Variables,
    teacher_variables: Variables,
    x: Given | None,
    z: Given | None,
    cond: Given | None,
    z_cond: Given | None,
    weights: dict[str, Any],
    *,
    how: activations.Settings,
) -> tuple[Scalar, Aux]:
    """All terms, each network run once for each direction."""
    check(student, teacher, terms=how.terms, units=how.units, robust=how.robust)
    for name, value, needing in (("x", x, OF_DATA), ("z", z, OF_LATENTS)):
        needed = [term for term in how.terms if term in needing]
        if needed and value is None:
            raise ValueError(f"terms {needed} need {name}, which is not given")
    cond, z_cond = entering.maybe(cond), entering.maybe(z_cond)
    found: dict[str, activations.Found] = {}
    seen = taught = path = drawn = judged = None
    if {*OF_DATA} & {*how.terms}:
        x = entering.real(x)
        taught = activations.teach(teacher, teacher_variables, x, cond, how)
        if {"local", "path_x"} & {*how.terms}:
            taught = activations.measured(taught, how)
        if {*OF_BLOCKS} & {*how.terms}:
            seen, found = activations.blockwise(
                student, teacher, student_variables, taught, cond, how
            )
        if "path_x" in how.terms:
            found["path_x"], path = _path_x(
                student, student_variables, taught, cond, how
            )
        if "forward_kl" in how.terms:
            found["forward_kl"] = activations.forward_kl(
                student, student_variables, taught, cond, how
            )
    if {*OF_LATENTS} & {*how.terms}:
        z = activations.after(entering.reals(z), found, how)
        flows = student, teacher, student_variables, teacher_variables
        given = cond if z_cond is None else z_cond
        drawn, judged = _own_samples(*flows, z, given, how)
        if "path_z" in how.terms:
            found["path_z"] = _path_z(drawn, judged, z, how)
        if "kl" in how.terms:
            if drawn.log_det is None:
                raise ValueError(
                    "kl: the student's decode gives no log_det, so that its samples "
                    "have no density; leave this term out"
                )
            logs = density.standard_normal(z) - drawn.log_det, judged.encoding.log_prob
            found["kl"] = activations.ratio(*logs, judged.bad, how.cap)
    loss = jnp.zeros((), jnp.float32)
    for term in how.terms:
        loss += weights[term] * found[term].value
    terms = {term: found[term].value for term in TERMS if term in found}
    rejected = [
        functools.reduce(jnp.logical_or, [found[t].bad for t in group if t in found])
        for group in (OF_DATA, OF_LATENTS)
        if {*group} & {*found}
    ]
    terms["rejected"] = jnp.mean(jnp.concatenate(rejected).astype(loss.dtype))
    levels = [found[t].per_level for t in TERMS if t in found and found[t].per_level]
    teaching = tuple(
        None if each is None else each.encoding for each in (taught, judged)
    )
    return loss, Aux(terms, levels[0] if levels else (), (seen, path, drawn), teaching)


def guided(
    student: Flow,
    teacher: Flow,
    student_variables: Variables,
    teacher_variables: Variables,
    x: Given | None = None,
    z: Given | None = None,
    cond: Given | None = None,
    z_cond: Given | None = None,
    *,
    weights: Weights,
    terms: tuple[str, ...] | None = None,
    units: str = "teacher",
    robust: float | None = 3.0,
    limit: float | None = None,
    pairs: str | Pairs | None = None,
    screen: bool = True,
    axis: str | None = None,
    cap: float | None = None,
    forward_share: float = 1.0,
) -> tuple[Scalar, Aux]:
    """The weighted sum of all terms, with one pass of each network in each direction.

    With d(a, b) the mean over all elements, rows and blocks (or levels) of
    robust((a - b) / unit), and s_K .. s_0 the student's own activations:

      local: d(block_k(h_k), h_{k-1}); all blocks in one stacked pass.
      path_x: d(s_k, h_k) for z = h_K, k = 0 .. K - 1.
      path_z: d(t_k, s_k) for the teacher's encoding t of the student's sample s_0 of z,
        k = 1 .. K; the gradient goes through the teacher.
      parameters: d of the transformers' raw numbers, block by block, where the two
        transformers are each other's inverse; of affine ones of other kinds, of shift
        and log-scale of the way from latents to data.
      kl: E_z [log q(s_0) - log p_T(s_0)], nats.
      forward_kl: E_x [log p_T(x) - log q(x)], nats; asks the student to encode.

    Units, of h_k and of what is compared with it: "teacher" is how far h_k moves there
    where the latent side of its block moves by 1 (`Blocks.log_scale`), 1 of z; "level"
    is the spread of the column at that level, see `statistics.robust_spread`; "plain"
    is 1. Of raw numbers, "teacher" is the scale of a shift, and 1 of others.

    Args:
      student: flow to train; static. For `local` and `parameters`, of blocks as the
        teacher's, see `flows.IAF.of`.
      teacher: flow to imitate; static.
      student_variables: its variables.
      teacher_variables: its variables; held fixed.
      x: data, for the first, second, fourth and last term.
      z: draws from the prior, for the others.
      cond: context of x.
      z_cond: context of z, where it is another one.
      weights: of the terms, by name (others 0) or an array in the order of `TERMS`;
        they may be traced, under `vmap` too.
      terms: which are computed; by default those whose weight is not the number 0.
      units: one of `activations.UNITS`.
      robust: error, in units, from where it costs as its logarithm; None for squares.
      limit: largest |activation| of a row that counts; None for any finite one.
      pairs: levels that `path_x` and `path_z` compare beside the ends, see
        `levels.pairs_of`; None for all of flows with equally many levels, and
        for none of others.
      screen: whether the student's samples, and its encodings in forward_kl, are looked
        at once, without gradients, before gradients are taken through them. If not,
        an exploding row makes the gradient nan.
      axis: mapped axis whose devices have a batch's other rows; None for all rows here.
      cap: nats of a row from where it counts logarithmically in the divergences, see
        `activations.ratio`; None for these as they are, which a far row may decide.
      forward_share: of the rows of x, the first ones, that `forward_kl` looks at.

    Returns:
      The loss, and Aux with the terms computed, each without its weight, and
      "rejected", the share of rows that did not count in some term; `per_level` of the
      first of `TERMS` that has some; the student's Blocks, Decoding of the teacher's
      latents and Decoding of z, and the teacher's Encodings of x and of the student's
      samples, each None if nothing asked for it.

    Raises:
      ValueError: see `check`; and for missing x or z.
    """
    by_term = _by_term(weights)
    terms = terms_of(weights) if terms is None else tuple(terms)
    how = activations.Settings(
        terms, units, robust, limit, pairs, screen, axis, cap, forward_share
    )
    flows = student, teacher, student_variables, teacher_variables
    return _all(*flows, x, z, cond, z_cond, by_term, how=how)


def local(
    student: Flow,
    teacher: Flow,
    student_variables: Variables,
    teacher_variables: Variables,
    x: Given,
    cond: Given | None = None,
    *,
    units: str = "teacher",
    robust: float | None = 3.0,
    limit: float | None = None,
) -> tuple[Scalar, Aux]:
    """The term "local" of `guided`: each block on its own."""
    flows = student, teacher, student_variables, teacher_variables
    weights = {"local": 1.0}
    return guided(
        *flows, x, cond=cond, weights=weights, units=units, robust=robust, limit=limit
    )


def path(
    student: Flow,
    teacher: Flow,
    student_variables: Variables,
    teacher_variables: Variables,
    x: Given | None = None,
    z: Given | None = None,
    cond: Given | None = None,
    z_cond: Given | None = None,
    *,
    units: str = "teacher",
    robust: float | None = 3.0,
    limit: float | None = None,
    pairs: str | Pairs | None = None,
    screen: bool = True,
) -> tuple[Scalar, Aux]:
    """The sum of "path_x" and "path_z" of `guided`, of those whose input is given."""
    if x is None and z is None:
        raise ValueError("path: expected data x, latents z, or both")
    weights = {"path_x": float(x is not None), "path_z": float(z is not None)}
    flows = student, teacher, student_variables, teacher_variables
    return guided(
        *(*flows, x, z, cond, z_cond),
        weights=weights,
        units=units,
        robust=robust,
        limit=limit,
        pairs=pairs,
        screen=screen,
    )


def parameters(
    student: Flow,
    teacher: Flow,
    student_variables: Variables,
    teacher_variables: Variables,
    x: Given,
    cond: Given | None = None,
    *,
    units: str = "teacher",
    robust: float | None = 3.0,
    limit: float | None = None,
) -> tuple[Scalar, Aux]:
    """The term of that name of `guided`: what the blocks computed."""
    flows = student, teacher, student_variables, teacher_variables
    weights = {"parameters": 1.0}
    return guided(
        *flows, x, cond=cond, weights=weights, units=units, robust=robust, limit=limit
    )
