"""Pictures of a report: curves of all runs, and a selection of what they drew."""

import io
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from fdnf.data import decoding
from fdnf.evaluation.core import methods
from fdnf.evaluation.pictures import curves as curve_pictures
from fdnf.evaluation.report import gather
from fdnf.evaluation.report.gather import Trained
from fdnf.evaluation.report.page import Fold, Picture
from fdnf.train import writers

FOLDER = "figures"
# Curves have figures of their own.
LEFT_OUT = ("training.png",)
FIRST = ("samples", "patches", "marginals")
WIDTH, QUALITY = 640, 72
# Bytes of all pictures together.
BUDGET = 1_300_000


def curves(
    runs: Sequence[Trained], root: pathlib.Path, problems: list[str]
) -> list[Picture]:
    """One figure a model and data set: every run a thin line.

    Args:
        runs: with and without results; unfinished ones are drawn as far as they went.
        root: of the report, for the names of logs that cannot be read.
        problems: gets those.

    Returns:
        The figures.
    """
    logs: dict[pathlib.Path, list[dict[str, Any]]] = {}
    groups: dict[tuple[str, str], list[Trained]] = {}
    for run in runs:
        if run.folder not in logs:
            logs[run.folder] = _log(run.folder, root, problems)
        if logs[run.folder]:
            groups.setdefault(_subject(run), []).append(run)
    found = (_curves(group, logs) for _, group in sorted(groups.items()))
    return [picture for picture in found if picture is not None]


def _subject(run: Trained) -> tuple[str, str]:
    """What its curves may be compared by: those of its config, if there is one."""
    names = (run.config.get(key, {}).get("name") for key in ("model", "data"))
    arch, data = names
    return str(arch or run.run.arch), str(data or run.run.data)


def _log(
    folder: pathlib.Path, root: pathlib.Path, problems: list[str]
) -> list[dict[str, Any]]:
    """The rows of a run's log; none, and a problem, where it cannot be read."""
    told, rows = [], []
    try:
        rows = writers.read_log(folder, told)
    except OSError as error:
        told.append(f"no curves of it ({error})")
    place = gather.place(root, folder / "log.jsonl")
    problems += [f"{place}: {each}" for each in told]
    return rows


def _curves(
    runs: Sequence[Trained], logs: Mapping[pathlib.Path, list[dict[str, Any]]]
) -> Picture | None:
    first = min(runs, key=lambda run: run.scores is None).run
    names = methods.order(run.run.method for run in runs)
    shown = curve_pictures.looks(names)
    panels: dict[str, list[curve_pictures.Line]] = {}
    for run in runs:
        rows = logs[run.folder]
        steps = np.array([row["step"] for row in rows], np.float64)
        for label, values in _quantities(rows, run):
            line = curve_pictures.Line(steps, values, *shown[run.run.method])
            panels.setdefault(label, []).append(line)
    panels = dict(sorted(panels.items(), key=lambda panel: "valid" in panel[0]))
    if not any(np.isfinite(k.values).any() for lines in panels.values() for k in lines):
        return None
    seeds = sorted({run.run.seed for run in runs})
    caption = (
        f"Each line is one seed ({', '.join(map(str, seeds))}); lines of more than "
        f"{curve_pictures.POINTS} points are thinned. The axes fit what comes after "
        "the first tenth of the steps."
    )
    title = f"{first.arch} on {first.data}"
    return Picture(
        curve_pictures.svg(panels),
        "image/svg+xml",
        f"Training and validation curves of {title}",
        caption,
        tuple((methods.label(name), *shown[name]) for name in names),
        title=title,
    )


def _quantities(
    rows: Sequence[Mapping[str, Any]], run: Trained
) -> Iterator[tuple[str, np.ndarray]]:
    """What a log tells of training and of validation, each with its label."""

    def of(key: str) -> np.ndarray:
        return curve_pictures.values(rows, key, run.index)

    # The likelihood part of a distillation loss, which is what methods share.
    nll, bits = of("nll"), of("val_bits_per_dim")
    if not np.isfinite(nll).any():
        # What learns to sample, or to enlarge, has a loss of its own.
        yield f"training loss ({run.run.method})", of("loss")
    elif run.config.get("loss", {}).get("units") == "bits_per_dim":
        yield "training bits/dim", nll
    else:
        yield "training log-likelihood (nats)", -nll
    if np.isfinite(bits).any():
        yield "validation bits/dim", bits
    elif np.isfinite(values := of("val_log_prob")).any():
        yield "validation log-likelihood (nats)", values
    else:
        yield f"validation loss ({run.run.method})", of("val_loss")


