"""A report as one HTML page that needs no other file and runs no script."""

import base64
import html
import re
from collections.abc import Sequence

from fdnf.evaluation.tables import markup
from fdnf.evaluation.tables.markup import Block, Picture, Section, Table

# Cells that hold a number are set to the right, so that their digits meet.
_NUMBER = re.compile(r"[-+]?[\d,]*\.?\d+[^A-Za-z]*(\([^)]*\))?(x| [MK])?[ *]*")
# Columns that name a row together: one column, which stays in sight.
_HEADS = ("Arch", "Data", "Model", "Metric")

_STYLE = """
:root { color-scheme: light dark; --text: #1b1b1b; --soft: #5a5a5a; --back: #fff;
  --line: #d8d8d8; --head: #f3f4f6; --link: #0b5cad; --bad: #9a3412;
  --bad-back: #fff4ec }
@media (prefers-color-scheme: dark) { :root { --text: #e6e6e6; --soft: #a8a8a8;
  --back: #131416; --line: #3a3c40; --head: #212327; --link: #7db8f0; --bad: #ffb38a;
  --bad-back: #33221a } img.drawn, .keys i { filter: invert(1) hue-rotate(180deg) } }
* { box-sizing: border-box }
body { margin: 0 auto; padding: 1rem; max-width: 75rem; color: var(--text);
  background: var(--back); font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto,
  "Helvetica Neue", Arial, sans-serif; overflow-wrap: anywhere }
h1 { font-size: 1.6rem; line-height: 1.2; margin: 0 0 .5rem }
h2 { font-size: 1.25rem; margin: 2.5rem 0 .75rem; padding-top: .5rem;
  border-top: 1px solid var(--line) }
h3 { font-size: 1rem; margin: 1.75rem 0 .5rem }
a { color: var(--link) }
nav ul { list-style: none; padding: 0; margin: 1rem 0; display: flex; flex-wrap: wrap;
  gap: .5rem 1.25rem }
nav a { display: inline-block; padding: .25rem 0 }
p.bad { color: var(--bad); background: var(--bad-back); padding: .5rem .75rem;
  border-left: 4px solid var(--bad); font-weight: 600 }
.scroll { overflow-x: auto; width: fit-content; max-width: 100%;
  border: 1px solid var(--line);  border-radius: 6px }
table { border-collapse: separate; border-spacing: 0; font-size: .875rem;
  font-variant-numeric: tabular-nums; overflow-wrap: normal }
th, td { padding: .3rem .65rem; text-align: left; white-space: nowrap;
  border-bottom: 1px solid var(--line); vertical-align: top }
td.number, th.number { text-align: right }
td.long { white-space: normal; overflow-wrap: anywhere; min-width: 10.5rem;
  max-width: 32rem }
tr:last-child > * { border-bottom: 0 }
thead th { background: var(--head) }
tr > :first-child { position: sticky; left: 0; background: var(--back);
  font-weight: 600;
  border-right: 1px solid var(--line); z-index: 1 }
thead tr > :first-child { background: var(--head) }
tr > th:first-child span { display: block; width: max-content; max-width: 8.5rem;
  white-space: normal; overflow-wrap: anywhere }
@media (min-width: 48rem) { tr > th:first-child span { max-width: 22rem } }
ul.notes { margin: .5rem 0 0; padding-left: 1.1rem; font-size: .8125rem;
  color: var(--soft) }
pre { overflow-x: auto; background: var(--head); padding: .6rem .75rem; margin: .5rem 0;
  border-radius: 6px; font: .75rem/1.5 ui-monospace, Menlo, Consolas, monospace;
  white-space: pre-wrap; overflow-wrap: anywhere }
details { border: 1px solid var(--line); border-radius: 6px; margin: .4rem 0;
  padding: 0 .75rem }
details[open] { padding-bottom: .75rem }
summary { cursor: pointer; padding: .5rem 0; font-size: .9375rem }
figure { margin: .75rem 0 1.5rem; max-width: 40rem }
figure img { display: block; width: 100%; height: auto }
figure img.drawn { max-width: 30rem }
figcaption { font-size: .8125rem; color: var(--soft) }
.keys { display: flex; flex-wrap: wrap; gap: .2rem 1rem; padding: 0; margin: .25rem 0;
  list-style: none; color: var(--text) }
.keys i { display: inline-block; width: 1.6rem; height: 0; vertical-align: middle;
  margin-right: .35rem; border-top: 3px solid }
"""


