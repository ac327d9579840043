"""Which points share a process."""

import pytest

from launch import bundles
from launch.points import Point, SweepError, check, workdir_of


def sizes(planned):
    return [len(bundle.points) for bundle in planned]


def names(bundle):
    return {point.name for point in bundle.points}


def grid(seeds, config="s.py", **overrides):
    return [Point(config, {"seed": seed, **overrides}) for seed in range(seeds)]


def test_numbers_may_differ_within_a_process_and_nothing_else():
    students = [
        Point("s.py", {"seed": s, "loss.args.weights": w, "optim.lr": r, "label": "x"})
        for s in range(2)
        for w in ((1.0, 0.1), (1.0, 1.0))
        for r in (0.1, 0.2)
    ]
    (bundle,) = bundles.plan(students, None)
    assert list(bundle.points) == students
    assert bundle.title == "s (8 points)"
    other = grid(2, steps=5) + grid(2, steps=6) + grid(2, "other.py") + grid(2)
    assert sizes(bundles.plan(other, None)) == [2, 2, 2, 2]
    # A key that only one of them sets is not the same program.
    unlike = [*grid(1), *grid(1, **{"optim.lr": 1.0})]
    assert sizes(bundles.plan(unlike, None)) == [1, 1]


@pytest.mark.parametrize(
    ("pack", "jobs", "expected"),
    [
        (None, 1, [14, 13, 13]),
        (None, 4, [13, 13, 7, 7]),
        (None, 100, [1] * 40),
        (1, 1, [1] * 40),
        (15, 8, [14, 13, 13]),
        (64, 1, [40]),
    ],
)
def test_sizes(pack, jobs, expected):
    planned = bundles.plan(grid(40), pack, jobs)
    assert sorted(sizes(planned), reverse=True) == expected
    assert sorted(p.name for b in planned for p in b.points) == sorted(
        p.name for p in grid(40)
    )


def test_students_come_after_their_teachers():
    teachers = grid(3, "t.py")
    students = [
        Point("s.py", {"seed": i, "teacher.workdir": workdir_of(t)}, (t.name,))
        for i, t in enumerate(teachers)
    ]
    first, second = bundles.plan(check(students + teachers), None)
    assert names(first) == {teacher.name for teacher in teachers}
    assert second.after == names(first)
    # Cut the same way: half of the students waits for half of the teachers.
    planned = bundles.plan(check(students + teachers), None, jobs=2)
    assert [b.after for b in planned[2:]] == [names(b) for b in planned[:2]]
    # With the teachers done, nothing is planned of them.
    (only,) = bundles.plan(students, None)
    assert len(only.points) == 3


@pytest.mark.parametrize(("text", "number"), [("auto", None), ("1", 1), ("12", 12)])
def test_pack(text, number):
    assert bundles.parse_pack(text) == number


@pytest.mark.parametrize("text", ["0", "-1", "x", "1.5", ""])
def test_wrong_pack(text):
    with pytest.raises(SweepError, match="expected auto or a number"):
        bundles.parse_pack(text)
