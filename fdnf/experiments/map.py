"""Where a distilled student is better than a plain one, and where not: one picture.

  python -m fdnf.experiments.map --out=runs/map runs/map/bsds300 runs/map/digits ...

Each directory is that of a study (`--mode=study`): a teacher, the plain student and
those that were taught, over seeds; or that of a setting of the sweep `map`. A setting
is data, model, rows, steps and sizes; a cell of the map is the gain of one method in
one setting: its likelihood on test rows minus the plain student's, paired by seeds,
with its 95 % interval. A gain counts where the interval leaves out 0. Writes to
`--out`:

  map.png    methods across, settings down; blue is better, orange worse
  map.md     the same with numbers, and the teacher's gain, which is the way to go
  map.json   every cell

Costs. A student that asks its teacher at each step takes longer for it. `--against`
names another method to stand in the plain student's place, such as one of as many more
steps as a teacher's pass costs: the second reading, at equal compute.
"""

import argparse
import contextlib
import math
import pathlib
import sys
import textwrap
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, NamedTuple

from fdnf import files
from fdnf.evaluation.core import methods, quantities, stats, stored
from fdnf.evaluation.core.scores import Result
from fdnf.evaluation.core.stats import Interval
from fdnf.evaluation.pictures import plotting
from fdnf.evaluation.tables import table as markup
from fdnf.evaluation.tables.table import Table
from fdnf.train import workdirs
from fdnf.train.rules import ConfigError

PLAIN, TEACHER = "student", "teacher"
# What is asked of a setting, the first that its results have.
METRICS = ("bits_per_dim", "log_likelihood")
BETTER, WORSE, EQUAL = "better", "worse", "not told apart"
_COLORS = {BETTER: "#0072B2", WORSE: "#D55E00"}


class Gain(NamedTuple):
    """What a method is worth beside another, in one setting.

    Attributes:
        interval: of the gain over seeds, in the metric's unit, more is better.
        share: of the way from the plain student to the teacher that it goes.
    """

    interval: Interval
    share: float | None

    @property
    def verdict(self) -> str:
        """BETTER or WORSE where the interval leaves out 0, else EQUAL."""
        if not self.interval.excludes_zero():
            return EQUAL
        return BETTER if self.interval.mean > 0 else WORSE


class Setting(NamedTuple):
    """A study, as the map shows it.

    Attributes:
        name: data, model, rows, steps and sizes.
        metric: a key of `quantities.QUANTITIES`.
        gains: by method, the teacher among them.
        seeds: how many.
    """

    name: str
    metric: str
    gains: Mapping[str, Gain]
    seeds: int


def setting(
    folder: str | pathlib.Path, against: str = PLAIN, split: str = "test"
) -> Setting:
    """The gains of a study's methods.

    Args:
      folder: workdir of the study.
      against: method that the others are held against.
      split: of the data.

    Raises:
      ConfigError: if it holds no results of that method, or of no other.
    """
    read = stored.read(folder)
    if all(r.run.method != TEACHER for r in read):
        # Of a sweep, where several settings have the same teachers.
        for place in sorted(pathlib.Path(folder).parent.glob(f"{TEACHER}*/")):
            read += stored.read(place)
    results = [r for r in read if not methods.is_baseline(r.run)]
    known = sorted({r.run.method for r in results})
    if against not in known or len(known) < 2:
        raise ConfigError(
            f"{folder}: results of {known}; expected those of {against!r} and of "
            "others, as python -m fdnf.main --mode=study leaves them"
        )
    metric = next(
        (m for m in METRICS if any(r.get(m, split=split) for r in results)), None
    )
    if metric is None:
        raise ConfigError(f"{folder}: no {' or '.join(METRICS)} of the split {split!r}")
    values = {name: _by_seed(results, name, metric, split) for name in known}
    base, sign = values[against], quantities.of(metric).better
    differences = {
        name: stats.paired(_signed(of, sign), _signed(base, sign))
        for name, of in values.items()
        if name != against
    }
    found = {name: each for name, each in differences.items() if each is not None}
    way = found[TEACHER].mean if TEACHER in found else math.nan
    return Setting(
        _name(folder, results, against),
        metric,
        {
            name: Gain(each, each.mean / way if way > 0 else None)
            for name, each in found.items()
        },
        len(base),
    )


def _by_seed(
    results: Sequence[Result], method: str, metric: str, split: str
) -> dict[int, float]:
    found = {}
    for result in results:
        score = result.get(metric, split=split)
        if result.run.method == method and score is not None:
            found[result.run.seed] = score.value
    return found


def _signed(values: Mapping[int, float], sign: int) -> dict[Hashable, float]:
    return {seed: sign * value for seed, value in values.items()}


def _name(folder: Any, results: Sequence[Result], against: str) -> str:
    """Data, model, rows, steps and weights of the plain student and its teacher."""
    of = {r.run.method: r.run for r in reversed(results)}
    plain = of[against]
    rows = _rows(pathlib.Path(folder), against)
    parts = [f"{plain.data}, {plain.arch}"]
    if rows:
        parts.append(f"{rows:,} rows")
    if steps := plain.facts.get("steps"):
        parts.append(f"{steps:,} steps")
    weights = [
        f"{of[m].facts['parameters']:,}"
        for m in (against, TEACHER)
        if m in of and "parameters" in of[m].facts
    ]
    if len(weights) == 2:
        parts.append(f"{weights[0]} of {weights[1]} weights")
    return ", ".join(parts)