def page(title: str, sections: Sequence[Section]) -> str:
    """The page.

    Args:
        title: of the page and above it.
        sections: the first stands before the index.

    Returns:
        HTML; the same for the same sections.
    """
    first, *others = sections
    index = "".join(
        f'<li><a href="#{_anchor(i)}">{_text(section.title)}</a></li>'
        for i, section in enumerate(others)
    )
    body = [f"<h1>{_text(title)}</h1>", *map(_block, first.blocks)]
    body.append(f"<nav><ul>{index}</ul></nav>")
    for i, section in enumerate(others):
        body.append(f'<h2 id="{_anchor(i)}">{_text(section.title)}</h2>')
        tables = [b.title for b in section.blocks if isinstance(b, Table)]
        if len(tables) > 2:
            links = "".join(
                f'<li><a href="#{_anchor(i, k)}">{_text(name)}</a></li>'
                for k, name in enumerate(tables)
            )
            body.append(f"<nav><ul>{links}</ul></nav>")
        seen = 0
        for block in section.blocks:
            if isinstance(block, Table):
                body.append(_table(block, _anchor(i, seen)))
                seen += 1
            else:
                body.append(_block(block))
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{_text(title)}</title>",
            f"<style>{_STYLE}</style>",
            "</head>",
            "<body>",
            *body,
            "</body>",
            "</html>",
            "",
        ]
    )


def _block(block: Block) -> str:
    match block:
        case markup.Table():
            return _table(block)
        case markup.Text():
            mark = ' class="bad"' if block.warns else ""
            return f"<p{mark}>{_text(block.text)}</p>"
        case markup.Items():
            items = "".join(f"<li>{_text(item)}</li>" for item in block.items)
            return f"<ul>{items}</ul>"
        case markup.Code():
            return f"<pre>{_text(block.text)}</pre>"
        case markup.Picture():
            return _picture(block)
        case markup.Fold():
            inner = "\n".join(map(_block, block.blocks))
            return (
                f"<details><summary>{_text(block.summary)}</summary>\n{inner}</details>"
            )


def _named(table: Table) -> Table:
    """The table with the columns that name its rows as one."""
    heads = 0
    while heads < len(table.header) and table.header[heads] in _HEADS:
        heads += 1
    if heads < 2:
        return table
    header, *rows = (
        (" ".join(filter(None, row[:heads])), *row[heads:])
        for row in (table.header, *table.rows)
    )
    return table._replace(header=header, rows=tuple(rows))


def _table(table: Table, anchor: str = "") -> str:
    table = _named(table)
    columns = range(len(table.header))
    numeric = [_is_numeric([row[i] for row in table.rows]) for i in columns]
    mark = {True: ' class="number"', False: ""}
    head = "".join(
        f"<th{mark[numeric[i]]}>{_text(table.header[i])}</th>" for i in columns[1:]
    )
    head = f"<th><span>{_text(table.header[0])}</span></th>{head}"
    rows = []
    for row in table.rows:
        cells = [f"<th><span>{_breakable(row[0])}</span></th>"]
        for i in columns[1:]:
            long = any(len(other[i]) > 48 for other in table.rows) and not numeric[i]
            kind = ' class="long"' if long else mark[numeric[i]]
            cells.append(f"<td{kind}>{_text(row[i])}</td>")
        rows.append(f"<tr>{''.join(cells)}</tr>")
    name = f' id="{anchor}"' if anchor else ""
    parts = [f"<h3{name}>{_text(table.title)}</h3>"] if table.title else []
    label = f' tabindex="0" role="region" aria-label="{_text(table.title)}"'
    parts += [
        f'<div class="scroll"{label}><table>',
        f"<thead><tr>{head}</tr></thead>",
        "<tbody>",
        *rows,
        "</tbody></table></div>",
    ]
    if table.notes:
        notes = "".join(f"<li>{_text(note)}</li>" for note in table.notes)
        parts.append(f'<ul class="notes">{notes}</ul>')
    return "\n".join(parts)


def _picture(picture: Picture) -> str:
    data = base64.b64encode(picture.data).decode()
    drawn = ' class="drawn"' if picture.kind == "image/svg+xml" else ""
    width, height = picture.size
    size = f' width="{width}" height="{height}"' if width else ""
    keys = "".join(
        f'<li><i style="border-top: 3px {style} {color}"></i>{_text(label)}</li>'
        for label, color, style in picture.keys
    )
    legend = f'<ul class="keys">{keys}</ul>' if keys else ""
    title = f"<h3>{_text(picture.title)}</h3>" if picture.title else ""
    return (
        f'{title}<figure><img{drawn}{size} loading="lazy" alt="{_text(picture.alt)}" '
        f'src="data:{picture.kind};base64,{data}">'
        f"<figcaption>{legend}{_text(picture.caption)}</figcaption></figure>"
    )


def _is_numeric(cells: Sequence[str]) -> bool:
    told = [cell for cell in cells if cell not in ("", "-")]
    return bool(told) and all(_NUMBER.fullmatch(cell) for cell in told)


def _anchor(section: int, table: int | None = None) -> str:
    return f"s{section + 1}" + ("" if table is None else f"-{table + 1}")


def _breakable(text: str) -> str:
    """A name that may be broken after what joins its parts."""
    return re.sub(r"([/_+])", r"\1<wbr>", _text(text))


def _text(text: str) -> str:
    return html.escape(text, quote=True)
