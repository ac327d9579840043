"""Tables of text, as Markdown and as LaTeX."""

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
