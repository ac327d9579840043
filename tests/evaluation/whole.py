"""Whole evaluations of models that were never trained."""

import pathlib

import pytest

from fdnf.evaluation.tasks import evaluate


def of(folder, models, data, section):
    """The tables of models by method, as if each lay finished in a directory."""
    where = {method: folder / method for method in models}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            evaluate.teachers, "load", lambda path: models[pathlib.Path(path).name]
        )
        result = {"skipped_steps": [0] * max(m.runs for m in models.values())}
        patch.setattr(evaluate.workdirs, "result", lambda path: result)
        return evaluate.evaluate(folder, where, data, section)


def of_method(results, method):
    """The results of one method, by seed."""
    found = [result for result in results if result.run.method == method]
    return sorted(found, key=lambda result: result.run.seed)
