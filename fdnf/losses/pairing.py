"""Which level of the student, and what part, is compared with which of the teacher."""

import math

import jax.numpy as jnp
from jaxtyping import Array

from fdnf.types import Encoding

PARTS = ("passed", "split", "both")
PAIRINGS = ("index", "ratio", "released")

Pairs = tuple[tuple[int, int], ...]


def pairs_of(pairs: str | Pairs, student_levels: int, teacher_levels: int) -> Pairs:
    """Static (student, teacher) indices of the levels to compare.

    Args:
      pairs: "index", equal indices, for flows of equally many levels (Glow's
        scales); "ratio", student step i of S with teacher step ceil(i T / S) of T
        (counted from 1), so that the ends meet and every student step stands for
        T / S teacher steps; "released", as the released code of Walton et al.: of
        equally many levels each, otherwise every second step of the student and its
        last with every fourth of the teacher and its last; or the pairs themselves,
        indices from 0, negative ones from the end.
      student_levels: S.
      teacher_levels: T.

    Raises:
      ValueError: if the numbers differ for "index", T < S for "ratio", the steps of
        "released" are not as many, an index is out of range, or the name is unknown.
    """
    if pairs == "released":
        if student_levels == teacher_levels:
            return tuple((i, i) for i in range(student_levels))
        student, teacher = (
            [i for i in range(n) if not (i + 1) % every or i == n - 1]
            for n, every in ((student_levels, 2), (teacher_levels, 4))
        )
        if len(student) != len(teacher):
            raise ValueError(
                f"the released code compares levels {student} of {student_levels} with "
                f"{teacher} of {teacher_levels}, which are not as many: pair them by "
                'pairs="ratio" or by ((student, teacher), ...)'
            )
        return tuple(zip(student, teacher, strict=True))
    if pairs == "index":
        if student_levels != teacher_levels:
            raise ValueError(
                f"student has {student_levels} levels, teacher {teacher_levels}: "
                'pair them by pairs="ratio" or by ((student, teacher), ...)'
            )
        return tuple((i, i) for i in range(student_levels))
    if pairs == "ratio":
        if teacher_levels < student_levels:
            raise ValueError(
                f"student has {student_levels} levels, more than the teacher's "
                f"{teacher_levels}: give the pairs as ((student, teacher), ...)"
            )
        ratio = teacher_levels / student_levels
        return tuple(
            (i, math.ceil(round((i + 1) * ratio, 9)) - 1) for i in range(student_levels)
        )
    if isinstance(pairs, str):
        raise ValueError(f"unknown pairs {pairs!r}; known: {PAIRINGS}")
    for s, t in pairs:
        if not (
            -student_levels <= s < student_levels
            and -teacher_levels <= t < teacher_levels
        ):
            raise ValueError(
                f"pair ({s}, {t}) is out of range for {student_levels} student and "
                f"{teacher_levels} teacher levels"
            )
    return tuple((int(s), int(t)) for s, t in pairs)


def part_of(encoding: Encoding, i: int, parts: str) -> Array:
    """The part of level i that is compared.

    A multi-scale flow passes some channels of a level on and splits the others off:
    which, the encoding says (`Encoding.passed`); one that says nothing passes all on.

    Args:
      encoding: of one flow.
      i: index of the level, negative ones from the end.
      parts: "passed", as the released code of Walton et al.; "split"; or "both", the
        whole level.

    Raises:
      ValueError: for another name, or "split" of a level that splits nothing off.
    """
    if parts not in PARTS:
        raise ValueError(f"unknown parts {parts!r}; known: {PARTS}")
    level = encoding.levels[i]
    start, stop = 0, level.shape[-1]
    if encoding.passed is not None:
        start, stop = encoding.passed.channels[i]
    whole = (start, stop) == (0, level.shape[-1])
    if parts == "split" and whole:
        raise ValueError(
            f'parts="split": level {i} of shape {level.shape[1:]} splits nothing off; '
            'compare other pairs, or parts="passed" or "both"'
        )
    if parts == "both" or whole:
        return level
    if parts == "passed":
        return level[..., start:stop]
    return jnp.concatenate([level[..., :start], level[..., stop:]], axis=-1)


def latents_of(z: tuple[Array, ...], parts: str) -> tuple[Array, ...]:
    """The latents that are compared: the top, those split off, or all.

    Args:
      z: latents, the top one last.
      parts: "passed", the top alone, as the released code; "split"; or "both".

    Raises:
      ValueError: for another name, or "split" where there is one latent.
    """
    if parts not in PARTS:
        raise ValueError(f"unknown parts {parts!r}; known: {PARTS}")
    if parts == "split" and len(z) == 1:
        raise ValueError('parts="split": this flow has one latent, nothing split off')
    return {"passed": z[-1:], "split": z[:-1], "both": z}[parts]
