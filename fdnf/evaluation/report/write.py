"""The report of a run, a study or a sweep: one HTML page and one Markdown page.

The same directory gives the same pages, byte for byte, on one machine: no clock, host
name or path of the directory is in them.
"""

import pathlib
from typing import NamedTuple

from fdnf import files
from fdnf.evaluation.report import gather, page, sections
from fdnf.evaluation.tables import table

PAGE, MARKDOWN, LATEX = "report.html", "table.md", "table.tex"


class Written(NamedTuple):
    """What was written.

    Attributes:
        markdown: the Markdown page.
        wrong: what is missing or could not be read, one line each.
        paths: the files.
    """

    markdown: str
    wrong: tuple[str, ...]
    paths: tuple[pathlib.Path, ...]


def write(root: str | pathlib.Path, latex: bool = False) -> Written:
    """Writes the report of a directory into it.

    Args:
        root: the directory.
        latex: write the tables as LaTeX as well.

    Returns:
        What was written.

    Raises:
        FileNotFoundError: no such directory, or nothing in it to report.
        ValueError: two results that nothing tells apart.
        OSError: the directory cannot be written to.
    """
    folder = pathlib.Path(root)
    found = gather.gather(folder)
    parts, made, wrong = sections.of(found)
    name = found.sweep.name
    markdown = page.markdown(name, parts)
    texts = {PAGE: page.html(name, parts), MARKDOWN: markdown}
    if latex:
        texts[LATEX] = "\n".join(table.to_latex(each) for each in made)
    for file, text in texts.items():
        files.write_text(folder / file, text)
    return Written(markdown, wrong, tuple(folder / file for file in texts))
