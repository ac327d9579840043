"""What a job is given: ROOT/jobs/NAME.json, and the list of points of the program."""

import sys
from collections.abc import Sequence
from typing import Any

from launch import folder as folders
from launch.folder import Folder
from launch.points import Point


def write(
    folder: Folder,
    name: str,
    points: Sequence[Point],
    pack: str = "auto",
    retries: int = 2,
    main: Sequence[str] = (),
    engine: str = "local",
) -> None:
    """Writes what a job is to do.

    Args:
      folder: of the sweep.
      name: of the job.
      points: that it trains.
      pack: given on to the program: how many of them may train as one.
      retries: how often it may crash without having logged a further step.
      main: what starts the program; by default this Python and `-m fdnf.main`.
      engine: "local" or "slurm", for the record.
    """
    packed = [folder.packed_entry(point) for point in points]
    folders.write_json(folder.job(name, ".points.json"), packed)
    content = {
        "engine": engine,
        "pack": pack,
        "retries": retries,
        "main": list(main) or [sys.executable, "-m", "fdnf.main"],
        "points": [folder.entry(point) for point in points],
    }
    folders.write_json(folder.job(name), content)


def read(folder: Folder, name: str) -> tuple[list[Point], dict[str, Any]]:
    """Points of a job, and all that was written.

    Raises:
      FileNotFoundError: there is no such job.
    """
    content = folders.read_json(folder.job(name))
    if content is None:
        raise FileNotFoundError(f"{folder.job(name)}: expected a job to run")
    found = [folders.read_point(entry) for entry in content["points"]]
    return found, content
