"""Blocks of a report as one HTML page, and as Markdown.

The HTML needs no other file and runs no script. jinja2 escapes every text in it: a
label, a path or a run's name with markup in it shows as text.
"""

import base64
import functools
import pathlib
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from fdnf.evaluation.tables import table as tables
from fdnf.evaluation.tables.cell import MISSING, Number
from fdnf.evaluation.tables.table import Table

# Columns that name a row together: one column in HTML, which stays in sight.
_HEADS = ("Arch", "Data", "Model", "Metric", "Split")
# Cells of more letters may be broken.
_LONG = 48


class Text(NamedTuple):
    """A paragraph; one that says what is wrong is set apart."""

    text: str
    warns: bool = False


class Items(NamedTuple):
    """A list."""

    items: tuple[str, ...]


class Code(NamedTuple):
    """Lines as they are."""

    text: str


class Picture(NamedTuple):
    """An image, in HTML only.

    Attributes:
        data: of the file.
        kind: MIME type.
        alt: what there is to see.
        caption: below it.
        keys: what lines mean: label, colour and style ("solid", "dashed", "dotted").
        size: width and height in pixels, where known.
        title: above it.
    """

    data: bytes
    kind: str
    alt: str
    caption: str = ""
    keys: tuple[tuple[str, str, str], ...] = ()
    size: tuple[int, int] = (0, 0)
    title: str = ""


class Fold(NamedTuple):
    """Blocks that open on demand; those of much text in HTML only."""

    summary: str
    blocks: tuple["Block", ...]
    html_only: bool = True


Block = Table | Text | Items | Code | Picture | Fold


class Section(NamedTuple):
    """Blocks under a heading; one that is about pictures in HTML only."""

    title: str
    blocks: tuple[Block, ...]
    html_only: bool = False


def html(title: str, sections: Sequence[Section]) -> str:
    """The page.

    Args:
        title: of the page and above it.
        sections: the first stands before the index.

    Returns:
        HTML; the same for the same sections.
    """
    return _template().render(title=title, sections=list(sections))


def markdown(title: str, sections: Sequence[Section]) -> str:
    """Sections as one Markdown page, without what is in HTML only."""
    parts = [f"# {tables.plain(title)}\n"]
    for section in sections:
        blocks = [text for block in section.blocks if (text := _block(block))]
        if blocks and not section.html_only:
            parts += [f"## {tables.plain(section.title)}\n", *blocks]
    return "\n".join(parts)


class _Shown(NamedTuple):
    """A table as HTML has it: texts, and the class of each column."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]
    classes: tuple[str, ...]


def _in_html(table: Table) -> _Shown:
    heads = 0
    while heads < len(table.header) and table.header[heads] in _HEADS:
        heads += 1
    heads = max(heads, 1)
    texts = table.texts()
    lines = [
        (" ".join(filter(None, line[:heads])), *line[heads:])
        for line in [list(table.header), *texts]
    ]
    classes = [""]
    for i in range(heads, len(table.header)):
        column = [row[i] for row in table.rows]
        numbers = any(isinstance(cell, Number) for cell in column) and all(
            isinstance(cell, Number) or cell in ("", MISSING) for cell in column
        )
        long = any(len(line[i]) > _LONG for line in texts)
        # Numbers are set to the right, so that their digits meet.
        classes.append("number" if numbers else "long" if long else "")
    return _Shown(table.title, lines[0], tuple(lines[1:]), table.notes, tuple(classes))


@functools.cache
def _template() -> Any:
    import jinja2
    import markupsafe

    def breakable(text: str) -> markupsafe.Markup:
        """A name that may be broken after what joins its parts."""
        whole = str(markupsafe.escape(text))
        return markupsafe.Markup(re.sub(r"([/_+])", r"\1<wbr>", whole))

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(pathlib.Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {
        "base64": lambda data: base64.b64encode(data).decode(),
        "breakable": breakable,
        "in_html": _in_html,
        "kind": lambda block: type(block).__name__,
    }
    return environment.get_template("page.html.j2")


def _block(block: Block) -> str:
    match block:
        case Table():
            return tables.to_markdown(block)
        case Text():
            text = tables.plain(block.text)
            return f"**{text}**\n" if block.warns else f"{text}\n"
        case Items():
            return "\n".join(f"- {tables.plain(item)}" for item in block.items) + "\n"
        case Code():
            # Longer than any run of backticks inside.
            runs = re.findall("`+", block.text)
            fence = "`" * max(3, 1 + max(map(len, runs), default=0))
            return f"{fence}\n{block.text}\n{fence}\n"
        case Fold(html_only=False):
            inner = "\n".join(map(_block, block.blocks))
            summary = f"<summary>{tables.plain(block.summary)}</summary>"
            return f"<details>{summary}\n\n{inner}\n</details>\n"
        case _:
            return ""
