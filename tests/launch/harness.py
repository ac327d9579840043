"""Starts sweeps of the stand-in for the trainer, and looks at what they left."""

import json
import os
import pathlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping

from launch import processes
from tests.launch import fake_main

REPOSITORY = pathlib.Path(__file__).parents[2]
MAIN = f"{sys.executable} {pathlib.Path(__file__).with_name('fake_main.py')}"
# A teacher a seed, and students of it; `keys` are further ones of points, by name.
SWEEP = """
import json

from launch.points import Point, workdir_of


def points(seeds: int = 2, steps: int = 20, students: int = 1, keys="{}"):
    def point(name, config, own, after=()):
        own = {**own, **json.loads(keys).get(name, {})}
        return Point(f"configs/{config}", own, after, name)

    for seed in range(seeds):
        own = {"seed": seed, "train.steps": steps}
        teacher = point(f"teacher{seed}", "maf_gas.py:teacher", own)
        yield teacher
        for i in range(students):
            more = {"teacher.workdir": workdir_of(teacher), "optim.lr": 0.1 / (i + 1)}
            name = f"student{seed}" if students == 1 else f"student{seed}_{i}"
            yield point(name, "maf_gas.py:lkd", own | more, (teacher.name,))
"""


def write_sweep(folder: pathlib.Path) -> pathlib.Path:
    """A sweep file; see `SWEEP`."""
    path = folder / "small.py"
    path.write_text(SWEEP)
    return path


def command(sweep: pathlib.Path | str, root: pathlib.Path, *more: str) -> list[str]:
    """`python -m launch.sweep` with the stand-in."""
    return [
        *(sys.executable, "-m", "launch.sweep", str(sweep), "--root", str(root)),
        *("--main", MAIN, *more),
    ]


def start(
    words: list[str],
    step: float = 0.01,
    cwd: pathlib.Path = REPOSITORY,
    hold: Iterable[str] = (),
    **env: str,
) -> subprocess.Popen:
    """Starts a command at the repository's root.

    Args:
      words: of the command.
      step: seconds that a step takes.
      cwd: where it runs.
      hold: points that stand still in the middle until they are stopped or struck.
      env: further variables of its environment.
    """
    given = {"FAKE_STEP": str(step), "FAKE_HOLD": ",".join(hold)}
    return subprocess.Popen(
        words,
        cwd=cwd,
        env={**os.environ, **given, **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run(
    words: list[str],
    step: float = 0.01,
    timeout: float = 240,
    cwd: pathlib.Path = REPOSITORY,
    **env: str,
) -> tuple[int, str]:
    """Runs a command to its end: `(exit status, output)`."""
    process = start(words, step, cwd, **env)
    try:
        output, _ = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        raise AssertionError(f"no end: {process.communicate()[0]}") from None
    return process.returncode, output


def values(root: pathlib.Path) -> dict[str, int]:
    """The result of each point that has one."""
    found = sorted(root.glob("*/results/*/*/result.json"))
    return {
        path.parents[3].name: json.loads(path.read_text())["value"] for path in found
    }


def undisturbed(seeds: int = 2, students: int = 1) -> dict[str, int]:
    """The results of a sweep of 20 steps a point that nobody touched."""
    found = {}
    for seed in range(seeds):
        taught = found[f"teacher{seed}"] = _trained(seed)
        for i in range(students):
            name = f"student{seed}" if students == 1 else f"student{seed}_{i}"
            found[name] = _trained(seed + taught)
    return found


def _trained(value: int) -> int:
    for step in range(1, 21):
        value = fake_main.stepped(value, step)
    return value


def steps(root: pathlib.Path, name: str) -> list[int]:
    """The steps in a point's log."""
    path = root / name / "log.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return [json.loads(line)["step"] for line in lines]


def finished(workdir: pathlib.Path) -> bool:
    """Whether a directory has a result."""
    return any(workdir.glob("results/*/*/result.json"))


def attempts(root: pathlib.Path, name: str) -> list[dict]:
    """Starts and ends of a point."""
    path = root / name / "attempts.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return [json.loads(line) for line in lines]


def held(root: pathlib.Path, name: str) -> bool:
    """Whether a point has got to where it is held."""
    return len(steps(root, name)) >= fake_main.HELD_AT


def let_go(root: pathlib.Path, name: str) -> None:
    """Holds a point no longer."""
    (root / name / "struck").touch()


def disturb(
    root: pathlib.Path,
    blows: Mapping[str, Callable[[dict], object]],
    after: int = fake_main.HELD_AT,
    timeout: float = 240,
) -> None:
    """Deals each point its blow, given its start, once it has logged some rows.

    A blow that returns False comes later. A point that is held is let go once the
    process that was struck is gone, so that no step passes between the two.
    """
    left, struck = dict(blows), {}

    def deal() -> bool:
        for name in list(left):
            if len(steps(root, name)) >= after:
                row = attempts(root, name)[-1]
                if left[name](row) is not False:
                    left.pop(name)
                    struck[name] = row["child"], row["child_identity"]
        for name, process in list(struck.items()):
            if not processes.is_alive(*process):
                let_go(root, name)
                struck.pop(name)
        return not left and not struck

    wait_for(deal, f"blows to {sorted(left)}, ends of {sorted(struck)}", timeout)


def wait_for(what: Callable[[], object], told: str = "", timeout: float = 120):
    """Waits until something is true, and returns it."""
    until = time.monotonic() + timeout
    while time.monotonic() < until:
        if found := what():
            return found
        time.sleep(0.05)
    raise AssertionError(f"waited {timeout} s in vain for {told}")
