"""Results as they lie on disk, those of older formats included."""

import contextlib
import os
import pathlib
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any

from fdnf import files
from fdnf.evaluation.core import legacy, methods, scores
from fdnf.evaluation.core.scores import Result, Run

# Name of a file to what reads its content. A `result.json` without a format is of the
# time when vectors and images had records of their own.
READERS: dict[str, Callable[[dict[str, Any]], list[Result]]] = {
    scores.FILENAME: lambda found: (
        [scores.from_plain(found)] if "format" in found else legacy.of_result(found)
    ),
    "super_resolution.json": legacy.of_super_resolution,
    "speech.json": legacy.of_speech,
    "results.json": legacy.of_gaussian,
    "transfer.json": legacy.of_transfer,
}
# Of a work directory: its results, and those of evaluations on other rows than its own.
RESULTS, OTHER_DATA = "results", "other_data"
# Directories of many files, or of results that are not the run's own.
_CLOSED = {"checkpoints", "tensorboard", "jobs", OTHER_DATA}


def files_of(
    root: str | pathlib.Path, names: Collection[str]
) -> Iterator[pathlib.Path]:
    """The files of some names under a work directory, or a directory of several."""
    for folder, below, there in os.walk(root):
        below[:] = sorted(set(below) - _CLOSED)
        yield from (pathlib.Path(folder) / name for name in names if name in there)


def paths(root: str | pathlib.Path) -> Iterator[pathlib.Path]:
    """Every file of results under a directory, in order; the newest of one run."""
    return (path for path in files_of(root, READERS) if not _is_replaced(path))


def evaluated(workdir: str | pathlib.Path, steps: int) -> bool:
    """Whether the results of a run are there, all of them.

    Args:
        workdir: of the run.
        steps: that it has made by now; it may have been evaluated when it was shorter.
    """
    folder = pathlib.Path(workdir) / RESULTS
    # Those of baselines come first, the table last: a result alone is not all.
    table = pathlib.Path(workdir) / "table.md"
    found = [path for name in READERS for path in folder.glob(f"*/*/{name}")]
    if not found or not table.exists():
        return False
    with contextlib.suppress(files.DamagedError):
        told = (run.facts.get("steps") for path in found for run, _ in read_file(path))
        return all(made in (None, steps) for made in told)
    return False


def read_file(path: pathlib.Path) -> list[Result]:
    """The results in a file; one of today holds a single one.

    Raises:
        DamagedError: it is not a file of results; the text names it and the way out.
    """
    try:
        found = READERS[path.name](files.loads(path.read_text(encoding="utf-8")))
        # Older files are held against the form of today.
        return [scores.from_json(scores.to_json(result)) for result in found]
    except (ValueError, OSError, KeyError, TypeError, AttributeError) as error:
        told = str(error) if isinstance(error, ValueError | OSError) else repr(error)
        raise files.DamagedError(
            f"{path}: {told}; evaluate that run again, or move the file away"
        ) from error


def read(root: str | pathlib.Path) -> list[Result]:
    """All results under a directory, one a run, in the order of their paths.

    Args:
        root: directory to search, with all below it.

    Raises:
        FileNotFoundError: no such directory, or no result in it.
        DamagedError: a file that is not one of results.
        ValueError: two folders with the same run; the text names both.
    """
    root = pathlib.Path(root)
    if not root.is_dir():
        raise FileNotFoundError(f"{root} is not a directory: expected a work directory")
    origin: dict[tuple, pathlib.Path] = {}
    found = []
    for path in paths(root):
        for result in read_file(path):
            # Files side by side tell of one run in parts.
            first = origin.setdefault(result.run.key, path)
            alone = not methods.is_shared(result.run)
            if alone and first.parent != path.parent:
                raise ValueError(
                    f"{first} and {path} both hold {scores.name(result.run)}: give a "
                    "directory with one of them"
                )
            found.append(result)
    if not found:
        raise FileNotFoundError(
            f"no {scores.FILENAME} under {root}: a run writes one when it is evaluated"
        )
    return merged(found)


def merged(results: Iterable[Result]) -> list[Result]:
    """Results of which those of one run are one: its scores and facts together.

    Of what each evaluation has anew (`methods.is_shared`) the first score stands.

    Raises:
        ValueError: two say the same of the same model; the text names it.
    """
    results = list(results)
    found: dict[tuple, Result] = {}
    for run, more in results:
        if not run.arch:
            run = _of_one_architecture(run, results)
        first = found.setdefault(run.key, Result(run, ()))
        if methods.is_shared(run):
            known = {score.key for score in first.scores}
            more = tuple(score for score in more if score.key not in known)
        facts = {**run.facts, **first.run.facts}
        whole = Result(first.run._replace(facts=facts), (*first.scores, *more))
        scores.check_once(whole)
        found[run.key] = whole
    return list(found.values())


def _of_one_architecture(run: Run, results: Iterable[Result]) -> Run:
    """A run of a file that tells no architecture, as another file tells of it.

    Held against its teacher, a model of former times had a file of its own.
    """
    alike = {
        other.key: other
        for other, _ in results
        if other.arch
        and (other.kind, other.data, other.method, other.seed)
        == (run.kind, run.data, run.method, run.seed)
    }
    if len(alike) != 1:
        return run
    (other,) = alike.values()
    return other._replace(facts=run.facts)


def _is_replaced(path: pathlib.Path) -> bool:
    """Whether a file is of an older evaluation than another beside it."""
    today = path.with_name(scores.FILENAME)
    if path == today or not today.is_file():
        return False
    try:
        return "format" in files.loads(today.read_text(encoding="utf-8"))
    except ValueError:  # Which is said when that file is read.
        return False