def folds(
    runs: Sequence[Trained], root: pathlib.Path, problems: list[str]
) -> tuple[list[Fold], str]:
    """What the first seed of each architecture, data set and method drew.

    The first picture of every run comes before the second of any, until `BUDGET` is
    spent.

    Args:
        runs: those with results.
        root: of the report.
        problems: gets the pictures that cannot be read.

    Returns:
        One fold an architecture and data set, and what was selected, in words.
    """
    found: dict[pathlib.Path, tuple[Trained, str]] = {}
    seen: set[tuple] = set()
    for run in sorted(runs, key=lambda run: run.run.seed):
        folder, name = _folder(run)
        key = run.run._replace(seed=0, facts={}).key
        if folder is not None and (key not in seen or not name):
            found.setdefault(folder, (run, name))
            seen.add(key)
    places = sorted(found, key=lambda folder: _place(*found[folder]))
    queue = [
        (rank, place, path)
        for place, folder in enumerate(places)
        for rank, path in enumerate(_files(folder))
    ]
    spent, left = 0, 0
    shown: dict[str, list[tuple[int, int, Picture]]] = {}
    for rank, place, path in sorted(queue):
        run, name = found[places[place]]
        try:
            data, size = _small(path)
        except (OSError, ValueError) as error:
            problems.append(f"{gather.place(root, path)}: not shown ({error})")
            continue
        if spent + len(data) > BUDGET:
            left += 1
            continue
        spent += len(data)
        caption = ", ".join(filter(None, (name, path.stem.replace("_", " "))))
        # A study's are of all that it has.
        arch = run.run.arch if name else ""
        about = " on ".join(filter(None, (arch, run.run.data)))
        picture = Picture(data, "image/jpeg", f"{about}: {caption}", caption, size=size)
        shown.setdefault(about, []).append((place, rank, picture))
    told = (
        f"Of each architecture, data set and method the first seed that has pictures, "
        f"at most {WIDTH} pixels wide; all of them, and in full size, are the PNG "
        f"files in {FOLDER}/ of the runs."
    )
    if left:
        told += f" Of {len(queue)} of them {left} are left out to keep this page small."
    return [
        Fold(
            f"{about} ({len(group)})",
            tuple(picture for *_, picture in sorted(group, key=lambda item: item[:2])),
        )
        for about, group in sorted(shown.items())
    ], told


def _folder(run: Trained) -> tuple[pathlib.Path | None, str]:
    """Whose directory has a run's pictures, and their name; a study's have none."""
    if _files(run.folder):
        alone = run.point is not None or (run.folder / gather.CONFIG).exists()
        name = f"{methods.label(run.run)}, seed {run.run.seed}"
        return run.folder, name if alone else ""
    study = run.folder.parent
    return (study, "") if run.point is None and _files(study) else (None, "")


def _place(run: Trained, name: str) -> tuple:
    known = [*methods.METHODS]
    rank = known.index(run.run.method) if run.run.method in known else len(known)
    return run.run.arch, run.run.data, rank, methods.by_number(run.run.method), name


def _files(folder: pathlib.Path) -> list[pathlib.Path]:
    def key(path: pathlib.Path) -> tuple[int, str]:
        first = [i for i, name in enumerate(FIRST) if path.stem.startswith(name)]
        return (first or [len(FIRST)])[0], path.name

    found = [*folder.glob(f"{FOLDER}/*.png"), *folder.glob("*.png")]
    return sorted((path for path in found if path.name not in LEFT_OUT), key=key)


def _small(path: pathlib.Path) -> tuple[bytes, tuple[int, int]]:
    from PIL import Image

    flat = decoding.picture(path.read_bytes(), path.name).convert("RGB")
    if flat.width > WIDTH:
        height = max(1, round(flat.height * WIDTH / flat.width))
        flat = flat.resize((WIDTH, height), Image.Resampling.LANCZOS)
    data = io.BytesIO()
    flat.save(data, "JPEG", quality=QUALITY, optimize=True)
    return data.getvalue(), flat.size
