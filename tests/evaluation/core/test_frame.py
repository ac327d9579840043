"""Results as rows of one table."""

from fdnf.evaluation.core import frame
from fdnf.evaluation.core.scores import Result, Run


def run(method, seed, **settings):
    return Result(Run("power", method, seed, "MAF", "vectors", settings=settings), ())


def test_settings_by_which_runs_of_a_method_differ():
    """Of teacher and student they differ anyway; one run's alone counts as well."""
    results = [run("teacher", 0, steps=10), run("ilkd", 0, steps=5)]
    assert frame.differing(results) == []
    results += [run("ilkd", 1, steps=5, weight=0.1), run("ilkd", 2, steps=5)]
    assert frame.differing(results) == ["weight"]
