"""Sample pictures of a report: a limited selection, made small."""

import io
import pathlib
from collections.abc import Sequence

from fdnf.data import decoding
from fdnf.evaluation.report import sweeps
from fdnf.evaluation.report.report_runs import Run
from fdnf.evaluation.tables import cells
from fdnf.evaluation.tables.markup import Fold, Picture

FOLDER = "figures"
# Curves have figures of their own.
LEFT_OUT = ("training.png",)
FIRST = ("samples", "patches", "marginals")
WIDTH, QUALITY = 640, 72
# Bytes of all pictures together.
BUDGET = 1_300_000


def folds(
    runs: Sequence[Run], root: pathlib.Path, problems: list[str]
) -> tuple[list[Fold], str]:
    """Samples of the first seed of each architecture, data set and method.

    The first picture of every run comes before the second of any, until `BUDGET` is
    spent.

    Args:
        runs: those with results.
        root: of the report.
        problems: gets the pictures that cannot be read.

    Returns:
        One fold an architecture and data set, and what was selected, in words.
    """
    found: dict[pathlib.Path, tuple[Run, str]] = {}
    for run in sorted(runs, key=lambda run: run.seed):
        for folder, name in _folders(run):
            if not any(own[:3] == run[:3] for own, _ in found.values()) or not name:
                found.setdefault(folder, (run, name))
    places = sorted(found, key=lambda folder: _place(*found[folder]))
    queue = [
        (rank, place, path)
        for place, folder in enumerate(places)
        for rank, path in enumerate(_files(folder))
    ]
    spent, left = 0, 0
    shown: dict[tuple[str, str], list[tuple[int, int, Picture]]] = {}
    for rank, place, path in sorted(queue, key=lambda item: item[:2]):
        run, name = found[places[place]]
        try:
            data, size = _small(path)
        except (OSError, ValueError) as error:
            problems.append(f"{sweeps.place(root, path)}: not shown ({error})")
            continue
        if spent + len(data) > BUDGET:
            left += 1
            continue
        spent += len(data)
        caption = ", ".join([*([name] if name else []), path.stem.replace("_", " ")])
        alt = f"{run.arch} on {run.data}: {caption}"
        picture = Picture(data, "image/jpeg", alt, caption, size=size)
        shown.setdefault(run[:2], []).append((place, rank, picture))
    told = (
        f"Of each architecture, data set and method the first seed that has pictures, "
        f"at most {WIDTH} pixels wide; all of them, and in full size, are the PNG "
        f"files in {FOLDER}/ of the runs."
    )
    if left:
        told += f" Of {len(queue)} of them {left} are left out to keep this page small."
    ordered = sorted(shown.items())
    return [
        Fold(
            f"{arch} on {data} ({len(group)})",
            tuple(picture for *_, picture in sorted(group, key=lambda item: item[:2])),
        )
        for (arch, data), group in ordered
    ], told


def _folders(run: Run) -> list[tuple[pathlib.Path, str]]:
    """Where a run's pictures may be, and whose they are; a study's have no name."""
    own = run.folder / FOLDER
    if own.is_dir():
        name = cells.METHODS.get(run.method, run.method)
        return [(own, f"{name}, seed {run.seed}")]
    study = run.folder.parent / FOLDER
    return [(study, "")] if study.is_dir() else []


def _place(run: Run, name: str) -> tuple:
    order = ["teacher", *cells.METHODS]
    known = order.index(run.method) if run.method in order else len(order)
    return run[:2], known, cells.by_number(run.method), name


def _files(folder: pathlib.Path) -> list[pathlib.Path]:
    def key(path: pathlib.Path) -> tuple[int, str]:
        first = [i for i, name in enumerate(FIRST) if path.stem.startswith(name)]
        return (first or [len(FIRST)])[0], path.name

    return sorted((p for p in folder.glob("*.png") if p.name not in LEFT_OUT), key=key)


def _small(path: pathlib.Path) -> tuple[bytes, tuple[int, int]]:
    from PIL import Image

    flat = decoding.picture(path.read_bytes(), path.name).convert("RGB")
    if flat.width > WIDTH:
        height = max(1, round(flat.height * WIDTH / flat.width))
        flat = flat.resize((WIDTH, height), Image.Resampling.LANCZOS)
    data = io.BytesIO()
    flat.save(data, "JPEG", quality=QUALITY, optimize=True)
    return data.getvalue(), flat.size
