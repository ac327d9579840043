"""Blocks as HTML and Markdown."""

import base64
import html.parser

from fdnf.evaluation.report import page as pages
from fdnf.evaluation.report.page import Code, Fold, Items, Picture, Section, Text
from fdnf.evaluation.tables.cell import Number
from fdnf.evaluation.tables.table import Table

VOID = {"meta", "img", "wbr"}


class Page(html.parser.HTMLParser):
    """Every tag with its attributes; refuses what is not closed in order."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.open = [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


def table(header, *rows, title="T", notes=()):
    return Table(title, header, rows, notes)


def page(*blocks):
    state = Section("State", (Text("all <b> done & well"),))
    return pages.html("a <sweep>", [state, Section("Tables", blocks)])


def test_page_is_whole_and_brings_everything():
    picture = Picture(b"<svg/>", "image/svg+xml", "a curve", keys=(("x", "#000", "-"),))
    fold = Fold("more", (Code("a < b"), picture))
    text = page(table(("A",), ("1",)), Items(("i",)), fold)
    found = Page(text)
    (image,) = found.all("img")
    assert image["src"].endswith(base64.b64encode(b"<svg/>").decode())
    assert image["alt"] == "a curve"
    assert not {"script", "link", "iframe"} & {tag for tag, _ in found.tags}
    links = [a["href"] for a in found.all("a")]
    ids = {attrs.get("id") for _, attrs in found.tags}
    assert links == ["#s1"]
    assert {link[1:] for link in links} <= ids
    assert any(m.get("name") == "viewport" for m in found.all("meta"))
    assert "http" not in text
    assert text == page(table(("A",), ("1",)), Items(("i",)), fold)


def test_text_is_escaped():
    evil = '<img src=x onerror="alert(1)">'
    text = page(
        table((evil, evil), (evil, evil), title=evil, notes=(evil,)),
        *(Text(evil), Items((evil,)), Code(evil), Fold(evil, (Text(evil),))),
    )
    assert Page(text).all("img") == []
    assert "<title>a &lt;sweep&gt;</title>" in text


def test_numbers_stand_to_the_right():
    rows = [("m", Number(1.5, 0.2), "word"), ("m", Number(None), "-"), ("m", "-", "w")]
    found = table(("Model", "Value", "Word"), *rows)
    marks = [attrs.get("class") for attrs in Page(page(found)).all("td")]
    assert marks == ["number", None] * len(rows)
    mixed = table(("Model", "Value"), ("m", Number(1.5)), ("m", "a word"))
    assert [a.get("class") for a in Page(page(mixed)).all("td")] == [None, None]


def test_columns_that_name_a_row_are_one():
    text = page(table(("Arch", "Model", "power_a"), ("MAF", "Student", "1.0")))
    assert "<th><span>Arch Model</span></th>" in text
    assert "<th><span>MAF Student</span></th>" in text
    assert len(Page(text).all("td")) == 1


def test_several_tables_get_an_index():
    text = page(*(table(("A",), ("1",), title=name) for name in "xyz"))
    links = [a["href"] for a in Page(text).all("a")]
    assert links == ["#s1", "#s1-1", "#s1-2", "#s1-3"]
    assert all(f'id="{link[1:]}"' in text for link in links)


def test_markdown_page():
    sections = [
        Section("State", (Text("wrong", warns=True), Items(("a\nb", "c")))),
        Section(
            "Tables", (table(("A", "B|C"), ("x", "p|q")), Fold("f", (Text("hid"),)))
        ),
        Section("Samples", (Text("selected"),), html_only=True),
        Section("Curves", (Picture(b"", "image/png", "a"),)),
        Section("Commands", (Fold("all", (Code("run ```x```"),), html_only=False),)),
    ]
    text = pages.markdown("A <b>", sections)
    assert text.startswith("# A &lt;b>\n\n## State\n\n**wrong**\n\n- a b\n- c\n")
    assert r"| A   | B\|C |" in text
    assert r"| x   | p\|q |" in text
    assert "hid" not in text
    assert "Curves" not in text
    assert "Samples" not in text
    assert "````\nrun ```x```\n````" in text
