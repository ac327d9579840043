"""Which level of the student is compared with which of the teacher."""

import math

Pairs = tuple[tuple[int, int], ...]


def pairs_of(pairs: str | Pairs, student_levels: int, teacher_levels: int) -> Pairs:
    """Static (student, teacher) indices of the levels to compare.

    Args:
      pairs: "index", equal indices, for flows of equally many levels (Glow's
        scales); "ratio", student step i of S with teacher step ceil(i T / S) of T
        (counted from 1), so that the ends meet and every student step stands for
        T / S teacher steps; or the pairs themselves, indices from 0, negative ones
        from the end.
      student_levels: S.
      teacher_levels: T.

    Raises:
      ValueError: if the numbers differ for "index", T < S for "ratio", an index is
        out of range, or the name is unknown.
    """
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
        raise ValueError(f'unknown pairs {pairs!r}; known: "index", "ratio"')
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
