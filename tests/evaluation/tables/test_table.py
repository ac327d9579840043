"""Tables as Markdown and LaTeX."""

from fdnf.evaluation.tables import table
from fdnf.evaluation.tables.cell import Number
from fdnf.evaluation.tables.table import Table

TABLE = Table(
    "A_table & <b>",
    ("Model", "x|y ↓", "n"),
    (("a", Number(1.0, 0.5, 3), ""), ("b", "-", Number(1200, form="count"))),
    ("100 % of\nthem.",),
)


def test_markdown():
    assert table.to_markdown(TABLE).splitlines() == [
        "### A_table & &lt;b>",
        "",
        r"| Model | x\|y ↓        | n     |",
        "| ----- | ------------- | ----- |",
        "| a     | 1.000 ± 0.500 |       |",
        "| b     | -             | 1,200 |",
        "",
        "- 100 % of them.",
    ]


def test_latex():
    assert table.to_latex(TABLE).splitlines() == [
        "% A_table & <b>",
        "% 100 % of them.",
        r"\begin{tabular}{lll}",
        r"\toprule",
        r"Model & x|y $\downarrow$ & n \\",
        r"\midrule",
        r"a & 1.000 $\pm$ 0.500 &  \\",
        r"b & - & 1,200 \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]
    odd = Table("", ("a_b 5 %",), ((r"\{x}^2~²",),))
    assert r"a\_b 5 \%" in table.to_latex(odd)
    assert r"\textbackslash{}\{x\}\textasciicircum{}2\textasciitilde{}$^2$" in (
        table.to_latex(odd)
    )


def test_rows_stand_side_by_side():
    found = table.transpose(TABLE)
    assert found.header == ("", "a", "b")
    assert found.texts() == [["x|y ↓", "1.000 ± 0.500", "-"], ["n", "", "1,200"]]
    assert table.transpose(TABLE, 2).header == ("", "a 1.000 ± 0.500", "b -")
