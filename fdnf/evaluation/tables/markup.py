"""The blocks of a report, and their Markdown; tables as LaTeX as well."""

import re
from collections.abc import Sequence
from typing import NamedTuple


class Table(NamedTuple):
    """Text cells with a title above and notes below."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]


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


def transpose(table: Table, heads: int = 1) -> Table:
    """The table with a column for each row, named by the row's first `heads` cells."""
    header = ("", *(" ".join(row[:heads]) for row in table.rows))
    rows = tuple(
        (name, *(row[i] for row in table.rows))
        for i, name in enumerate(table.header)
        if i >= heads
    )
    return table._replace(header=header, rows=rows)


def to_markdown(table: Table) -> str:
    """The table as Markdown, padded so that its source reads as well."""
    lines = [[_plain(cell).replace("|", r"\|") for cell in line] for line in table.rows]
    lines.insert(0, [cell.replace("|", r"\|") for cell in table.header])
    columns = range(len(table.header))
    widths = [max(3, *(len(line[i]) for line in lines)) for i in columns]
    text = [
        "| " + " | ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) + " |"
        for line in lines
    ]
    text.insert(1, "| " + " | ".join("-" * w for w in widths) + " |")
    parts = [*([f"### {_plain(table.title)}", ""] if table.title else []), *text]
    if table.notes:
        parts += ["", *(f"- {_plain(note)}" for note in table.notes)]
    return "\n".join(parts) + "\n"


def page(title: str, sections: Sequence[Section]) -> str:
    """Sections as one Markdown page, without what is in HTML only."""
    parts = [f"# {_plain(title)}\n"]
    for section in sections:
        blocks = [text for block in section.blocks if (text := _block(block))]
        if blocks and not section.html_only:
            parts += [f"## {_plain(section.title)}\n", *blocks]
    return "\n".join(parts)


def to_latex(table: Table) -> str:
    """The table as a LaTeX tabular (booktabs), its notes as comments above it."""
    lines = [" & ".join(_tex(c) for c in line) + r" \\" for line in table.rows]
    return "\n".join(
        [
            *(f"% {_line(text)}" for text in (table.title, *table.notes)),
            rf"\begin{{tabular}}{{{'l' * len(table.header)}}}",
            r"\toprule",
            " & ".join(_tex(c) for c in table.header) + r" \\",
            r"\midrule",
            *lines,
            r"\bottomrule",
            r"\end{tabular}",
        ]
    )


def _block(block: Block) -> str:
    match block:
        case Table():
            return to_markdown(block)
        case Text():
            text = _plain(block.text)
            return f"**{text}**\n" if block.warns else f"{text}\n"
        case Items():
            return "\n".join(f"- {_plain(item)}" for item in block.items) + "\n"
        case Code():
            # Longer than any run of backticks inside.
            runs = re.findall("`+", block.text)
            fence = "`" * max(3, 1 + max(map(len, runs), default=0))
            return f"{fence}\n{block.text}\n{fence}\n"
        case Fold(html_only=False):
            inner = "\n".join(map(_block, block.blocks))
            summary = f"<summary>{_plain(block.summary)}</summary>"
            return f"<details>{summary}\n\n{inner}\n</details>\n"
        case _:
            return ""


def _line(text: str) -> str:
    return " ".join(text.split())


def _plain(text: str) -> str:
    """Text on one line, of which no part is taken for HTML."""
    return _line(text).replace("<", "&lt;")


_TEX = {
    "\\": r"\textbackslash{}",
    **{mark: "\\" + mark for mark in "&%$#_{}"},
    "±": r"$\pm$",
    "Δ": r"$\Delta$",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
}


def _tex(cell: str) -> str:
    return "".join(_TEX.get(mark, mark) for mark in cell)
