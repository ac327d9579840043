"""What a scorer is given: a run of a model, and what it shares with the others.

A scorer is a function of a `Context` that yields scores; a baseline is one of an
`Evaluation` that yields results of runs that are no models. Both come in a `Task`, or
from a newcomer's own file.
"""

import dataclasses
import logging
import pathlib
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any, TypeVar

from fdnf.evaluation.core.scores import Result, Run, Score
from fdnf.evaluation.models import sampler as samplers
from fdnf.evaluation.models.sampler import Sampler
from fdnf.train import teachers, transfer, workdirs
from fdnf.train.teachers import Trained

_T = TypeVar("_T")

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Models that are evaluated together, on one set of data.

    Attributes:
        data: what they were trained on, or other data of the same form.
        section: the `eval` section to go by.
        models: by method, in the order of tables; "teacher" among them, or not.
        where: the directory of each method.
        shared: what is computed once for all; see `once`.
    """

    data: Any
    section: Any
    models: Mapping[str, Trained]
    where: Mapping[str, pathlib.Path] = dataclasses.field(default_factory=dict)
    shared: dict[Hashable, Any] = dataclasses.field(default_factory=dict)

    def once(self, key: Hashable, make: Callable[[], _T]) -> _T:
        """What `make` returns, called once an evaluation for each key."""
        if key not in self.shared:
            self.shared[key] = make()
        return self.shared[key]

    @property
    def teacher(self) -> Trained | None:
        """The teacher beside the models, or that which a sampler of them names."""
        if "teacher" in self.models:
            return self.models["teacher"]
        return self.once("teacher", self._named_teacher)

    def _named_teacher(self) -> Trained | None:
        for method, trained in self.models.items():
            if trained.config.loss.method in transfer.METHODS and method in self.where:
                return teacher_of(trained, self.where[method])
        return None

    def baseline(self, method: str, scores: Iterable[Score], **fields: Any) -> Result:
        """The result of what is no model.

        Args:
            method: a key of `methods.BASELINES`.
            scores: of it.
            **fields: of the run: `kind`, `seed`, `settings`, `facts`.
        """
        facts = {"source": self.data.source, **fields.pop("facts", {})}
        run = Run(self.data.name, method, facts=facts, **fields)
        return Result(run, tuple(scores))


@dataclasses.dataclass(frozen=True)
class Context:
    """One run of a model.

    Attributes:
        whole: the evaluation that it is part of.
        method: what the model is called.
        run: which of its runs.
        facts: what becomes of the run's facts, besides the usual ones; a scorer may
            add to it.
        kept: what is computed once for all scorers of this run; see `once`.
    """

    whole: Evaluation
    method: str
    run: int
    facts: dict[str, Any] = dataclasses.field(default_factory=dict)
    kept: dict[Hashable, Any] = dataclasses.field(default_factory=dict)

    @property
    def trained(self) -> Trained:
        """The model, with the variables of all its runs."""
        return self.whole.models[self.method]

    @property
    def seed(self) -> int:
        """Of the run; all methods of one seed get the same noise."""
        return self.trained.config.seed + self.run

    @property
    def data(self) -> Any:
        """What the models are judged by."""
        return self.whole.data

    @property
    def section(self) -> Any:
        """The `eval` section to go by."""
        return self.whole.section

    @property
    def teacher(self) -> Trained | None:
        """See `Evaluation.teacher`."""
        return self.whole.teacher

    @property
    def sampler(self) -> Sampler:
        """The run as functions, in batches of `eval.time_batch`."""
        size = self.section.get("time_batch") or 64
        return self.once("sampler", lambda: samplers.of(self.trained, self.run, size))

    def once(self, key: Hashable, make: Callable[[], _T]) -> _T:
        """What `make` returns, called once for each key and this run."""
        if key not in self.kept:
            self.kept[key] = make()
        return self.kept[key]

    def note(self, *texts: str) -> None:
        """Says below the tables how numbers were taken; each text once."""
        told = self.facts.get("notes", ())
        self.facts["notes"] = tuple(dict.fromkeys((*told, *texts)))


Scorer = Callable[[Context], Iterable[Score]]
Baseline = Callable[[Evaluation], Iterable[Result]]


def teacher_of(trained: Trained, workdir: pathlib.Path) -> Trained | None:
    """A student's teacher, if it is still there; a line in the log if it is not.

    It may have been trained first, into the student's directory, or lie beside it in a
    study that has moved since.

    Args:
        trained: the student, or a model without a teacher.
        workdir: that it was loaded from.
    """
    section = trained.config.get("teacher")
    if not section:
        return None
    named = [pathlib.Path(section.workdir)] if section.workdir else []
    places = [*named, workdir / "teacher", workdir.absolute().parent / "teacher"]
    for place in places:
        if (place / workdirs.FINISHED).exists():
            return teachers.load(place)
    _log.warning("the teacher is not shown: no finished run in %s", places[0])
    return None
