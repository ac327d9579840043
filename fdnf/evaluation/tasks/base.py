"""A task: all that evaluation does with data of one kind, as data for one mechanism."""

import pathlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from fdnf.evaluation.scorers.context import Baseline, Evaluation, Scorer
from fdnf.evaluation.tables.view import View
from fdnf.train.teachers import Trained

# Pictures of an evaluation, given the folder that they go to; returns the files.
Draw = Callable[[Evaluation, pathlib.Path], list[pathlib.Path]]
# Samples of a run in the user's units, given its number, how many, a seed, and the
# condition of each or None.
DrawRows = Callable[[int, int, int, Any], Any]
# What `--mode=sample` writes of a model, its own directory (samples go to `SAMPLES`
# below it) and the seed of run 0; returns the files.
Sample = Callable[[Trained, pathlib.Path, int], list[pathlib.Path]]

RESULTS, FIGURES, SAMPLES = "results", "figures", "samples"
TABLE, LATEX = "table.md", "table.tex"


def _nothing(given: Any) -> None:
    del given


def _no_label(trained: Trained, method: str) -> str:
    del trained, method
    return ""


class Task(NamedTuple):
    """What is measured, shown and drawn of models of one kind of data.

    Attributes:
        kind: what runs of it are called in results.
        takes: whether a model, of which the data may be gone, is of this kind.
        scorers: of each run of each model, in this order: times come first, while the
            machine is quiet.
        baselines: runs that are no models, measured before the models.
        views: tables, in their order on the page.
        sample: see `Sample`.
        draw: pictures, each after the other.
        check: refuses an `eval` section, before any time is spent; one of other data
            is passed by.
        fits: refuses models that cannot be judged by the data.
        label: what tables call a model where its method's label is not it, else "".
    """

    kind: str
    takes: Callable[[Trained], bool]
    scorers: tuple[Scorer, ...]
    views: tuple[View, ...]
    sample: Sample
    baselines: tuple[Baseline, ...] = ()
    draw: tuple[Draw, ...] = ()
    check: Callable[[Any], None] = _nothing
    fits: Callable[[Evaluation], None] = _nothing
    label: Callable[[Trained, str], str] = _no_label

    def extended(
        self,
        scorers: Sequence[Scorer] = (),
        views: Sequence[View] = (),
        baselines: Sequence[Baseline] = (),
        draw: Sequence[Draw] = (),
    ) -> "Task":
        """The task with more of each, after its own."""
        return self._replace(
            scorers=(*self.scorers, *scorers),
            views=(*self.views, *views),
            baselines=(*self.baselines, *baselines),
            draw=(*self.draw, *draw),
        )
