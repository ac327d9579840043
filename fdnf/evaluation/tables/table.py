"""A table: cells with a title above and notes below, as Markdown and as LaTeX."""

from typing import NamedTuple

from fdnf.evaluation.tables import cell as cells
from fdnf.evaluation.tables.cell import Cell


class Table(NamedTuple):
    """Cells are text, or numbers that become text when they are printed."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()

    def texts(self) -> list[list[str]]:
        """The text of every cell."""
        return [[cells.text(cell) for cell in row] for row in self.rows]


def transpose(table: Table, heads: int = 1) -> Table:
    """The table with a column for each row, named by the row's first `heads` cells."""
    names = (" ".join(filter(None, map(cells.text, r[:heads]))) for r in table.rows)
    rows = tuple(
        (name, *(row[i] for row in table.rows))
        for i, name in enumerate(table.header)
        if i >= heads
    )
    return table._replace(header=("", *names), rows=rows)


def to_markdown(table: Table) -> str:
    """The table as Markdown, padded so that its source reads as well."""
    lines = [[plain(cell).replace("|", r"\|") for cell in row] for row in table.texts()]
    lines.insert(0, [plain(cell).replace("|", r"\|") for cell in table.header])
    columns = range(len(table.header))
    widths = [max(3, *(len(line[i]) for line in lines)) for i in columns]
    text = [
        "| " + " | ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) + " |"
        for line in lines
    ]
    text.insert(1, "| " + " | ".join("-" * w for w in widths) + " |")
    parts = [*([f"### {plain(table.title)}", ""] if table.title else []), *text]
    if table.notes:
        parts += ["", *(f"- {plain(note)}" for note in table.notes)]
    return "\n".join(parts) + "\n"


def to_latex(table: Table) -> str:
    """The table as a LaTeX tabular (booktabs), its notes as comments above it."""
    lines = [" & ".join(map(_tex, row)) + r" \\" for row in table.texts()]
    return "\n".join(
        [
            *(f"% {one_line(text)}" for text in (table.title, *table.notes)),
            rf"\begin{{tabular}}{{{'l' * len(table.header)}}}",
            r"\toprule",
            " & ".join(map(_tex, table.header)) + r" \\",
            r"\midrule",
            *lines,
            r"\bottomrule",
            r"\end{tabular}",
        ]
    )


def one_line(text: str) -> str:
    """Text without line ends."""
    return " ".join(text.split())


def plain(text: str) -> str:
    """Text on one line, of which no part is taken for HTML."""
    return one_line(text).replace("<", "&lt;")


_TEX = {
    "\\": r"\textbackslash{}",
    **{mark: "\\" + mark for mark in "&%$#_{}"},
    "±": r"$\pm$",
    "Δ": r"$\Delta$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "×": r"$\times$",
    "²": r"$^2$",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
}


def _tex(text: str) -> str:
    return "".join(_TEX.get(mark, mark) for mark in text)
