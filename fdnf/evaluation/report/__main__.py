"""`python -m fdnf.evaluation.report DIR` writes the report of a directory."""

import argparse
import pathlib
import sys
from collections.abc import Sequence

from fdnf import files
from fdnf.evaluation.report import write
from fdnf.train import interruption


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the report of a directory, and print it as Markdown.

    Args:
        arguments: of the command line.

    Returns:
        The exit status: 0, 1 for a report of which something is missing or unreadable,
        2 where there was nothing to report.
    """
    files.print_anything()
    parser = argparse.ArgumentParser(
        prog="python -m fdnf.evaluation.report",
        description="Report on every result.json under DIR: tables, curves, samples, "
        "configs, versions and commands in DIR/report.html, which needs no other file; "
        "the same without pictures in DIR/table.md and on the screen. DIR is the "
        "directory of a run, of a study or of a sweep (sweep.json).",
        epilog="Exit status: 0; 1 if points of the sweep are not done, or a file could "
        "not be read (the report begins with them); 2 if nothing was written.",
    )
    parser.add_argument("dir", type=pathlib.Path, metavar="DIR")
    parser.add_argument(
        "--latex", action="store_true", help="write the tables to DIR/table.tex as well"
    )
    parser.add_argument(
        "--quiet", action="store_true", help="print where the pages are, not the tables"
    )
    flags = parser.parse_args(arguments)
    try:
        written = write.write(flags.dir, latex=flags.latex)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if not flags.quiet:
        print(written.markdown)
    for text in written.wrong:
        print(text, file=sys.stderr)
    print(f"Written: {', '.join(map(str, written.paths))}", file=sys.stderr)
    return 1 if written.wrong else 0


if __name__ == "__main__":
    interruption.watch()
    sys.exit(main())
