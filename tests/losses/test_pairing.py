"""Which level is compared with which."""

import pytest

from fdnf.losses import pairing


def test_index_pairs_equal_numbers():
    assert pairing.pairs_of("index", 3, 3) == ((0, 0), (1, 1), (2, 2))


@pytest.mark.parametrize(
    ("student", "teacher", "pairs"),
    [
        (3, 3, ((0, 0), (1, 1), (2, 2))),
        (3, 6, ((0, 1), (1, 3), (2, 5))),
        (3, 5, ((0, 1), (1, 3), (2, 4))),
        (1, 7, ((0, 6),)),
        (2, 3, ((0, 1), (1, 2))),
    ],
)
def test_ratio_meets_at_the_ends(student, teacher, pairs):
    assert pairing.pairs_of("ratio", student, teacher) == pairs


def test_ratio_rises_to_the_last_level():
    for student in range(1, 12):
        for teacher in range(student, 40):
            chosen = pairing.pairs_of("ratio", student, teacher)
            assert [s for s, _ in chosen] == list(range(student))
            seconds = [t for _, t in chosen]
            assert seconds == sorted(set(seconds))
            assert seconds[-1] == teacher - 1


def test_explicit_pairs_count_from_either_end():
    assert pairing.pairs_of(((0, 1), (-1, -1)), 2, 4) == ((0, 1), (-1, -1))


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (("index", 3, 6), 'student has 3 levels, teacher 6.*pairs="ratio"'),
        (("ratio", 6, 3), "student has 6 levels, more than the teacher's 3"),
        (("nearest", 3, 6), "unknown pairs 'nearest'"),
        ((((0, 6),), 3, 6), r"pair \(0, 6\) is out of range for 3 student and 6"),
        ((((-4, 0),), 3, 6), r"pair \(-4, 0\) is out of range"),
    ],
)
def test_errors(arguments, match):
    with pytest.raises(ValueError, match=match):
        pairing.pairs_of(*arguments)
