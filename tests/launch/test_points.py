"""Names of points, and what a sweep may not be."""

import re

import pytest

from launch import points
from launch.points import Point, SweepError, workdir_of


def test_a_name_says_what_is_trained():
    point = Point(
        "configs/maf_power.py:student,smoke",
        {"seed": 3, "train.steps": 500, "label": "x", "teacher.workdir": "a/b"},
    )
    assert point.name == "maf_power-student-smoke/seed=3+train.steps=500"
    assert point.file == "configs/maf_power.py"


def test_a_name_does_not_depend_on_the_order_of_keys():
    one = Point("configs/a.py:", {"seed": 1, "b": (1.0, 0.1), "a": "x"})
    other = Point("configs/a.py:", {"a": "x", "b": (1.0, 0.1), "seed": 1})
    assert one.name == other.name == "a/seed=1+a=x+b=1.0_0.1"
    assert Point("configs/a.py").name == "a/default"


def test_unsafe_letters_are_replaced_and_names_stay_apart():
    names = {
        Point("c.py", {"data.path": path}).name
        for path in ("/a/b c", "/a/b'c", "/a/b/c", "../a/b/c", "$(x)")
    }
    assert len(names) == 5
    assert all(re.fullmatch(r"c/[A-Za-z0-9._=+-]+", name) for name in names)


def test_long_names_are_cut_and_stay_apart():
    names = {
        Point("c.py", {f"key{i}.that.is.long": 1 for i in range(20)} | {"z": z}).name
        for z in range(3)
    }
    assert len(names) == 3
    assert all(len(name) < 120 for name in names)
    # Stable from one run of Python to the next.
    assert Point("c.py", {"a": "x" * 200}).name.endswith("-640a28a7")


@pytest.mark.parametrize("name", ["../up", "/root", "a b", "a//b", "a/./b", ""])
def test_names_that_are_no_relative_path(name):
    if name:
        with pytest.raises(SweepError, match="no relative path"):
            Point("c.py", {}, name=name)


def test_points_come_after_those_they_wait_for():
    teacher = Point("t.py", {"seed": 1})
    student = Point("s.py", {"teacher.workdir": workdir_of(teacher)}, (teacher.name,))
    plain = Point("p.py")
    assert points.check([student, plain, teacher]) == [plain, teacher, student]
    # Yielded twice, it is one point.
    assert points.check([teacher, student, teacher]) == [teacher, student]
    assert student.resolved("runs/x") == {"teacher.workdir": "runs/x/t/seed=1"}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ([Point("a.py", name="x"), Point("b.py", name="x")], "two points are named x"),
        (
            [Point("a.py", {"label": "p"}), Point("a.py", {"label": "q"})],
            "label 'p' and 'q'",
        ),
        ([Point("a.py", name="x", after=("y",))], "after y, which is not"),
        (
            [
                Point("a.py", name="x", after=("y",)),
                Point("a.py", name="y", after=("x",)),
            ],
            "wait for each other",
        ),
        ([Point("a.py", name="x"), Point("a.py", name="x/y")], "lie within x"),
    ],
)
def test_refused(given, told):
    with pytest.raises(SweepError, match=told):
        points.check(given)


def test_overrides_of_all_points_keep_them_together():
    teacher = Point("t.py", {"seed": 1})
    student = Point("s.py", {"teacher.workdir": workdir_of(teacher)}, (teacher.name,))
    named = Point("n.py", name="mine", after=(student.name,))
    wider = points.with_overrides([teacher, student, named], {"train.steps": 5})
    assert [point.name for point in wider] == [
        "t/seed=1+train.steps=5",
        "s/train.steps=5",
        "mine",
    ]
    assert wider[1].after == (wider[0].name,)
    assert wider[1].resolved("r")["teacher.workdir"] == "r/t/seed=1+train.steps=5"
    assert wider[2].after == (wider[1].name,)
    assert wider[2].overrides == {"train.steps": 5}
    points.check(wider)


def test_a_run_that_is_no_point_stays_under_the_root():
    point = Point("s.py", {"teacher.workdir": "{root}/old"})
    (wider,) = points.with_overrides([point], {"seed": 1})
    assert wider.overrides["teacher.workdir"] == "{root}/old"
    assert wider.resolved("runs/t")["teacher.workdir"] == "runs/t/old"


def test_one_key_of_a_section_leaves_the_others():
    point = Point("s.py", {"model.args": {"steps": 2, "hidden": 8}}, name="mine")
    (wider,) = points.with_overrides([point], {"model.args": {"steps": 3}})
    assert wider.overrides == {"model.args": {"steps": 3, "hidden": 8}}


def test_lists_become_tuples():
    assert points.plain([1, [2, "a"], None]) == (1, (2, "a"), None)
