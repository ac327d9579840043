"""A table of text cells, as Markdown and as LaTeX."""

from typing import NamedTuple


class Table(NamedTuple):
    """Text cells with a title above and notes below."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]


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
    lines = [table.header, *table.rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(table.header))]
    text = [
        "| " + " | ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) + " |"
        for line in lines
    ]
    text.insert(1, "| " + " | ".join("-" * max(w, 3) for w in widths) + " |")
    notes = [f"- {note}" for note in table.notes]
    return "\n".join([f"### {table.title}", "", *text, "", *notes]) + "\n"


def to_latex(table: Table) -> str:
    """The table as a LaTeX tabular (booktabs), its notes as comments above it."""
    lines = [" & ".join(_tex(c) for c in line) + r" \\" for line in table.rows]
    return "\n".join(
        [
            *(f"% {text}" for text in (table.title, *table.notes)),
            rf"\begin{{tabular}}{{{'l' * len(table.header)}}}",
            r"\toprule",
            " & ".join(_tex(c) for c in table.header) + r" \\",
            r"\midrule",
            *lines,
            r"\bottomrule",
            r"\end{tabular}",
        ]
    )


_TEX = {
    "\\": r"\textbackslash{}",
    **{mark: "\\" + mark for mark in "&%$#_{}"},
    "±": r"$\pm$",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
}


def _tex(cell: str) -> str:
    return "".join(_TEX.get(mark, mark) for mark in cell)