def _rows(folder: pathlib.Path, method: str) -> int | None:
    """Rows that students saw, where their config says so."""
    for path in folder.glob(f"{method}*/{workdirs.CONFIG}"):
        with contextlib.suppress(OSError, ValueError, KeyError, AttributeError):
            config = files.loads(path.read_text(encoding="utf-8"))
            return config["data"]["args"].get("rows")
    return None


def table(settings: Sequence[Setting], against: str = PLAIN) -> Table:
    """A row a setting, a column a method; the interval of each gain."""
    names = _columns(settings)
    rows = []
    for each in settings:
        unit = quantities.of(each.metric)
        cells = [_cell(each.gains.get(name)) for name in names]
        rows.append((each.name, f"{unit.label} ({each.seeds})", *cells))
    head = ("", "of (seeds)", *(methods.label(name) for name in names))
    return Table(
        f"Gain over {methods.label(against)}",
        head,
        tuple(rows),
        (
            "Test rows, paired by seeds, ± the half-width of the 95 % interval; more "
            "is better, of bits/dim too. Marked: + better, - worse, by more than it.",
            "Teacher: how much better it is than the student; in brackets the share of "
            "that way that a method goes.",
        ),
    )


def _columns(settings: Sequence[Setting]) -> list[str]:
    return methods.order({name for each in settings for name in each.gains})


def _cell(gain: Gain | None) -> str:
    if gain is None:
        return ""
    mean, half, _, _ = gain.interval
    digits = 3 if max(abs(mean), half or 0) < 1 else 2
    mark = {BETTER: "+", WORSE: "-"}.get(gain.verdict, "")
    text = f"{mean:+.{digits}f}"
    if half is not None:
        text += f" ± {half:.{digits}f}"
    if gain.share is not None and gain.share != 1:
        text += f" ({100 * gain.share:.0f} %)"
    return f"**{text}** {mark}" if mark else text


def draw(
    settings: Sequence[Setting], path: str | pathlib.Path, against: str = PLAIN
) -> pathlib.Path:
    """The map: a square a method and setting, as large as the share of the way.

    Args:
      settings: from top to bottom.
      path: where to write.
      against: what gains are over.

    Returns:
      The path.
    """
    names = [name for name in _columns(settings) if name != TEACHER]
    height, width = 1.9 + 0.55 * len(settings), 4.6 + 1.05 * len(names)
    with plotting.saved(path, width, height) as figure:
        axes = figure.add_subplot()
        for y, each in enumerate(settings):
            for x, name in enumerate(names):
                if name in each.gains:
                    _mark(axes, x, y, each.gains[name])
        axes.set_xlim(-0.5, len(names) - 0.5)
        axes.set_ylim(len(settings) - 0.5, -0.5)
        labels = [
            textwrap.fill(methods.label(name).replace("_", " "), 12) for name in names
        ]
        axes.set_xticks(range(len(names)), labels)
        axes.set_yticks(range(len(settings)), [each.name for each in settings])
        axes.xaxis.tick_top()
        axes.tick_params(length=0)
        axes.grid(visible=False)
        for spine in axes.spines.values():
            spine.set_visible(False)
        figure.suptitle(
            f"Is a taught student better than {_plainly(against)}?",
            weight="bold",
            x=0.01,
            ha="left",
        )
        figure.supxlabel(
            "blue: better by more than the 95 % interval over seeds; orange: worse; "
            "grey: not told apart\nnumbers: how far of the way from the student to its "
            "teacher",
            fontsize=9,
            x=0.01,
            ha="left",
        )
    return pathlib.Path(path)


def _plainly(against: str) -> str:
    return "a plain one" if against == PLAIN else methods.label(against)


def _mark(axes: Any, x: int, y: int, gain: Gain) -> None:
    color = _COLORS.get(gain.verdict, "#DDDDDD")
    size = 0.9
    axes.add_patch(
        _rectangle()((x - size / 2, y - size / 2), size, size, color=color, lw=0)
    )
    text = "" if gain.share is None else f"{100 * gain.share:+.0f} %"
    shade = "#444444" if gain.verdict == EQUAL else "white"
    axes.text(x, y, text, ha="center", va="center", color=shade, fontsize=10)


def _rectangle() -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle


def plain(settings: Sequence[Setting]) -> list[dict[str, Any]]:
    """What the JSON file holds."""
    return [
        {
            **each._asdict(),
            "gains": {
                name: {
                    **gain.interval._asdict(),
                    "share": gain.share,
                    "verdict": gain.verdict,
                }
                for name, gain in each.gains.items()
            },
        }
        for each in settings
    ]


def write(
    settings: Sequence[Setting], out: str | pathlib.Path, against: str = PLAIN
) -> str:
    """Writes the picture, the table and the numbers; returns the table."""
    out = pathlib.Path(out)
    out.mkdir(parents=True, exist_ok=True)
    text = markup.to_markdown(table(settings, against))
    files.write_text(out / "map.md", text)
    files.write_json(out / "map.json", {"settings": plain(settings)})
    draw(settings, out / "map.png", against)
    return text


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; see the module."""
    parser = argparse.ArgumentParser(
        prog="python -m fdnf.experiments.map",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("studies", nargs="+", help="workdirs of studies")
    parser.add_argument("--out", required=True, help="directory of the map")
    parser.add_argument(
        "--against", default=PLAIN, help="method to gain over (default: %(default)s)"
    )
    given = parser.parse_args(arguments)
    try:
        found = [setting(folder, given.against) for folder in given.studies]
    except (ConfigError, files.DamagedError, OSError) as error:
        print(f"map: {error}", file=sys.stderr)
        return 2
    print(write(found, given.out, given.against))
    return 0


if __name__ == "__main__":
    sys.exit(main())
